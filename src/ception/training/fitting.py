"""The phases of a training carried out one after another, from wherever it was interrupted."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from ception.backends import ran_out_of_memory
from ception.classifier import Classifier
from ception.data import sources
from ception.data.augmentation import Mixing
from ception.data.batches import Batches, order
from ception.errors import RunError
from ception.files import whole
from ception.models.building import build_network
from ception.models.endpoints import truncate
from ception.reporting import Reporter
from ception.settings import TrainSettings
from ception.training import callbacks, memory, phases, state
from ception.training.callbacks import NotFiniteError, Row
from ception.training.features import Activations, Views, activations
from ception.training.phases import INPUT, POOL, Phase
from ception.training.preparation import Examples, Prepared, balanced
from ception.training.recipes import Recipe
from ception.training.state import Decisions
from ception.training.trainee import Averages, Trainee

_PROBED = 64  # pictures
_EARLY_SHARE = 0.25  # of the time that is left, for a phase that is not the last
_ROOM_FOR_A_SECOND = 4  # epochs that must fit, as long as the first took


@dataclass
class Training:
    """A training under way.

    Attributes:
        classifier: What is saved; its network shares the weights of `network`.
        network: What is trained.
        planned: The phases.
        prepared: The pictures.
        options: The settings.
        folder: The run folder; what is needed only while the training runs lies in its `checkpoints/`.
        reporter: Receives notes, warnings and progress.
        deadline: When the training shall end, on the clock of `time.monotonic`.
        rows: Of all epochs so far.
        decided: What follows from this machine.
    """

    classifier: Classifier
    network: keras.Model
    planned: list[Phase]
    prepared: Prepared
    options: TrainSettings
    folder: Path
    reporter: Reporter
    deadline: float | None = None
    rows: list[Row] = field(default_factory=list)
    decided: Decisions = field(default_factory=Decisions)

    def own(self, number: int) -> list[Row]:
        """The rows of a phase."""
        return [row for row in self.rows if row["phase"] == number]

    def file(self, name: str) -> Path:
        """A file that lies there while the training runs."""
        return self.folder / "checkpoints" / name

    def best(self, number: int) -> Path:
        """The classifier of the best epoch up to a phase."""
        return self.file(f"best-{number}.keras")

    def size(self, number: int) -> int:
        """Pictures of a phase that are computed at a time."""
        return -(-self.planned[number - 1].recipe.batch_size // self.decided.parts[number])


def fit(run: Training) -> list[Row]:
    """Train the network, from wherever the run folder stands; the rows of all epochs.

    In `checkpoints/`, `best-N.keras` is the classifier of the best epoch up to phase N, where the next phase begins,
    `last.npz` the state after the last epoch, `decided.json` what was decided. A phase whose loss becomes
    infinite in bfloat16 goes on in float32; one that memory is too small for goes on with its batches in parts.
    """
    last = run.file("last.npz")
    run.rows = state.rows(last) if last.is_file() else []
    run.decided = Decisions.load(run.file("decided.json"))
    if run.rows:
        run.reporter.note(f"{len(run.rows)} of {sum(phase.recipe.epochs for phase in run.planned)} epochs are done")
        callbacks.write_log(run.folder / "log.csv", run.rows)
        if run.deadline is not None:
            run.deadline -= sum(row["seconds"] for row in run.rows)
    for number in range(1, len(run.planned) + 1):
        if any(row["phase"] > number for row in run.rows):
            continue  # its weights are in the later phase's state
        if number > 1 and not run.own(number):
            begin(run, number)
        _carry_out(run, number)
    return run.rows


def begin(run: Training, number: int) -> None:
    """Give the network the best weights of the phases before, which are the best ones of this phase, too, so far.

    Random states follow from the seed and the phase, so that a resumed training has the same.
    """
    before = run.best(number - 1)
    with whole(run.best(number)) as unfinished:
        shutil.copyfile(before, unfinished)
    run.network.set_weights(Classifier.load(before).network.get_weights())
    for place, layer in enumerate(run.network.layers):
        if generator := getattr(layer, "seed_generator", None):
            generator.state.assign(np.array([(run.options.seed + place) % 2**32, number], np.uint32))


def _carry_out(run: Training, number: int) -> None:
    """One phase, whatever it takes."""
    phase, decided = run.planned[number - 1], run.decided
    examples = examples_of(run, phase)
    until = run.deadline
    if until is not None and number < len(run.planned):
        until = time.monotonic() + _EARLY_SHARE * (until - time.monotonic())
    beginning = _values(run.network)
    done, quiet = False, False
    while not done:
        try:
            with phases.trainee(run.network, phase) as made:
                if not quiet and (len(run.planned) > 1 or phase.after != INPUT):
                    run.reporter.note(f"Phase {number} of {len(run.planned)}, {phase.describe(made)}")
                _decide(run, number, made, until)
                if phase.batch_norm == "adapt" and not run.own(number):
                    phases.adapt(made, lambda: plain_batches(examples, run.size(number)))
                done = _train(run, number, made, examples, until)
                if done and run.options.weights:
                    _probe(run, number, made, examples)
        except NotFiniteError as error:
            if decided.precision == "float32":
                raise
            run.reporter.warn(f"{str(error).partition(':')[0]} in {decided.precision}: it goes on in float32")
            decided.precision = "float32"
            decided.parts.pop(number)
            _restore(run.network, beginning)
            run.classifier, run.network = _in_float32(run)
        except Exception as error:
            if not ran_out_of_memory(error):
                raise
            if run.size(number) == 1:
                raise RunError("even one picture at a time takes more memory than there is") from None
            decided.parts[number] = memory.more(decided.parts[number], phase.recipe.batch_size)
            run.reporter.warn(f"memory ran out; {_cut(run, number)}")
            _restore(run.network, beginning)
        quiet = True


def _decide(run: Training, number: int, made: Trainee, until: float | None) -> None:
    """Settle what follows from this machine as far as it can be told by now, and keep it."""
    recipe, decided, own = run.planned[number - 1].recipe, run.decided, run.own(number)
    if number not in decided.parts:
        decided.parts[number] = memory.parts_that_fit(made, recipe.batch_size, memory.free_bytes())
        if decided.parts[number] > 1:
            run.reporter.note(f"{_cut(run, number)}, which fits the free memory")
    if until is not None and own and number not in decided.epochs:
        quickest = min(row["seconds"] for row in own)
        left = until - time.monotonic()
        if len(own) + left // quickest < recipe.epochs:  # a schedule that is cut is compiled once more
            left -= own[0]["seconds"] - quickest
        fitting = len(own) + int(max(0, left) // quickest)
        # the first epoch, which compiles, is no measure of the others where there is time for a second one
        if fitting >= recipe.epochs or len(own) > 1 or fitting < _ROOM_FOR_A_SECOND:
            decided.epochs[number] = max(1, len(own), min(recipe.epochs, fitting))
            if decided.epochs[number] < recipe.epochs:
                run.reporter.note(f"--time-budget allows {decided.epochs[number]} of {recipe.epochs} epochs")
    decided.save(run.file("decided.json"))


def _cut(run: Training, number: int) -> str:
    size = run.planned[number - 1].recipe.batch_size
    return f"batches of {size} are computed {run.size(number)} at a time, their gradients averaged"


def _values(network: keras.Model) -> list[NDArray[Any]]:
    return [keras.ops.convert_to_numpy(variable).copy() for variable in network.variables]


def _restore(network: keras.Model, values: list[NDArray[Any]]) -> None:
    for variable, value in zip(network.variables, values, strict=True):
        variable.assign(value)


def _in_float32(run: Training) -> tuple[Classifier, keras.Model]:
    """The classifier and its network with the same weights, computing in float32."""
    auxiliary = run.options.auxiliary
    made = build_network(run.classifier.config, auxiliary=auxiliary, seed=run.options.seed)
    made.set_weights(run.network.get_weights())
    return replace(run.classifier, network=truncate(made, "logits") if auxiliary else made), made


def examples_of(run: Training, phase: Phase) -> Examples:
    """What the phase is trained on: pictures, or what the frozen part gives for them."""
    prepared, planned, options = run.prepared, run.planned, run.options
    labels, training = prepared.dataset.labels, prepared.indices(sources.TRAIN)
    validation, recipe = prepared.indices(sources.VAL), phase.recipe
    factors = balanced(labels[training]) if options.balance else None
    if phase.after == INPUT:
        return Examples(prepared.pixels, labels, training, validation, recipe.augmentation, factors)
    count = len(prepared.place)
    places = [place for place in (planned[-1].after, POOL) if place != INPUT]  # the head's features by way of the last
    found: Views | Activations = Views(prepared, planned[-1].recipe.augmentation)
    for place in dict.fromkeys(places[: places.index(phase.after) + 1]):
        wanted = np.concatenate([*(training + view * count for view in range(recipe.views)), validation])
        views = max(one.recipe.views for one in planned if place in (one.after, planned[-1].after))
        found = activations(
            run.network, place, found, wanted, run.classifier.config.as_dict(),
            in_all=views * len(training) + len(validation), cache_limit=options.cache_limit, reporter=run.reporter,
        )  # fmt: skip
    return Examples(found, labels, training, validation, None, factors, recipe.views)


def plain_batches(examples: Examples, batch_size: int) -> Iterator[NDArray[np.float32]]:
    """The training inputs as they are, for statistics."""
    training = examples.training
    for start in range(0, len(training), batch_size):
        yield np.asarray(examples.inputs[training[start : start + batch_size]], np.float32)


def batches_of(examples: Examples, recipe: Recipe, *, classes: int, seed: int, parts: int = 1) -> tuple[Any, Any]:
    """Training and validation batches of a phase for `keras.Model.fit`; each batch in so many parts."""
    inputs, labels, size = examples.inputs, examples.labels, -(-recipe.batch_size // parts)
    mixes = recipe.mixing != Mixing()
    factors = examples.class_weights or {}
    weight_of = np.array([factors.get(label, 1.0) for label in range(classes)], np.float32)
    training = Batches(
        inputs, labels, examples.training, size, seed=seed, augmentation=examples.augmentation, views=examples.views,
        mixing=recipe.mixing, weight_of=weight_of if mixes else None,
    )  # fmt: skip
    validation = Batches(
        inputs, labels, examples.validation, size, seed=None,
        weight_of=np.ones(classes, np.float32) if mixes else None,
    )  # fmt: skip
    return training, validation


def compile_for(made: Trainee, recipe: Recipe, optimizer: keras.Optimizer) -> None:
    """Compile a network for a recipe."""
    made.compile(
        optimizer=optimizer,
        loss=recipe.loss(),
        metrics=["accuracy"],
        # XLA on a CPU computes the gradients of convolutions ten times slower than TensorFlow itself
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
    )


def _probe(run: Training, number: int, made: Trainee, examples: Examples) -> None:
    chosen = order(examples.validation, 0, 0)[:_PROBED]
    try:
        found = phases.probe(made, examples.inputs[chosen], examples.labels[chosen], run.size(number))
    except Exception as error:
        if not ran_out_of_memory(error):
            raise
        run.reporter.warn("batch norm was not probed: memory ran out")
        return
    if found is None:
        return
    told = (
        f"batch norm: {len(chosen)} validation pictures score {found.inference:.3f} in inference mode, "
        f"{found.training:.3f} with statistics of their own"
    )
    if found.parted and run.planned[number - 1].batch_norm == "frozen":
        run.reporter.note(f"{told}: the two part, but frozen as it is only the first counts")
    elif found.parted:
        run.reporter.warn(
            f"{told}: its statistics do not fit these pictures; --batch-norm frozen keeps to the weights'"
        )
    else:
        run.reporter.note(told)


def _train(run: Training, number: int, network: Trainee, examples: Examples, until: float | None) -> bool:
    """Train one phase, adding to the rows; whether it is done, or has to go on with fewer epochs in its schedule."""
    phase, decided, rows, reporter = run.planned[number - 1], run.decided, run.rows, run.reporter
    recipe = replace(phase.recipe, epochs=decided.epochs.get(number, phase.recipe.epochs))
    best, last = run.best(number), run.file("last.npz")
    classes, parts = len(run.classifier.class_names), decided.parts[number]
    training, validation = batches_of(examples, recipe, classes=classes, seed=run.options.seed, parts=parts)
    optimizer = recipe.optimizer(len(training), phases.rates(run.classifier.network, recipe), parts=parts)
    compile_for(network, recipe, optimizer)

    def impatient() -> bool:
        return callbacks.patience_is_over(run.own(number), recipe.patience, recipe.min_delta)

    def cut() -> bool:
        return decided.epochs.get(number, recipe.epochs) < recipe.epochs

    def over() -> bool:
        _decide(run, number, network, until)
        late = until is not None and time.monotonic() + run.own(number)[-1]["seconds"] > until
        return cut() or late or impatient()

    def tell() -> None:
        row = rows[-1]
        named = f"{phase.name} " if phase.after != INPUT or number > 1 else ""
        reporter.note(
            f"{named}epoch {len(run.own(number))}/{recipe.epochs}  "
            f"loss {row['loss']:.4f}  accuracy {row['accuracy']:.4f}  val_loss {row['val_loss']:.4f}  "
            f"val_accuracy {row['val_accuracy']:.4f}  {row['seconds']:.1f} s"
        )

    averages = Averages() if recipe.averaging else None

    def save_best() -> None:
        with averages.in_place() if averages else nullcontext():
            run.classifier.save(best)

    begun = len(run.own(number))
    if begun:
        state.restore(last, network, steps=begun * len(training))
    if begun < recipe.epochs and not (begun and over()):
        steps = len(training) * (recipe.epochs - begun)
        with reporter.task("Training", steps) as task, callbacks.Interruptible() as interruptible:
            network.fit(
                training,
                validation_data=validation,
                class_weight=None if recipe.mixing != Mixing() else examples.class_weights,
                initial_epoch=begun,
                epochs=recipe.epochs,
                shuffle=False,
                verbose=0,
                callbacks=[
                    interruptible,
                    *([averages] if averages else []),
                    callbacks.Order(training),
                    callbacks.Progress(task, recipe.epochs),
                    callbacks.Bookkeeping(
                        rows,
                        run.folder / "log.csv",
                        phase=number,
                        save_best=save_best,
                        save_state=lambda: state.save(last, network, rows),
                        tell=tell,
                        stop=over,
                    ),
                    callbacks.TensorBoard(run.folder / "tensorboard", rows),
                ],
            )
    if cut():
        return False
    if len(run.own(number)) < recipe.epochs:
        why = f"no better validation loss for {recipe.patience} epochs" if impatient() else "the time is used up"
        reporter.note(f"Stopped early: {why}")
    return True
