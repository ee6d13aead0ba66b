"""Which pictures of a data set are scored, and what models say of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ception.data import grouping, sources, splitting
from ception.data.dataset import match_classes
from ception.errors import InputError
from ception.evaluation.table import Table
from ception.predictor import Answers, Predictor, answered
from ception.reporting import Reporter, counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ception.model_file import ModelDescription

_MOST_NAMED = 20  # pictures that cannot be read
_MOST_PAIRS = 3  # classes whose match is told


@dataclass(frozen=True)
class Selection:
    """The pictures of a data set that are scored.

    Attributes:
        indices: Which they are.
        digests: Digests of all pictures of the data set, of type `V16`.
        split: What they are: `train`, `val`, `test` or `all`.
        label: What folders of results call them: the name of the data set, with the split where that is another one
            than without a wish.
    """

    indices: NDArray[np.int64]
    digests: NDArray[np.void]
    split: str
    label: str


def matched(dataset: sources.Dataset, described: ModelDescription, reporter: Reporter) -> NDArray[np.int32]:
    """The data set's labels, counted as the model counts its classes.

    Classes match by name, and where all names are numbers by number. Where one side has no names, they match by their
    order if the counts agree. The reporter is told of all but the first.

    Raises:
        InputError: the data set has a class that the model does not know, or two that are one to it.
    """
    matches = match_classes(dataset.class_names, described.class_names, nameless=dataset.unnamed or described.unnamed)
    if matches.by != "name":
        reporter.note(f"Classes are matched by their {matches.by}: " + _pairs(dataset, described, matches.places))
    shown = np.bincount(dataset.labels, minlength=len(dataset.class_names)) > 0
    unknown = [dataset.class_names[k] for k in np.flatnonzero(shown) if matches.places[k] is None]
    if unknown:
        raise InputError(_told_unknown(unknown, dataset, described.class_names))
    places = np.array([-1 if place is None else place for place in matches.places], np.int32)
    used, times = np.unique(places[shown], return_counts=True)
    if (times > 1).any():
        place = used[times > 1][0]
        names = [repr(dataset.class_names[k]) for k in np.flatnonzero(places == place)]
        raise InputError(
            f"the classes {' and '.join(names)} of {dataset.name} are the model's '{described.class_names[place]}': "
            "put their pictures into one"
        )
    return places[dataset.labels]


def _pairs(dataset: sources.Dataset, described: ModelDescription, places: Sequence[int | None]) -> str:
    """The first classes of the data set with what the model calls them."""
    known = [(name, described.class_names[place])
             for name, place in zip(dataset.class_names, places, strict=True) if place is not None]  # fmt: skip
    more = " ..." if len(known) > _MOST_PAIRS else ""
    return ", ".join(f"'{name}' is the model's '{other}'" for name, other in known[:_MOST_PAIRS]) + more


def _told_unknown(unknown: Sequence[str], dataset: sources.Dataset, known: Sequence[str]) -> str:
    """The line that says which classes of the data set a model does not know, and what to do."""
    alike = {other.strip().casefold(): other for other in known}
    meant = [(one, alike[one.strip().casefold()]) for one in unknown if one.strip().casefold() in alike]
    way_out = "rename or remove what it does not know"
    if dataset.unnamed:
        way_out = "give the data their class_names"
    elif meant:
        way_out = "rename " + ", ".join(f"'{one}' to '{other}'" for one, other in meant[:5])
    return (
        f"the model does not know {'class' if len(unknown) == 1 else 'classes'} "
        f"{', '.join(map(repr, unknown[:5]))}{' ...' if len(unknown) > 5 else ''} of {dataset.name}; "
        f"it knows {', '.join(known[:20])}{' ...' if len(known) > 20 else ''}: {way_out}"
    )


def select(
    dataset: sources.Dataset,
    origin: str,
    split: str | None,
    models: Sequence[ModelDescription],
    reporter: Reporter,
) -> Selection:
    """The pictures of a data set that are scored.

    Without a wish they are the test pictures that the data state; else, of the data that a model was trained on, those
    that its training left out for testing; else all.

    Args:
        dataset: The data set.
        origin: What the user calls it.
        split: `train`, `val`, `test` or `all`, where data without a split are split as a training on them would do it.
        models: The models that are scored.
        reporter: Receives the progress, and why these pictures.

    Raises:
        InputError: the data set cannot be split, has no such pictures, or states a split without a test set.
    """
    digests, _ = sources.digests(dataset.pictures, reporter)
    if dataset.ignored:
        passed_over = ", ".join(f"{count:,} {what}" for what, count in dataset.ignored.items())
        reporter.note(f"Of {origin} passed over: {passed_over}")
    as_trained = [one for model in models if _split_by_training(one := _grouped(dataset, model), digests, model)]
    left_out, like_training = bool(as_trained), (as_trained or [dataset])[0]
    usual = "test" if left_out else _stated_split(dataset)
    chosen = split or usual
    if chosen is None:
        raise InputError(
            f"{origin} states a split without test pictures, and is not what "
            f"{_subject(models)} trained on: score all pictures with --split all, or choose another --split"
        )
    these = np.ones(len(dataset.labels), bool) if chosen == "all" else _in_split(like_training, digests, chosen)
    indices = np.flatnonzero(these)
    if not len(indices):
        raise InputError(f"{origin} has no {chosen} pictures: choose another --split, or all")
    if chosen == "all":
        if split is None:
            everything = "the only picture" if len(indices) == 1 else f"all {len(indices):,} pictures"
            reporter.note(f"{everything}: {origin} states no split and {_other_data(models)}")
    elif (these != (dataset.stated_splits == sources.SPLITS[chosen])).any():
        reporter.note(f"{len(indices):,} of {len(these):,} pictures: {_by_hash(origin, chosen, left_out)}")
    return Selection(indices, digests, chosen, dataset.name if chosen == usual else f"{dataset.name}-{chosen}")


def _stated_split(dataset: sources.Dataset) -> str | None:
    """What is scored of data that no model was trained on; None where they state a split, but no test pictures."""
    if (dataset.stated_splits == sources.TEST).any():
        return "test"
    return "all" if (dataset.stated_splits == sources.UNSTATED).all() else None


def _in_split(dataset: sources.Dataset, digests: NDArray[np.void], split: str) -> NDArray[np.bool_]:
    """Whether each picture is in a split: as the data state it, or as it follows from the pictures."""
    stated = dataset.stated_splits == sources.SPLITS[split]
    if split != "train" and stated.any():
        return np.asarray(stated)
    try:
        return np.asarray(splitting.split(dataset, digests) == sources.SPLITS[split])
    except InputError as error:
        raise InputError(f"{error}, or score all pictures with --split all") from None


def _grouped(dataset: sources.Dataset, model: ModelDescription) -> sources.Dataset:
    """The data set with its pictures grouped as the model's training did, if they can be."""
    settings = model.record.get("settings")
    try:
        return grouping.grouped(dataset, settings.get("group") if isinstance(settings, dict) else None)
    except InputError:
        return dataset


def _split_by_training(dataset: sources.Dataset, digests: NDArray[np.void], model: ModelDescription) -> bool:
    """Whether the model was trained on the data set, by the split that follows from its pictures.

    It was if it has seen most of what this split trains on and little of the rest, also where some pictures have come
    or gone since. Pictures of a training that was told its split lie in all parts alike.
    """
    try:
        trains = splitting.split(dataset, digests) == sources.TRAIN
    except InputError:
        return False
    seen = model.seen_in_training(digests)
    return bool(2 * seen[trains].sum() >= trains.sum() > 0 and 2 * seen[~trains].sum() <= (~trains).sum())


def _other_data(models: Sequence[ModelDescription]) -> str:
    if all(len(model.training_digests) for model in models):
        return f"is not what {_subject(models)} trained on"
    return "what the model was trained on is not known"


def _by_hash(origin: str, split: str, left_out: bool) -> str:
    """What the pictures of a split are that the data do not state, by whether a model was trained by it."""
    if left_out:
        did = {"train": "trained on", "val": "validated on", "test": "left out for testing"}[split]
        return f"those that the training {did}"
    return f"the {split} part of the split that a training on {origin} would make; --split all scores all"


def _subject(models: Sequence[ModelDescription]) -> str:
    return "the model was" if len(models) == 1 else "either model was"


def warn_of_seen(described: ModelDescription, chosen: Selection, reporter: Reporter, name: str = "the model") -> None:
    """Warn if the model, which the message calls `name`, was trained on pictures that are to be scored.

    Not if these are the training pictures of its data and the user has asked for them.
    """
    count, seen = len(chosen.indices), int(described.seen_in_training(chosen.digests[chosen.indices]).sum())
    if seen and not (seen == count and chosen.split == "train"):
        which = "the only picture" if count == 1 else f"{seen:,} of these {count:,} pictures"
        were, count_not = ("was", "it does not count") if seen == 1 else ("were", "they do not count")
        then = "the scores say nothing of new pictures" if seen == count else count_not
        reporter.warn(f"{which} {were} in {name}'s training: {then}")


def tabulate_data(
    predictors: Sequence[Predictor],
    labels: Sequence[NDArray[np.integer]],
    dataset: sources.Dataset,
    chosen: Selection,
    *,
    reporter: Reporter,
) -> list[tuple[Table, NDArray[np.int64]]]:
    """What each model says of some pictures, which are decoded once for all that want the same pixels of them.

    Args:
        predictors: The models.
        labels: For each model the labels of the whole data set, counted as it does.
        dataset: The data set.
        chosen: Its pictures that are wanted.
        reporter: Receives progress, and a warning for each picture that cannot be read.

    Returns:
        For each model its table of the readable pictures, and their indices.

    Raises:
        InputError: none of the pictures can be read.
    """
    tables: dict[int, tuple[Table, NDArray[np.int64]]] = {}
    failed: dict[int, str] = {}
    models = [predictor.description for predictor in predictors]
    for contract in dict.fromkeys(model.image for model in models):
        sharing = [number for number, model in enumerate(models) if model.image == contract]
        batches = list(answered([predictors[number] for number in sharing], dataset.pictures, chosen.indices,
                                label="Evaluating", reporter=reporter, digests=True))  # fmt: skip
        for batch in batches:
            failed |= batch.errors
        of_these = [(models[number], labels[number]) for number in sharing]
        tables |= dict(zip(sharing, tabulated_answers(batches, of_these, dataset, chosen), strict=True))
    require_readable(failed, dataset, chosen, reporter)
    return [tables[number] for number in range(len(models))]


def tabulated_answers(
    batches: Sequence[Answers],
    models: Sequence[tuple[ModelDescription, NDArray[np.integer]]],
    dataset: sources.Dataset,
    chosen: Selection,
) -> list[tuple[Table, NDArray[np.int64]]]:
    """For each model its table of the readable pictures, and their indices.

    Args:
        batches: What the models say, with digests.
        models: What each says of itself, and the labels of the whole data set as it counts them.
        dataset: The data set.
        chosen: Its pictures that are wanted.
    """
    readable = np.concatenate([batch.indices for batch in batches]).astype(np.int64)
    looks = np.concatenate([batch.digests for batch in batches])
    names = [dataset.pictures.name(int(index)) for index in readable]
    tables = []
    for order, (model, labels) in enumerate(models):
        logits = np.concatenate([batch.logits[order] for batch in batches])
        seen = None
        if len(model.training_digests):
            seen = model.seen_in_training(chosen.digests[readable]) | model.pixels_seen_in_training(looks)
        tables.append((Table(names, labels[readable], logits, model.class_names, seen), readable))
    return tables


def require_readable(failed: dict[int, str], dataset: sources.Dataset, chosen: Selection, reporter: Reporter) -> None:
    """Warn of pictures that cannot be read, of which there are reasons by index.

    Raises:
        InputError: there are no others.
    """
    for index, why in list(failed.items())[:_MOST_NAMED]:
        reporter.warn(f"left out {dataset.pictures.name(index)}: {why}")
    if len(failed) > _MOST_NAMED:
        reporter.warn(f"left out {len(failed) - _MOST_NAMED} more that cannot be read")
    if len(failed) == len(chosen.indices):
        raise InputError(f"of {counted(len(failed), 'picture')} of {dataset.name} none can be read")
