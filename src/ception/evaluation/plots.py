"""Pictures that show how a training went and where a model errs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ception.evaluation.metrics import confusion_matrix
from ception.evaluation.table import Table
from ception.files import whole

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

_GOOD, _BAD = "#1a7f37", "#c0392b"
_MOST_NUMBERS = 30  # classes up to which the confusion matrix shows its counts


def confusion(table: Table, path: Path) -> None:
    """Draw the confusion matrix: rows are labels, columns predictions, colour is the share of the row."""
    names = table.class_names
    matrix = confusion_matrix(table.labels, table.logits.argmax(-1), len(names))
    share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    side = min(20.0, 2.5 + 0.55 * len(names))
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.subplots()
    shown = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    size = max(3.0, min(10.0, 300 / len(names)))
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize=size, parse_math=False)
    axes.set_yticks(range(len(names)), names, fontsize=size, parse_math=False)
    if len(names) <= _MOST_NUMBERS:
        for row, column in np.argwhere(matrix):
            colour = "white" if share[row, column] > 0.5 else "black"
            axes.text(column, row, f"{matrix[row, column]}", ha="center", va="center", color=colour, fontsize=8)
    axes.set(xlabel="predicted", ylabel="true", title=f"{matrix.trace()} of {matrix.sum()} right")
    figure.colorbar(shown, ax=axes, label="share of the true class", shrink=0.8)
    _save(figure, path)


def curves(history: Sequence[dict[str, float]], best_epoch: int, path: Path) -> None:
    """Draw loss and accuracy over the epochs, the kept epoch marked.

    Args:
        history: For each epoch from 1 on `loss`, `accuracy`, `val_loss`, `val_accuracy`.
        best_epoch: Number of the epoch whose weights are kept, from 1 on.
        path: The PNG.
    """
    epochs = range(1, len(history) + 1)
    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, key, low, high in zip(figure.subplots(1, 2), ("loss", "accuracy"), (0, None), (None, 1), strict=True):
        axes.plot(epochs, [row[key] for row in history], marker="o", markersize=3, label="training")
        axes.plot(epochs, [row[f"val_{key}"] for row in history], marker="o", markersize=3, label="validation")
        axes.axvline(best_epoch, color="grey", linestyle=":", label=f"kept: epoch {best_epoch}")
        axes.set(xlabel="epoch", ylabel=key)
        if low is not None:
            axes.set_ylim(low, min(3, axes.get_ylim()[1]))
        if high is not None:
            axes.set_ylim(top=high)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    _save(figure, path)


def contact_sheet(
    pictures: Sequence[NDArray[np.uint8] | Image.Image], labels: Sequence[str], predicted: Sequence[str],
    probabilities: Sequence[float], path: Path,
) -> None:  # fmt: skip
    """Draw pictures in a grid with true and predicted names, the wrong ones in red."""
    columns = min(5, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    figure = Figure(figsize=(1.9 * columns, 2.35 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, picture, label, name, probability in zip(
        grid.flat, pictures, labels, predicted, probabilities, strict=False
    ):
        pixels = np.asarray(picture)
        axes.imshow(
            pixels[..., 0] if pixels.ndim == 3 and pixels.shape[-1] == 1 else pixels, cmap="gray", vmin=0, vmax=255
        )
        right = label == name
        said = f"{name} {probability:.0%}" + ("" if right else f"\ntrue: {label}")
        axes.set_title(said, fontsize=9, color=_GOOD if right else _BAD, parse_math=False)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    with whole(path) as unfinished:
        figure.savefig(unfinished, format="png", dpi=120)
