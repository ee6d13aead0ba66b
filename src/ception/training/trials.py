"""Which learning rates are tried, and what follows from how they did."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ception.errors import RunError

if TYPE_CHECKING:
    from numpy.typing import NDArray

FACTOR = 3.0  # between rates that are tried
REACH = 6  # such steps up and down from the first rate
_IDLE = 0.01  # share of the loss before the first step, by which that of no judging batch changes
LEAST_DROP = 0.05  # share of the loss before the first step, above the least that there can be


@dataclass(frozen=True, eq=False)
class Trial:
    """A short training.

    Attributes:
        rate: Its learning rate.
        losses: The loss of each judging batch after it; infinite where it broke down.
    """

    rate: float
    losses: NDArray[np.float64]

    @property
    def loss(self) -> float:
        """The mean."""
        return float(self.losses.mean())


@dataclass(frozen=True)
class Scale:
    """Between which losses a network learns.

    Attributes:
        least: Of a network that is always right.
        guess: Of one that only knows how frequent each class is, and from which fresh weights may be far away.
    """

    least: float = 0.0
    guess: float = math.inf

    def drop(self, loss: float, before: float) -> float:
        """How far a loss lies below that before the first step, or a guess's, as a share of the way to the least."""
        start = min(before, self.guess)
        return (start - loss) / (start - self.least)


def error_of_difference(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """The standard error of the mean difference of two losses of the same batches; 0 where it cannot be told."""
    if len(one) == 1 or not (np.isfinite(one).all() and np.isfinite(other).all()):
        return 0.0
    return float(np.std(one - other, ddof=1) / math.sqrt(len(one)))


def is_worse(one: NDArray[np.float64], other: NDArray[np.float64], errors: float = 2) -> bool:
    """Whether losses are larger than others of the same batches by so many standard errors of their difference."""
    if not np.isfinite(one).all():
        return bool(np.isfinite(other).all())
    return float((one - other).mean()) > errors * error_of_difference(one, other)


def bracketed(run: Callable[[float], Trial], first: float, level: NDArray[np.float64]) -> list[Trial]:
    """Trials by rising rates, around the best of them a worse one on either side, if there is any within reach.

    Args:
        run: Makes the short training at a rate.
        first: The rate to begin with.
        level: The loss of each judging batch before the first step.
    """
    tried = {0: run(first)}
    while True:
        best = min(tried, key=lambda place: tried[place].loss)
        for place, step in ((max(tried), 1), (min(tried), -1)):
            if abs(place + step) <= REACH and not _is_end(tried[place], step, tried[best], level):
                tried[place + step] = run(first * FACTOR ** (place + step))
                break
        else:
            return [tried[place] for place in sorted(tried)]


def _is_end(outermost: Trial, step: int, best: Trial, level: NDArray[np.float64]) -> bool:
    """Whether nothing is to be expected beyond an outermost rate, upwards (a step of 1) or downwards (-1).

    It is worse than the best, or broke down, as larger ones will, or changed next to nothing, as smaller ones will. (A
    network that collapsed may lose as much as before the first step, but not with the same pictures.)
    """
    losses = outermost.losses
    if step > 0 and not np.isfinite(losses).all():
        return True
    if step < 0 and np.abs(losses - level).max() <= _IDLE * level.mean():
        return True
    return outermost is not best and is_worse(losses, best.losses)


def best_rate(tried: Sequence[Trial], level: NDArray[np.float64], scale: Scale = Scale()) -> float:
    """The rate whose loss should be lowest, in two digits.

    Where the losses of the best rate and of some beside it are within one standard error (Breiman et al.,
    Classification and Regression Trees, 1984), it is the geometric mean of the smallest and largest of them. Where the
    best stands alone, it is the lowest point of a parabola over the logarithm of the rate, in which losses above that
    before the first step count as that, or a rate that broke down would push the answer far away.

    Args:
        tried: By rising rates.
        level: The loss of each judging batch before the first step.
        scale: What a loss is measured by.

    Raises:
        RunError: no rate can be suggested: the loss fell too little, or is lowest at the edge of what was tried.
    """
    losses = np.array([trial.loss for trial in tried])
    best, before = int(np.argmin(losses)), float(level.mean())
    _require_drop(tried, tried[best], level, scale)
    first = last = best
    while first > 0 and not is_worse(tried[first - 1].losses, tried[best].losses, errors=1):
        first -= 1
    while last < len(tried) - 1 and not is_worse(tried[last + 1].losses, tried[best].losses, errors=1):
        last += 1
    if first == 0 or last == len(tried) - 1:
        side, edge = ("lowest", tried[0].rate) if first == 0 else ("highest", tried[-1].rate)
        raise RunError(
            f"the loss is lowest at the edge of the search, with the {side} rate, {edge:.2g}: search on from there, "
            f"with --learning-rate {edge:.2g}"
        )
    if first < last:
        return float(f"{math.sqrt(tried[first].rate * tried[last].rate):.1e}")
    left, here, right = np.minimum(losses[best - 1 : best + 2], before)
    offset = (left - right) / (2 * (left - 2 * here + right))
    return float(f"{tried[best].rate * FACTOR**offset:.1e}")


def _require_drop(tried: Sequence[Trial], best: Trial, level: NDArray[np.float64], scale: Scale) -> None:
    """Raise a RunError if the loss fell too little for the best of the trials to say anything."""
    before = float(level.mean())
    guessed = scale.guess < before or math.isclose(scale.guess, before)
    start = np.full(len(level), scale.guess) if guessed else level
    where = f"from {tried[0].rate:.2g} to {tried[-1].rate:.2g}"
    than = f"{start.mean():.3f}, {'that of a guess' if guessed else 'that before the first step'}"
    if not best.loss < start.mean():
        raise RunError(f"the loss is below {than}, at no rate {where}: {_WAY_OUT}")
    noise = 2 * error_of_difference(start, best.losses)
    drop, least = scale.drop(best.loss, before), max(LEAST_DROP, noise / (start.mean() - scale.least))
    if drop <= least:
        raise RunError(
            f"the loss fell by only {drop:.1%} at any rate {where} (from {than}), and less than {least:.1%} tells "
            f"nothing here: {_WAY_OUT}"
        )


_WAY_OUT = "keep the recipe's rate, and if that is not what you expect, look at the labels with ception check"
