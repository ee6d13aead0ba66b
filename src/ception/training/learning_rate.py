"""A search for the learning rate: it rises from step to step, and the loss shows where it is too large."""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ception.backends import ran_out_of_memory
from ception.errors import RunError
from ception.evaluation.plots import learning_rates
from ception.training import memory, phases
from ception.training.fitting import (
    Training,
    batches_of,
    begin,
    compile_for,
    examples_of,
    fit,
    plain_batches,
)
from ception.training.preparation import Examples

_LOWEST, _HIGHEST = 1e-6, 10.0
_STEPS = 100
_MEMORY = 0.95  # of the running average of the loss
_TOO_LARGE = 4  # times the lowest loss, at which the search ends


@dataclass(frozen=True)
class Search:
    """What a search found.

    Attributes:
        rates: The learning rates tried, rising.
        losses: Running average of the loss after a step with each.
        suggestion: The rate at which the loss falls most steeply.
        phase: Name of the phase that it is for.
        picture: The plot.
    """

    rates: list[float]
    losses: list[float]
    suggestion: float
    phase: str
    picture: Path


def search(run: Training, picture: Path) -> Search:
    """Try rising learning rates in the last phase of a training, after those before it were carried out.

    Args:
        run: A training that has not begun.
        picture: PNG to draw.

    Source: Smith, arXiv:1506.01186, section 3.3; the running average and the steepest place are fastai's.
    """
    with tempfile.TemporaryDirectory() as folder:
        run.folder = Path(folder)
        run.decided.save(run.file("decided.json"))
        last = len(run.planned)
        if last > 1:
            fit(replace(run, planned=run.planned[:-1]))
            begin(run, last)
        phase = run.planned[-1]
        examples = examples_of(run, phase)
        with phases.trainee(run.network, phase) as made:
            run.decided.parts[last] = memory.parts_that_fit(made, phase.recipe.batch_size, memory.free_bytes())
            if phase.batch_norm == "adapt":
                phases.adapt(made, lambda: plain_batches(examples, run.size(last)))
            run.reporter.note(f"Trying learning rates, {phase.describe(made)}")
            try:
                rates, losses = _tried(run, made, examples)
            except Exception as error:
                if not ran_out_of_memory(error):
                    raise
                raise RunError("memory ran out: look with a smaller --batch-size or --image-size") from None
    if len(losses) < 3:
        raise RunError("the loss is no number from the first step on: the weights or the pictures are damaged")
    best = int(np.argmin(losses))
    slopes = np.gradient(losses[: best + 1], np.log(rates[: best + 1])) if best > 1 else np.zeros(1)
    found = Search(rates, losses, _rounded(rates[int(np.argmin(slopes))]), phase.name, picture)
    learning_rates(found.rates, found.losses, found.suggestion, phase.name, picture)
    return found


def _tried(run: Training, made: Any, examples: Examples) -> tuple[list[float], list[float]]:
    recipe = replace(run.planned[-1].recipe, schedule="constant", learning_rate=_LOWEST, averaging=0.0)
    classes = len(run.classifier.class_names)
    parts = run.decided.parts[len(run.planned)]
    batches, _ = batches_of(examples, recipe, classes=classes, seed=run.options.seed, parts=parts)
    compile_for(made, recipe, recipe.optimizer(len(batches), phases.rates(run.classifier.network, recipe)))
    rates: list[float] = []
    losses: list[float] = []
    average = 0.0
    with run.reporter.task("Learning rates", _STEPS) as task:
        for step, rate in enumerate(np.geomspace(_LOWEST, _HIGHEST, _STEPS).tolist()):
            batches.epoch = step // len(batches)
            made.optimizer.learning_rate = rate
            made.reset_metrics()
            x, y = batches[step % len(batches)]
            weights = None
            if examples.class_weights and y.ndim == 1:
                weights = np.array([examples.class_weights[int(label)] for label in y], np.float32)
            loss = float(made.train_on_batch(x, y, sample_weight=weights, return_dict=True)["loss"])
            average = _MEMORY * average + (1 - _MEMORY) * loss
            smooth = average / (1 - _MEMORY ** (step + 1))
            if not math.isfinite(smooth) or (losses and smooth > _TOO_LARGE * min(losses)):
                break
            rates.append(rate)
            losses.append(smooth)
            task.advance(1, f"{rate:.1e}  loss {smooth:.3f}")
    return rates, losses


def _rounded(rate: float) -> float:
    """With two digits."""
    return float(f"{rate:.1e}")
