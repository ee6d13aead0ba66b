"""Pictures that show how a training went and where a model errs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ception.evaluation.calibration import BINS, confidence, coverage_curve, reliability
from ception.evaluation.metrics import confusion_order
from ception.evaluation.table import Table
from ception.files import whole
from ception.reporting import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray
    from PIL import Image

_GOOD, _BAD = "#1a7f37", "#c0392b"
MOST_NUMBERS = 60  # classes up to which a confusion matrix shows its counts


def confusion(table: Table, path: Path) -> None:
    """Draw the confusion matrix: rows are labels, columns predictions, colour is the share of the row.

    The classes stand in the order of `confusion_order`.
    """
    names = table.class_names
    matrix = table.confusion()
    order = confusion_order(matrix, names)
    names, matrix = tuple(names[k] for k in order), matrix[np.ix_(order, order)]
    share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    side = min(20.0, 2.5 + 0.55 * len(names))
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.subplots()
    shown = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    size = max(3.0, min(10.0, 300 / len(names)))
    short = [name if len(name) <= 30 else f"{name[:28]}..." for name in names]
    axes.set_xticks(range(len(names)), short, rotation=45, ha="right", fontsize=size, parse_math=False)
    axes.set_yticks(range(len(names)), short, fontsize=size, parse_math=False)
    if len(names) <= MOST_NUMBERS:
        for row, column in np.argwhere(matrix):
            colour = "white" if share[row, column] > 0.5 else "black"
            axes.text(column, row, f"{matrix[row, column]}", ha="center", va="center", color=colour,
                      fontsize=min(8, size))  # fmt: skip
    axes.set(
        xlabel="predicted", ylabel="true", title=f"{matrix.trace():,} of {counted(int(matrix.sum()), 'picture')} right"
    )
    figure.colorbar(shown, ax=axes, label="share of the true class", shrink=0.8)
    _save(figure, path)


def curves(
    history: Sequence[Mapping[str, float]], best_epoch: int, path: Path, phase_names: Sequence[str] = ()
) -> None:
    """Draw `curves_figure` as PNG."""
    _save(curves_figure(history, best_epoch, phase_names), path)


def curves_figure(
    history: Sequence[Mapping[str, float]], best_epoch: int | None, phase_names: Sequence[str] = ()
) -> Figure:
    """Loss and accuracy over the epochs, with the borders between phases; of a head alone, over its penalties.

    The axis of the loss begins at 0, that of the accuracy is `_share_axis`.

    Args:
        history: For each epoch `epoch` from 1 on, `loss`, `accuracy`, `val_loss`, `val_accuracy`, and `phase` from 1
            on; before these, of the epoch 0, the same and `penalty` for each head that was solved.
        best_epoch: Number of the epoch whose weights are kept, which is marked; 0 for a solved head.
        phase_names: What the phases are called; numbers alone where it is empty.
    """
    figure, left, right = _pair()
    solved = [row for row in history if not row["epoch"]]
    best = [min(solved, key=lambda row: row["val_loss"])] if solved else []
    alone = len(solved) == len(history)
    history = solved if alone else [*best, *history[len(solved) :]]
    places = [row["penalty" if alone else "epoch"] for row in history]
    kept = "the solved head" if best_epoch == 0 else f"epoch {best_epoch}"
    for axes, key in ((left, "loss"), (right, "accuracy")):
        axes.plot(places, [row[key] for row in history], marker="o", markersize=3, label="training")
        axes.plot(places, [row[f"val_{key}"] for row in history], marker="o", markersize=3, label="validation")
        if alone:
            axes.axvline(best[0]["penalty"], color="grey", linestyle=":", label=f"kept: {best[0]['penalty']:g}")
        elif best_epoch is not None:
            axes.axvline(best_epoch, color="grey", linestyle=":", label=f"kept: {kept}")
        for first, name in _borders(history, phase_names):
            axes.axvline(first - 0.5, color="grey", linestyle="--", linewidth=1, label=f"{name} from epoch {first}")
        axes.set(xlabel="penalty of the head's weights" if alone else "epoch", ylabel=key)
        if key == "loss":
            highest = min(max(3, 1.2 * history[0][key]), axes.get_ylim()[1])  # one peak hides no curve
            axes.set_ylim(0, 1.05 * highest)  # what hardly falls lies below the frame, not on it
        else:
            _share_axis(axes, [row[name] for row in history for name in (key, f"val_{key}")])
        if alone:
            axes.set_xscale("log")
            axes.invert_xaxis()  # in the order in which they were tried
        else:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend(framealpha=0)
    return figure


def _borders(history: Sequence[Mapping[str, float]], phase_names: Sequence[str]) -> list[tuple[int, str]]:
    """The first epoch of every phase but the first, with what the phase is called."""
    phases = [int(row.get("phase", 1)) for row in history]
    return [
        (int(row["epoch"]), phase_names[now - 1] if now <= len(phase_names) else f"phase {now}")
        for row, (before, now) in zip(history[1:], pairwise(phases), strict=True) if now != before
    ]  # fmt: skip


def _share_axis(axes: Axes, values: Sequence[float]) -> None:
    """Give shares an axis that ends at 1 and begins at 0, or at 0.5 where all lie above: small gains look small."""
    axes.set_ylim(0.5 if min(values) >= 0.5 else 0, 1.01)


def learning_rates(
    rates: Sequence[float], losses: Sequence[float], errors: Sequence[float], *, level: float,
    suggestion: float | None, title: str, path: Path,
) -> None:  # fmt: skip
    """Draw `learning_rates_figure` as PNG."""
    _save(learning_rates_figure(rates, losses, errors, level=level, suggestion=suggestion, title=title), path)


def learning_rates_figure(
    rates: Sequence[float], losses: Sequence[float], errors: Sequence[float], *, level: float,
    suggestion: float | None, title: str,
) -> Figure:  # fmt: skip
    """The loss after a short training over its learning rate; the axis begins at 0 and ends a bit above the level.

    What lies above, or broke down, is a triangle at the upper edge. The rates that do no good are grey.

    Args:
        rates: Rising.
        losses: After a training with each; may be infinite.
        errors: How far each may be from the lowest one by chance, which is drawn as bars.
        level: The loss before the first step.
        suggestion: The rate that is suggested, if any is.
        title: What is drawn.
    """
    figure, axes = _single((7, 4))
    top, x, y = 1.3 * level, np.array(rates), np.array(losses)
    shown = y <= top
    axes.errorbar(x[shown], y[shown], np.array(errors)[shown], marker="o", markersize=4, capsize=3,
                  label="validation loss afterwards")  # fmt: skip
    if not shown.all():
        axes.plot(x[~shown], np.full((~shown).sum(), 0.97 * top), "^", color=_BAD, label="far above, or no number")
    axes.axhline(level, color="grey", linestyle="--", linewidth=1, label="before the first step")
    edges = np.array([x[0] / math.sqrt(3), *np.sqrt(x[1:] * x[:-1]), x[-1] * math.sqrt(3)])
    for number in np.flatnonzero(~(y < level)):
        axes.axvspan(edges[number], edges[number + 1], color="grey", alpha=0.15, linewidth=0)
    if suggestion is not None:
        axes.axvline(suggestion, color=_GOOD, linestyle=":", label=f"suggested: {suggestion:g}")
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss", title=title, xlim=(edges[0], edges[-1]))
    axes.set_ylim(0, top)
    axes.set_xticks(x, [f"{rate:.2g}" for rate in rates])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(framealpha=0.6, fontsize=9)
    return figure


def reliability_figure(table: Table, temperature: float) -> Figure:
    """Accuracy over confidence with and without the temperature, and how many pictures have which confidence."""
    figure, left, right = _pair()
    left.plot([0, 1], [0, 1], color="grey", linestyle=":", label="perfect")
    kinds = [(temperature, f"temperature {temperature:.2f}", "-"), (1.0, "without", "--")]
    for value, label, style in kinds if temperature != 1 else kinds[:1]:
        rows = reliability(table.right, confidence(table.logits, value))
        left.plot([row.confidence for row in rows], [row.accuracy for row in rows], style,
                  marker="o", markersize=4, label=label)  # fmt: skip
    left.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1.02))
    left.legend(framealpha=0)
    left.grid(alpha=0.3)
    right.hist(confidence(table.logits, temperature), bins=np.linspace(0, 1, BINS + 1).tolist())
    right.set(xlabel="confidence", ylabel="pictures", xlim=(0, 1))
    right.yaxis.set_major_locator(MaxNLocator(integer=True))
    right.grid(alpha=0.3)
    return figure


def coverage_figure(table: Table, temperature: float) -> Figure:
    """Precision and threshold over the share of pictures that are answered."""
    curve = coverage_curve(table.right, confidence(table.logits, temperature))
    covered = [point.coverage for point in curve]
    figure, axes = _single((10, 4))
    axes.plot(covered, [point.precision for point in curve], label="precision of the answers")
    axes.plot(covered, [point.threshold for point in curve], "--", label="threshold (--min-confidence)")
    axes.set(xlabel="share of pictures answered", xlim=(0, 1))
    _share_axis(axes, [value for point in curve for value in (point.precision, point.threshold)])
    axes.grid(alpha=0.3)
    axes.legend(framealpha=0)
    return figure


def contact_sheet(
    pictures: Sequence[NDArray[np.uint8] | Image.Image], labels: Sequence[str], said: Sequence[str],
    right: Sequence[bool], path: Path,
) -> None:  # fmt: skip
    """Draw pictures in a grid with what was said of them, the wrong ones in red and with their true names."""
    columns = min(5, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    width, height = 1.9 * columns, 2.35 * rows
    figure = Figure(figsize=(width, height))
    place = {"left": 0.05 / width, "right": 1 - 0.05 / width, "bottom": 0.05 / height, "top": 1 - 0.4 / height}
    grid = figure.subplots(rows, columns, squeeze=False, gridspec_kw=place | {"wspace": 0.06, "hspace": 0.26})
    for axes in grid.flat:
        axes.axis("off")
    for axes, picture, label, text, good in zip(grid.flat, pictures, labels, said, right, strict=False):
        axes.imshow(np.asarray(picture), cmap="gray", vmin=0, vmax=255)
        title = text if good else f"{text}\ntrue: {label}"
        axes.set_title(title, fontsize=9, color=_GOOD if good else _BAD, parse_math=False)
    _save(figure, path)


# Margins that fit numbers and names of axes, in inches: to have Matplotlib find them takes as long as the drawing
_LEFT, _RIGHT, _BOTTOM, _TOP = 0.65, 0.15, 0.55, 0.35


def _pair() -> tuple[Figure, Axes, Axes]:
    """A figure of 10 x 4 inches with two axes beside one another."""
    figure = Figure(figsize=(10, 4))
    left, right = figure.subplots(1, 2, gridspec_kw=_margins(10, 4) | {"wspace": 0.18})
    return figure, left, right


def _single(size: tuple[float, float]) -> tuple[Figure, Axes]:
    """A figure of this width and height in inches with one axes."""
    figure = Figure(figsize=size)
    return figure, figure.subplots(gridspec_kw=_margins(*size))


def _margins(width: float, height: float) -> dict[str, float]:
    return {
        "left": _LEFT / width, "right": 1 - _RIGHT / width, "bottom": _BOTTOM / height, "top": 1 - _TOP / height,
    }  # fmt: skip


def _save(figure: Figure, path: Path) -> None:
    with whole(path) as unfinished:
        figure.savefig(unfinished, format="png", dpi=120)
