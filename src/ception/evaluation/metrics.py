"""Numbers from labels and logits: NumPy arrays in, plain values out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ception.evaluation.calibration import confidence, expected_calibration_error, log_loss, wilson_interval

if TYPE_CHECKING:
    from numpy.typing import NDArray


def scores(
    labels: NDArray[np.integer], logits: NDArray[np.float32], class_names: Sequence[str], temperature: float = 1.0
) -> dict[str, Any]:
    """How well the logits match the labels.

    Args:
        labels: Indices into `class_names`, of shape (pictures,).
        logits: float32 of shape (pictures, classes).
        class_names: Names of the classes.
        temperature: What the logits are divided by before they become probabilities.

    Returns:
        `count`, `accuracy` (share in 0..1), `accuracy_interval` [low, high] (Wilson, 95 %), `top5_accuracy`
        (None below 6 classes), `balanced_accuracy` (mean recall of the classes that have pictures),
        `log_loss` (mean, in nats), `calibration_error` (expected, 15 bins), `temperature`, `uncalibrated`: the
        `log_loss` and `calibration_error` without the temperature, `per_class`: {name: {precision, recall, f1,
        support}}, where a share of nothing is 0, and `confused`: [{label, predicted, count}] by count, at most ten.
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support, top_k_accuracy_score

    count, classes = logits.shape
    predicted = logits.argmax(-1)
    hits = int((predicted == labels).sum())
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predicted, labels=np.arange(classes), zero_division=0
    )
    right = predicted == labels
    errors = [expected_calibration_error(right, confidence(logits, t)) for t in (temperature, 1.0)]
    top5 = None
    if classes > 5:
        top5 = float(top_k_accuracy_score(labels, logits, k=5, labels=np.arange(classes)))
    matrix = confusion_matrix(labels, predicted, labels=np.arange(classes))
    pairs = [(int(matrix[row, column]), row, column) for row, column in np.argwhere(matrix) if row != column]
    pairs.sort(key=lambda pair: (-pair[0], pair[1], pair[2]))
    return {
        "count": count,
        "accuracy": hits / count,
        "accuracy_interval": list(wilson_interval(hits, count)),
        "top5_accuracy": top5,
        "balanced_accuracy": float(recall[support > 0].mean()),
        "log_loss": log_loss(labels, logits, temperature),
        "calibration_error": errors[0],
        "temperature": temperature,
        "uncalibrated": {"log_loss": log_loss(labels, logits), "calibration_error": errors[1]},
        "per_class": {
            name: {"precision": float(p), "recall": float(r), "f1": float(f), "support": int(s)}
            for name, p, r, f, s in zip(class_names, precision, recall, f1, support, strict=True)
        },
        "confused": [
            {"label": class_names[row], "predicted": class_names[column], "count": number}
            for number, row, column in pairs[:10]
        ],
    }
