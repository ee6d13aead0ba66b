"""What may be wrong with a data set: `check` finds it without changing a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Unpack

import numpy as np

from ception.checking import copies, findings, page, passed_over, placeholders, scan
from ception.data import grouping, sources
from ception.model_file import ModelDescription, describe
from ception.models import catalog
from ception.options import CheckOptions
from ception.recommended import settled
from ception.reporting import Reporter, or_default
from ception.results import CheckResult
from ception.settings import CheckSettings, TrainSettings
from ception.validation import settings_of

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
    settings = settings_of(CheckSettings, options)
    reporter = or_default(reporter)
    described = _described(settings)  # a wrong model is told before anything is read
    dataset = sources.load(data, cache_limit=settings.cache_limit, reporter=reporter)
    dataset = grouping.grouped(dataset, settings.group)
    model, size = _model(settings, described, dataset)
    out = settings.out or Path(f"check-{dataset.name}.html")
    page.require_free(out)
    facts, failed = scan.scan(dataset.pictures, str(data), cache_limit=settings.cache_limit, reporter=reporter)
    splits, lacking = findings.split_as_trained(dataset, facts["digest"])
    cases = findings.about_pictures(dataset, facts, failed, size) | {"too_few": lacking}
    shown_by_hosts, equal, near = placeholders.find(facts, *copies.find(dataset.pictures, facts, reporter))
    cases |= findings.about_copies(dataset, splits, equal, near)
    cases |= findings.about_placeholders(dataset, shown_by_hosts)
    cases |= _passed_over(data, dataset) | findings.about_series(dataset)
    cases |= findings.about_augmented(dataset)
    if described is not None:
        cases |= findings.about_classes(dataset, described.class_names, described.unnamed)
    listed = findings.listed(cases, dataset, splits)
    numbers = findings.severities(listed)
    result = CheckResult(
        data=str(data),
        name=dataset.name,
        pictures=len(dataset.labels),
        classes=_per_class(dataset),
        class_splits=findings.split_of_classes(dataset, splits),
        split=None if splits is None else {name: int((splits == n).sum()) for name, n in sources.SPLITS.items()},
        model=model,
        image_size=size,
        findings=listed,
        **numbers,
        verdict=findings.verdict(numbers),
        ok=not (numbers["errors"] or numbers["warnings"]),
        not_checked=(_OF_ARRAYS,) if scan.are_arrays(dataset.pictures) else (),
        page=str(out),
    )
    page.write_page(out, result, cases, dataset, reporter)
    return result


def _described(settings: CheckSettings) -> ModelDescription | None:
    """What the model says of itself if it is a file; None where it is a network's name, or none is given."""
    name = str(settings.model or "")
    if os.path.exists(name) or os.sep in name or name.endswith(".keras"):
        return describe(name)
    if name:
        catalog.find(name)
    return None


def _model(
    settings: CheckSettings, described: ModelDescription | None, dataset: sources.Dataset
) -> tuple[str, tuple[int, int]]:
    """What the model is called, that which training would take if none is given, and the size it takes in pixels."""
    training = TrainSettings(model=settings.model, image_size=settings.image_size)
    name = settings.model or settled(training, dataset).network
    size = (described.image.height, described.image.width) if described else catalog.find(name).image_size
    return name, size if settings.image_size is None else (settings.image_size, settings.image_size)


def _passed_over(data: str | Path, dataset: sources.Dataset) -> dict[str, list[findings.Item]]:
    """What a folder holds beside the data set; nothing where the data lie elsewhere."""
    if not Path(data).is_dir() or not isinstance(dataset.pictures, sources.Files):
        return {}
    return findings.about_folders(passed_over.passed_over(Path(data), dataset.pictures.paths))


def _per_class(dataset: sources.Dataset) -> dict[str, int]:
    counts = np.bincount(dataset.labels, minlength=len(dataset.class_names))
    return dict(zip(dataset.class_names, counts.tolist(), strict=True))
