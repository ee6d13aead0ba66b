"""The phases of a plan carried out one after another, from wherever the progress stands."""

from __future__ import annotations

import shutil
import time
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from ception.backends import ran_out_of_memory
from ception.classifier import Classifier
from ception.data.augmentation import Mixing
from ception.data.batches import order
from ception.distributed import Team
from ception.errors import RunError
from ception.files import whole
from ception.keras_internals import untuned
from ception.models.building import build_network
from ception.reporting import Reporter, counted
from ception.training import batch_norm, callbacks, limits, phases, state
from ception.training.callbacks import NotFiniteError
from ception.training.examples import Examples, batches_of, examples_of, plain_batches
from ception.training.optimizers import compile_for, optimizer_of
from ception.training.phases import INPUT, Phase
from ception.training.planning import Plan, layers_of, logits_part
from ception.training.run_folder import RunFolder
from ception.training.solving import solved
from ception.training.state import Decisions, EpochRow, Progress, assign, values
from ception.training.trainee import Averages, Trainee

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PROBED = 64  # pictures
_EARLY_SHARE = 0.25  # of the time that is left, for a phase that is not the last


@dataclass(frozen=True, kw_only=True)
class Job:
    """A phase that is to be carried out.

    Attributes:
        plan: The training.
        number: The phase, from 1 on.
        folder: The run folder.
        until: When it shall end, on the clock of `time.monotonic`; None sets no limit.
        reporter: Receives notes, warnings and progress.
    """

    plan: Plan
    number: int
    folder: RunFolder
    until: float | None
    reporter: Reporter

    @property
    def phase(self) -> Phase:
        """The phase itself."""
        return self.plan.phases[self.number - 1]

    def batch_size(self, progress: Progress) -> int:
        """Pictures that are computed at a time."""
        return progress.batch_size(self.number, self.phase.recipe)

    @property
    def team(self) -> Team:
        """The processes that carry it out."""
        return self.plan.team


def fit(
    plan: Plan,
    network: keras.Model,
    folder: RunFolder,
    progress: Progress,
    *,
    deadline: float | None = None,
    reporter: Reporter,
) -> tuple[Progress, keras.Model]:
    """Train a network by a plan; how far it has come, and the network, which may be another one by now.

    A phase whose loss becomes infinite in bfloat16 goes on in float32; one that memory is too small for goes on with
    its batches in parts.

    Args:
        plan: What to do.
        network: What is trained.
        folder: The run folder.
        progress: How far the training has come before.
        deadline: When it shall end, on the clock of `time.monotonic`.
        reporter: Receives notes, warnings and progress.

    Raises:
        RunError: the loss is no finite number, or a file cannot be written.
    """
    if progress.rows:
        epochs = sum(phase.recipe.epochs for phase in plan.phases if not phase.recipe.solver)
        reporter.note(f"{progress.epochs} of {epochs} epochs are done" if epochs else "the head is solved")
        callbacks.write_log(folder.log, progress.rows)
    for number in range(1, len(plan.phases) + 1):
        if progress.is_past(number):
            continue
        if number > 1 and not progress.of_phase(number):
            begin(plan, network, folder, number)
        examples = examples_of(plan, plan.phases[number - 1], network, reporter)
        until = deadline
        if deadline is not None and number < len(plan.phases):
            until = time.monotonic() + _EARLY_SHARE * (deadline - time.monotonic())
        job = Job(plan=plan, number=number, folder=folder, until=until, reporter=reporter)
        progress, network = _carry_out(job, network, examples, progress)
    return progress, network


def begin(plan: Plan, network: keras.Model, folder: RunFolder, number: int) -> None:
    """Give the network the best weights of the phases before, which are the best ones of this phase, too, so far.

    Random states follow from the seed and the phase, so that a resumed training has the same.
    """
    before = folder.best(number - 1)
    with whole(folder.best(number)) as unfinished:
        shutil.copyfile(before, unfinished)
    network.set_weights(Classifier.load(before).network.get_weights())
    for index, layer in enumerate(network.layers):
        if generator := getattr(layer, "seed_generator", None):
            generator.state.assign(np.array([(plan.settings.seed + index) % 2**32, number], np.uint32))


def _carry_out(job: Job, network: keras.Model, examples: Examples, progress: Progress) -> tuple[Progress, keras.Model]:
    """One phase, whatever it takes."""
    phase, plan, several = job.phase, job.plan, len(job.plan.phases) > 1
    beginning = values(network.variables)
    done = told = False
    while not done:
        try:
            with phases.trainee(network, phase, job.team) as made:
                if not told and (several or phase.after != INPUT):
                    place = f"Phase {job.number} of {len(plan.phases)}"
                    job.reporter.note(f"{place}: {phase.summary}")
                    job.reporter.detail(f"{place}, {phase.describe(made)}")
                told = True
                progress = _settled(job, made, progress)
                if phase.batch_norm == "adapt" and not progress.of_phase(job.number):
                    batch_norm.adapt(made, lambda: plain_batches(examples, job.batch_size(progress)))  # noqa: B023
                state.equalise(network, job.team)
                carry_out = _solve if phase.recipe.solver else _train
                progress, done = carry_out(job, made, network, examples, progress)
                if done and plan.settings.weights:
                    _probe(job, made, examples, progress)
        except Exception as error:
            network, progress = _eased(job, error, network, beginning)
    return progress, network


def _eased(
    job: Job, error: Exception, network: keras.Model, beginning: list[NDArray[Any]]
) -> tuple[keras.Model, Progress]:
    """The network and the progress with which a phase that failed goes on: in float32, or in smaller parts.

    Raises:
        Exception: the error, where neither would help.
    """
    diverged = isinstance(error, NotFiniteError)
    if not diverged and not ran_out_of_memory(error):
        raise error
    if job.team.count > 1 and not diverged:  # which the others cannot know
        raise error
    progress = job.folder.progress()  # with the epochs that were finished before
    decisions = progress.decisions
    if diverged:
        if decisions.dtype == "float32":
            raise error
        job.reporter.warn(f"{str(error).partition(':')[0]} in {decisions.dtype}: it goes on in float32")
        decisions = decisions.in_float32(job.number)
    else:
        if job.batch_size(progress) == 1:
            raise RunError("even one picture at a time takes more memory than there is") from None
        size = job.phase.recipe.batch_size
        decisions = decisions.with_parts(job.number, limits.more(decisions.parts[job.number], size))
        job.reporter.warn(f"memory ran out; {_cut(job, replace(progress, decisions=decisions))}")
    job.folder.save_decisions(decisions)
    assign(network.variables, beginning)
    network = _in_float32(job.plan, network) if diverged else network
    return network, replace(progress, decisions=decisions)


def _settled(job: Job, made: Trainee, progress: Progress) -> Progress:
    """The progress with what follows from this machine settled as far as it can be told by now, and kept."""
    recipe, decisions = job.phase.recipe, progress.decisions
    if job.number not in decisions.parts:
        parts = limits.parts_for_team(made, recipe.batch_size, job.team)
        decisions = decisions.with_parts(job.number, parts)
        progress = replace(progress, decisions=decisions)
        if parts > 1:
            job.reporter.detail(f"{_cut(job, progress)}, which fits the free memory")
    if job.until is not None and job.number not in decisions.epochs and not recipe.solver:
        left = job.until - time.monotonic()
        epochs = limits.epochs_that_fit(progress.of_phase(job.number), recipe.epochs, left)
        if epochs is not None:
            decisions = decisions.with_epochs(job.number, epochs)
            if epochs < recipe.epochs:
                job.reporter.note(f"--time-budget allows {epochs} of {recipe.epochs} epochs")
    decisions = Decisions.of(job.team.first(decisions.as_dict()))
    job.folder.save_decisions(decisions)
    return replace(progress, decisions=decisions)


def _cut(job: Job, progress: Progress) -> str:
    size = job.phase.recipe.batch_size
    return f"batches of {size} are computed {job.batch_size(progress)} at a time, their gradients averaged"


def _in_float32(plan: Plan, network: keras.Model) -> keras.Model:
    """The network with the same weights, computing in float32."""
    settings = plan.settings
    made = build_network(
        plan.description.config, auxiliary=settings.auxiliary, seed=settings.seed, layers=layers_of(settings, plan.team)
    )
    made.set_weights(network.get_weights())
    return made


def _probe(job: Job, made: Trainee, examples: Examples, progress: Progress) -> None:
    chosen = order(examples.validation, 0, 0)[:_PROBED]
    try:
        probe = batch_norm.probe(made, examples.inputs[chosen], examples.labels[chosen], job.batch_size(progress))
    except Exception as error:
        if not ran_out_of_memory(error):
            raise
        job.reporter.warn("batch norm was not probed: memory ran out")
        return
    if probe is None:
        return
    told = (
        f"batch norm: {len(chosen)} validation pictures score {probe.inference:.3f} in inference mode, "
        f"{probe.training:.3f} with statistics of their own"
    )
    harmless = probe.parted and job.phase.batch_norm == "frozen"
    job.reporter.detail(f"{told}: the two part, but frozen as it is only the first counts" if harmless else told)
    if probe.parted and not harmless:
        job.reporter.warn(
            f"the statistics of batch norm do not fit these pictures ({probe.inference:.0%} of {len(chosen)} are right "
            f"with them, {probe.training:.0%} with their own): train again with --batch-norm frozen"
        )


class _Epochs:
    """What happens after each epoch of a phase, and how far it has come.

    After an epoch the best weights are written, then the state, then the log. The state is what a resumed training
    starts from. A process killed before it is written repeats the epoch and writes the same again; killed after it,
    only the log lacks a row, which the next epoch writes.

    Attributes:
        progress: With the epochs so far.
        recipe: The phase's, with the epochs that the time allows.
    """

    def __init__(self, job: Job, made: Trainee, network: keras.Model, progress: Progress) -> None:
        recipe = job.phase.recipe
        self.job, self.made, self.network, self.progress = job, made, network, progress
        self.recipe = replace(recipe, epochs=progress.decisions.epochs.get(job.number, recipe.epochs))
        self.averages = Averages() if recipe.averaging else None

    @property
    def rows(self) -> tuple[EpochRow, ...]:
        """Of this phase."""
        return self.progress.of_phase(self.job.number)

    def after(self, row: EpochRow) -> bool:
        """Keep what an epoch has brought; whether the training shall stop."""
        self.progress = self.progress.with_row(self.job.team.first(row))  # whose seconds are its own
        state.require_equal(self.made, self.job.team)
        rows, folder = self.progress.rows, self.job.folder
        if callbacks.best_epoch(rows) == row["epoch"]:
            with self.averages.in_place() if self.averages else nullcontext():
                self.job.plan.classifier(self.network).save(folder.best(self.job.number))
        state.save(folder.state, self.made, rows)
        callbacks.write_log(folder.log, rows)
        self._tell(row)
        self.job.reporter.epoch(row)
        return self.over()

    def over(self) -> bool:
        """Whether no further epoch shall follow with this schedule."""
        self.progress = _settled(self.job, self.made, self.progress)
        until = self.job.until
        late = until is not None and time.monotonic() + self.rows[-1]["seconds"] > until
        return self.is_cut() or self.job.team.first(late) or self.is_impatient()

    def is_cut(self) -> bool:
        """Whether the phase has to go on with fewer epochs in its schedule."""
        return self.progress.decisions.epochs.get(self.job.number, self.recipe.epochs) < self.recipe.epochs

    def is_impatient(self) -> bool:
        """Whether the validation loss has not improved for long enough."""
        return callbacks.patience_is_over(self.rows, self.recipe.patience, self.recipe.min_delta)

    def _tell(self, row: EpochRow) -> None:
        phase = self.job.phase
        named = f"{phase.name} " if phase.after != INPUT or self.job.number > 1 else ""
        self.job.reporter.note(
            f"{named}epoch {len(self.rows)}/{self.recipe.epochs}  "
            f"loss {row['loss']:.4f}  accuracy {row['accuracy']:.4f}  val_loss {row['val_loss']:.4f}  "
            f"val_accuracy {row['val_accuracy']:.4f}  {row['seconds']:.1f} s"
        )


def _solve(
    job: Job, made: Trainee, network: keras.Model, examples: Examples, progress: Progress
) -> tuple[Progress, bool]:
    """Solve a head, or take it as it was solved; how far the training has come, and that the phase is done."""
    folder, number = job.folder, job.number
    if progress.of_phase(number):
        state.restore(folder.state, made)
        return progress, True
    logits, rows = network.get_layer("logits"), list[EpochRow]()
    with job.team.agreed():
        if job.team.index == 0:
            heads = solved(examples, job.phase.recipe, len(job.plan.description.class_names), job.reporter)
            kept, rows = min(heads, key=lambda head: head.val_loss), [head.row(number) for head in heads]
            logits.kernel.assign(kept.kernel)
            logits.bias.assign(kept.bias)
            job.reporter.note(f"{job.phase.name} solved  {kept}  {sum(head.seconds for head in heads):.1f} s")
    state.equalise(logits, job.team)
    progress = replace(progress, rows=(*progress.rows, *job.team.first(rows)))
    job.plan.classifier(network).save(folder.best(number))
    state.save(folder.state, made, progress.rows)
    callbacks.write_log(folder.log, progress.rows)
    callbacks.TensorBoard(folder.path / "tensorboard", lambda: progress.rows, job.reporter).write_all()
    return progress, True


def _train(
    job: Job, made: Trainee, network: keras.Model, examples: Examples, progress: Progress
) -> tuple[Progress, bool]:
    """Train one phase; how far it has come, and whether it is done or goes on with fewer epochs in its schedule."""
    epochs = _Epochs(job, made, network, progress)
    recipe, parts, settings = epochs.recipe, progress.decisions.parts[job.number], job.plan.settings
    classes = len(job.plan.description.class_names)
    training, validation = batches_of(examples, recipe, classes=classes, seed=settings.seed, parts=parts, team=job.team)
    rates = phases.rates(logits_part(network, settings), recipe)
    at_once = limits.steps_at_once(made, training.batch_size)
    optimizer = optimizer_of(recipe, len(training), rates, parts=parts, team=job.team)
    compile_for(made, recipe, optimizer, at_once=at_once)
    begun = len(epochs.rows)
    if begun:
        state.restore(job.folder.state, made, steps=begun * len(training))
    if begun < recipe.epochs and not (begun and epochs.over()):
        steps = len(training) * (recipe.epochs - begun)
        weights = None if recipe.mixing != Mixing() else examples.class_weights
        with job.reporter.task("Training", steps) as task, callbacks.Interruptible() as interruptible:
            made.fit(
                untuned(training, weights),
                validation_data=untuned(validation),
                class_weight=weights,
                initial_epoch=begun,
                epochs=recipe.epochs,
                shuffle=False,
                verbose=0,
                callbacks=[
                    interruptible,
                    *([epochs.averages] if epochs.averages else []),
                    callbacks.Order(training),
                    *([callbacks.Whole(training, validation)] if job.team.manner == "spread" else []),
                    callbacks.StepProgress(task, recipe.epochs),
                    callbacks.EpochEnd(progress.epochs, job.number, epochs.after),
                    callbacks.TensorBoard(job.folder.path / "tensorboard", lambda: epochs.progress.rows, job.reporter),
                ],
            )
    if epochs.is_cut():
        return epochs.progress, False
    if len(epochs.rows) < recipe.epochs:
        why = f"no better validation loss for {counted(recipe.patience, 'epoch')}"
        job.reporter.note(f"Stopped early: {why if epochs.is_impatient() else 'the time is used up'}")
    return epochs.progress, True
