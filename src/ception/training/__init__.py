"""From a data set to a trained classifier: `train` and `resume` read top to bottom what happens."""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import shutil
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ception import backends
from ception.data import loading, sources
from ception.errors import InputError, RunError, reason
from ception.files import locked, mark, write_json
from ception.reporting import Reporter
from ception.settings import TrainSettings, checked

if TYPE_CHECKING:
    import keras

    from ception.classifier import Classifier
    from ception.evaluation.table import Table
    from ception.training.callbacks import Row
    from ception.training.preparation import Examples, Prepared
    from ception.training.recipes import Recipe
    from ception.training.trainee import Trainee


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


def train(data: str | Path, *, reporter: Reporter | None = None, **settings: Any) -> Run:
    """Train a network on a data set, score it on the test pictures, and save everything in a new run folder.

    The run folder `001-<model>-<data>` holds `model.keras`, `settings.json`, `scores.json`, `log.csv`,
    `curves.png`, `confusion.png`, `predictions.csv`, `report.html` and `tensorboard/`. The weights kept are those
    of the epoch with the lowest validation loss. While the training runs, its state lies in `checkpoints/`.

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
    reporter.note(f"Backend: {backend}")
    with backends.on(options.device):
        if options.runs.exists() and not options.runs.is_dir():
            raise InputError(f"{options.runs} is a file; name a folder with --runs")
        prepared, recipe = _prepared(data, options, reporter)
        classifier, trainee = _fresh(prepared, options, recipe, str(data))
        folder = _new_folder(options.runs, f"{options.model}-{prepared.dataset.name}")
        place = Path(data).resolve() if Path(data).exists() else data
        plan = {"data": str(place), "said": str(data), "fingerprint": prepared.fingerprint(), "backend": backend,
                "settings": _plain(options) | {"weights": _whole_path(options.weights)},
                "recipe": asdict(recipe)}  # fmt: skip
        write_json(folder / "checkpoints" / "plan.json", plan)
        reporter.note(f"Run folder: {folder}")
        return _carried_out(folder, classifier, trainee, prepared, options, recipe, reporter)


def resume(run: str | Path, *, reporter: Reporter | None = None) -> Run:
    """Continue a training that was interrupted at any moment, with its own settings.

    From the last finished epoch on it does what the uninterrupted one would have done: weights, optimiser,
    schedule, random states and the order of the pictures are the same. A finished run is returned as it is.

    Args:
        run: The run folder.
        reporter: Receives notes, warnings and progress.

    Raises:
        InputError: the folder is no interrupted run, or its data set has changed since.
        RunError: as for `train`.
    """
    folder = Path(run)
    reporter = reporter or Reporter()
    if (folder / "model.keras").is_file():
        reporter.note(f"{folder} is finished: there is nothing to resume")
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)  # left where the last moment was interrupted
        return _finished(folder)
    try:
        plan = json.loads((folder / "checkpoints" / "plan.json").read_bytes())
        options = checked(TrainSettings(**{**plan["settings"], "backend": plan["backend"]}))
        data, said, fingerprint, planned = (plan[key] for key in ("data", "said", "fingerprint", "recipe"))
    except InputError:
        raise
    except OSError:
        raise InputError(f"{folder} is no interrupted run: name a folder such as runs/001-...") from None
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{folder / 'checkpoints' / 'plan.json'} is broken: start the training anew") from None
    reporter.note(f"Backend: {backends.choose(options.backend)}")
    with backends.on(options.device):
        # the pictures keep the names they had, where the way to them is still the same
        prepared, recipe = _prepared(said if Path(said).resolve() == Path(data) else data, options, reporter)
        if asdict(recipe) != planned:
            raise InputError(f"the recipe is not what it was when {folder} began: train anew")
        if prepared.fingerprint() != fingerprint:
            raise InputError(f"pictures, labels or split of {data} have changed since {folder} began: train anew")
        reporter.note(f"Resuming {folder}")
        classifier, trainee = _fresh(prepared, options, recipe, said)
        return _carried_out(folder, classifier, trainee, prepared, options, recipe, reporter)


def _prepared(data: str | Path, options: TrainSettings, reporter: Reporter) -> tuple[Prepared, Recipe]:
    from ception.models.weights import open_weights
    from ception.training import preparation, recipes

    recipe = recipes.chosen(options)
    if options.weights:
        if options.auxiliary:
            raise InputError("the auxiliary head trains the network, which stays frozen with --weights")
        open_weights(options.model, options.weights, reporter=reporter)  # told before pictures are decoded
    elif options.partial:
        raise InputError("--partial belongs to --weights")
    return preparation.prepare(data, options, reporter), recipe


def _carried_out(
    folder: Path,
    classifier: Classifier,
    trainee: Trainee,
    prepared: Prepared,
    options: TrainSettings,
    recipe: Recipe,
    reporter: Reporter,
) -> Run:
    """Train from where the run folder stands to the end, score, and write the rest; `model.keras` comes last."""
    from ception.classifier import Classifier
    from ception.evaluation import write
    from ception.evaluation.plots import curves
    from ception.training.callbacks import best_epoch

    checkpoints = folder / "checkpoints"
    with locked(checkpoints / "lock", f"another process is training in {folder}: wait for it"):
        write_json(folder / "settings.json", classifier.record)
        try:
            examples = _examples(classifier, prepared, options, recipe, reporter)
            history = _fit(classifier, trainee, examples, recipe, options.seed, folder, reporter)
            classifier = _calibrated(Classifier.load(checkpoints / "best.keras"), prepared, recipe.batch_size)
            table = _tabulated(classifier, prepared, sources.TEST, recipe.batch_size)
        except KeyboardInterrupt:
            reporter.warn(f"interrupted; to go on: ception train --resume {shlex.quote(str(folder))}")
            raise
        best = best_epoch(history)
        scores = table.scores(classifier.temperature) | {
            "model": str(folder / "model.keras"), "data": classifier.record["data"]["source"], "split": "test",
            "best_epoch": best,
        }  # fmt: skip
        classifier = replace(classifier, record=classifier.record | {"scores": scores})
        curves(history, best, folder / "curves.png")
        test = prepared.indices(sources.TEST)
        write(folder, table, scores, classifier, lambda row: prepared.dataset.pictures.open(int(test[row])), history)
        classifier.save(folder / "model.keras")
        shutil.rmtree(checkpoints)
    return Run(classifier, history, scores, folder)


def _examples(
    classifier: Classifier, prepared: Prepared, options: TrainSettings, recipe: Recipe, reporter: Reporter
) -> Examples:
    """What the network, or with weights its head, is trained on."""
    from ception.training.features import divided, features
    from ception.training.preparation import Examples, balanced

    labels, training = prepared.dataset.labels, prepared.indices(sources.TRAIN)
    validation = prepared.indices(sources.VAL)
    factors = balanced(labels[training]) if options.balance else None
    if not options.weights:
        return Examples(prepared.pixels, labels, training, validation, recipe.augmentation, factors)
    boundary = divided(classifier.network)
    trained = sum(layer.count_params() for layer in boundary.head)
    reporter.note(
        f"Frozen: {classifier.network.name} up to {options.final_endpoint or 'its pooling'}, batch norm with its own "
        f"statistics; trained: a head of {trained:,} weights"
    )
    mirrored = recipe.augmentation.flip > 0
    found = features(
        boundary.body, prepared, classifier.arguments,
        mirrored=mirrored, cache_limit=options.cache_limit, reporter=reporter,
    )  # fmt: skip
    if mirrored:
        training = np.concatenate([training, np.arange(len(labels), len(found))])
        labels = np.concatenate([labels, labels[prepared.indices(sources.TRAIN)]])
    return Examples(found, labels, training, validation, class_weights=factors)


def _tabulated(classifier: Classifier, prepared: Prepared, part: int, batch_size: int) -> Table:
    """What the classifier says of the pictures in a part of the split."""
    from ception.evaluation.table import tabulate

    indices = prepared.indices(part)
    batches = (
        (chosen, prepared.pixels[chosen]) for chosen in np.split(indices, range(batch_size, len(indices), batch_size))
    )
    return tabulate(classifier, prepared.dataset, prepared.dataset.labels, batches)


def _calibrated(classifier: Classifier, prepared: Prepared, batch_size: int) -> Classifier:
    """The classifier with the temperature and the curve of precision that the validation pictures give."""
    from ception.evaluation.calibration import confidence, coverage_curve, fit_temperature

    table = _tabulated(classifier, prepared, sources.VAL, batch_size)
    temperature = fit_temperature(table.labels, table.logits)
    curve = coverage_curve(table.right, confidence(table.logits, temperature))
    return replace(classifier, temperature=temperature, coverage=curve)


def _finished(folder: Path) -> Run:
    backends.choose()
    from ception.classifier import Classifier
    from ception.evaluation import read_log

    try:
        history = read_log(folder / "log.csv")
        scores = json.loads((folder / "scores.json").read_bytes())
    except (OSError, ValueError) as error:
        raise RunError(f"{folder} is finished, but its log or scores cannot be read: {error}") from None
    return Run(Classifier.load(folder / "model.keras"), history, scores, folder)


def _fresh(prepared: Prepared, options: TrainSettings, recipe: Recipe, data: str) -> tuple[Classifier, Trainee]:
    """A classifier with a fresh network, and the same network as it is trained, maybe with its auxiliary head."""
    import keras

    from ception import models
    from ception.classifier import Classifier, shortened
    from ception.models.endpoints import truncate
    from ception.models.weights import origin
    from ception.training.trainee import Trainee

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
        "depth_multiplier": options.depth_multiplier,
    }
    if options.dropout is not None:
        arguments["dropout"] = options.dropout
    if options.every:
        arguments["every"] = models.columns(options.every)
    if options.final_endpoint:
        arguments["final_endpoint"] = options.final_endpoint
    licence = None
    if options.weights:
        published, arguments["scaling"], arguments["port"] = origin(options.model, options.weights)
        licence = published.licence if published else "unknown"
    record = {
        "settings": _plain(options),
        "recipe": asdict(recipe),
        "data": {
            "source": data,
            "name": prepared.dataset.name,
            "fingerprint": prepared.fingerprint(),
            "counts": {part: len(prepared.indices(number)) for part, number in sources.SPLITS.items()},
        },
        "versions": {name: version(name) for name in ("ception", "keras", "numpy", "pillow")}
        | {"python": platform.python_version(), "backend": keras.backend.backend()},
        "weights_licence": licence,
    }
    network = models.build(
        **arguments, auxiliary=options.auxiliary, weights=options.weights, partial=options.partial, seed=options.seed
    )
    trainee = _head_alone(network) if options.weights else Trainee(network.input, network.output, name=network.name)
    trainee.l2, trainee.auxiliary_weight = recipe.l2, recipe.auxiliary_weight
    classifier = Classifier(
        network=truncate(network, "logits") if options.auxiliary else network,
        arguments=arguments,
        class_names=prepared.dataset.class_names,
        unnamed=prepared.dataset.unnamed,
        image=contract,
        record=record,
        training_digests=np.sort(shortened(prepared.digests[training])),
    )
    return classifier, trainee


def _head_alone(network: keras.Model) -> Trainee:
    """The network behind its pooling with initial weights, whatever the file had there; the layers are shared."""
    import keras

    from ception.training.features import divided
    from ception.training.trainee import Trainee

    boundary = divided(network)
    x = given = keras.Input(boundary.body.output.shape[1:], name="input_features")
    for layer in boundary.head:
        x = layer(x)
    logits = network.get_layer("logits")
    logits.kernel.assign(logits.kernel_initializer(logits.kernel.shape))
    logits.bias.assign(np.zeros(logits.bias.shape, np.float32))
    return Trainee(given, x, name=network.name)


def _fit(
    classifier: Classifier,
    network: Trainee,
    examples: Examples,
    recipe: Recipe,
    seed: int,
    folder: Path,
    reporter: Reporter,
) -> list[Row]:
    """Train the classifier's network, as `network` has it, in place, from the saved state if there is one.

    The best epoch's classifier is in `checkpoints/best.keras`, the state after the last epoch in `last.npz`.
    """
    import keras

    from ception.training import callbacks, state
    from ception.training.trainee import Averages

    inputs, labels = examples.inputs, examples.labels
    best, last = folder / "checkpoints/best.keras", folder / "checkpoints/last.npz"
    training = loading.dataset_of_batches(
        inputs, labels, examples.training, recipe.batch_size, seed=seed, augmentation=examples.augmentation
    )
    validation = loading.dataset_of_batches(inputs, labels, examples.validation, recipe.batch_size, seed=None)
    network.compile(
        optimizer=recipe.optimizer(len(training)),
        loss=recipe.loss(),
        metrics=["accuracy"],
        # XLA on a CPU computes the gradients of convolutions ten times slower than TensorFlow itself
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
    )
    rows = state.restore(last, network) if last.is_file() else []

    def over(rows: list[Row]) -> bool:
        return callbacks.patience_is_over(rows, recipe.patience, recipe.min_delta)

    def tell(rows: list[Row]) -> None:
        row = rows[-1]
        reporter.note(
            f"epoch {row['epoch']:.0f}/{recipe.epochs}  loss {row['loss']:.4f}  accuracy {row['accuracy']:.4f}  "
            f"val_loss {row['val_loss']:.4f}  val_accuracy {row['val_accuracy']:.4f}  {row['seconds']:.1f} s"
        )

    averages = Averages() if recipe.averaging else None

    def save_best() -> None:
        with averages.in_place() if averages else nullcontext():
            classifier.save(best)

    if rows:
        reporter.note(f"{len(rows)} of {recipe.epochs} epochs are done")
        callbacks.write_log(folder / "log.csv", rows)
    if len(rows) < recipe.epochs and not (rows and over(rows)):
        steps = len(training) * (recipe.epochs - len(rows))
        with reporter.task("Training", steps) as task, callbacks.Interruptible() as interruptible:
            network.fit(
                training,
                validation_data=validation,
                class_weight=examples.class_weights,
                initial_epoch=len(rows),
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
                        save_best=save_best,
                        save_state=lambda rows: state.save(last, network, rows),
                        tell=tell,
                        stop=over,
                    ),
                    callbacks.TensorBoard(folder / "tensorboard", rows),
                ],
            )
    if len(rows) < recipe.epochs:
        reporter.note(f"Stopped early: no better validation loss for {recipe.patience} epochs")
    return rows


def _whole_path(weights: str | None) -> str | None:
    """Weights that are a file by its whole path, so that a resumed training finds them from any folder."""
    return str(Path(weights).resolve()) if weights and Path(weights).exists() else weights


def _plain(options: TrainSettings) -> dict[str, Any]:
    return {key: str(value) if isinstance(value, Path) else value for key, value in asdict(options).items()}


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
                mark(folder)
                return folder
            except FileExistsError:
                continue
    except OSError as error:
        raise RunError(f"the folder {runs} cannot be written: {reason(error)}; choose another with --runs") from None
