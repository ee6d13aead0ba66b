"""What a finished training is worth: calibrated on the validation pictures, scored on the test pictures."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ception.data import sources
from ception.data.loading import pixel_digests
from ception.drift import Looks, brightness
from ception.evaluation.calibration import confidence, coverage_curve, fit_temperature
from ception.evaluation.table import Table
from ception.evaluation.thumbnails import beside
from ception.predictor import Predictor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ception.classifier import Classifier
    from ception.reporting import Reporter, Task
    from ception.results import Thumbnails
    from ception.training.planning import Plan

_LOOKED_AT, _AT_ONCE = 2_000, 64  # training pictures whose looks are kept, and those in memory


def scored(plan: Plan, classifier: Classifier, batch_size: int, reporter: Reporter) -> tuple[Classifier, Table]:
    """The classifier calibrated and knowing what is usual, and what it says of the test pictures.

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
    sure = confidence(validation.logits, temperature)
    curve = coverage_curve(validation.right, sure)
    # the model is a little surer of the validation pictures, which it was stopped and calibrated by, than of new ones
    logits = np.concatenate([one.logits[~one.seen] for one in (validation, test) if one.seen is not None])
    usual = _usual(plan, confidence(logits, temperature))
    return replace(classifier, temperature=temperature, coverage=curve, usual=usual), test


def _usual(plan: Plan, sure: NDArray[np.floating[Any]]) -> Looks:
    """What the training pictures look like, or some of them by chance, and how sure the model is of others.

    Of those that it was trained on it is surer than it will be of any other.
    """
    data = plan.data
    training, pictures = data.indices(sources.TRAIN), data.dataset.pictures
    looked_at = np.sort(np.random.default_rng(0).permutation(training)[:_LOOKED_AT])
    starts = range(0, len(looked_at), _AT_ONCE)
    bright = np.concatenate([brightness(data.pixels[looked_at[start : start + _AT_ONCE]]) for start in starts])
    sides = sources.parallel(
        lambda place: pictures.shorter_side(int(looked_at[place])),
        len(looked_at),
        threads=isinstance(pictures, sources.Encoded),
    )
    return Looks(sure, bright, np.array([side for side in sides if side], np.float64))


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
