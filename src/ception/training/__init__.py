"""From a data set to a trained classifier: `train` and `resume` read top to bottom what happens."""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import shutil
import time
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
from ception.results import Scores
from ception.settings import TrainSettings, flag, settings_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import keras
    from numpy.typing import NDArray

    from ception.classifier import Classifier
    from ception.data.images import ImageContract
    from ception.evaluation.table import Table
    from ception.training.callbacks import Row
    from ception.training.fitting import Training
    from ception.training.learning_rate import Search
    from ception.training.preparation import Prepared

    Compute = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


@dataclass(frozen=True)
class Run:
    """A finished training.

    Attributes:
        classifier: The model with the weights of the best epoch.
        history: For each epoch `epoch`, `loss`, `accuracy`, `val_loss`, `val_accuracy`, `learning_rate`, `seconds`.
        scores: Scores on the test pictures, with `best_epoch`.
        folder: Where everything lies.
    """

    classifier: Classifier
    history: list[Row]
    scores: Scores
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
    began = time.monotonic()
    options = settings_of(TrainSettings, settings)
    reporter = reporter or Reporter()
    backend = backends.choose(options.backend)
    with backends.on(options.device):
        from ception.training.state import Decisions

        precision = _precision(options)
        reporter.note(f"Backend: {backend}, computing in {precision}")
        if options.runs.exists() and not options.runs.is_dir():
            raise InputError(f"{options.runs} is a file; name a folder with --runs")
        begun = _fresh(data, str(data), options, precision, reporter)
        begun.folder = folder = _new_folder(options.runs, f"{options.model}-{begun.prepared.dataset.name}")
        place = Path(data).resolve() if Path(data).exists() else data
        plan = {"data": str(place), "said": str(data), "backend": backend,
                "fingerprint": begun.prepared.fingerprint(),
                "settings": _plain(options) | {"weights": _whole_path(options.weights)},
                "phases": [asdict(phase) for phase in begun.planned]}  # fmt: skip
        Decisions(precision).save(folder / "checkpoints" / "decided.json")
        write_json(folder / "checkpoints" / "plan.json", plan)
        reporter.note(f"Run folder: {folder}")
        return _carried_out(begun, began)


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
    began = time.monotonic()
    folder = Path(run)
    reporter = reporter or Reporter()
    if (folder / "model.keras").is_file():
        reporter.note(f"{folder} is finished: there is nothing to resume")
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)  # left where the last moment was interrupted
        return _finished(folder)
    try:
        plan = json.loads((folder / "checkpoints" / "plan.json").read_bytes())
        options = settings_of(TrainSettings, {**plan["settings"], "backend": plan["backend"]})
        data, said, fingerprint, planned = (plan[key] for key in ("data", "said", "fingerprint", "phases"))
    except InputError:
        raise
    except OSError:
        raise InputError(f"{folder} is no interrupted run: name a folder such as runs/001-...") from None
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{folder / 'checkpoints' / 'plan.json'} is broken: start the training anew") from None
    backend = backends.choose(options.backend)
    with backends.on(options.device):
        from ception.training.state import Decisions

        precision = Decisions.load(folder / "checkpoints" / "decided.json").precision
        reporter.note(f"Backend: {backend}, computing in {precision}")
        # the pictures keep the names they had, where the way to them is still the same
        place = said if Path(said).resolve() == Path(data) else data
        begun = _fresh(place, said, options, precision, reporter)
        if begun.prepared.fingerprint() != fingerprint:
            raise InputError(f"pictures, labels or split of {data} have changed since {folder} began: train anew")
        if [asdict(phase) for phase in begun.planned] != planned:
            raise InputError(f"the recipe is not what it was when {folder} began: train anew")
        begun.folder = folder
        reporter.note(f"Resuming {folder}")
        return _carried_out(begun, began)


def find_learning_rate(
    data: str | Path, *, picture: str | Path | None = None, reporter: Reporter | None = None, **settings: Any
) -> Search:
    """Look for the learning rate of a training, or of its last phase, without training to the end.

    Args:
        data: As for `train`.
        picture: PNG to draw the losses in; `find-lr-<data>.png` in the current folder when not given.
        reporter: Receives notes, warnings and progress.
        settings: As for `train`.

    Raises:
        InputError: as for `train`.
        RunError: as for `train`.
    """
    options = settings_of(TrainSettings, settings)
    reporter = reporter or Reporter()
    backends.choose(options.backend)
    with backends.on(options.device):
        from ception.training.learning_rate import search
        from ception.training.state import Decisions

        precision = _precision(options)
        run = _fresh(data, str(data), options, precision, reporter)
        run.decided = Decisions(precision)
        return search(run, Path(picture or f"find-lr-{_plain_name(run.prepared.dataset.name)}.png"))


def _check(options: TrainSettings) -> None:
    """Refuse settings that do not go together."""
    from ception.training import recipes

    if options.weights:
        if options.auxiliary:
            raise InputError("the auxiliary head is for a training from fresh weights, without --weights")
        recipes.fine_tuning(options)
    else:
        recipes.chosen(options)
        for name in ("partial", "from_", "head_only", "head_epochs", "batch_norm", "views"):
            if getattr(options, name) != getattr(TrainSettings(), name):
                raise InputError(f"{flag(name)} belongs to --weights")
    if options.head_only and options.from_:
        raise InputError("--from names what is trained after the head: leave out --head-only")


def _carried_out(run: Training, began: float) -> Run:
    """Train from where the run folder stands to the end, score, and write the rest; `model.keras` comes last."""
    from ception.classifier import Classifier
    from ception.evaluation import write
    from ception.evaluation.plots import curves
    from ception.training.callbacks import best_epoch
    from ception.training.fitting import fit
    from ception.training.memory import ran_out

    classifier, prepared, options, folder = run.classifier, run.prepared, run.options, run.folder
    checkpoints = folder / "checkpoints"
    if options.time_budget:
        run.deadline = began + 60 * options.time_budget
    with locked(checkpoints / "lock", f"another process is training in {folder}: wait for it"):
        for unfinished in folder.rglob(".*.tmp"):  # of a process that was killed
            unfinished.unlink(missing_ok=True)
        write_json(folder / "settings.json", classifier.record)
        try:
            history = fit(run)
            last = len(run.planned)
            classifier = Classifier.load(run.best(last))
            classifier = replace(classifier, record=classifier.record | {"precision": run.decided.precision})
            write_json(folder / "settings.json", classifier.record)
            compute = _scorer(classifier, options)
            batch_size = run.size(last)
            classifier = _calibrated(classifier, prepared, batch_size, compute)
            table = _tabulated(classifier, prepared, sources.TEST, batch_size, compute)
        except KeyboardInterrupt:
            run.reporter.warn(f"interrupted; to go on: ception train --resume {shlex.quote(str(folder))}")
            raise
        except Exception as error:
            if not ran_out(error):
                raise
            raise RunError(
                "memory ran out: close other programs, or train with a smaller --image-size; to go on: "
                f"ception train --resume {shlex.quote(str(folder))}"
            ) from None
        best = best_epoch(history)
        scores = replace(
            table.scores(classifier.temperature), model=str(folder / "model.keras"), output=str(folder),
            data=classifier.record["data"]["source"], split="test", best_epoch=best,
        )  # fmt: skip
        classifier = replace(classifier, record=classifier.record | {"scores": scores.as_dict()})
        curves(history, best, folder / "curves.png")
        test = prepared.indices(sources.TEST)
        write(folder, table, scores, classifier, lambda row: prepared.dataset.pictures.open(int(test[row])), history)
        classifier.save(folder / "model.keras")
        shutil.rmtree(checkpoints)
    return Run(classifier, history, scores, folder)


def _scorer(classifier: Classifier, options: TrainSettings) -> Compute:
    """What computes the scores' logits: the fastest engine in float32 for a large network, else the network itself."""
    if not options.weights:
        return classifier.logits
    from ception import engines

    return engines.fastest(classifier.network, precision="float32").run


def _tabulated(classifier: Classifier, prepared: Prepared, part: int, batch_size: int, compute: Compute) -> Table:
    """What the classifier says of the pictures in a part of the split."""
    from ception.evaluation.table import tabulate

    indices = prepared.indices(part)
    batches = (
        (chosen, prepared.pixels[chosen]) for chosen in np.split(indices, range(batch_size, len(indices), batch_size))
    )
    return tabulate(classifier, prepared.dataset, prepared.dataset.labels, batches, compute)


def _calibrated(classifier: Classifier, prepared: Prepared, batch_size: int, compute: Compute) -> Classifier:
    """The classifier with the temperature and the curve of precision that the validation pictures give."""
    from ception.evaluation.calibration import confidence, coverage_curve, fit_temperature

    table = _tabulated(classifier, prepared, sources.VAL, batch_size, compute)
    temperature = fit_temperature(table.labels, table.logits)
    curve = coverage_curve(table.right, confidence(table.logits, temperature))
    return replace(classifier, temperature=temperature, coverage=curve)


def _finished(folder: Path) -> Run:
    backends.choose()
    from ception.classifier import Classifier
    from ception.evaluation import read_log

    try:
        history = read_log(folder / "log.csv")
        scores = Scores.from_dict(json.loads((folder / "scores.json").read_bytes()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{folder} is finished, but its log or scores cannot be read: {error}") from None
    return Run(Classifier.load(folder / "model.keras"), history, scores, folder)


def _fresh(data: str | Path, said: str, options: TrainSettings, precision: str, reporter: Reporter) -> Training:
    """A training that has not begun and has no run folder yet.

    Settings and weights that do not fit are told before the slow decoding.

    Args:
        data: The data set.
        said: What the user calls it.
        options: The settings.
        precision: Numbers that the network computes with.
        reporter: Receives notes, warnings and progress.
    """
    import keras

    from ception.classifier import Classifier, shortened
    from ception.models.endpoints import truncate
    from ception.models.weights import open_weights, origin
    from ception.training import preparation
    from ception.training.fitting import Training
    from ception.training.phases import planned

    _check(options)
    keras.utils.set_random_seed(options.seed)
    licence, pretrained = None, None
    arguments: dict[str, Any] = {}

    def before_decoding(classes: int, contract: ImageContract) -> None:
        nonlocal pretrained
        arguments.update(_arguments(options, classes, contract))
        if options.weights:
            pretrained = _network(arguments, options, precision)
            planned(options, pretrained)

    if options.weights:
        open_weights(options.model, options.weights, reporter=reporter)  # which may have to be downloaded
        published, scaling, port = origin(options.model, options.weights)
        arguments |= {"scaling": scaling, "port": port}
        licence = published.licence if published else "unknown"
    prepared = preparation.prepare(data, options, reporter, before_decoding)
    training = prepared.indices(sources.TRAIN)
    mean, deviation = loading.mean_and_deviation(prepared.pixels, training)
    if deviation == 0:
        raise InputError(f"every training picture of {said} has the same single colour: nothing can be learnt")
    arguments.setdefault("scaling", [mean, deviation])
    network = pretrained or _network(arguments, options, precision)
    phases = planned(options, network)
    record: dict[str, Any] = {
        "settings": _plain(options),
        "data": {
            "source": said,
            "name": prepared.dataset.name,
            "fingerprint": prepared.fingerprint(),
            "counts": {part: len(prepared.indices(number)) for part, number in sources.SPLITS.items()},
        },
        "versions": {name: version(name) for name in ("ception", "keras", "numpy", "pillow")}
        | {"python": platform.python_version(), "backend": keras.backend.backend()},
        "weights_licence": licence,
        "precision": precision,
        "phases": [asdict(phase) for phase in phases],
    }
    classifier = Classifier(
        network=truncate(network, "logits") if options.auxiliary else network,
        arguments=arguments,
        class_names=prepared.dataset.class_names,
        unnamed=prepared.dataset.unnamed,
        image=prepared.contract,
        record=record,
        training_digests=np.sort(shortened(prepared.digests[training])),
    )
    return Training(classifier, network, phases, prepared, options, Path(), reporter)


def _arguments(options: TrainSettings, classes: int, contract: ImageContract) -> dict[str, Any]:
    """What `models.build` makes the network with, but for its scaling."""
    from ception import models

    arguments: dict[str, Any] = {
        "name": options.model,
        "classes": classes,
        "image_size": [contract.height, contract.width],
        "channels": contract.channels,
        "depth_multiplier": options.depth_multiplier,
    }
    if options.dropout is not None:
        arguments["dropout"] = options.dropout
    if options.every:
        arguments["every"] = models.columns(options.every)
    if options.final_endpoint:
        arguments["final_endpoint"] = options.final_endpoint
    return arguments


def _network(arguments: dict[str, Any], options: TrainSettings, precision: str) -> keras.Model:
    """The network as it is trained, with a fresh head."""
    from ception import models
    from ception.training.phases import start_head

    network = models.build(
        **arguments, auxiliary=options.auxiliary, weights=options.weights, partial=options.partial, seed=options.seed,
        dtype={"bfloat16": "mixed_bfloat16"}.get(precision, precision),
    )  # fmt: skip
    if options.weights:
        start_head(network)
    return network


def _precision(options: TrainSettings) -> str:
    """What the network computes with; a published recipe from fresh weights is followed in float32."""
    if options.precision:
        return options.precision
    return "bfloat16" if options.weights and backends.fast_at_bfloat16(options.device) else "float32"


def _whole_path(weights: str | None) -> str | None:
    """Weights that are a file by its whole path, so that a resumed training finds them from any folder."""
    return str(Path(weights).resolve()) if weights and Path(weights).exists() else weights


def _plain(options: TrainSettings) -> dict[str, Any]:
    return {key: str(value) if isinstance(value, Path) else value for key, value in asdict(options).items()}


def _plain_name(text: str) -> str:
    """The text as part of a file's name."""
    return re.sub(r"[^\w.-]+", "-", text).strip("-.")[:80] or "run"


def _new_folder(runs: Path, name: str) -> Path:
    """Make the next run folder, `001-<name>` in an empty `runs`; two processes never get the same."""
    name = _plain_name(name)
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
