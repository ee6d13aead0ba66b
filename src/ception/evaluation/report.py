"""One page that says how good a model is and where it errs, with pictures; it needs nothing outside itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ception import pages
from ception.data.images import PictureError, flatten
from ception.evaluation import plots
from ception.evaluation.calibration import log_probabilities, short_threshold_for
from ception.evaluation.metrics import MOST_IN_ORDER, confusion_order
from ception.evaluation.table import Table
from ception.reporting import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from ception.evaluation.provenance import Provenance
    from ception.explaining.insight import Insight
    from ception.results import CoveragePoint, Scores

_SHOWN = 24  # pictures in a gallery: with thumbnails below 12 KB the page stays below 1 MB
_THUMBNAIL = 144  # pixels
_INTO = 12  # mistakes that are looked into: more, and the page is above 1 MB
_SURE = 0.5  # probability of what a model is sure of at least
_DOUBTFUL = 0.2  # most by which the first class is ahead of the second where a picture is doubtful


def write_report(
    path: Path,
    table: Table,
    scores: Scores,
    *,
    picture: Callable[[int], Image.Image],
    coverage: Sequence[CoveragePoint] = (),
    history: Sequence[Mapping[str, float]] = (),
    insight: Callable[[Image.Image], Insight] | None = None,
    training: Provenance | None = None,
    footer: str = "",
) -> None:
    """Write report.html: scores, the training, curves, classes, confusion, calibration, coverage, telling pictures.

    Args:
        path: The file.
        table: What the model said of each picture that is scored.
        scores: What `ception.evaluate` returns.
        picture: Gives the picture of a row of the table; may raise `PictureError`.
        coverage: Precision and coverage on the validation pictures, for the advice on a threshold.
        history: The rows of the training, if it is known.
        insight: Gives what the model sees in a picture; None leaves that out.
        training: What was trained and how, if that is known.
        footer: A last line.
    """
    names = training.phase_names if training else ()
    cells = _Matrix.of(table) if len(table.class_names) <= plots.MOST_NUMBERS else None
    context = {
        "title": f"{scores.accuracy:.1%} of {counted(scores.count, 'picture')} right"
        + (", but all were in the training" if scores.all_seen else ""),
        "cautions": scores.cautions,
        "subtitle": f"{scores.model or 'a model'} on {scores.pictures_scored} of {scores.data}",
        "numbers": _numbers(scores),
        "training": training,
        "curves": pages.svg(plots.curves_figure(history, _kept(history), names)) if history else None,
        "per_class": sorted(scores.per_class.items(), key=lambda item: item[1].f1),
        "slices": scores.slices,
        "classes": counted(len(table.class_names), "class"),
        "matrix": cells,
        "confused": scores.confused,
        "calibration": _calibration(scores),
        "reliability": pages.svg(plots.reliability_figure(table, scores.temperature)),
        "coverage_text": _advice(coverage),
        "coverage": pages.svg(plots.coverage_figure(table, scores.temperature)),
        "galleries": _galleries(table, scores.temperature, picture, _ahead(scores), insight),
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


def _kept(history: Sequence[Mapping[str, float]]) -> int:
    return int(min(history, key=lambda row: row["val_loss"])["epoch"])


def _ahead(scores: Scores) -> bool:
    """Whether the model is right more often than the largest class for every picture, and than thumbnails tell."""
    of_thumbnails = scores.thumbnails is None or scores.thumbnails.difference > 0
    return scores.accuracy > scores.majority_share and of_thumbnails


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
    if linear := scores.thumbnails:
        low, high = linear.difference_interval
        numbers.append((
            "Linear classifier", f"{linear.accuracy:.1%}",
            f"on thumbnails of {linear.side} x {linear.side}; the network {100 * low:+.1f} to {100 * high:+.1f} points",
        ))  # fmt: skip
    if one := scores.selective:
        numbers.append((
            f"Wished precision {one.wished:.1%}", f"{one.precision:.1%}" if one.count else "none",
            f"answering {one.coverage:.1%} with --min-confidence {one.min_confidence:g}",
        ))  # fmt: skip
    return numbers


@dataclass(frozen=True)
class _Matrix:
    """The confusion matrix as it is shown: names in their order, and for each row the counts with their shares."""

    names: tuple[str, ...]
    rows: list[list[tuple[int, float]]]
    clustered: bool

    @classmethod
    def of(cls, table: Table) -> _Matrix:
        """That of a table."""
        matrix, names = table.confusion(), table.class_names
        order = confusion_order(matrix, names)
        matrix = matrix[np.ix_(order, order)]
        shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
        rows = [list(zip(*both, strict=True)) for both in zip(matrix.tolist(), shares.tolist(), strict=True)]
        return cls(tuple(names[k] for k in order), rows, clustered=len(names) > MOST_IN_ORDER)


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
        threshold = short_threshold_for(precision, curve)
        if threshold is not None:
            advice.append(f"{precision:.0%} from --min-confidence {_threshold(threshold)} on")
    if not advice:
        return (
            f"{text} The validation pictures promise no precision of 95 % or more at any threshold: they are too few, "
            "or the model is too often surely wrong."
        )
    return f"{text} By the validation pictures the precision is at least {', '.join(advice)}."


def _threshold(confidence: float) -> str:
    """A confidence with two digits, or all that it has."""
    return max(f"{confidence:.2f}", f"{confidence:g}", key=len)


@dataclass(frozen=True)
class _Shown:
    """A picture in a gallery.

    Attributes:
        source: Its data URI.
        said: What the model says of it.
        label: Its class.
        name: Its name.
        right: Whether what the model says is right.
        heat: The picture with what spoke for that over it, as a data URI; None where it was not looked into.
        nearest: The training pictures most like it, as data URIs, each with its class, its distance and its name.
    """

    source: str
    said: str
    label: str
    name: str
    right: bool
    heat: str | None = None
    nearest: Sequence[tuple[str, str, str]] = ()

    @property
    def looked_into(self) -> bool:
        """Whether there is more to show than the picture."""
        return bool(self.heat or self.nearest)


def _galleries(
    table: Table,
    temperature: float,
    picture: Callable[[int], Image.Image],
    ahead: bool,
    insight: Callable[[Image.Image], Insight] | None,
) -> list[tuple[str, str, list[_Shown]]]:
    """Headings, texts and pictures; labels are doubted by a model alone that is ahead of guessing."""
    probabilities = np.exp(log_probabilities(table.logits, temperature))
    sure, ranked = probabilities.max(-1), np.sort(probabilities, -1)
    margin = ranked[:, -1] - ranked[:, -2]
    wrong = np.flatnonzero(~table.right)
    mistakes = wrong[np.argsort(-sure[wrong], kind="stable")]
    closest = np.argsort(margin, kind="stable")
    doubtful = closest[: int((margin < _DOUBTFUL).sum()) or None]
    suspected = likely_label_errors(table.labels, probabilities) if ahead else np.empty(0, np.int64)
    galleries = []
    kinds: tuple[tuple[str, NDArray[np.integer], Callable[[list[int]], str]], ...] = (
        ("Worst mistakes", mistakes, lambda shown: _told_mistakes(sure[shown])),
        ("Most doubtful", doubtful, lambda shown: _told_doubtful(margin[shown])),
        ("Likely label errors", suspected, lambda shown: _told_suspected(ahead, shown)),
    )
    for heading, rows, told in kinds:
        thumbnails = _thumbnails(rows, picture)
        if len(rows) and not thumbnails:
            text = f"{counted(len(rows), 'picture')}, of which none can be read any more."
        else:
            text = told([row for row, _ in thumbnails])
        if len(rows) > len(thumbnails) > 0:
            text = f"{len(thumbnails)} of {len(rows):,} pictures are shown. {text}"
        second = heading == "Most doubtful"
        shown = [_shown(table, probabilities, *one, second) for one in thumbnails]
        if insight is not None and rows is mistakes:
            for place, (row, _) in enumerate(thumbnails[:_INTO]):
                shown[place] = _looked_into(shown[place], picture(row), insight)
        galleries.append((heading, text, shown))
    return galleries


def _looked_into(shown: _Shown, image: Image.Image, insight: Callable[[Image.Image], Insight]) -> _Shown:
    """A picture of a gallery with what the model sees in it."""
    found = insight(image)
    nearest = [
        (pages.data_uri(small), f"{one.class_name} {one.distance:.2f}", Path(one.path).name)
        for one, small in found.nearest
    ]
    heat = None if found.heat is None else pages.thumbnail(found.heat, _THUMBNAIL)
    return replace(shown, heat=heat, nearest=nearest)


def _told_mistakes(sure: NDArray[np.float64]) -> str:
    """The text above mistakes, from the probabilities of what was said, the surest first."""
    if not len(sure):
        return "There are none."
    told = f"Named wrong, with a probability of {sure[0]:.1%}."
    if len(sure) > 1:
        told = f"Named wrong, the surest first: from {sure[0]:.1%} down to {sure[-1]:.1%}."
    return told if sure[0] >= _SURE else f"{told} The model was sure of none."


def _told_doubtful(margin: NDArray[np.float64]) -> str:
    """The text above the closest pictures, from how far the first class is ahead of the second."""
    if margin[0] >= _DOUBTFUL:
        return f"None is doubtful: the first class is ahead by {margin[0]:.1%} or more. These are the closest."
    return f"The first two classes are nearly as probable: the first is ahead by {margin[-1]:.1%} at most."


def _told_suspected(ahead: bool, shown: Sequence[int]) -> str:
    """The text above pictures whose labels may be wrong."""
    if not ahead:
        return "None are named: what is no better than guessing, or than thumbnails, says nothing of labels."
    if not shown:
        return "There are none: the model contradicts no label as surely as it usually names the other class."
    return (
        "The model contradicts the label as surely as it usually names the other class. "
        "Look whether the label or the model is wrong."
    )


def _thumbnails(rows: NDArray[np.integer], picture: Callable[[int], Image.Image]) -> list[tuple[int, str]]:
    """The first of these rows whose pictures can still be read, with these as data URIs."""
    found = ((row, source) for row in rows.tolist() if (source := _thumbnail(picture, row)) is not None)
    return list(islice(found, _SHOWN))


def _shown(table: Table, probabilities: NDArray[np.float64], row: int, source: str, second: bool) -> _Shown:
    """A picture of a gallery, with the second class where that is asked for."""
    named = np.argsort(-probabilities[row], kind="stable")[: 2 if second else 1].tolist()
    return _Shown(
        source=source,
        said=", ".join(f"{table.class_names[k]} {probabilities[row, k]:.1%}" for k in named),
        label=table.class_names[table.labels[row]],
        name=Path(table.paths[row]).name,
        right=bool(table.right[row]),
    )


def _thumbnail(picture: Callable[[int], Image.Image], row: int) -> str | None:
    """The picture as a data URI; None where it cannot be read."""
    try:
        image = flatten(picture(row), 3)
    except PictureError:
        return None
    return pages.thumbnail(image, _THUMBNAIL)
