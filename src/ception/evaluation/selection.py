"""Which pictures of a data set are scored, and what models say of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ception.data import sources, splitting
from ception.errors import InputError
from ception.evaluation.table import Table
from ception.predictor import Predictor, answered
from ception.reporting import Reporter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ception.model_file import ModelDescription

_MOST_NAMED = 20  # pictures that cannot be read


def matched(dataset: sources.Dataset, described: ModelDescription, reporter: Reporter) -> NDArray[np.int32]:
    """The data set's labels, counted as the model counts its classes.

    Classes match by name; where one side has no names, by index if the counts agree, which the reporter is told.

    Raises:
        InputError: the data set has a class that the model does not know.
    """
    nameless = dataset.unnamed or described.unnamed
    if nameless:
        reporter.note("Classes are matched by their numbers: one side has no names")
    known = {name: number for number, name in enumerate(described.class_names)}
    if nameless and len(dataset.class_names) == len(known):
        return dataset.labels
    unknown = [name for name in dataset.class_names if name not in known]
    if unknown:
        raise InputError(
            f"the model does not know {'class' if len(unknown) == 1 else 'classes'} "
            f"{', '.join(repr(name) for name in unknown[:5])}{' ...' if len(unknown) > 5 else ''} of {dataset.name}; "
            f"it knows {', '.join(described.class_names[:20])}{' ...' if len(known) > 20 else ''}"
        )
    return np.array([known[name] for name in dataset.class_names], np.int32)[dataset.labels]


def select(
    dataset: sources.Dataset, origin: str, split: str, reporter: Reporter
) -> tuple[NDArray[np.int64], NDArray[np.void]]:
    """The indices of the pictures of a split, and their digests.

    Args:
        dataset: The data set.
        origin: What the user calls it.
        split: `train`, `val`, `test` or `all`.
        reporter: Receives the progress.

    Raises:
        InputError: the data set cannot be split, or has no such pictures.
    """
    digests, _ = sources.digests(dataset.pictures, reporter)
    if split == "all":
        indices = np.arange(len(dataset.labels))
    else:
        try:
            splits = splitting.split(dataset, digests)
        except InputError as error:
            raise InputError(f"{error}, or score all pictures with --split all") from None
        indices = np.flatnonzero(splits == sources.SPLITS[split])
    if not len(indices):
        raise InputError(f"{origin} has no {split} pictures: choose another --split, or all")
    return indices, digests[indices]


def data_label(name: str, split: str) -> str:
    """What folders of results call the data: the name of the data set, with the split where that is not `test`."""
    return name if split == "test" else f"{name}-{split}"


def warn_of_seen(
    described: ModelDescription, digests: NDArray[np.void], reporter: Reporter, name: str = "the model"
) -> None:
    """Warn if pictures that are to be scored were in the training of the model, which the message calls `name`."""
    if seen := int(described.seen_in_training(digests).sum()):
        reporter.warn(
            f"{seen:,} of these {len(digests):,} pictures were in {name}'s training: "
            "the scores are better than on new pictures"
        )


def tabulate_data(
    predictors: Sequence[Predictor],
    labels: Sequence[NDArray[np.integer]],
    dataset: sources.Dataset,
    indices: NDArray[np.int64],
    *,
    reporter: Reporter,
) -> list[tuple[Table, NDArray[np.int64]]]:
    """What each model says of some pictures, which are decoded once for all that want the same pixels of them.

    Args:
        predictors: The models.
        labels: For each model the labels of the whole data set, counted as it does.
        dataset: The data set.
        indices: Its pictures that are wanted.
        reporter: Receives progress, and a warning for each picture that cannot be read.

    Returns:
        For each model its table of the readable pictures, and their indices.

    Raises:
        InputError: none of the pictures can be read.
    """
    answers: dict[int, tuple[Table, NDArray[np.int64]]] = {}
    failed: dict[int, str] = {}
    models = [predictor.description for predictor in predictors]
    for contract in dict.fromkeys(model.image for model in models):
        sharing = [number for number, model in enumerate(models) if model.image == contract]
        batches = list(answered([predictors[number] for number in sharing], dataset.pictures, indices,
                                label="Evaluating", reporter=reporter))  # fmt: skip
        readable = np.concatenate([batch.indices for batch in batches]).astype(np.int64)
        names = [dataset.pictures.name(int(index)) for index in readable]
        for batch in batches:
            failed |= batch.errors
        for order, number in enumerate(sharing):
            logits = np.concatenate([batch.logits[order] for batch in batches])
            answers[number] = Table(names, labels[number][readable], logits, models[number].class_names), readable
    for index, why in list(failed.items())[:_MOST_NAMED]:
        reporter.warn(f"left out {dataset.pictures.name(index)}: {why}")
    if len(failed) > _MOST_NAMED:
        reporter.warn(f"left out {len(failed) - _MOST_NAMED} more that cannot be read")
    if len(failed) == len(indices):
        raise InputError(f"none of the {len(indices)} pictures of {dataset.name} can be read")
    return [answers[number] for number in range(len(models))]
