"""Rows of one shape in a temporary file, of which a few are in memory at a time, however many there are."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ception.errors import RunError, reason

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NEAR = 8  # times as many rows as are wanted are read at once rather than each of these alone


class OnDisk:
    """Rows that are 0 until they are written.

    A context, at whose end the file is gone. It lies where Python puts temporary files, and is read and not mapped:
    what is mapped counts as the process's memory.

    Args:
        count: How many rows there are.
        shape: Of one row.
        dtype: Of its numbers.

    Raises:
        RunError: there is no room for it.
    """

    def __init__(self, count: int, shape: tuple[int, ...], dtype: Any) -> None:
        self._count, self._shape, self._dtype = count, shape, np.dtype(dtype)
        self._row_bytes = int(np.prod(shape, dtype=np.int64)) * self._dtype.itemsize
        try:
            self._file = tempfile.TemporaryFile(prefix="ception-", buffering=0)  # noqa: SIM115 - closed at the end
            self._file.truncate(count * self._row_bytes)
        except OSError as error:
            raise _failed(error) from None

    def __enter__(self) -> OnDisk:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return self._count

    def write(self, start: int, rows: NDArray[Any]) -> None:
        """Put rows where the one `start` is, and behind it.

        Raises:
            RunError: the disk is full.
        """
        left = memoryview(np.ascontiguousarray(rows, self._dtype).tobytes())
        try:
            self._file.seek(start * self._row_bytes)
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            raise _failed(error) from None

    def __getitem__(self, places: slice | NDArray[np.integer]) -> NDArray[Any]:
        """The rows of a stretch, or those of some places in any order."""
        if isinstance(places, slice):
            start, stop, _ = places.indices(self._count)
            return self._read(start, max(0, stop - start))
        if not len(places):
            return self._read(0, 0)
        wanted, back = np.unique(places, return_inverse=True)
        first, span = int(wanted[0]), int(wanted[-1] - wanted[0]) + 1
        if span <= _NEAR * len(wanted):
            return np.asarray(self._read(first, span)[wanted - first][back])
        return np.asarray(np.concatenate([self._read(int(place), 1) for place in wanted])[back])

    def _read(self, start: int, count: int) -> NDArray[Any]:
        data = bytearray(count * self._row_bytes)
        left = memoryview(data)
        self._file.seek(start * self._row_bytes)
        while left:
            left = left[self._file.readinto(left) :]
        return np.frombuffer(data, self._dtype).reshape(count, *self._shape)


@dataclass(frozen=True)
class Selected:
    """Some of the rows, read when asked for.

    Attributes:
        rows: All of them.
        places: Of those that are meant.
    """

    rows: Rows
    places: NDArray[np.integer]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, places: slice | NDArray[np.integer]) -> NDArray[Any]:
        """As those of `OnDisk`."""
        return np.asarray(self.rows[self.places[places]])


Rows: TypeAlias = "OnDisk | Selected | NDArray[Any]"


def _failed(error: OSError) -> RunError:
    where = tempfile.gettempdir()
    return RunError(f"{where} cannot be written: {reason(error)}; set {_VARIABLE} to a folder with room")


_VARIABLE = "TEMP" if os.name == "nt" else "TMPDIR"
