"""Numbers from labels and logits: NumPy arrays in, `Scores` out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ception.evaluation.calibration import confidence, expected_calibration_error, log_loss, wilson_interval
from ception.results import Calibration, ClassScores, Confusion, GroupScores, Scores

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_PAIRS = 10
_FEWEST_FOR_TOP5 = 10  # classes: of fewer, five named by chance are right for more than half of the pictures
MOST_IN_ORDER = 20  # classes that a confusion matrix leaves in their order


def scores(
    labels: NDArray[np.integer], logits: NDArray[np.float32], class_names: Sequence[str], temperature: float = 1.0
) -> Scores:
    """How well the logits match the labels.

    Args:
        labels: Indices into `class_names`, of shape (pictures,).
        logits: float32 of shape (pictures, classes).
        class_names: Names of the classes.
        temperature: What the logits are divided by before they become probabilities.
    """
    from sklearn.metrics import top_k_accuracy_score

    count, classes = logits.shape
    predicted = logits.argmax(-1)
    hits = int((predicted == labels).sum())
    per_class = _per_class(labels, predicted, class_names)
    calibrated = _calibration(labels, logits, temperature)
    return Scores(
        count=count,
        accuracy=hits / count,
        accuracy_interval=wilson_interval(hits, count),
        top5_accuracy=(
            float(top_k_accuracy_score(labels, logits, k=5, labels=np.arange(classes)))
            if classes >= _FEWEST_FOR_TOP5
            else None
        ),
        balanced_accuracy=float(np.mean([one.recall for one in per_class.values() if one.support])),
        log_loss=calibrated.log_loss,
        calibration_error=calibrated.calibration_error,
        temperature=temperature,
        uncalibrated=_calibration(labels, logits, 1.0),
        per_class=per_class,
        confused=_confused(labels, predicted, class_names),
    )


def confusion_order(matrix: NDArray[np.integer], class_names: Sequence[str]) -> NDArray[np.int64]:
    """The order in which a confusion matrix shows its classes.

    Up to 20 classes stay in their order, by number where all names are numbers. Of more, those that are taken for one
    another come first and stand together: the leaves of average-linkage clusters, by the mean of both shares, in the
    order that brings the nearest side by side. Then come those that nothing is confused with.

    Args:
        matrix: Counts of shape (classes, classes): row = label, column = prediction.
        class_names: Names of the classes.

    Returns:
        Indices of classes, each once.

    Source: Bar-Joseph et al., Fast optimal leaf ordering for hierarchical clustering, Bioinformatics 17 (2001).
    """
    usual = np.arange(len(class_names))
    if all(name.isdecimal() for name in class_names):
        usual = np.argsort([int(name) for name in class_names], kind="stable")
    if len(class_names) <= MOST_IN_ORDER:
        return usual
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    counts = matrix[np.ix_(usual, usual)]
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    alike = (shares + shares.T) / 2
    np.fill_diagonal(alike, 0)
    mixed = np.flatnonzero(alike.any(1))
    if len(mixed) < 3:
        return np.concatenate([usual[mixed], np.delete(usual, mixed)])
    distances = 1 - alike[np.ix_(mixed, mixed)]
    np.fill_diagonal(distances, 0)
    leaves = leaves_list(linkage(squareform(distances), "average", optimal_ordering=True))
    return np.concatenate([usual[mixed[leaves]], np.delete(usual, mixed)])


def group_scores(right: NDArray[np.bool_]) -> GroupScores:
    """The accuracy on a group of pictures, by whether each is right."""
    hits, count = int(right.sum()), len(right)
    return GroupScores(count=count, accuracy=hits / count, accuracy_interval=wilson_interval(hits, count))


def _per_class(
    labels: NDArray[np.integer], predicted: NDArray[np.integer], class_names: Sequence[str]
) -> dict[str, ClassScores]:
    """How well each class is told; a share of nothing is 0."""
    from sklearn.metrics import precision_recall_fscore_support

    columns = precision_recall_fscore_support(labels, predicted, labels=np.arange(len(class_names)), zero_division=0)
    return {
        name: ClassScores(precision=float(precision), recall=float(recall), f1=float(f1), support=int(support))
        for name, precision, recall, f1, support in zip(class_names, *columns, strict=True)
    }


def _calibration(labels: NDArray[np.integer], logits: NDArray[np.float32], temperature: float) -> Calibration:
    right = logits.argmax(-1) == labels
    error = expected_calibration_error(right, confidence(logits, temperature))
    return Calibration(log_loss=log_loss(labels, logits, temperature), calibration_error=error)


def _confused(
    labels: NDArray[np.integer], predicted: NDArray[np.integer], class_names: Sequence[str]
) -> tuple[Confusion, ...]:
    """The most confused pairs of classes, the most frequent first."""
    wrong = labels != predicted
    pairs, counts = np.unique(np.stack([labels[wrong], predicted[wrong]], axis=1), axis=0, return_counts=True)
    return tuple(
        Confusion(label=class_names[pairs[k, 0]], predicted=class_names[pairs[k, 1]], count=int(counts[k]))
        for k in np.argsort(-counts, kind="stable")[:_MOST_PAIRS]  # of equal ones in the order of the classes
    )
