"""How good a model is: `evaluate` scores it on a data set."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Unpack, cast

import numpy as np

from ception import backends, cluster, hub
from ception.data import sources
from ception.engines import described
from ception.errors import InputError
from ception.evaluation import on_cluster
from ception.evaluation.calibration import confidence, short_threshold_for, wilson_interval
from ception.evaluation.selection import Selection, matched, select, tabulate_data, warn_of_seen
from ception.evaluation.slices import grouping, sliced
from ception.evaluation.table import Table
from ception.files import mark, write_json
from ception.model_file import ModelDescription, describe, model_file
from ception.options import EvaluateOptions
from ception.predictor import Predictor
from ception.reporting import Reporter, or_default
from ception.results import Scores, Selective
from ception.settings import EvaluateSettings
from ception.validation import settings_of
from ception.values import as_typed

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from ception.classifier import Classifier
    from ception.explaining.insight import Insight


def evaluate(
    model: str | Path | Classifier,
    data: str | Path,
    *,
    reporter: Reporter | None = None,
    **options: Unpack[EvaluateOptions],
) -> Scores:
    """Score a model on a data set.

    The classes are matched by name, or by number where all names are numbers. The scores, the table they come from, a
    picture of the confusion matrix and a report are written to the output folder.

    Args:
        model: A model file or run folder, or a classifier (then nothing is written unless `out` is given).
        data: A data set as `ception.data.sources.load` takes it.
        reporter: Receives notes, warnings and progress; None for what `ception.reporting.default` gives.
        options: Fields of `EvaluateSettings`.

    Raises:
        InputError: the model, the data or an option cannot be used, or they do not belong together.
        RunError: the data cannot be downloaded, or a file cannot be written.
    """
    settings, reporter = settings_of(EvaluateSettings, options), or_default(reporter)
    cluster.require(settings, here=("backend", "device"))
    file = None if isinstance(model, ModelDescription) else model_file(model, reporter=reporter)
    described = describe(file) if file else cast(ModelDescription, model)
    described.require_weights()
    insight = _insight(model, settings, reporter) if settings.explain else None
    promise = None if settings.target_precision is None else _promise(described, settings.target_precision)
    dataset = sources.load(data, cache_limit=settings.cache_limit, reporter=reporter)
    labels = matched(dataset, described, reporter)
    group_of = grouping(dataset, settings.by) if settings.by else None
    chosen = select(dataset, str(data), settings.split, [described], reporter)
    warn_of_seen(described, chosen, reporter)
    table, indices = _tabulated(file or described, settings, labels, dataset, chosen, reporter)
    counted = table.take(table.scored)
    output = settings.out or (file and _output_folder(file, chosen.label))
    scores = replace(
        table.scores(described.temperature),
        model=None if file is None else as_typed(str(model)) if hub.is_named(str(model)) else str(file),
        data=str(data),
        split=chosen.split,
        output=None if output is None else str(output),
        selective=promise and _kept(promise, counted, described.temperature),
        slices=group_of and sliced(counted, str(settings.by), list(map(group_of, indices[table.scored].tolist()))),
    )
    if output is not None:
        pictures = dataset.pictures
        write(output, table, scores, described, lambda row: pictures.open(int(indices[row])), _history(file), insight)
    return scores


def _tabulated(
    model: Path | ModelDescription,
    settings: EvaluateSettings,
    labels: NDArray[np.integer],
    dataset: sources.Dataset,
    chosen: Selection,
    reporter: Reporter,
) -> tuple[Table, NDArray[np.int64]]:
    """What the model says of the chosen pictures that can be read, and their indices."""
    if settings.on is not None:
        if isinstance(model, ModelDescription):
            raise InputError("--on ray needs a model file, which workers are sent: save the classifier first")
        return on_cluster.tabulated(model, settings, labels, dataset, chosen, reporter)
    with (
        backends.on(settings.device, settings.backend),
        Predictor.open(
            model, engine=settings.engine, dtype=settings.dtype, batch_size=settings.batch_size,
            pictures=len(chosen.indices), backend=settings.backend, device=settings.device,
            cache_limit=settings.cache_limit, reporter=reporter,
        ) as predictor,
    ):  # fmt: skip
        reporter.note(f"Running on {described(predictor.engine)}")
        (answers,) = tabulate_data([predictor], [labels], dataset, chosen, reporter=reporter)
    return answers


def read_log(path: Path) -> list[dict[str, float]]:
    """The rows of a run's log.csv, each without what is empty there."""
    with path.open(newline="") as file:
        return [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]


def write(
    output: Path,
    table: Table,
    scores: Scores,
    described: ModelDescription,
    picture: Callable[[int], Image.Image],
    history: Sequence[dict[str, float]] = (),
    insight: Callable[[Image.Image], Insight] | None = None,
) -> None:
    """Save scores, predictions, the confusion matrix and the report into a folder, which is made.

    The predictions are of all pictures, matrix and report of those that are scored.

    Args:
        output: The folder.
        table: What the model said of each picture.
        scores: The scores.
        described: The model.
        picture: Gives the picture of a row of the table.
        history: The rows of the training, if it is known.
        insight: Gives what the model sees in a picture, for the worst mistakes.
    """
    from ception.evaluation.plots import confusion
    from ception.evaluation.provenance import provenance
    from ception.evaluation.report import write_report

    mark(output)
    table.write(output / "predictions.csv")
    rows = table.scored
    counted = table.take(rows)
    confusion(counted, output / "confusion.png")
    data = described.record.get("data", {})
    footer = f"{described.config.name}, trained on {data.get('name', 'unknown data')}. Written by Ception."
    training = None
    if "settings" in described.record:
        try:
            training = provenance(described.record, described.image, history)
        except InputError as error:
            footer += f" How it was trained cannot be read in the model file: {error}"
    write_report(
        output / "report.html", counted, scores, picture=lambda row: picture(int(rows[row])),
        coverage=described.coverage, history=history, insight=insight, training=training, footer=footer,
    )  # fmt: skip
    write_json(output / "scores.json", scores.as_dict())


def _insight(
    model: str | Path | Classifier, settings: EvaluateSettings, reporter: Reporter
) -> Callable[[Image.Image], Insight]:
    """What gives the heat map of a picture, and the training pictures most like it, as far as there are any.

    Raises:
        InputError: the model is an export.
    """
    from ception.explaining import index_of_training, opened

    classifier = opened(model, settings.backend, reporter)
    from ception.explaining.insight import Subject, look
    from ception.explaining.methods import last_map, parts_of

    network = classifier.network
    layer = last_map(network)
    if layer is None:
        reporter.note(f"No heat maps are drawn: {network.name} has no endpoint with more than one place")
    index = index_of_training(model, classifier, None, reporter)
    return partial(look, Subject.of(classifier, index, None if layer is None else parts_of(network, layer)))


def _promise(described: ModelDescription, wished: float) -> tuple[float, float]:
    """A wished precision, and the confidence from which on the validation pictures promise it.

    Raises:
        InputError: no confidence does.
    """
    curve = described.coverage
    threshold = short_threshold_for(wished, curve)
    if threshold is not None:
        return wished, threshold
    most = np.floor(max((point.precision_low for point in curve), default=0.0) * 1e4) / 1e4
    if not most:
        raise InputError(
            "the model has no validation pictures that promise a precision: leave out --target-precision, or train a "
            "model that has, with ception train DATA"
        )
    reached = next(point for point in curve if point.precision_low >= most)
    raise InputError(
        f"the model's validation pictures are too few, or too often wrong, to promise a precision of {wished}; they "
        f"promise {most:.4f} at most, with {reached.coverage:.1%} of them answered: ask for --target-precision "
        f"{most:.4f}, or train on more pictures, with ception train DATA"
    )


def _kept(promise: tuple[float, float], table: Table, temperature: float) -> Selective:
    """What a promised precision comes to on the pictures of a table."""
    wished, threshold = promise
    answered = confidence(table.logits, temperature) >= threshold
    count, hits = int(answered.sum()), int(table.right[answered].sum())
    return Selective(
        wished=wished,
        min_confidence=threshold,
        precision=hits / count if count else 0.0,
        precision_interval=wilson_interval(hits, count) if count else (0.0, 1.0),
        coverage=count / len(answered),
        count=count,
    )


def _history(model: Path | None) -> list[dict[str, float]]:
    """The log of the run that a model lies in; nothing where it has left its run, or is in memory."""
    with suppress(OSError, ValueError):
        if model is None:
            return []
        return read_log(model.resolve().parent / "log.csv")
    return []


def _output_folder(model: Path, label: str) -> Path:
    run = model.resolve().parent
    if (run / "settings.json").is_file():
        return run / "evaluations" / label
    return Path(f"evaluation-{label}")
