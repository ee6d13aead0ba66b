"""What counts and image sizes may be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ception.errors import InputError

_MOST = 1000.0  # of a factor


def count(what: str, value: Any, lowest: int = 1) -> int:
    """The value as an int, if it is a whole number of at least `lowest`.

    Raises:
        InputError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < lowest:
        raise InputError(f"{what} must be a whole number of at least {lowest}, got {value!r}")
    return int(value)


def share(what: str, value: Any) -> float:
    """The value as a float, if it is at least 0 and below 1.

    Raises:
        InputError: it is not.
    """
    if not isinstance(value, int | float | np.number) or not 0 <= value < 1:
        raise InputError(f"{what} must be at least 0 and below 1, got {value!r}")
    return float(value)


def factor(what: str, value: Any) -> float:
    """The value as a float, if it is above 0 and finite.

    Raises:
        InputError: it is not.
    """
    if not isinstance(value, int | float | np.number) or not 0 < value <= _MOST:
        raise InputError(f"{what} must be a number above 0 and at most {_MOST:g}, got {value!r}")
    return float(value)


def height_and_width(size: int | Sequence[int]) -> tuple[int, int]:
    """Both sides of a picture or of feature maps, from one side or (height, width), in pixels.

    Raises:
        InputError: it is neither.
    """
    sides: Any = (size, size) if isinstance(size, int | np.integer) else size
    if isinstance(sides, str) or not isinstance(sides, Sequence) or len(sides) != 2:
        raise InputError(f"image_size must be a whole number or (height, width), got {size!r}")
    return count("image_size", sides[0]), count("image_size", sides[1])
