"""A search for the learning rate: short trainings, until the best of them lies between worse ones."""

from __future__ import annotations

import math
import tempfile
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ception.backends import ran_out_of_memory
from ception.data.batches import Batches, order
from ception.errors import RunError
from ception.evaluation.plots import learning_rates
from ception.keras_internals import with_averages
from ception.training import batch_norm, limits, phases, state, trials
from ception.training.examples import Examples, batches_of, examples_of, plain_batches
from ception.training.fitting import begin, fit
from ception.training.optimizers import compile_for, optimizer_of, schedule_of, smoothed_entropy
from ception.training.planning import logits_part
from ception.training.run_folder import RunFolder
from ception.training.state import Decisions, Progress, assign, values
from ception.training.trials import Scale, Trial

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import keras
    from numpy.typing import NDArray

    from ception.reporting import Reporter
    from ception.training.planning import Plan
    from ception.training.trainee import Trainee

_STEPS = 100  # of a short training; of a shorter one all
_JUDGED = 8  # batches of validation pictures that it is judged by, up to twice as many where there are enough
_SMALLEST = 8  # pictures in one of them, for the statistics of batch norm


@dataclass(frozen=True)
class Search:
    """What a search found.

    Attributes:
        rates: The learning rates tried, rising.
        losses: Validation loss after a short training with each; infinite where that broke down.
        suggestion: The rate whose loss should be lowest, between those tried.
        phase: Name of the phase that it is for.
        picture: The plot.
        level: Validation loss before the first step; a guess's, where batch norm has no moving statistics yet.
        drop: How far the lowest loss lies below that, or below that of a guess where this is smaller, as a share, 0..1,
            of the way to a network that is always right, whose loss is not 0 where labels are smoothed.
        steps: Steps of a short training.
        why: The reason for the suggestion, in words.
    """

    rates: list[float]
    losses: list[float]
    suggestion: float
    phase: str
    picture: Path
    level: float
    drop: float
    steps: int
    why: str

    def __repr__(self) -> str:
        return f"Search({self.suggestion:g} for the phase '{self.phase}', drawn in {self.picture})"

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON has them, with None for an infinite loss."""
        losses = [loss if math.isfinite(loss) else None for loss in self.losses]
        return asdict(self) | {"losses": losses, "picture": str(self.picture)}


def search(plan: Plan, network: keras.Model, picture: Path, reporter: Reporter, *, drawn: bool = True) -> Search:
    """Try learning rates in the last phase of a training, after those before it were carried out.

    With each rate the phase is trained for 100 steps, or all where it has fewer, from the same weights, with the same
    batches, and with the recipe's whole schedule in so many steps: where warm-up and decay are left out, or steps are
    few, small rates look better than they are (Wu et al., arXiv:1803.02021). It is judged by the loss of validation
    pictures after the last step, so that no step before counts. Where batch norm is trained, that is computed as the
    network is used, with moving statistics that lag as they will after the whole training: far, where a rate is high.
    The first rate is the recipe's, `trials.bracketed` chooses the others, `trials.best_rate` the suggestion.

    Args:
        plan: The training.
        network: The network that it begins with.
        picture: PNG to draw, also where no rate can be suggested.
        reporter: Receives notes, warnings and progress.
        drawn: Whether this process draws it.

    Raises:
        RunError: no rate can be suggested, or memory runs out.

    Source: Bengio, arXiv:1206.5533, section 3.1.1 (rates by a factor of 3). The rising rate of Smith (arXiv:1506.01186)
        was measured beside it: docs/recipes.md.
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
        with phases.trainee(network, phase, plan.team) as made, _told():
            parts = limits.parts_for_team(made, phase.recipe.batch_size, plan.team)
            if phase.batch_norm == "adapt":
                batch_norm.adapt(made, lambda: plain_batches(examples, -(-phase.recipe.batch_size // parts)))
            state.equalise(network, plan.team)
            reporter.note(f"Trying learning rates: {phase.summary}")
            reporter.detail(f"Trying learning rates, {phase.describe(made)}")
            trainings = _ShortTrainings(plan, network, made, examples, parts, reporter)
            with batch_norm.in_fewer_steps(made, trainings.whole / trainings.steps):
                scale = trainings.scale()
                level = trainings.level(scale)
                if not np.isfinite(level).all():
                    raise RunError(
                        "the loss is no number before the first step: the weights or the pictures are damaged"
                    )
                tried = trials.bracketed(trainings.run, phase.recipe.learning_rate, level)
    with plan.team.agreed():
        return _judged(tried, level, scale, trainings.steps, phase.name, picture, drawn=drawn)


def _judged(
    tried: list[Trial], level: NDArray[np.float64], scale: Scale, steps: int, phase: str, picture: Path, *,
    drawn: bool,
) -> Search:  # fmt: skip
    """The search, and its plot where it shall be drawn.

    Raises:
        RunError: no rate can be suggested.
    """
    rates, losses = [trial.rate for trial in tried], [trial.loss for trial in tried]
    before, lowest = float(level.mean()), min(losses)
    best = tried[int(np.argmin(losses))].losses
    drawing: Callable[..., None] = lambda **_: None  # noqa: E731
    drawing = drawing if not drawn else partial(
        learning_rates, rates, losses, [2 * trials.error_of_difference(trial.losses, best) for trial in tried],
        level=before, title=f"Phase '{phase}', {steps} steps with each rate", path=picture,
    )  # fmt: skip
    try:
        suggestion = trials.best_rate(tried, level, scale)
    except RunError as error:
        drawing(suggestion=None)
        raise RunError(f"{error}; drawn in {picture}") from None
    drawing(suggestion=suggestion)
    why = f"of {len(rates)} rates tried, {rates[losses.index(lowest)]:.2g} took the validation loss from {before:.3f} "
    why += f"to {lowest:.3f} in {steps} steps, much smaller and larger ones less far"
    return Search(rates, losses, suggestion, phase, picture, before, scale.drop(lowest, before), steps, why)


@contextmanager
def _told() -> Iterator[None]:
    """A context whose want of memory is told with the way out."""
    try:
        yield
    except Exception as error:
        if not ran_out_of_memory(error):
            raise
        raise RunError("memory ran out: look with a smaller --batch-size or --image-size") from None


class _ShortTrainings:
    """Short trainings of a phase, all from the same weights.

    The network is compiled once: its variables and the optimiser's are put back before each.

    Attributes:
        steps: Steps of each.
        whole: Steps of the training that they stand for.
    """

    def __init__(
        self, plan: Plan, network: keras.Model, made: Trainee, examples: Examples, parts: int, reporter: Reporter
    ) -> None:
        phase = plan.phases[-1]
        recipe = phase.recipe
        self.as_used = phase.batch_norm == "train" and bool(batch_norm.normalisations(made))
        self.made, self.examples, self.parts, self.reporter = made, examples, parts, reporter
        self.recipe, self.classes = recipe, len(plan.description.class_names)
        self.batches, validation = batches_of(
            examples, recipe, classes=self.classes, seed=plan.settings.seed, parts=parts, team=plan.team
        )
        self.judges, self.averaged = _in_eighths(validation), bool(recipe.averaging)
        an_epoch = -(-len(examples.training) // recipe.batch_size)
        self.whole = recipe.epochs * an_epoch
        self.steps = min(self.whole, _STEPS)
        schedule = schedule_of(replace(recipe, learning_rate=1.0), self.steps / recipe.epochs)
        self.shares = [float(schedule(step)) if callable(schedule) else 1.0 for step in range(self.steps)]
        factors = phases.rates(logits_part(network, plan.settings), recipe)
        constant = replace(recipe, schedule="constant")
        compile_for(made, constant, optimizer_of(constant, len(self.batches), factors, parts=parts, team=plan.team))
        made.optimizer.build(made.trainable_variables)
        self.beginning = values(made.variables), values(made.optimizer.variables)

    def level(self, scale: Scale) -> NDArray[np.float64]:
        """The loss of each judging batch before the first step; a guess's, where moving statistics are none yet."""
        return np.minimum(self._judge(), scale.guess) if self.as_used else self._judge()

    def scale(self) -> Scale:
        """What the loss would be of a network that is always right, and of one that knows the classes' shares alone.

        Both with what the penalty on the kernels and the auxiliary head add in training, as they are before the first
        step.
        """
        labels = self.examples.labels[self.examples.training]
        shares = np.bincount(labels, minlength=self.classes) / len(labels)
        shares = (shares > 0) / (shares > 0).sum() if self.examples.class_weights else shares
        penalty, heads = 0.0, 1.0
        if not self.as_used:
            kernels = [weight for weight in self.made.trainable_weights if weight.name.endswith("kernel")]
            penalty = self.made.l2 * sum(float(np.square(kernel).sum()) for kernel in values(kernels))
            heads += self.made.auxiliary_weight * (len(self.made.outputs) - 1)
        one = np.eye(self.classes)[0]
        least, guess = (heads * smoothed_entropy(self.recipe, those) + penalty for those in (one, shares))
        return Scale(least, guess)

    def run(self, rate: float) -> Trial:
        """A short training at a rate."""
        assign(self.made.variables, self.beginning[0])
        assign(self.made.optimizer.variables, self.beginning[1])
        with self.reporter.task(f"Learning rate {rate:.2g}", self.steps) as task:
            for step, share in enumerate(self.shares):
                self.made.optimizer.learning_rate = share * rate
                for part in range(step * self.parts, (step + 1) * self.parts):
                    self.batches.epoch = part // len(self.batches)
                    loss = self._step(self.batches[part % len(self.batches)])
                if not math.isfinite(loss):
                    return Trial(rate, np.full(len(self.judges), np.inf))
                task.advance(1, f"loss {loss:.3f}")
        if self.averaged:
            for variable, average in with_averages(self.made.optimizer):
                variable.assign(average)
        losses = self._judge()
        return Trial(rate, np.where(np.isfinite(losses), losses, np.inf))

    def _judge(self) -> NDArray[np.float64]:
        """The loss of each judging batch, as the network is used.

        Where batch norm is not trained, as in training: by steps of the rate 0, which change no weight, once nothing is
        in motion.
        """
        if self.as_used:
            return np.array([self._loss(self.judges[number]) for number in range(len(self.judges))], np.float64)
        assign(self.made.optimizer.variables, self.beginning[1])
        self.made.optimizer.learning_rate = 0.0
        return np.array([self._step(self.judges[number]) for number in range(len(self.judges))], np.float64)

    def _step(self, batch: tuple[Any, Any]) -> float:
        """The loss of a batch, on which one step is made."""
        self.made.reset_metrics()
        told = self.made.train_on_batch(*batch, sample_weight=self._weights(batch[1]), return_dict=True)
        return float(told["loss"])

    def _loss(self, batch: tuple[Any, Any]) -> float:
        """The loss of a batch, as the network is used."""
        self.made.reset_metrics()
        return float(self.made.test_on_batch(*batch, sample_weight=self._weights(batch[1]), return_dict=True)["loss"])

    def _weights(self, labels: NDArray[Any]) -> NDArray[np.float32] | None:
        """Of the pictures of a batch, where classes have weights."""
        if not self.examples.class_weights or labels.ndim > 1:
            return None
        return np.array([self.examples.class_weights[int(label)] for label in labels], np.float32)


def _in_eighths(validation: Batches) -> Batches:
    """Batches of validation pictures in a mixed order, of one size, smaller where there would be fewer than eight."""
    chosen = order(validation.indices, 0, 0)
    size = min(validation.batch_size, len(chosen), max(_SMALLEST, len(chosen) // _JUDGED))
    count = min(2 * _JUDGED, len(chosen) // size)
    return Batches(
        validation.inputs, validation.labels, chosen[: count * size], size, seed=None, weight_of=validation.weight_of,
        shard=validation.shard, even=validation.even,
    )  # fmt: skip
