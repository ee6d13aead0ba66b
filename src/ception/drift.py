"""Whether pictures look like those that a model knows: by confidence, brightness and size.

A model file keeps what is usual, some hundred values of each. Others are compared with it by the two-sample test of
Kolmogorov and Smirnov, which asks for no shape of a distribution and sees a shift as well as a wider spread. All three
tests together call one set of like pictures in a hundred different (Bonferroni); `benchmarks/results/drift.csv` has
how often that happens indeed, and what is found. Of very many pictures any difference is a sure one: what is called
different has a distance of 0.1 at least, too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ception.reporting import counted
from ception.results import Drift

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ception.reporting import Reporter

    Values: TypeAlias = "NDArray[np.floating[Any]] | NDArray[np.integer[Any]]"

QUANTITIES = ("confidence", "brightness", "shorter_side")
FEWEST = 30  # pictures, below which little is surely different
MOST = 100_000  # pictures of a job that are compared, evenly among them: more would say no more
WINDOW = 500  # pictures of a server that are compared: the last ones
BY_CHANCE = 0.01  # of sets of like pictures that are called different
LEAST = 0.1  # distance of what is called different: of normal distributions a shift by a quarter of their standard
# deviation, somewhat more than what Cohen (1988) calls a small effect, 0.2 of it, which is a distance of 0.08
_MOST = 500  # values of what is usual
_MOST_READ = 10_000  # of a file that says it has more
_DIGITS = {"confidence": 4, "brightness": 4, "shorter_side": 0}  # alike in a file and in memory, or all would differ
_TOLD = {
    "confidence": ("less sure", "surer", "{:.2f}"),
    "brightness": ("darker", "brighter", "{:.2f}"),
    "shorter_side": ("smaller", "larger", "{:.0f} pixels"),
}


@dataclass(frozen=True)
class Looks:
    """What pictures look like, each an array with a value for every picture that it is known of.

    Attributes:
        confidence: Calibrated probability of the most probable class.
        brightness: Mean of the pixels as the network takes them, 0..1.
        shorter_side: The smaller of height and width, in pixels.
    """

    confidence: Values
    brightness: Values
    shorter_side: Values

    def as_json(self) -> dict[str, list[float]]:
        """What a model file keeps: the values in their order, evenly among them where there are many."""
        return {name: _some(np.sort(_rounded(name, getattr(self, name)))).tolist() for name in QUANTITIES}

    @classmethod
    def from_json(cls, told: Any) -> Looks:
        """What `as_json` gave.

        Raises:
            ValueError: it is something else.
        """
        try:
            arrays = {name: np.array(told[name], np.float64) for name in QUANTITIES}
        except (TypeError, KeyError, ValueError, OverflowError):
            raise ValueError("what it calls usual are no numbers") from None
        if not all(one.ndim == 1 and len(one) <= _MOST_READ and np.isfinite(one).all() for one in arrays.values()):
            raise ValueError("what it calls usual are no numbers")
        return cls(**arrays)

    @classmethod
    def of(cls, parts: Sequence[Looks]) -> Looks:
        """The looks of several sets of pictures as one."""
        return cls(*(np.concatenate([np.zeros(0), *(getattr(one, name) for one in parts)]) for name in QUANTITIES))


class Watch:
    """The looks of the last pictures; any thread may add one or ask."""

    def __init__(self, most: int = WINDOW) -> None:
        self._values = {name: deque[float](maxlen=most) for name in QUANTITIES}
        self._lock = Lock()

    def add(self, seen: Mapping[str, float]) -> None:
        """Remember a picture, by what is known of it."""
        with self._lock:
            for name, value in seen.items():
                self._values[name].append(value)

    def looks(self) -> Looks:
        """Of those that are remembered."""
        with self._lock:
            return Looks(*(np.array(self._values[name], np.float64) for name in QUANTITIES))


def brightness(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean of each picture (pictures, height, width, channels), 0..1."""
    count, height, width, channels = pixels.shape
    lines = pixels.reshape(count, height, width * channels).sum(
        2, dtype=np.uint32
    )  # exact, in half the time of 64 bits
    return np.asarray(lines.sum(1, dtype=np.uint64) / (height * width * channels) / 255, np.float64)


def drifts(usual: Looks, seen: Looks) -> tuple[Drift, ...]:
    """How far what was seen is from what is usual, by each quantity that enough is known of on both sides."""
    from scipy.stats import ks_2samp

    found = []
    for name in QUANTITIES:
        ours, theirs = _rounded(name, getattr(usual, name)), _rounded(name, getattr(seen, name))
        if min(len(ours), len(theirs)) < FEWEST:
            continue
        test = ks_2samp(ours, theirs, method="asymp")
        found.append(Drift(
            quantity=name, count=len(theirs), distance=round(float(test.statistic), 4), p_value=float(test.pvalue),
            usual=float(np.median(ours)), median=float(np.median(theirs)),
            different=bool(test.pvalue < BY_CHANCE / len(QUANTITIES) and test.statistic >= LEAST),
        ))  # fmt: skip
    return tuple(found)


def tell(found: Sequence[Drift], reporter: Reporter) -> None:
    """Warn where pictures look different; surer answers alone are only noted, as training pictures have them."""
    different = [one for one in found if one.different]
    if not different:
        return
    count = counted(max(one.count for one in found), "picture")
    most = max(one.distance for one in different)
    told = (
        f"{count} look different from what the model knows, by a distance of {most:.2f} of 1 (told from {LEAST} on): "
        + ", ".join(map(_said, different))
    )
    if [(one.quantity, one.median > one.usual) for one in different] == [("confidence", True)]:
        reporter.note(f"{told}, as of pictures that it was trained on")
    else:
        reporter.warn(f"{told}; unless they are of one class or place, its answers may be worse than its scores")


def _said(one: Drift) -> str:
    less, more, form = _TOLD[one.quantity]
    both = form.format(one.median), form.format(one.usual)
    if both[0] == both[1]:
        return f"{one.quantity.replace('_', ' ')} spread otherwise (median {both[0]} as usual)"
    return f"{less if one.median < one.usual else more} (median {both[0]}, usually {both[1]})"


def _rounded(name: str, values: Values) -> NDArray[np.float64]:
    return np.asarray(np.round(np.asarray(values, np.float64), _DIGITS[name]))


def _some(ordered: NDArray[np.float64]) -> NDArray[np.float64]:
    """At most `_MOST` of sorted values, evenly among them: the tests then take them for fewer than they stand for."""
    return ordered[np.linspace(0, len(ordered) - 1, min(len(ordered), _MOST)).round().astype(np.intp)]
