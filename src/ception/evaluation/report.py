"""One page that says how good a model is and where it errs, with pictures; it needs nothing outside itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ception import pages
from ception.data.images import PictureError, flatten
from ception.evaluation import plots
from ception.evaluation.calibration import log_probabilities, threshold_for
from ception.evaluation.table import Table

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from ception.results import CoveragePoint, Scores

_SHOWN = 24  # pictures in a gallery: with thumbnails below 12 KB the page stays below 1 MB
_THUMBNAIL = 144  # pixels
_MOST_CELLS = 40  # classes up to which the confusion matrix is shown whole


def write_report(
    path: Path,
    table: Table,
    scores: Scores,
    *,
    picture: Callable[[int], Image.Image],
    coverage: Sequence[CoveragePoint] = (),
    history: Sequence[dict[str, float]] = (),
    footer: str = "",
) -> None:
    """Write report.html: scores, curves, classes, confusion, calibration, coverage, and telling pictures.

    Args:
        path: The file.
        table: What the model said of each picture that is scored.
        scores: What `ception.evaluate` returns.
        picture: Gives the picture of a row of the table; may raise `PictureError`.
        coverage: Precision and coverage on the validation pictures, for the advice on a threshold.
        history: The rows of the training, if it is known.
        footer: A last line.
    """
    context = {
        "title": f"{scores.accuracy:.1%} of {scores.count:,} pictures right"
        + (", but all were in the training" if scores.all_seen else ""),
        "cautions": scores.cautions,
        "subtitle": f"{scores.model or 'a model'} on {scores.pictures_scored} of {scores.data}",
        "numbers": _numbers(scores),
        "curves": pages.svg(plots.curves_figure(history, _kept(history))) if history else None,
        "per_class": sorted(scores.per_class.items(), key=lambda item: item[1].f1),
        "slices": scores.slices,
        "class_names": table.class_names,
        "matrix": _cells(table) if len(table.class_names) <= _MOST_CELLS else None,
        "confused": scores.confused,
        "calibration": _calibration(scores),
        "reliability": pages.svg(plots.reliability_figure(table, scores.temperature)),
        "coverage_text": _advice(coverage),
        "coverage": pages.svg(plots.coverage_figure(table, scores.temperature)),
        "galleries": _galleries(table, scores.temperature, picture),
        "footer": footer,
    }
    pages.render("evaluation/report.html.jinja", context, path)


def likely_label_errors(labels: NDArray[np.integer], probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
    """Pictures whose label the model contradicts as surely as it usually names that other class, surest first.

    Args:
        labels: Index of the class each picture is labelled with, of shape (pictures,).
        probabilities: Of shape (pictures, classes), from a model that was not trained on these pictures.

    Returns:
        Indices of pictures.

    Source: Northcutt et al., Confident Learning, arXiv:1911.00068, section 3.1: a picture is suspected if the
        probability of another class is at least the mean that the pictures labelled with that class have.
    """
    classes = probabilities.shape[1]
    usual = np.array([probabilities[labels == k, k].mean() if (labels == k).any() else 1.1 for k in range(classes)])
    as_usual = np.where(probabilities >= usual, probabilities, -1.0)
    best = as_usual.argmax(-1)
    suspected = np.flatnonzero((best != labels) & (as_usual.max(-1) > 0))
    margin = probabilities[suspected, best[suspected]] - probabilities[suspected, labels[suspected]]
    return suspected[np.argsort(-margin, kind="stable")]


def _kept(history: Sequence[dict[str, float]]) -> int:
    return int(min(history, key=lambda row: row["val_loss"])["epoch"])


def _numbers(scores: Scores) -> list[tuple[str, str, str]]:
    """What the page shows first: names, values and notes."""
    low, high = scores.accuracy_interval
    numbers = [
        ("Accuracy", f"{scores.accuracy:.1%}", f"95 % interval {low:.1%} to {high:.1%}"),
        ("Balanced accuracy", f"{scores.balanced_accuracy:.1%}", "every class counts the same"),
        ("Log loss", f"{scores.log_loss:.3f}", "lower is better"),
        ("Calibration error", f"{scores.calibration_error:.3f}", "0 is perfect"),
    ]
    if scores.top5_accuracy is not None:
        numbers.insert(2, ("Top-5 accuracy", f"{scores.top5_accuracy:.1%}", "true class among the first five"))
    if one := scores.selective:
        numbers.append((
            f"Wished precision {one.wished:.1%}", f"{one.precision:.1%}" if one.count else "none",
            f"answering {one.coverage:.1%} with --min-confidence {one.min_confidence:.6f}",
        ))  # fmt: skip
    return numbers


def _cells(table: Table) -> list[tuple[str, list[tuple[int, float]]]]:
    """The rows of the confusion matrix: the true class, and for each predicted one the count and its share."""
    matrix = table.confusion()
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    return [
        (name, list(zip(counts.tolist(), of_row.tolist(), strict=True)))
        for name, counts, of_row in zip(table.class_names, matrix, shares, strict=True)
    ]


def _calibration(scores: Scores) -> str:
    return (
        "Where the curve lies on the diagonal, of the pictures called 80 % sure 80 % are right. Mean distance "
        f"{scores.calibration_error:.3f} with the model's temperature {scores.temperature:.2f}, "
        f"{scores.uncalibrated.calibration_error:.3f} without it."
    )


def _advice(curve: Sequence[CoveragePoint]) -> str:
    text = "Left out are the pictures the model is least sure of."
    advice = []
    for precision in (0.95, 0.97, 0.99):
        threshold = threshold_for(precision, curve)
        if threshold is not None:
            advice.append(f"{precision:.0%} from --min-confidence {threshold:.6f} on")
    return text + (f" By the validation pictures the precision is at least {', '.join(advice)}." if advice else "")


@dataclass(frozen=True)
class _Shown:
    """A picture in a gallery: its data URI, what the model says of it, its class and name, whether that is right."""

    source: str
    said: str
    label: str
    name: str
    right: bool


def _galleries(
    table: Table, temperature: float, picture: Callable[[int], Image.Image]
) -> list[tuple[str, str, list[_Shown]]]:
    """Headings, texts and pictures."""
    logarithms = log_probabilities(table.logits, temperature)
    probabilities = np.exp(logarithms)
    wrong = np.flatnonzero(~table.right)
    worst = wrong[np.argsort(logarithms[wrong, table.labels[wrong]], kind="stable")]
    ranked = np.sort(probabilities, -1)
    doubtful = np.argsort(ranked[:, -1] - ranked[:, -2], kind="stable")
    suspected = likely_label_errors(table.labels, probabilities)
    sure = probabilities.max(-1)
    none = "" if len(wrong) else " There are none."
    return [
        ("Worst mistakes", f"Wrong, and surest of it.{none}", _gallery(table, sure, worst, picture)),
        ("Most doubtful", "The first two classes are nearly as probable.", _gallery(table, sure, doubtful, picture)),
        (
            "Likely label errors",
            f"{len(suspected):,} pictures whose label the model contradicts as surely as it usually names the other "
            "class. Look whether the label or the model is wrong.",
            _gallery(table, sure, suspected, picture),
        ),
    ]


def _gallery(
    table: Table, sure: NDArray[np.float64], rows: NDArray[np.integer], picture: Callable[[int], Image.Image]
) -> list[_Shown]:
    """The first of these rows whose pictures can still be read."""
    predicted = table.predicted
    readable = ((row, source) for row in rows.tolist() if (source := _thumbnail(picture, row)) is not None)
    return [
        _Shown(
            source=source,
            said=f"{table.class_names[predicted[row]]} {sure[row]:.1%}",
            label=table.class_names[table.labels[row]],
            name=Path(table.paths[row]).name,
            right=bool(table.right[row]),
        )
        for row, source in islice(readable, _SHOWN)
    ]


def _thumbnail(picture: Callable[[int], Image.Image], row: int) -> str | None:
    """The picture as a data URI; None where it cannot be read."""
    try:
        image = flatten(picture(row), 3)
    except PictureError:
        return None
    return pages.thumbnail(image, _THUMBNAIL)
