"""Pictures at addresses that fsspec opens, one in a file each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ception.data import stores
from ception.data.pictures import Encoded

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Addresses(Encoded):
    """Pictures in files at addresses, or at paths among them."""

    places: Sequence[str]

    def __len__(self) -> int:
        return len(self.places)

    def name(self, index: int) -> str:
        return self.places[index]

    def read(self, index: int) -> bytes:
        return stores.read(self.places[index])

    def state(self, index: int) -> bytes:
        """Empty: to ask for it takes as long as to read the picture."""
        return b""

    def take(self, indices: Sequence[int] | NDArray[np.integer]) -> Addresses:
        return Addresses([self.places[index] for index in indices])
