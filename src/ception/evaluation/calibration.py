"""Whether probabilities mean what they say: temperature, calibration error, thresholds for a wished precision."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ception.results import CoveragePoint

if TYPE_CHECKING:
    from numpy.typing import NDArray

BINS = 15
_PRIOR = 0.5  # standard deviation of the logarithm of the temperature before anything is seen
_DIGITS = (2, 3, 4)  # of a threshold that is told, where they do
_KEPT = 0.95  # share of the answers that its rounding leaves at least
_POINTS = 500  # of the stored curve of precision over confidence


def log_probabilities(logits: NDArray[np.float32], temperature: float = 1.0) -> NDArray[np.float64]:
    """Logarithms of softmax(logits / temperature), of shape (pictures, classes)."""
    from scipy.special import log_softmax

    return np.asarray(log_softmax(logits.astype(np.float64) / temperature, axis=-1))


def log_loss(labels: NDArray[np.integer], logits: NDArray[np.float32], temperature: float = 1.0) -> float:
    """Mean negative log probability of the labels, in nats; exact also where a probability is too small for a float."""
    return float(-log_probabilities(logits, temperature)[np.arange(len(labels)), labels].mean())


def fit_temperature(labels: NDArray[np.integer], logits: NDArray[np.float32]) -> float:
    """The temperature, 0.05..20, by which dividing the logits gives the lowest log loss.

    A weak prior keeps it near 1 where there are few pictures: were all of them right, the best temperature would be 0.

    Args:
        labels: Index of the true class of each validation picture, of shape (pictures,).
        logits: float32 of shape (pictures, classes).

    Source: Guo et al., On Calibration of Modern Neural Networks, arXiv:1706.04599, section 4.2.
    """
    from scipy.optimize import minimize_scalar

    best = minimize_scalar(
        lambda power: len(labels) * log_loss(labels, logits, float(np.exp(power))) + (power / _PRIOR) ** 2 / 2,
        bounds=(-3.0, 3.0),
        method="bounded",
    )
    return float(np.exp(best.x))


def confidence(logits: NDArray[np.float32], temperature: float = 1.0) -> NDArray[np.float64]:
    """Probability of the most probable class of each picture."""
    return np.asarray(np.exp(log_probabilities(logits, temperature).max(-1)))


@dataclass(frozen=True)
class ReliabilityBin:
    """Pictures of about the same confidence.

    Attributes:
        low: Lower edge of the bin.
        high: Upper edge.
        count: Pictures in it.
        confidence: Their mean confidence.
        accuracy: Share of them that are right.
    """

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


def reliability(right: NDArray[np.bool_], confidences: NDArray[np.float64], bins: int = BINS) -> list[ReliabilityBin]:
    """Pictures grouped by confidence into bins of equal width, those that have pictures, by rising confidence.

    Args:
        right: Whether the most probable class is the true one, for each picture.
        confidences: Its probability.
        bins: Number of bins between 0 and 1.
    """
    bin_of = np.minimum((confidences * bins).astype(int), bins - 1)
    return [
        ReliabilityBin(
            low=number / bins,
            high=(number + 1) / bins,
            count=int(here.sum()),
            confidence=float(confidences[here].mean()),
            accuracy=float(right[here].mean()),
        )
        for number, here in ((number, bin_of == number) for number in np.unique(bin_of).tolist())
    ]


def expected_calibration_error(right: NDArray[np.bool_], confidences: NDArray[np.float64], bins: int = BINS) -> float:
    """Mean distance, 0..1, between confidence and accuracy over the bins of `reliability`, weighted by pictures.

    Source: Guo et al., arXiv:1706.04599, equation 3, with 15 bins as there.
    """
    distances = [one.count * abs(one.confidence - one.accuracy) for one in reliability(right, confidences, bins)]
    return float(sum(distances) / len(right))


def coverage_curve(right: NDArray[np.bool_], confidences: NDArray[np.float64]) -> list[CoveragePoint]:
    """What is gained by answering only above a confidence, by rising threshold; at most 500 points."""
    order = np.argsort(-confidences, kind="stable")
    ranked, hits = confidences[order], np.cumsum(right[order])
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))  # of equal confidences all are answered or none
    if len(last) > _POINTS:
        last = last[np.unique(np.linspace(0, len(last) - 1, _POINTS).round().astype(int))]
    return [
        CoveragePoint(
            threshold=math.floor(ranked[i] * 1e6) / 1e6,
            coverage=(i + 1) / len(right),
            precision=float(hits[i] / (i + 1)),
            precision_low=wilson_interval(int(hits[i]), i + 1)[0],
        )
        for i in last[::-1].tolist()
    ]


def threshold_for(precision: float, curve: Sequence[CoveragePoint]) -> float | None:
    """The lowest confidence from which on answers have at least that precision; None if there is none.

    The lower end of the precision's interval has to reach it: the precision itself, picked as the first that does,
    would be too high by chance, and few pictures cannot promise much.
    """
    return next((point.threshold for point in curve if point.precision_low >= precision), None)


def short_threshold_for(precision: float, curve: Sequence[CoveragePoint]) -> float | None:
    """As `threshold_for`, with as few digits as keep the promise: two, or more where two lose too many answers.

    From it on, the validation pictures are answered that the lowest such confidence answers, or a twentieth fewer at
    most. Where the curve leaves out some of them, both its points beside the threshold have to keep the promise.
    """
    lowest = next((point for point in curve if point.precision_low >= precision), None)
    if lowest is None:
        return None
    whole = len(curve) < _POINTS
    for digits in _DIGITS:
        scale = 10.0**digits
        for step in range(math.floor(lowest.threshold * scale), int(scale) + 1):
            threshold = step / scale
            above = next((point for point in curve if point.threshold >= threshold), None)
            below = next((point for point in reversed(curve) if point.threshold < threshold), None)
            if above is None or above.coverage < _KEPT * lowest.coverage:
                break
            if above.precision_low >= precision and (whole or below is None or below.precision_low >= precision):
                return threshold
    return lowest.threshold


def wilson_interval(hits: int, count: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """The interval, of 95 % by default, in which a share observed as hits / count lies.

    By hand, because SciPy's `binomtest` computes an exact p-value with each: 500 of them take a second.

    Source: E. B. Wilson, JASA 22 (1927), 209-212.
    """
    share = hits / count
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * float(np.sqrt(share * (1 - share) / count + z * z / (4 * count * count)))
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))  # but for rounding
