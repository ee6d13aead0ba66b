"""One page that says how good a model is and where it errs, with pictures; it needs nothing outside itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ception import pages
from ception.data.images import PictureError, flatten
from ception.evaluation import plots
from ception.evaluation.calibration import log_probabilities, threshold_for
from ception.evaluation.table import Table

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

_SHOWN = 24  # pictures in a gallery: with thumbnails below 12 KB the page stays below 1 MB
_THUMBNAIL = 144  # pixels
_MOST_CELLS = 40  # classes up to which the confusion matrix is shown whole


def write_report(
    path: Path,
    table: Table,
    scores: dict[str, Any],
    *,
    picture: Callable[[int], Image.Image],
    coverage: Sequence[dict[str, float]] = (),
    history: Sequence[dict[str, float]] = (),
    footer: str = "",
) -> None:
    """Write report.html: scores, curves, classes, confusion, calibration, coverage, and telling pictures.

    Args:
        path: The file.
        table: What the model said of each picture.
        scores: What `ception.evaluate` returns.
        picture: Gives the picture of a row of the table; may raise `PictureError`.
        coverage: Precision and coverage on the validation pictures, for the advice on a threshold.
        history: The rows of the training, if it is known.
        footer: A last line.
    """
    temperature = scores["temperature"]
    names = table.class_names
    matrix = table.confusion()
    share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    rows = [(name, list(zip(matrix[k].tolist(), share[k].tolist(), strict=True))) for k, name in enumerate(names)]
    context = {
        "title": f"{scores['accuracy']:.1%} of {scores['count']:,} pictures right",
        "subtitle": f"{scores['model'] or 'a model'} on the {scores['split']} pictures of {scores['data']}",
        "numbers": _numbers(scores),
        "curves": pages.svg(plots.curves_figure(history, _kept(history))) if history else None,
        "per_class": sorted(scores["per_class"].items(), key=lambda item: item[1]["f1"]),
        "slices": scores.get("slices"),
        "class_names": names,
        "matrix": rows if len(names) <= _MOST_CELLS else None,
        "confused": scores["confused"],
        "calibration": (
            f"Where the curve lies on the diagonal, of the pictures called 80 % sure 80 % are right. Mean distance "
            f"{scores['calibration_error']:.3f} with the model's temperature {temperature:.2f}, "
            f"{scores['uncalibrated']['calibration_error']:.3f} without it."
        ),
        "reliability": pages.svg(plots.reliability_figure(table, temperature)),
        "coverage_text": _advice(coverage),
        "coverage": pages.svg(plots.coverage_figure(table, temperature)),
        "galleries": _galleries(table, temperature, picture),
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


def _numbers(scores: dict[str, Any]) -> list[tuple[str, str, str]]:
    low, high = scores["accuracy_interval"]
    numbers = [
        ("Accuracy", f"{scores['accuracy']:.1%}", f"95 % interval {low:.1%} to {high:.1%}"),
        ("Balanced accuracy", f"{scores['balanced_accuracy']:.1%}", "every class counts the same"),
        ("Log loss", f"{scores['log_loss']:.3f}", "lower is better"),
        ("Calibration error", f"{scores['calibration_error']:.3f}", "0 is perfect"),
    ]
    if scores["top5_accuracy"] is not None:
        numbers.insert(2, ("Top-5 accuracy", f"{scores['top5_accuracy']:.1%}", "true class among the first five"))
    if wished := scores.get("selective"):
        numbers.append((
            f"Wished precision {wished['wished']:.1%}", f"{wished['precision']:.1%}" if wished["count"] else "none",
            f"answering {wished['coverage']:.1%} with --min-confidence {wished['min_confidence']:.6f}",
        ))  # fmt: skip
    return numbers


def _advice(curve: Sequence[dict[str, float]]) -> str:
    text = "Left out are the pictures the model is least sure of."
    advice = []
    for precision in (0.95, 0.97, 0.99):
        threshold = threshold_for(precision, list(curve))
        if threshold is not None:
            advice.append(f"{precision:.0%} from --min-confidence {threshold:.6f} on")
    return text + (f" By the validation pictures the precision is at least {', '.join(advice)}." if advice else "")


def _galleries(
    table: Table, temperature: float, picture: Callable[[int], Image.Image]
) -> list[tuple[str, str, list[dict[str, Any]]]]:
    logarithms = log_probabilities(table.logits, temperature)
    probabilities = np.exp(logarithms)
    rows = np.arange(len(table.labels))
    wrong = np.flatnonzero(~table.right)
    worst = wrong[np.argsort(logarithms[rows, table.labels][wrong], kind="stable")]
    ranked = np.sort(probabilities, -1)
    doubtful = np.argsort(ranked[:, -1] - ranked[:, -2], kind="stable")
    suspected = likely_label_errors(table.labels, probabilities)
    none = "" if len(wrong) else " There are none."

    def shown(indices: NDArray[np.integer]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for index in indices.tolist():
            if len(found) == _SHOWN:
                break
            source = _thumbnail(picture, index)
            if source is not None:
                name = table.class_names[table.predicted[index]]
                found.append({
                    "source": source, "said": f"{name} {probabilities[index].max():.1%}",
                    "label": table.class_names[table.labels[index]], "name": Path(table.paths[index]).name,
                    "right": bool(table.right[index]),
                })  # fmt: skip
        return found

    return [
        ("Worst mistakes", f"Wrong, and surest of it.{none}", shown(worst)),
        ("Most doubtful", "The first two classes are nearly as probable.", shown(doubtful)),
        (
            "Likely label errors",
            f"{len(suspected):,} pictures whose label the model contradicts as surely as it usually names the other "
            "class. Look whether the label or the model is wrong.",
            shown(suspected),
        ),
    ]


def _thumbnail(picture: Callable[[int], Image.Image], index: int) -> str | None:
    try:
        image = flatten(picture(index), 3)
    except PictureError:
        return None
    return pages.thumbnail(image, _THUMBNAIL)
