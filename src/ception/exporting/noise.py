"""What int8 costs each layer: its results beside those in float32, in the runtime of the file."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ception.engines.operations import INPUT, Operations
from ception.exporting import intermediate
from ception.exporting.quantising import WEIGHED

if TYPE_CHECKING:
    from numpy.typing import NDArray


def added(network: Operations, plain: Path, quantised: Path, samples: NDArray[np.uint8]) -> dict[str, float]:
    """How much noise each convolution and dense layer adds to what it takes, those that add most first.

    The noise of a result is the mean square of its difference from float32, relative to the mean square of itself: of
    each channel, at most 1, and the mean of these. So what is lost of small channels beside a large one counts.

    Args:
        network: What both files hold; it ends in a softmax.
        plain: In float32.
        quantised: In int8.
        samples: Pictures as the network takes them.
    """
    names = [step.name for step in network.steps[:-1]]
    one, other = (intermediate.results(path, names, names) for path in (plain, quantised))
    differences: defaultdict[str, NDArray[np.float64]] = defaultdict(lambda: np.zeros(1))
    squares: defaultdict[str, NDArray[np.float64]] = defaultdict(lambda: np.zeros(1))
    for picture in samples:
        first, second = one(picture[None]), other(picture[None])
        for name in first:
            differences[name] = differences[name] + _by_channel(second[name] - first[name])
            squares[name] = squares[name] + _by_channel(first[name])
    noise = {INPUT: 0.0}
    costs = {}
    for step in network.steps[:-1]:
        taken = max(noise[name] for name in step.inputs)
        relative = differences[step.name] / np.maximum(squares[step.name], np.finfo(float).tiny)
        noise[step.name] = float(np.minimum(relative, 1).mean()) if step.name in squares else taken
        if step.kind in WEIGHED:
            costs[step.name] = noise[step.name] - taken
    return dict(sorted(costs.items(), key=lambda item: -item[1]))


def _by_channel(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """The sum of the squares of each channel; the channels come last."""
    squares: NDArray[np.float64] = np.square(values, dtype=np.float64).sum(tuple(range(values.ndim - 1)))
    return squares
