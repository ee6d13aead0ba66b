"""A model scored by the workers of a cluster: each has it open, and answers for some of the pictures at a time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ception import cluster
from ception.evaluation.selection import Selection, require_readable, tabulated_answers
from ception.evaluation.table import Table
from ception.model_file import describe
from ception.predictor import Answers, answered
from ception.reporting import Reporter
from ception.sending import SentModel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ception.data.pictures import Pictures
    from ception.data.sources import Dataset
    from ception.settings import EvaluateSettings

_BATCHES = 4  # that a worker computes before it tells; whole ones, so that they are those of one process


class Answering:
    """What answers in a worker.

    Args:
        model: The model.
        pictures: All pictures.
        indices: Those that are asked for.
    """

    def __init__(self, model: SentModel, pictures: Pictures, indices: NDArray[np.int64]) -> None:
        self.predictor = model.opened()
        self.pictures, self.indices, self.part = pictures, indices, _BATCHES * model.batch_size

    def __call__(self, number: int) -> list[Answers]:
        """What the model says of a part of the pictures, batch by batch."""
        indices = self.indices[number * self.part : (number + 1) * self.part]
        return list(answered([self.predictor], self.pictures, indices, label="", reporter=Reporter(), digests=True))


def tabulated(
    model: Path,
    settings: EvaluateSettings,
    labels: NDArray[np.integer],
    dataset: Dataset,
    chosen: Selection,
    reporter: Reporter,
) -> tuple[Table, NDArray[np.int64]]:
    """What a model says of the chosen pictures that can be read, and their indices.

    Args:
        model: Its file, which every worker gets.
        settings: What runs it, and where.
        labels: Of the whole data set, counted as the model does.
        dataset: The data set; workers find pictures in files by the same paths.
        chosen: Its pictures that are wanted.
        reporter: Receives progress, and a warning for each picture that cannot be read.

    Raises:
        InputError: the model is a folder, or none of the pictures can be read.
        RunError: the cluster cannot be reached, or a worker failed.
    """
    count = len(chosen.indices)
    sent = SentModel.of(model, settings, max(1, min(settings.batch_size, count)))
    numbers = range(-(-count // (_BATCHES * sent.batch_size)))
    found: dict[int, list[Answers]] = {}
    with reporter.task("Evaluating", count) as task:
        given = sent, dataset.pictures, chosen.indices
        for number, batches in cluster.carried_out(Answering, given, numbers, settings, reporter):
            found[number] = batches
            task.advance(sum(len(batch.indices) + len(batch.errors) for batch in batches))
    batches = [batch for number in numbers for batch in found[number]]
    require_readable(
        {index: why for batch in batches for index, why in batch.errors.items()}, dataset, chosen, reporter
    )
    (table,) = tabulated_answers(batches, [(describe(model), labels)], dataset, chosen)
    return table
