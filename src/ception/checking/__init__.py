"""What may be wrong with a data set: `check` finds it without changing a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import numpy as np

from ception import cluster
from ception.checking import copies, cropped, features, findings, labels, page, passed_over, placeholders, scan, seen
from ception.checking.groups import Groups
from ception.data import grouping, sources
from ception.data.augmentation import Augmentation
from ception.data.images import ImageContract
from ception.data.loading import channels_of
from ception.model_file import ModelDescription, describe, keras_file
from ception.models import catalog
from ception.options import CheckOptions
from ception.reporting import Reporter, counted, or_default
from ception.results import CheckResult
from ception.settings import CheckSettings
from ception.training.recipes import recipes_of
from ception.validation import settings_of

if TYPE_CHECKING:
    from numpy.typing import NDArray


_LABELS = "wrong labels: for that, name weights, such as --weights imagenet, or a trained model with --model"
_FEW = f"wrong labels: there are no two classes with {labels.FOLDS} different pictures"
_OF_MANY = f"parts of other pictures: that is done among {cropped.MOST:,} pictures at most"
_OF_ARRAYS = "suffixes, formats, EXIF, bits, frames and folders: the pictures lie in arrays"


def check(data: str | Path, *, reporter: Reporter | None = None, **options: Unpack[CheckOptions]) -> CheckResult:
    """Find what may be wrong with a data set, and show it on a page; no file of the data is changed.

    Args:
        data: A data set as `ception.data.sources.load` takes it.
        reporter: Receives notes, warnings and progress; None for what `ception.reporting.default` gives.
        options: Fields of `CheckSettings`.

    Raises:
        InputError: the data or model cannot be used, or the page would overwrite another file.
        RunError: the page cannot be written.
    """
    settings, reporter = settings_of(CheckSettings, options), or_default(reporter)
    cluster.require(settings)
    described = _described(settings)  # a wrong model is told before anything is read
    features.require_sense(settings, described)
    dataset = grouping.grouped(sources.load(data, cache_limit=settings.cache_limit, reporter=reporter), settings.group)
    model, size = _model(settings, described, dataset)
    out = settings.out or Path(f"check-{dataset.name}.html")
    page.require_free(out)
    facts, failed, (shown_by_hosts, equal, near) = _scanned(dataset.pictures, str(data), settings, reporter)
    splits, lacking = findings.split_as_trained(dataset, facts["digest"])
    cases = findings.about_pictures(dataset, facts, failed, size) | findings.about_splits(splits, lacking)
    cases |= findings.about_copies(dataset, splits, equal, near) | _passed_over(data, dataset)
    cases |= findings.about_placeholders(dataset, shown_by_hosts) | findings.about_names(dataset)
    cases |= findings.about_classes(dataset, described.class_names, described.unnamed) if described else {}
    doubted, unchecked = _about_labels(dataset, facts, [*equal, *near], settings, described, reporter)
    listed = findings.listed(cases | doubted, dataset, splits)
    numbers = findings.severities(listed)
    result = CheckResult(
        data=str(data),
        name=dataset.name,
        pictures=len(dataset.labels),
        classes=_per_class(dataset),
        class_splits=findings.split_of_classes(dataset, splits),
        split=findings.split_of_pictures(splits),
        model=model,
        image_size=size,
        findings=listed,
        **numbers,
        verdict=findings.verdict(numbers),
        ok=not (numbers["errors"] or numbers["warnings"]),
        not_checked=_not_checked(dataset) + unchecked,
        page=str(out),
    )
    looked_at = _seen(dataset, facts, settings, described, size, reporter)
    page.write_page(out, result, cases | doubted, looked_at, dataset, reporter)
    return result


def _scanned(
    pictures: sources.Pictures, source: str, settings: CheckSettings, reporter: Reporter
) -> tuple[NDArray[np.void], dict[int, str], tuple[Groups, Groups, Groups]]:
    """The facts about each picture, why some cannot be read, and groups: of placeholders, equal ones, near copies."""
    with scan.room(len(pictures)) as grey:
        facts, failed = scan.scan(
            pictures, source, grey, cache_limit=settings.cache_limit, reporter=reporter, where=settings
        )
        return facts, failed, placeholders.find(facts, *copies.find(pictures, facts, grey, reporter))


def _not_checked(dataset: sources.Dataset) -> tuple[str, ...]:
    """What is left out because of what the data set is."""
    arrays = (_OF_ARRAYS,) if scan.are_arrays(dataset.pictures) else ()
    return (*arrays, *((_OF_MANY,) if len(dataset.labels) > cropped.MOST else ()))


def _described(settings: CheckSettings) -> ModelDescription | None:
    """What the model says of itself if it is a file; None where it is a network's name, or none is given."""
    if features.is_trained(settings):
        return describe(keras_file(str(settings.model)))
    if settings.model:
        catalog.find(settings.model)
    return None


def _model(
    settings: CheckSettings, described: ModelDescription | None, dataset: sources.Dataset
) -> tuple[str, tuple[int, int]]:
    """What the model is called, that which training would take if none is given, and the size it takes in pixels."""
    name = settings.model or features.as_trained(settings, dataset).network
    size = (described.image.height, described.image.width) if described else catalog.find(name).image_size
    return name, size if settings.image_size is None else (settings.image_size, settings.image_size)


def _about_labels(
    dataset: sources.Dataset,
    facts: NDArray[np.void],
    copies: Sequence[NDArray[np.intp]],
    settings: CheckSettings,
    described: ModelDescription | None,
    reporter: Reporter,
) -> tuple[findings.Cases, tuple[str, ...]]:
    """Pictures whose label may be wrong, by kind of finding, and what could not be checked."""
    if settings.weights is None and described is None:
        return {}, (_LABELS,)
    readable = np.flatnonzero(facts["width"] > 0)
    given = features.features(dataset, facts["digest"], readable, settings, reporter)
    groups = labels.together(len(dataset.labels), copies, dataset.groups)[given.indices]
    of_these = dataset.labels[given.indices]
    places, probabilities = labels.out_of_fold(given, of_these, groups, reporter)
    doubts = labels.doubtful(probabilities, of_these[places])
    unchecked = [] if len(places) else [_FEW]
    if places.size and (left := len(of_these) - len(places)):
        unchecked.append(f"the labels of {counted(left, 'picture')}, whose class has too few others")
    if described is not None and (known := int(described.seen_in_training(facts["digest"]).sum())):
        unchecked.append(
            f"the labels of {known:,} pictures only in part: the model was trained on them, and may have learnt wrong "
            "ones by heart; --weights imagenet has not"
        )
    return findings.about_labels(dataset, doubts, given.indices[places]), tuple(unchecked)


def _seen(
    dataset: sources.Dataset,
    facts: NDArray[np.void],
    settings: CheckSettings,
    described: ModelDescription | None,
    size: tuple[int, int],
    reporter: Reporter,
) -> list[seen.Seen]:
    """Some pictures as the network sees them, changed as the default training of it would change them."""
    readable = facts["width"] > 0
    if described is not None:  # which is trained
        return seen.seen(dataset, readable, described.image, Augmentation(), reporter)
    contract = ImageContract(height=size[0], width=size[1], channels=channels_of(dataset.pictures))
    recipe = recipes_of(features.as_trained(settings, dataset))[-1]
    return seen.seen(dataset, readable, contract, recipe.augmentation, reporter)


def _passed_over(data: str | Path, dataset: sources.Dataset) -> findings.Cases:
    """What a folder holds beside the data set; nothing where the data lie elsewhere."""
    if not Path(data).is_dir() or not isinstance(dataset.pictures, sources.Files):
        return {}
    return findings.about_folders(passed_over.passed_over(Path(data), dataset.pictures.paths))


def _per_class(dataset: sources.Dataset) -> dict[str, int]:
    counts = np.bincount(dataset.labels, minlength=len(dataset.class_names))
    return dict(zip(dataset.class_names, counts.tolist(), strict=True))
