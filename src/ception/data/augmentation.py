"""Changes of training pictures that most classes survive; the same on every backend, from one random generator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Which changes are made.

    Attributes:
        flip: Share of the pictures, 0..1, that are mirrored left to right.
        shift: Largest shift in each direction, as a share of height and width; the border is repeated.
        erase: Share of the pictures in which a rectangle of 2 % to 25 % of the area gets one random value.
    """

    flip: float = 0.0
    shift: float = 0.0
    erase: float = 0.0


def augment(batch: NDArray[np.uint8], augmentation: Augmentation, random: np.random.Generator) -> NDArray[np.uint8]:
    """A changed copy of a batch.

    Args:
        batch: uint8 of shape (batch, height, width, channels).
        augmentation: Which changes are made.
        random: Decides them.

    Source: erasing is that of Zhong et al., arXiv:1708.04896, algorithm 1, but for the largest area (there
        40 %), the ratio of the sides, which is drawn on a logarithmic scale, and one value for the whole rectangle.
    """
    count, height, width, _ = batch.shape
    rows = np.repeat(np.arange(height)[None], count, 0)
    columns = np.repeat(np.arange(width)[None], count, 0)
    mirrored = random.random(count) < augmentation.flip
    columns[mirrored] = columns[mirrored, ::-1]
    most_down, most_right = int(augmentation.shift * height), int(augmentation.shift * width)
    down = random.integers(-most_down, most_down + 1, (count, 1))
    right = random.integers(-most_right, most_right + 1, (count, 1))
    rows = np.clip(rows + down, 0, height - 1)
    columns = np.take_along_axis(columns, np.clip(np.arange(width)[None] + right, 0, width - 1), 1)
    changed: NDArray[np.uint8] = batch[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]
    for index in np.flatnonzero(random.random(count) < augmentation.erase):
        area = random.uniform(0.02, 0.25) * height * width
        ratio = np.exp(random.uniform(np.log(0.3), np.log(1 / 0.3)))
        tall = min(height, max(1, round(float(np.sqrt(area * ratio)))))
        wide = min(width, max(1, round(float(np.sqrt(area / ratio)))))
        top, left = random.integers(0, height - tall + 1), random.integers(0, width - wide + 1)
        changed[index, top : top + tall, left : left + wide] = random.integers(0, 256)
    return changed
