"""Whether one model is really better than another: paired, on the same pictures."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import numpy as np

from ception import backends
from ception.data import sources
from ception.data.images import PictureError, flatten
from ception.engines import described as told_of
from ception.errors import InputError
from ception.evaluation.calibration import wilson_interval
from ception.evaluation.metrics import group_scores
from ception.evaluation.selection import Selection, matched, select, tabulate_data, warn_of_seen
from ception.evaluation.table import Table
from ception.files import mark, write_json
from ception.model_file import describe
from ception.options import CompareOptions
from ception.predictor import Predictor
from ception.reporting import Reporter, or_default
from ception.results import Changed, ClassComparison, Comparison
from ception.run_list import path_of
from ception.settings import CompareSettings, EvaluateSettings
from ception.validation import settings_of
from ception.values import as_typed

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

_SHOWN = 30  # pictures that changed sides


def compare(
    one: str | Path, other: str | Path, data: str | Path | None = None, *,
    reporter: Reporter | None = None, **options: Unpack[CompareOptions],
) -> Comparison:  # fmt: skip
    """Compare two models on the same pictures.

    The numbers, and a picture of some that changed sides, are written to the output folder.

    Args:
        one: A run folder or a model file.
        other: Another one.
        data: A data set, on which both are evaluated; None compares what two runs said of their test pictures.
        reporter: Receives notes, warnings and progress; None for what `ception.reporting.default` gives.
        options: Fields of `CompareSettings`.

    Raises:
        InputError: a model, the data or an option cannot be used, or the two know different classes or pictures.
        RunError: the data cannot be downloaded, or a file cannot be written.
    """
    settings = settings_of(CompareSettings, options)
    reporter = or_default(reporter)
    models = path_of(one, reporter=reporter), path_of(other, reporter=reporter)
    label = f"comparison-{_label(models[0])}-{_label(models[1])}"
    if data is None:
        if settings.split not in (None, "test"):
            raise InputError(f"--split {settings.split} needs DATA: without it, both runs' test pictures are compared")
        dataset = None
        first, second = _aligned(*map(_table_of_run, models))
    else:
        dataset = sources.load(data, cache_limit=settings.cache_limit, reporter=reporter)
        tables, chosen = _evaluated(models, dataset, str(data), settings, reporter)
        label += "-" + dataset.name[:40] + chosen.label.removeprefix(dataset.name)
        first, second = _aligned(*tables)
    output = settings.out or Path(label)
    result = replace(
        paired(first, second),
        models=(as_typed(one), as_typed(other)), data=None if data is None else str(data), output=str(output),
    )  # fmt: skip
    mark(output)
    write_json(output / "comparison.json", result.as_dict())
    if result.changed:
        dataset = dataset or _dataset_of_run(models[0], settings.cache_limit)
        if dataset is not None:
            _draw_changed(output / "changed.png", result.changed, dataset)
    return result


def paired(first: Table, second: Table) -> Comparison:
    """Two tables with the same pictures in the same order, compared on those that neither model was trained on.

    They are compared on all where each picture was in the training of one of them.
    """
    whole = group_scores(first.right), group_scores(second.right)
    seen = [None if table.seen is None else int(table.seen.sum()) for table in (first, second)]
    rows = np.intersect1d(_unseen(first), _unseen(second))
    left_out = 0 < len(rows) < len(first.labels)
    if left_out:
        first, second = first.take(rows), second.take(rows)
    count, names = len(first.labels), first.class_names
    gained, lost = ~first.right & second.right, first.right & ~second.right
    only_one, only_other = int(lost.sum()), int(gained.sum())
    p_value = mcnemar(only_one, only_other)
    called = [(names[a], names[b]) for a, b in zip(first.predicted, second.predicted, strict=True)]
    of_classes = ((name, first.labels == number) for number, name in enumerate(names))
    one, other = group_scores(first.right), group_scores(second.right)
    return Comparison(
        count=count,
        accuracy=(one.accuracy, other.accuracy),
        accuracy_interval=(one.accuracy_interval, other.accuracy_interval),
        difference=(only_other - only_one) / count,
        difference_interval=paired_interval(first.right, second.right),
        only_one_right=only_one,
        only_other_right=only_other,
        p_value=p_value,
        different=p_value < 0.05,
        per_class={
            name: ClassComparison(
                recall=(float(first.right[here].mean()), float(second.right[here].mean())),
                support=int(here.sum()),
                p_value=mcnemar(int(lost[here].sum()), int(gained[here].sum())),
            )
            for name, here in of_classes
            if here.any()
        },
        changed=tuple(
            Changed(
                path=first.paths[row],
                label=names[first.labels[row]],
                predicted=called[row],
            )
            for row in np.flatnonzero(gained | lost).tolist()
        ),
        seen_in_training=(seen[0], seen[1]),
        including_seen=whole if left_out else None,
    )


def _unseen(table: Table) -> NDArray[np.int64]:
    """The rows that were not in the model's training, as far as that is known."""
    return np.arange(len(table.labels)) if table.seen is None else np.flatnonzero(~table.seen)


def mcnemar(only_one: int, only_other: int) -> float:
    """Two-sided p-value of McNemar's exact test from the pictures that only one of two models gets right.

    Source: McNemar, Psychometrika 12 (1947), 153-157, with the exact binomial distribution.
    """
    from scipy.stats import binomtest

    disagreements = only_one + only_other
    return 1.0 if not disagreements else float(binomtest(only_one, disagreements).pvalue)


def paired_interval(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> tuple[float, float]:
    """The 95 % interval of the difference between two shares observed on the same pictures, other less one.

    Source: Newcombe, Statistics in Medicine 17 (1998), 2635-2650, method 10 (score intervals, with the
        correlation of the pairs and its continuity correction).
    """
    # SciPy and scikit-learn have none for pairs; statsmodels (its development version) would be one more dependency
    n = len(one)
    both, only_one = int((one & other).sum()), int((one & ~other).sum())
    only_other, neither = int((~one & other).sum()), int((~one & ~other).sum())
    p1, p2 = (both + only_other) / n, (both + only_one) / n
    (l1, u1), (l2, u2) = wilson_interval(both + only_other, n), wilson_interval(both + only_one, n)
    product = (both + only_other) * (only_one + neither) * (both + only_one) * (only_other + neither)
    cross = both * neither - only_other * only_one
    phi = 0.0
    if product:
        phi = (max(cross - n / 2, 0.0) if cross > 0 else float(cross)) / float(np.sqrt(float(product)))
    low = (p1 - l1) ** 2 - 2 * phi * (p1 - l1) * (u2 - p2) + (u2 - p2) ** 2
    high = (p2 - l2) ** 2 - 2 * phi * (p2 - l2) * (u1 - p1) + (u1 - p1) ** 2
    return p1 - p2 - float(np.sqrt(max(low, 0.0))), p1 - p2 + float(np.sqrt(max(high, 0.0)))


def _table_of_run(run: Path) -> Table:
    folder = run.parent if run.is_file() else run
    path = folder / "predictions.csv"
    if not path.is_file():
        raise InputError(f"{folder} holds no predictions.csv: name a finished run, or give DATA to evaluate both on")
    try:
        table = Table.read(path)
        if len(table.labels):
            return table
        raise ValueError
    except (ValueError, KeyError, IndexError, StopIteration, OSError, csv.Error):
        raise InputError(f"{path} is no table of predictions: give DATA to evaluate both models on") from None


def _evaluated(
    models: Sequence[Path], dataset: sources.Dataset, origin: str, settings: CompareSettings, reporter: Reporter
) -> tuple[list[Table], Selection]:
    """What the models say of one split of a data set, whose pictures are read once for both, and which these are."""
    described = [describe(model) for model in models]
    for description in described:
        description.require_weights()
    _require_same_classes(*(description.class_names for description in described))
    labels = [matched(dataset, description, reporter) for description in described]
    chosen = select(dataset, origin, settings.split, described, reporter)
    for model, description in zip(models, described, strict=True):
        warn_of_seen(description, chosen, reporter, str(model))
    with backends.on(settings.device, settings.backend), ExitStack() as stack:
        predictors = [
            stack.enter_context(Predictor.open(
                model, engine=settings.engine, dtype=settings.dtype, batch_size=EvaluateSettings().batch_size,
                pictures=len(chosen.indices), backend=settings.backend, device=settings.device,
                cache_limit=settings.cache_limit, reporter=reporter,
            )) for model in models
        ]  # fmt: skip
        for told in dict.fromkeys(told_of(predictor.engine) for predictor in predictors):
            reporter.note(f"Running on {told}")
        tables = [table for table, _ in tabulate_data(predictors, labels, dataset, chosen, reporter=reporter)]
    return tables, chosen


def _require_same_classes(one: Sequence[str], other: Sequence[str]) -> None:
    if odd := sorted(set(one) ^ set(other)):
        raise InputError(f"the models know different classes: only one of them knows {', '.join(map(repr, odd[:5]))}")


def _aligned(first: Table, second: Table) -> tuple[Table, Table]:
    """Both tables with the pictures in the order of the first and the classes in the order of the first."""
    _require_same_classes(first.class_names, second.class_names)
    same_order = first.paths == second.paths  # also where a path stands twice
    row_of = {name: row for row, name in enumerate(second.paths)}
    if len(first.paths) != len(second.paths) or any(name not in row_of for name in first.paths):
        raise InputError("the runs were tested on different pictures: give DATA to evaluate both on")
    columns = np.array([second.class_names.index(name) for name in first.class_names])
    if not same_order:
        second = second.take(np.array([row_of[name] for name in first.paths]))
    labels = np.argsort(columns)[second.labels]
    if (labels != first.labels).any():
        raise InputError("the runs were tested on pictures with different labels: give DATA to evaluate both on")
    return first, Table(second.paths, labels, second.logits[:, columns], first.class_names, second.seen)


def _label(model: Path) -> str:
    folder = model.parent if model.suffix == ".keras" else model
    return (folder.resolve().name if model.name == "model.keras" or model.is_dir() else model.stem)[:40]


def _dataset_of_run(model: Path, cache_limit: float) -> sources.Dataset | None:
    """The data set that a run was tested on; None where it is not where it was, and numbers stand without pictures."""
    folder = model.parent if model.is_file() else model
    try:
        return sources.load(json.loads((folder / "scores.json").read_text())["data"], cache_limit=cache_limit)
    except (OSError, ValueError, KeyError, TypeError):  # an InputError is a ValueError
        return None


def _draw_changed(path: Path, changed: Sequence[Changed], dataset: sources.Dataset) -> None:
    """Draw some of the pictures that only one of two models gets right."""
    from ception.evaluation.plots import contact_sheet

    chosen = np.unique(np.linspace(0, len(changed) - 1, _SHOWN).astype(int))  # of every class some
    wanted = {one.path: one for one in (changed[number] for number in chosen)}
    shown: list[tuple[Image.Image, Changed]] = []
    for index in range(len(dataset.pictures)):
        one = wanted.get(dataset.pictures.name(index))
        if one is not None:
            with suppress(PictureError):
                picture = flatten(dataset.pictures.open(index), 3)
                picture.thumbnail((256, 256))
                shown.append((picture, one))
    if shown:
        contact_sheet(
            [picture for picture, _ in shown],
            [one.label for _, one in shown],
            [" → ".join(one.predicted) for _, one in shown],
            [one.predicted[1] == one.label for _, one in shown],
            path,
        )
