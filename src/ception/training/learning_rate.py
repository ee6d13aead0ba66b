"""A search for the learning rate: it rises from step to step, and the loss shows where it is too large."""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ception.backends import ran_out_of_memory
from ception.errors import RunError
from ception.evaluation.plots import learning_rates
from ception.training import batch_norm, limits, phases
from ception.training.examples import Examples, batches_of, examples_of, plain_batches
from ception.training.fitting import begin, compile_for, fit
from ception.training.optimizers import optimizer_of
from ception.training.planning import logits_part
from ception.training.run_folder import RunFolder
from ception.training.state import Decisions, Progress

if TYPE_CHECKING:
    import keras

    from ception.reporting import Reporter
    from ception.training.planning import Plan
    from ception.training.trainee import Trainee

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

    def __repr__(self) -> str:
        return f"Search({self.suggestion:g} for the phase '{self.phase}', drawn in {self.picture})"


def search(plan: Plan, network: keras.Model, picture: Path, reporter: Reporter) -> Search:
    """Try rising learning rates in the last phase of a training, after those before it were carried out.

    Args:
        plan: The training.
        network: The network that it begins with.
        picture: PNG to draw.
        reporter: Receives notes, warnings and progress.

    Raises:
        RunError: the loss is no number from the first step on, or memory runs out.

    Source: Smith, arXiv:1506.01186, section 3.3; the running average and the steepest place are fastai's.
    """
    last, phase = len(plan.phases), plan.phases[-1]
    with tempfile.TemporaryDirectory() as path:
        folder = RunFolder(Path(path))
        if last > 1:
            earlier, progress = replace(plan, phases=plan.phases[:-1]), Progress(decisions=Decisions(plan.dtype))
            folder.save_decisions(progress.decisions)
            _, network = fit(earlier, network, folder, progress, reporter=reporter)
            begin(plan, network, folder, last)
        examples = examples_of(plan, phase, network, reporter)
        with phases.trainee(network, phase) as made:
            size = phase.recipe.batch_size
            parts = limits.parts_that_fit(made, size, limits.free_bytes())
            if phase.batch_norm == "adapt":
                batch_norm.adapt(made, lambda: plain_batches(examples, -(-size // parts)))
            reporter.note(f"Trying learning rates: {phase.summary}")
            reporter.detail(f"Trying learning rates, {phase.describe(made)}")
            try:
                rates, losses = _tried(plan, network, made, examples, parts, reporter)
            except Exception as error:
                if not ran_out_of_memory(error):
                    raise
                raise RunError("memory ran out: look with a smaller --batch-size or --image-size") from None
    if len(losses) < 3:
        raise RunError("the loss is no number from the first step on: the weights or the pictures are damaged")
    best = int(np.argmin(losses))
    slopes = np.gradient(losses[: best + 1], np.log(rates[: best + 1])) if best > 1 else np.zeros(1)
    suggestion = _rounded(rates[int(np.argmin(slopes))])
    learning_rates(rates, losses, suggestion, phase.name, picture)
    return Search(rates, losses, suggestion, phase.name, picture)


def _tried(
    plan: Plan, network: keras.Model, made: Trainee, examples: Examples, parts: int, reporter: Reporter
) -> tuple[list[float], list[float]]:
    """The rates up to where the loss is too large, and the running average of the loss after a step with each."""
    recipe = replace(plan.phases[-1].recipe, schedule="constant", learning_rate=_LOWEST, averaging=0.0)
    classes = len(plan.description.class_names)
    batches, _ = batches_of(examples, recipe, classes=classes, seed=plan.settings.seed, parts=parts)
    factors = phases.rates(logits_part(network, plan.settings), recipe)
    compile_for(made, recipe, optimizer_of(recipe, len(batches), factors))
    rates: list[float] = []
    losses: list[float] = []
    average = 0.0
    with reporter.task("Learning rates", _STEPS) as task:
        for step, rate in enumerate(np.geomspace(_LOWEST, _HIGHEST, _STEPS).tolist()):
            batches.epoch = step // len(batches)
            made.optimizer.learning_rate = rate
            average = _MEMORY * average + (1 - _MEMORY) * _loss_of_step(made, batches[step % len(batches)], examples)
            smooth = average / (1 - _MEMORY ** (step + 1))
            if not math.isfinite(smooth) or (losses and smooth > _TOO_LARGE * min(losses)):
                break
            rates.append(rate)
            losses.append(smooth)
            task.advance(1, f"{rate:.1e}  loss {smooth:.3f}")
    return rates, losses


def _loss_of_step(made: Trainee, batch: tuple[Any, Any], examples: Examples) -> float:
    """The loss of a batch, on which one step is made."""
    x, y = batch
    weights = None
    if examples.class_weights and y.ndim == 1:
        weights = np.array([examples.class_weights[int(label)] for label in y], np.float32)
    made.reset_metrics()
    return float(made.train_on_batch(x, y, sample_weight=weights, return_dict=True)["loss"])


def _rounded(rate: float) -> float:
    """With two digits."""
    return float(f"{rate:.1e}")
