"""Arrays of one shape in the cache folder, each found by its key, written one after another as they are computed."""

from __future__ import annotations

import os
import shutil
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ception.data import cache
from ception.errors import InputError, RunError, reason
from ception.files import cache_folder, locked
from ception.reporting import Reporter

if TYPE_CHECKING:
    from numpy.typing import NDArray

_RECORD = np.dtype([("key", "V16"), ("crc", "<u4")])  # of a row, in the order of the rows
Compute = Callable[["NDArray[np.int64]"], "Iterable[tuple[NDArray[np.integer], NDArray[Any]]]"]
_HINT = "; set CEPTION_CACHE to a folder with room"


def collect(
    name: str,
    keys: NDArray[np.void],
    shape: tuple[int, ...],
    dtype: Any,
    compute: Compute,
    *,
    in_all: int = 0,
    limit_gb: float,
    announce: Callable[[int, int, int], None],
    reporter: Reporter,
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The array of each key, memory-mapped; those that are not in the cache, or damaged there, are computed.

    What was written before a kill is found again: a row counts once its record is in the index. Another process that
    writes the same files is waited for.

    Args:
        name: Of the two files, `NAME.rows` and `NAME.index`: follows from all that the arrays depend on but the key.
        keys: Of type `V16`; equal ones have equal arrays.
        shape: Of one array.
        dtype: Of its numbers.
        compute: From indices into `keys` to batches: the indices of those that it could compute, and their arrays of
            the dtype, in the order of the indices.
        in_all: Arrays that will be wanted later, these among them: there must be room for all.
        limit_gb: Most that the cache folder may hold, in GB.
        announce: Told how many arrays are about to be computed, their bytes, and those of all that are wanted.
        reporter: Warned of damaged rows, and told when it waits.

    Returns:
        All rows (rows, *shape), and for each key its row, -1 where it could not be computed.

    Raises:
        InputError: the arrays are larger than the limit.
        RunError: the cache cannot be written, or its disk is full.
    """
    folder = cache_folder()
    files = _Files(folder / f"{name}.rows", folder / f"{name}.index", shape, np.dtype(dtype))
    first = _first(keys)
    begin = partial(_begin, files, max(in_all, len(first)), limit_gb, announce)
    busy = f"Waiting for another process that writes {files.data.name} in the cache folder"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / f"{name}.lock", busy, wait=reporter.note):
            _discard_if_too_large(files, first, limit_gb)
            stored, row_of = _completed(files, keys, first, compute, begin, reporter)
    except OSError as error:
        raise RunError(f"{files.data} cannot be written: {reason(error)}{_HINT}") from None
    return stored, np.array([row_of.get(key.tobytes(), -1) for key in keys], np.int64)


def missing(name: str, keys: NDArray[np.void]) -> NDArray[np.bool_]:
    """For each key, whether the cache holds no array of it; damage is not looked for.

    Args:
        name: As in `collect`.
        keys: As in `collect`.
    """
    path = cache_folder() / f"{name}.index"
    known = path.read_bytes() if path.is_file() else b""
    records = np.frombuffer(known[: len(known) // _RECORD.itemsize * _RECORD.itemsize], _RECORD)
    there = {key.tobytes() for key in records["key"]}
    return np.array([key.tobytes() not in there for key in keys], bool)


def _first(keys: NDArray[np.void]) -> dict[bytes, int]:
    """The first index of each key, in their order."""
    first: dict[bytes, int] = {}
    for index, key in enumerate(keys):
        first.setdefault(key.tobytes(), index)
    return first


@dataclass(frozen=True)
class _Files:
    """The two files, and what a row of them is."""

    data: Path
    records: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def row_bytes(self) -> int:
        """Size of a row."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def mapped(self, data: Any) -> NDArray[Any]:
        """All rows of the opened file, (rows, *shape)."""
        if not os.fstat(data.fileno()).st_size:  # an empty file cannot be mapped
            return np.zeros((0, *self.shape), self.dtype)
        return np.memmap(data, np.uint8, "r").view(self.dtype).reshape(-1, *self.shape)


def _completed(
    files: _Files,
    keys: NDArray[np.void],
    first: dict[bytes, int],
    compute: Compute,
    begin: Callable[[int, int], None],
    reporter: Reporter,
) -> tuple[NDArray[Any], dict[bytes, int]]:
    """All rows, the missing ones among them, and the row of each key.

    Args:
        files: The two files.
        keys: As in `collect`.
        first: The first index of each key.
        compute: As in `collect`.
        begin: Told how many arrays are there, and how many are about to be computed.
        reporter: Warned of damaged rows.
    """
    with files.data.open("ab+") as data, files.records.open("ab+") as records:
        known = _known(data, records, files.row_bytes)
        row_of = _whole_rows(data, known, first, files, reporter)
        missing = np.array([index for key, index in first.items() if key not in row_of], np.int64)
        if len(missing):
            begin(len(row_of), len(missing))
            _append(data, records, keys, compute(missing), row_of, len(known))
        for path in (files.data, files.records):
            os.utime(path)
        return files.mapped(data), row_of


def _append(
    data: Any,
    records: Any,
    keys: NDArray[np.void],
    batches: Iterable[tuple[NDArray[np.integer], NDArray[Any]]],
    row_of: dict[bytes, int],
    row: int,
) -> None:
    """Write batches as they are computed, from a row on, each before its records, and add to `row_of`."""
    for indices, batch in batches:
        new = np.zeros(len(batch), _RECORD)
        new["key"] = keys[indices]
        new["crc"] = [zlib.crc32(one.tobytes()) for one in batch]
        data.write(np.ascontiguousarray(batch).tobytes())
        data.flush()
        records.write(new.tobytes())
        records.flush()
        for index in indices:
            row_of[keys[index].tobytes()] = row
            row += 1


def _known(data: Any, records: Any, row_bytes: int) -> NDArray[Any]:
    """The records of whole rows; what a kill left behind them is cut off."""
    records.seek(0)
    known = np.frombuffer(records.read(), np.uint8)
    count = min(len(known) // _RECORD.itemsize, os.fstat(data.fileno()).st_size // row_bytes)
    data.truncate(count * row_bytes)
    records.truncate(count * _RECORD.itemsize)
    return known[: count * _RECORD.itemsize].view(_RECORD)


def _whole_rows(
    data: Any, known: NDArray[Any], first: dict[bytes, int], files: _Files, reporter: Reporter
) -> dict[bytes, int]:
    """The rows of the wanted keys that are there and undamaged; the last one of each key counts."""
    last = {record["key"].tobytes(): row for row, record in enumerate(known)}
    row_of = {key: last[key] for key in first if key in last}
    damaged = set()
    for key, row in row_of.items():
        data.seek(row * files.row_bytes)
        if zlib.crc32(data.read(files.row_bytes)) != int(known["crc"][row]):
            damaged.add(key)
    if damaged:
        reporter.warn(f"{len(damaged):,} of {len(first):,} rows of {files.data} are damaged: they are computed again")
    return {key: row for key, row in row_of.items() if key not in damaged}


def _discard_if_too_large(files: _Files, first: dict[bytes, int], limit_gb: float) -> None:
    """Begin anew where what is there, much of it of pictures that are gone, would not fit with what is wanted."""
    if not files.data.exists() or not files.records.exists():
        return
    known = np.fromfile(files.records, np.uint8)
    keys = known[: len(known) // _RECORD.itemsize * _RECORD.itemsize].view(_RECORD)["key"]
    missing = len(first.keys() - {key.tobytes() for key in keys})
    if not cache.fits(len(first) * files.row_bytes, limit_gb):
        return  # which is refused, or what is there would be lost for nothing
    if missing and not cache.fits(files.data.stat().st_size + missing * files.row_bytes, limit_gb):
        files.data.unlink(missing_ok=True)  # whoever has it mapped keeps it
        files.records.unlink(missing_ok=True)


def _begin(
    files: _Files, total: int, limit_gb: float, announce: Callable[[int, int, int], None], known: int, missing: int
) -> None:
    """Let older files of the cache go for what is missing of a total of arrays, and announce what is computed.

    Raises:
        InputError: all of it is above the limit.
        RunError: the disk has no room for it.
    """
    more = (total - known) * files.row_bytes
    if not cache.fits(more, limit_gb):
        raise InputError(
            f"the activations take {more / 1e9:.2g} GB, above --cache-limit {limit_gb:g} GB: raise it, or take fewer "
            "--views or a later --from"
        )
    folder = files.data.parent
    free = shutil.disk_usage(folder).free
    if free < more:
        raise RunError(f"the cache needs {more / 1e9:.2g} GB, and {folder} has room for {free / 1e9:.2g}{_HINT}")
    cache.make_room(more, limit_gb, keep=(files.data, files.records))
    announce(missing, missing * files.row_bytes, total * files.row_bytes)
