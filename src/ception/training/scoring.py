"""What a finished training is worth: calibrated on the validation pictures, scored on the test pictures."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ception.data import sources
from ception.data.loading import pixel_digests
from ception.evaluation.calibration import confidence, coverage_curve, fit_temperature
from ception.evaluation.table import Table
from ception.evaluation.thumbnails import beside
from ception.predictor import Predictor

if TYPE_CHECKING:
    from ception.classifier import Classifier
    from ception.reporting import Reporter, Task
    from ception.results import Thumbnails
    from ception.training.planning import Plan


def scored(plan: Plan, classifier: Classifier, batch_size: int, reporter: Reporter) -> tuple[Classifier, Table]:
    """The classifier with its temperature and its curve of precision, and what it says of the test pictures.

    Args:
        plan: The training.
        classifier: With the weights that are kept.
        batch_size: Pictures that fit into memory at a time.
        reporter: Receives warnings and progress.
    """
    by_hand = plan.settings.device or plan.settings.backend
    count = sum(len(plan.data.indices(split)) for split in (sources.VAL, sources.TEST))
    with (
        Predictor.open(
            classifier, engine="keras" if by_hand else None, batch_size=batch_size, measure=False, reporter=reporter
        ) as predictor,
        reporter.task("Evaluating", count) as task,
    ):
        validation = _table(plan, predictor, sources.VAL, task)
        validation = validation.take(validation.scored)  # what was trained on would promise too much
        test = _table(plan, predictor, sources.TEST, task)
    temperature = fit_temperature(validation.labels, validation.logits)
    curve = coverage_curve(validation.right, confidence(validation.logits, temperature))
    return replace(classifier, temperature=temperature, coverage=curve), test


def beside_thumbnails(plan: Plan, table: Table) -> Thumbnails | None:
    """How a linear classifier on thumbnails does on the test pictures that count.

    Args:
        plan: The training.
        table: What the classifier says of the test pictures.
    """
    data, rows = plan.data, table.scored
    training, test = data.indices(sources.TRAIN), data.indices(sources.TEST)[rows]
    return beside(data.pixels, data.dataset.labels, training, test, table.right[rows])


def _table(plan: Plan, predictor: Predictor, split: int, task: Task) -> Table:
    """What the classifier says of the pictures of a split, each of them a step of the task."""
    data, size = plan.data, predictor.batch_size
    indices = data.indices(split)
    parts, looks = [], []
    for start in range(0, len(indices), size):
        pixels = data.pixels[indices[start : start + size]]
        looks.append(pixel_digests(pixels))
        parts.append(predictor.logits(pixels))
        task.advance(len(pixels))
    names = [data.dataset.pictures.name(int(index)) for index in indices]
    model = predictor.description
    seen = model.seen_in_training(data.digests[indices]) | model.pixels_seen_in_training(np.concatenate(looks))
    return Table(names, data.dataset.labels[indices], np.concatenate(parts), data.dataset.class_names, seen)
