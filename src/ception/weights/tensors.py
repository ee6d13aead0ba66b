"""What the readers of weight files share: how much a file may claim, and its numbers as float32."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Tensors = dict[str, "NDArray[np.float32]"]

MOST_BYTES = 4 << 30  # of all tensors; the family's largest network has 170 MB
MOST_NAMES = 100_000  # of layers, tensors or members; the family's largest network has some 1,000 tensors
_PIECE = 1 << 20  # values


class RefusedError(ValueError):
    """The file is whole, but not such as is read here; the message says what to do."""


class Allowance:
    """What the tensors of a file may take, so that a small file cannot claim all memory."""

    def __init__(self, file_bytes: int) -> None:
        self._left = min(MOST_BYTES, (64 << 20) + 100 * file_bytes)

    def take(self, shape: Iterable[int], item_bytes: int) -> None:
        """Count a tensor.

        Raises:
            RefusedError: the file claims more than what is left.
        """
        self._left -= math.prod(int(length) for length in shape) * max(item_bytes, 4)
        if self._left < 0:
            raise RefusedError("it claims to hold implausibly much for its size")


def put(tensors: Tensors, name: str, tensor: NDArray[np.float32] | None) -> None:
    """Add a tensor, None being one that is left out.

    Raises:
        RefusedError: there is one of that name.
    """
    if name in tensors:
        raise RefusedError(f"it holds {name[:80]} twice, perhaps in two networks: save the one you need alone")
    if tensor is not None:
        tensors[name] = tensor


def to_float32(values: NDArray[Any]) -> NDArray[np.float32]:
    """Numbers of any type as float32."""
    with np.errstate(all="ignore"):  # what float32 cannot hold becomes infinite
        return np.asarray(values, np.float32)


def widened(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """float32 from bfloat16, which is its upper half and no type of NumPy's."""
    wide = bits.astype(np.uint32)
    return np.left_shift(wide, 16, out=wide).view(np.float32)


def is_finite(tensor: NDArray[np.float32]) -> bool:
    """Whether all values are finite, looked at in pieces so that no mask as long as the tensor is made."""
    flat = tensor.reshape(-1)
    return all(np.isfinite(flat[start : start + _PIECE]).all() for start in range(0, flat.size, _PIECE))
