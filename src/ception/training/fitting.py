"""The phases of a training carried out one after another, from wherever it was interrupted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from ception.classifier import Classifier
from ception.data import loading, sources
from ception.reporting import Reporter
from ception.settings import TrainSettings
from ception.training import callbacks, phases, state
from ception.training.callbacks import Row
from ception.training.features import Activations, Views, activations
from ception.training.phases import INPUT, POOL, Phase
from ception.training.preparation import Examples, Prepared, balanced
from ception.training.trainee import Averages, Trainee

_PROBED = 64  # pictures


def fit(
    classifier: Classifier,
    network: keras.Model,
    planned: list[Phase],
    prepared: Prepared,
    options: TrainSettings,
    folder: Path,
    reporter: Reporter,
) -> list[Row]:
    """Train the network in place, from the saved state if there is one; the rows of all epochs.

    The best epoch's classifier is in `checkpoints/best.keras`, the state after the last epoch in `last.npz`. Each phase
    begins with the best weights of those before it.
    """
    best, last = folder / "checkpoints/best.keras", folder / "checkpoints/last.npz"
    rows = state.rows(last) if last.is_file() else []
    if rows:
        reporter.note(f"{len(rows)} of {sum(phase.recipe.epochs for phase in planned)} epochs are done")
        callbacks.write_log(folder / "log.csv", rows)
    for number, phase in enumerate(planned, 1):
        if any(row["phase"] > number for row in rows):
            continue  # its weights are in the later phase's state
        begun = any(row["phase"] == number for row in rows)
        if number > 1 and not begun:
            network.set_weights(Classifier.load(best).network.get_weights())
        examples = _examples(network, planned, phase, prepared, classifier.arguments, options, reporter)
        with phases.trainee(network, phase) as made:
            if len(planned) > 1 or phase.after != INPUT:
                reporter.note(f"Phase {number} of {len(planned)}, {phase.describe(made)}")
            if phase.batch_norm == "adapt" and not begun:
                phases.adapt(made, lambda: _batches(examples, phase.recipe.batch_size))  # noqa: B023
            _train(classifier, made, examples, phase, number, rows, options.seed, folder, reporter)
            if phase.batch_norm != "train" or options.weights:
                _probe(made, examples, reporter)
    return rows


def _examples(
    network: keras.Model,
    planned: list[Phase],
    phase: Phase,
    prepared: Prepared,
    arguments: dict[str, Any],
    options: TrainSettings,
    reporter: Reporter,
) -> Examples:
    """What the phase is trained on: pictures, or what the frozen part gives for them."""
    labels, training = prepared.dataset.labels, prepared.indices(sources.TRAIN)
    validation, recipe = prepared.indices(sources.VAL), phase.recipe
    factors = balanced(labels[training]) if options.balance else None
    if phase.after == INPUT:
        return Examples(prepared.pixels, labels, training, validation, recipe.augmentation, factors)
    count = len(prepared.place)
    places = [place for place in (planned[-1].after, POOL) if place != INPUT]  # the head's features by way of the last
    found: Views | Activations = Views(prepared, planned[-1].recipe.augmentation)
    for place in dict.fromkeys(places[: places.index(phase.after) + 1]):
        views = recipe.views if place == phase.after else max(one.recipe.views for one in planned)
        wanted = np.concatenate([*(training + view * count for view in range(views)), validation])
        found = activations(
            network, place, found, wanted, arguments, cache_limit=options.cache_limit, reporter=reporter
        )
    return Examples(found, labels, training, validation, None, factors, recipe.views)


def _batches(examples: Examples, batch_size: int) -> Iterator[NDArray[np.float32]]:
    training = examples.training
    for start in range(0, len(training), batch_size):
        yield np.asarray(examples.inputs[training[start : start + batch_size]], np.float32)


def _probe(made: Trainee, examples: Examples, reporter: Reporter) -> None:
    chosen = loading.order(examples.validation, 0, 0)[:_PROBED]
    found = phases.probe(made, examples.inputs[chosen], examples.labels[chosen])
    if found is None:
        return
    told = (
        f"batch norm: {len(chosen)} validation pictures score {found.inference:.3f} in inference mode, "
        f"{found.training:.3f} in training mode"
    )
    if found.parted:
        reporter.warn(f"{told}: its statistics do not fit these pictures; --batch-norm frozen keeps to the first")
    else:
        reporter.note(told)


def _train(
    classifier: Classifier,
    network: Trainee,
    examples: Examples,
    phase: Phase,
    number: int,
    rows: list[Row],
    seed: int,
    folder: Path,
    reporter: Reporter,
) -> None:
    """Train one phase, adding to the rows."""
    recipe, inputs, labels = phase.recipe, examples.inputs, examples.labels
    best, last = folder / "checkpoints/best.keras", folder / "checkpoints/last.npz"
    training = loading.dataset_of_batches(
        inputs, labels, examples.training, recipe.batch_size,
        seed=seed, augmentation=examples.augmentation, views=examples.views,
    )  # fmt: skip
    validation = loading.dataset_of_batches(inputs, labels, examples.validation, recipe.batch_size, seed=None)
    network.compile(
        optimizer=recipe.optimizer(len(training), phases.rates(classifier.network, recipe)),
        loss=recipe.loss(),
        metrics=["accuracy"],
        # XLA on a CPU computes the gradients of convolutions ten times slower than TensorFlow itself
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
    )

    def own(rows: list[Row]) -> list[Row]:
        return [row for row in rows if row["phase"] == number]

    def over(rows: list[Row]) -> bool:
        return callbacks.patience_is_over(own(rows), recipe.patience, recipe.min_delta)

    def tell(rows: list[Row]) -> None:
        row = rows[-1]
        named = f"{phase.name} " if phase.after != INPUT or number > 1 else ""
        reporter.note(
            f"{named}epoch {len(own(rows))}/{recipe.epochs}  loss {row['loss']:.4f}  accuracy {row['accuracy']:.4f}  "
            f"val_loss {row['val_loss']:.4f}  val_accuracy {row['val_accuracy']:.4f}  {row['seconds']:.1f} s"
        )

    averages = Averages() if recipe.averaging else None

    def save_best() -> None:
        with averages.in_place() if averages else nullcontext():
            classifier.save(best)

    begun = len(own(rows))
    if begun:
        state.restore(last, network)
    if begun < recipe.epochs and not (begun and over(rows)):
        steps = len(training) * (recipe.epochs - begun)
        with reporter.task("Training", steps) as task, callbacks.Interruptible() as interruptible:
            network.fit(
                training,
                validation_data=validation,
                class_weight=examples.class_weights,
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
                        folder / "log.csv",
                        phase=number,
                        save_best=save_best,
                        save_state=lambda rows: state.save(last, network, rows),
                        tell=tell,
                        stop=over,
                    ),
                    callbacks.TensorBoard(folder / "tensorboard", rows),
                ],
            )
    if len(own(rows)) < recipe.epochs:
        reporter.note(f"Stopped early: no better validation loss for {recipe.patience} epochs")
