"""Arithmetic that the tables share: numbers of filters, and sizes of feature maps."""

from __future__ import annotations

from typing import Literal


def scaled(filters: int, multiplier: float, least: int) -> int:
    """A number of filters multiplied, but not below `least`: Slim's `depth_multiplier` and `min_depth`."""
    return max(int(filters * multiplier), least)


def after(size: int, kernel: int, strides: int, padding: Literal["valid", "same", "symmetric"]) -> int:
    """The side of the feature maps that a convolution or pool leaves of one side, in pixels; below 1 where none is."""
    if padding == "same":
        return -(-size // strides)
    return (size + (2 * (kernel // 2) if padding == "symmetric" else 0) - kernel) // strides + 1
