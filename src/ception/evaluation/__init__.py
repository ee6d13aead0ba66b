"""How good a model is: `evaluate` scores it on a data set."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from ception import backends
from ception.data import sources
from ception.errors import InputError, nearest
from ception.evaluation.calibration import confidence, threshold_for, wilson_interval
from ception.evaluation.selection import data_label, matched, select, tabulate_data, warn_of_seen
from ception.evaluation.table import Table
from ception.files import mark, write_json
from ception.options import EvaluateOptions
from ception.reporting import Reporter
from ception.settings import EvaluateSettings, settings_of

if TYPE_CHECKING:
    from PIL import Image

    from ception.classifier import Classifier

_DIGITS = re.compile(r"(\d+)")


def evaluate(
    model: str | Path | Classifier,
    data: str | Path,
    *,
    reporter: Reporter | None = None,
    **settings: Unpack[EvaluateOptions],
) -> dict[str, Any]:
    """Score a model on a data set.

    The classes are matched by name. The scores, the table they come from, a picture of the confusion matrix and
    a report are written to the output folder.

    Args:
        model: A model file, or a classifier (then nothing is written unless `out` is given).
        data: A data set as `ception.data.sources.load` takes it.
        reporter: Receives notes, warnings and progress.
        settings: Fields of `EvaluateSettings`.

    Returns:
        The scores of `ception.evaluation.metrics.scores`, and `model`, `data`, `split`, and `output` (None
        where nothing was written). With `target_precision` also `selective`: `wished`, `min_confidence` (chosen on the
        validation pictures), and what it delivers here: `precision`, `precision_interval`, `coverage`, `count`.
        With `by` also `slices`: `by` and `groups` {name: {count, accuracy, accuracy_interval}}.

    Raises:
        InputError: the model or data cannot be used, or do not belong together.
    """
    options = settings_of(EvaluateSettings, settings)
    reporter = reporter or Reporter()
    backends.start(options.backend)
    with backends.on(options.device):
        from ception.classifier import Classifier
        from ception.model_file import model_file

        model = model if isinstance(model, Classifier) else model_file(model)
        classifier = model if isinstance(model, Classifier) else Classifier.load(model)
        classifier.require_weights()
        threshold = _promised(classifier, options.target_precision) if options.target_precision is not None else None
        dataset = sources.load(data, cache_limit=options.cache_limit, reporter=reporter)
        labels = matched(dataset, classifier, reporter)
        if options.by and options.by not in {*dataset.columns, "size"}:
            raise InputError(f"cannot score by '{options.by}': {nearest(options.by, [*dataset.columns, 'size'])}")
        chosen, digests = select(dataset, str(data), options.split, reporter)
        if options.split != "train":
            warn_of_seen(classifier, digests, reporter)
        ((table, indices),) = tabulate_data(
            [classifier], [labels], dataset, chosen, batch_size=options.batch_size, reporter=reporter
        )
        groups = _groups(dataset, options.by) if options.by else None
    result = table.scores(classifier.temperature)
    output = options.out
    if output is None and not isinstance(model, Classifier):
        output = _output_folder(Path(model), data_label(dataset.name, options.split))
    result |= {
        "model": None if isinstance(model, Classifier) else str(model),
        "data": str(data),
        "split": options.split,
        "output": None if output is None else str(output),
    }
    if options.target_precision is not None and threshold is not None:
        result["selective"] = _selective(table, classifier, options.target_precision, threshold)
    if groups is not None:
        result["slices"] = {"by": options.by, "groups": _slices(table, [groups(int(index)) for index in indices])}
    if output is not None:
        history: list[dict[str, float]] = []
        if not isinstance(model, Classifier):
            with suppress(OSError, ValueError):  # a model that has left its run has no log
                history = read_log(Path(model).resolve().parent / "log.csv")
        write(output, table, result, classifier, lambda row: dataset.pictures.open(int(indices[row])), history)
    return result


def read_log(path: Path) -> list[dict[str, float]]:
    """The rows of a run's log.csv."""
    with path.open(newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def write(
    output: Path,
    table: Table,
    result: dict[str, Any],
    classifier: Classifier,
    picture: Callable[[int], Image.Image],
    history: Sequence[dict[str, float]] = (),
) -> None:
    """Save scores, predictions, the confusion matrix and the report into a folder, which is made.

    Args:
        output: The folder.
        table: What the model said of each picture.
        result: The scores.
        classifier: The model.
        picture: Gives the picture of a row of the table.
        history: The rows of the training, if it is known.
    """
    from ception.evaluation.plots import confusion
    from ception.evaluation.report import write_report

    mark(output)
    table.write(output / "predictions.csv")
    confusion(table, output / "confusion.png")
    data = classifier.record.get("data", {})
    write_report(
        output / "report.html",
        table,
        result,
        picture=picture,
        coverage=classifier.coverage,
        history=history,
        footer=f"{classifier.config.name}, trained on {data.get('name', 'unknown data')}. Written by Ception.",
    )
    write_json(output / "scores.json", result)


def _promised(classifier: Classifier, wished: float) -> float:
    threshold = threshold_for(wished, classifier.coverage)
    if threshold is None:
        best = max((point["precision_low"] for point in classifier.coverage), default=0.0)
        raise InputError(
            f"the model's validation pictures are too few, or too often wrong, to promise a precision of {wished}; "
            f"they allow --target-precision {np.floor(best * 1e4) / 1e4:.4f} at most"
        )
    return threshold


def _selective(table: Table, classifier: Classifier, wished: float, threshold: float) -> dict[str, Any]:
    answered = confidence(table.logits, classifier.temperature) >= threshold
    count, hits = int(answered.sum()), int(table.right[answered].sum())
    return {
        "wished": wished,
        "min_confidence": threshold,
        "precision": hits / count if count else 0.0,
        "precision_interval": list(wilson_interval(hits, count)) if count else [0.0, 1.0],
        "coverage": count / len(answered),
        "count": count,
    }


def _groups(dataset: sources.Dataset, by: str) -> Callable[[int], str]:
    """A function from a picture's index to the name of its group."""
    if by in dataset.columns:
        values = dataset.columns[by]
        return lambda index: values[index] or "(none)"
    sides = np.array([dataset.pictures.shorter_side(index) for index in range(len(dataset.labels))])
    edges = np.unique(np.quantile(sides, (0.25, 0.5, 0.75)).round().astype(int))
    names = [*(f"up to {edge} px" for edge in edges), f"above {edges[-1]} px"]
    return lambda index: names[int(np.searchsorted(edges, sides[index]))]


def _slices(table: Table, groups: Sequence[str]) -> dict[str, dict[str, Any]]:
    names, place = np.unique(np.array(groups, object).astype(str), return_inverse=True)
    counts = np.bincount(place, minlength=len(names))
    hits = np.bincount(place[table.right], minlength=len(names))
    order = sorted(
        range(len(names)), key=lambda k: [int(d) if d.isdecimal() else d for d in _DIGITS.split(str(names[k]))]
    )
    return {
        str(names[k]): {
            "count": int(counts[k]), "accuracy": float(hits[k] / counts[k]),
            "accuracy_interval": list(wilson_interval(int(hits[k]), int(counts[k]))),
        }
        for k in order
    }  # fmt: skip


def _output_folder(model: Path, label: str) -> Path:
    run = model.resolve().parent
    if (run / "settings.json").is_file():
        return run / "evaluations" / label
    return Path(f"evaluation-{label}")
