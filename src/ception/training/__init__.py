"""From a data set to a trained classifier: `train` reads top to bottom what happens."""

from __future__ import annotations

import hashlib
import os
import platform
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ception import backends
from ception.data import loading, sources
from ception.data.images import ImageContract
from ception.errors import InputError, RunError, reason
from ception.files import write_json
from ception.reporting import Reporter
from ception.settings import TrainSettings, checked

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ception.classifier import Classifier
    from ception.training.callbacks import Row
    from ception.training.recipes import Recipe

_IMBALANCE = 5  # largest class over smallest, from which on training warns


@dataclass(frozen=True)
class Run:
    """A finished training.

    Attributes:
        classifier: The model with the weights of the best epoch.
        history: For each epoch `epoch`, `loss`, `accuracy`, `val_loss`, `val_accuracy`, `learning_rate`, `seconds`.
        scores: Scores on the test pictures, as `ception.evaluate` returns them, and `best_epoch`.
        folder: Where everything lies.
    """

    classifier: Classifier
    history: list[Row]
    scores: dict[str, Any]
    folder: Path


@dataclass(frozen=True)
class _Data:
    """A data set ready for training: pixels decoded, every picture in its part of the split."""

    dataset: sources.Dataset
    contract: ImageContract
    digests: NDArray[np.void]
    place: NDArray[np.int8]
    pixels: loading.Pixels

    def indices(self, part: int) -> NDArray[np.int64]:
        return np.flatnonzero(self.place == part)


def train(data: str | Path, *, reporter: Reporter | None = None, **settings: Any) -> Run:
    """Train a network on a data set, score it on the test pictures, and save everything in a new run folder.

    The run folder `001-<model>-<data>` holds `model.keras`, `settings.json`, `scores.json`, `log.csv`,
    `curves.png`, `confusion.png`, `predictions.csv` and `tensorboard/`. The weights kept are those of the
    epoch with the lowest validation loss. While the training runs they lie in `checkpoints/`.

    Args:
        data: A data set as `ception.data.sources.load` takes it.
        reporter: Receives notes, warnings and progress.
        settings: Fields of `TrainSettings`, such as `model="separable_cnn"`, `epochs=3`.

    Raises:
        InputError: the data or a setting cannot be used.
        RunError: the training failed: the loss became NaN, or a file cannot be written.
    """
    options = checked(TrainSettings(**settings))
    reporter = reporter or Reporter()
    backend = backends.choose(options.backend)
    with backends.on(options.device):
        from ception import models
        from ception.classifier import Classifier
        from ception.evaluation import write
        from ception.evaluation.plots import curves
        from ception.evaluation.table import tabulate
        from ception.training import recipes

        recipe = recipes.chosen(options)
        prepared = _prepare(data, models.find(options.model), options, reporter)
        folder = _new_folder(options.runs, f"{options.model}-{prepared.dataset.name}")
        reporter.note(f"Run folder: {folder}   backend: {backend}")

        classifier = _fresh_classifier(prepared, options, recipe, str(data))
        write_json(folder / "settings.json", classifier.record)
        best = folder / "checkpoints" / "best.keras"
        history = _fit(classifier, prepared, recipe, options.seed, folder, best, reporter)

        classifier = Classifier.load(best)
        test = prepared.indices(sources.TEST)
        batches = ((part, prepared.pixels[part]) for part in np.split(test, range(256, len(test), 256)))
        table = tabulate(classifier, prepared.dataset, prepared.dataset.labels, batches)
        best_epoch = int(min(history, key=lambda row: row["val_loss"])["epoch"])
        scores = table.scores() | {
            "model": str(folder / "model.keras"), "data": str(data), "split": "test", "best_epoch": best_epoch,
        }  # fmt: skip
        classifier = replace(classifier, record=classifier.record | {"scores": scores})
        curves(history, best_epoch, folder / "curves.png")
        write(folder, table, scores)
        classifier.save(folder / "model.keras")
        best.unlink()
        best.parent.rmdir()
        return Run(classifier, history, scores, folder)


def _prepare(data: str | Path, model: Any, options: TrainSettings, reporter: Reporter) -> _Data:
    """Read, check, split and decode the data set."""
    size = options.image_size or model.image_size
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < model.smallest:
        raise InputError(f"--image-size must be at least {model.smallest} for {options.model}, got {size}")
    dataset = sources.load(data, cache_limit=options.cache_limit)
    ignored = ", ".join(f"{count} {what}" for what, count in dataset.ignored.items())
    reporter.note(
        f"{len(dataset.labels):,} pictures, classes ({len(dataset.class_names)}): {_listed(dataset.class_names)}"
        + (f"   ignored: {ignored}" if ignored else "")
    )
    digests, failed = sources.digests(dataset.pictures, reporter)
    channels = options.channels or loading.channels_of(dataset.pictures)
    contract = ImageContract(height=height, width=width, channels=channels, resize=options.resize)
    sources.check_trainable(dataset, sources.split(dataset, digests), str(data))  # before the slow decoding
    limit = options.cache_limit
    pixels, more = loading.prepare(dataset, contract, digests, cache_limit=limit, reporter=reporter)
    failed |= more
    if failed:
        dataset, digests = _without_unreadable(dataset, digests, failed, options, reporter)
        pixels, _ = loading.prepare(dataset, contract, digests, cache_limit=limit, reporter=reporter)
    place = sources.split(dataset, digests)
    sources.check_trainable(dataset, place, str(data))
    _warn_of_imbalance(dataset, place, reporter)
    _warn_of_leaks(dataset, digests, place, reporter)
    counts = [int((place == part).sum()) for part in (sources.TRAIN, sources.VAL, sources.TEST)]
    reporter.note(
        f"Training on {counts[0]:,}, validating on {counts[1]:,}, testing on {counts[2]:,} pictures, "
        f"{height} x {width} in {'grey' if channels == 1 else 'colour'}"
    )
    return _Data(dataset, contract, digests, place, pixels)


def _without_unreadable(
    dataset: sources.Dataset,
    digests: NDArray[np.void],
    failed: dict[int, str],
    options: TrainSettings,
    reporter: Reporter,
) -> tuple[sources.Dataset, NDArray[np.void]]:
    listed = [f"{dataset.pictures.name(index)}: {why}" for index, why in sorted(failed.items())]
    if not options.skip_unreadable:
        if len(listed) > 1:
            for line in listed:
                reporter.warn(line)
        first = listed[0] if len(listed) == 1 else f"{len(listed)} pictures cannot be read, the first is {listed[0]}"
        raise InputError(f"{first}; mend or remove what cannot be read, or leave it out with --skip-unreadable")
    reporter.warn(f"left out {len(listed)} pictures that cannot be read, the first is {listed[0]}")
    return dataset.without(list(failed)), np.delete(digests, list(failed))


def _warn_of_imbalance(dataset: sources.Dataset, place: NDArray[np.int8], reporter: Reporter) -> None:
    counts = sources.counted(dataset, place, sources.TRAIN)
    most, least = int(counts.argmax()), int(counts.argmin())
    if counts[most] >= _IMBALANCE * counts[least]:
        reporter.warn(
            f"imbalanced classes: {counts[most]} training pictures of '{dataset.class_names[most]}' against "
            f"{counts[least]} of '{dataset.class_names[least]}'; look at the balanced accuracy, and at each class"
        )


def _warn_of_leaks(
    dataset: sources.Dataset, digests: NDArray[np.void], place: NDArray[np.int8], reporter: Reporter
) -> None:
    numbers, inverse = np.unique(digests.view((np.uint8, 16)), axis=0, return_inverse=True)
    inverse = inverse.reshape(-1)
    trained = np.zeros(len(numbers), bool)
    trained[inverse[place == sources.TRAIN]] = True
    leaked = int(trained[inverse[place != sources.TRAIN]].sum())
    if leaked:
        reporter.warn(f"{leaked:,} validation or test pictures stand in training too: the scores flatter the model")
    first = np.full(len(numbers), -1)
    first[inverse] = dataset.labels
    torn = np.flatnonzero(first[inverse] != dataset.labels)
    if len(torn):
        index = int(torn[0])
        twin = int(np.flatnonzero((inverse == inverse[index]) & (dataset.labels != dataset.labels[index]))[0])
        reporter.warn(
            f"the same picture stands in two classes ({len(torn)} such): "
            f"{dataset.pictures.name(index)} and {dataset.pictures.name(twin)}"
        )


def _fresh_classifier(prepared: _Data, options: TrainSettings, recipe: Recipe, data: str) -> Classifier:
    import keras

    from ception import models
    from ception.classifier import Classifier, shortened

    keras.utils.set_random_seed(options.seed)
    training = prepared.indices(sources.TRAIN)
    mean, deviation = loading.mean_and_deviation(prepared.pixels, training)
    if deviation == 0:
        raise InputError(f"every training picture of {data} has the same single colour: nothing can be learnt")
    contract = prepared.contract
    arguments: dict[str, Any] = {
        "name": options.model,
        "classes": len(prepared.dataset.class_names),
        "image_size": [contract.height, contract.width],
        "channels": contract.channels,
        "scaling": [mean, deviation],
    }
    fingerprint = hashlib.blake2b(np.sort(prepared.digests).tobytes(), digest_size=16).hexdigest()
    names = ("ception", "keras", "numpy", "pillow")
    record = {
        "settings": {key: str(value) if isinstance(value, Path) else value for key, value in asdict(options).items()},
        "recipe": asdict(recipe),
        "data": {"source": data, "name": prepared.dataset.name, "fingerprint": fingerprint,
                 "counts": {part: int((prepared.place == k).sum()) for part, k in sources.SPLITS.items()}},
        "versions": {name: version(name) for name in names}
        | {"python": platform.python_version(), "backend": keras.backend.backend()},
        "weights_licence": None,
    }  # fmt: skip
    return Classifier(
        network=models.build(**arguments, seed=options.seed),
        arguments=arguments,
        class_names=prepared.dataset.class_names,
        image=contract,
        record=record,
        training_digests=np.sort(shortened(prepared.digests[training])),
    )


def _fit(
    classifier: Classifier, prepared: _Data, recipe: Recipe, seed: int, folder: Path, best: Path, reporter: Reporter
) -> list[Row]:
    """Train the classifier's network in place; the best epoch's weights are in the file `best`."""
    import keras

    from ception.training import callbacks

    labels = prepared.dataset.labels
    training = loading.dataset_of_batches(
        prepared.pixels, labels, prepared.indices(sources.TRAIN), recipe.batch_size, seed=seed
    )
    validation = loading.dataset_of_batches(
        prepared.pixels, labels, prepared.indices(sources.VAL), max(recipe.batch_size, 128), seed=None
    )
    network = classifier.network
    network.compile(
        optimizer=recipe.optimizer(),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        # XLA on a CPU computes the gradients of convolutions ten times slower than TensorFlow itself
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
    )

    def tell(rows: list[Row]) -> None:
        row = rows[-1]
        reporter.note(
            f"epoch {row['epoch']}/{recipe.epochs}  loss {row['loss']:.4f}  accuracy {row['accuracy']:.4f}  "
            f"val_loss {row['val_loss']:.4f}  val_accuracy {row['val_accuracy']:.4f}  {row['seconds']:.1f} s"
        )

    history = callbacks.History(folder / "log.csv", tell)
    with reporter.task("Training", len(training) * recipe.epochs) as task:
        network.fit(
            training,
            validation_data=validation,
            epochs=recipe.epochs,
            shuffle=False,
            verbose=0,
            callbacks=[
                callbacks.Order(training),
                callbacks.Progress(task, recipe.epochs),
                callbacks.Best(lambda: classifier.save(best)),
                history,
                callbacks.TensorBoard(folder / "tensorboard"),
                keras.callbacks.EarlyStopping(patience=recipe.patience, min_delta=recipe.min_delta),
            ],
        )
    if len(history.rows) < recipe.epochs:
        reporter.note(f"Stopped early: no better validation loss for {recipe.patience} epochs")
    return history.rows


def _new_folder(runs: Path, name: str) -> Path:
    """Make the next run folder, `001-<name>` in an empty `runs`; two processes never get the same."""
    name = re.sub(r"[^\w.-]+", "-", name).strip("-.")[:80] or "run"
    try:
        runs.mkdir(parents=True, exist_ok=True)
        while True:
            taken = [int(entry.split("-")[0]) for entry in os.listdir(runs) if re.match(r"\d{3,}-", entry)]
            folder = runs / f"{max(taken, default=0) + 1:03d}-{name}"
            try:
                folder.mkdir()
                return folder
            except FileExistsError:
                continue
    except OSError as error:
        raise RunError(f"the folder {runs} cannot be written: {reason(error)}; choose another with --runs") from None


def _listed(names: Sequence[str], most: int = 10) -> str:
    return ", ".join(names[:most]) + (f" ... {names[-1]}" if len(names) > most else "")
