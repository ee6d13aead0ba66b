"""Which part of its values int8 keeps of each tensor: the one at which the square of what is lost is least.

The largest value of all makes the steps too coarse, and the mean of the largest of each picture cuts off too much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ception.exporting.intermediate import Results

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BINS = 2048
_STEPS = 255  # of int8
_SHARES = np.linspace(0.2, 1, 81)  # of the whole range that are tried


def of(results: Results, samples: NDArray[np.uint8]) -> dict[str, tuple[float, float]]:
    """The least and the largest value that each result should keep; 0 lies between.

    Args:
        results: Gives what is computed of pictures, by its names.
        samples: Pictures as the network takes them.
    """
    ends: dict[str, tuple[float, float]] = {}
    for picture in samples:
        for name, values in results(picture[None]).items():
            low, high = ends.get(name, (0.0, 0.0))
            ends[name] = min(low, float(values.min())), max(high, float(values.max()))
    counts = {name: np.zeros(_BINS, np.int64) for name in ends}
    for picture in samples:
        for name, values in results(picture[None]).items():
            counts[name] += np.histogram(values, _BINS, ends[name])[0]
    return {name: least_square(counts[name], *ends[name]) for name in ends}


def least_square(counts: NDArray[np.int64], low: float, high: float) -> tuple[float, float]:
    """The part of a range in which rounding, and cutting off what lies outside, lose the least square.

    Args:
        counts: How many values lie in each of as many equal parts of the range.
        low: Its lower end, at most 0.
        high: Its upper end, at least 0.
    """
    if low == high:
        return low, high
    edges = np.linspace(low, high, len(counts) + 1)
    values = (edges[:-1] + edges[1:]) / 2

    def lost(share: float) -> float:
        step = (high - low) * share / _STEPS
        kept = np.clip(np.round((values - low * share) / step), 0, _STEPS) * step + low * share
        return float((counts * (kept - values) ** 2).sum())

    best = min(_SHARES[::-1], key=lost)
    return float(low * best), float(high * best)
