"""Arrays of one shape in the cache folder, each found by its key, written one after another as they are computed."""

from __future__ import annotations

import os
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
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
_HINT = "; set CEPTION_CACHE to a folder with room"


def collect(
    name: str,
    keys: NDArray[np.void],
    shape: tuple[int, ...],
    dtype: Any,
    compute: Callable[[NDArray[np.int64]], Iterable[tuple[NDArray[np.integer], NDArray[Any]]]],
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
        compute: From positions in `keys` to batches: the positions that it could compute, and their arrays of the
            dtype, in the order of the positions.
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
    data, index = (cache_folder() / f"{name}.{ending}" for ending in ("rows", "index"))
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    first: dict[bytes, int] = {}
    for position, key in enumerate(keys):
        first.setdefault(key.tobytes(), position)
    try:
        data.parent.mkdir(parents=True, exist_ok=True)
        with _alone(cache_folder() / f"{name}.lock", data, reporter):
            _discard_if_too_large(data, index, first, size, limit_gb)
            with data.open("ab+") as rows, index.open("ab+") as records:
                known = _known(rows, records, size)
                places = _whole_rows(rows, known, first, size, data, reporter)
                missing = np.array([position for key, position in first.items() if key not in places], np.int64)
                if len(missing):
                    in_all = max(in_all, len(first))
                    more = (in_all - len(places)) * size
                    _check_room(data, more, limit_gb)
                    cache.make_room(more, limit_gb, keep=(data, index))
                    announce(len(missing), len(missing) * size, in_all * size)
                    written = len(known)
                    for done, batch in compute(missing):
                        new = np.zeros(len(batch), _RECORD)
                        new["key"] = keys[done]
                        new["crc"] = [zlib.crc32(row.tobytes()) for row in batch]
                        rows.write(np.ascontiguousarray(batch).tobytes())
                        rows.flush()
                        records.write(new.tobytes())
                        records.flush()
                        for position in done:
                            places[keys[position].tobytes()] = written
                            written += 1
                os.utime(data)
                os.utime(index)
                if os.fstat(rows.fileno()).st_size:
                    stored = np.memmap(rows, np.uint8, "r").view(dtype).reshape(-1, *shape)
                else:  # an empty file cannot be mapped
                    stored = np.zeros((0, *shape), dtype)
    except OSError as error:
        raise RunError(f"{data} cannot be written: {reason(error)}{_HINT}") from None
    return stored, np.array([places.get(key.tobytes(), -1) for key in keys], np.int64)


@contextmanager
def _alone(lock: Path, data: Path, reporter: Reporter) -> Iterator[None]:
    """A context that one process at a time is in."""
    try:
        with locked(lock, "busy"):
            yield
            return
    except InputError as error:
        if str(error) != "busy":
            raise
    reporter.note(f"Waiting for another process that writes {data.name} in the cache folder")
    with locked(lock, "", wait=True):
        yield


def _known(rows: Any, records: Any, size: int) -> NDArray[Any]:
    """The records of whole rows; what a kill left behind them is cut off."""
    records.seek(0)
    known = np.frombuffer(records.read(), np.uint8)
    count = min(len(known) // _RECORD.itemsize, os.fstat(rows.fileno()).st_size // size)
    rows.truncate(count * size)
    records.truncate(count * _RECORD.itemsize)
    return known[: count * _RECORD.itemsize].view(_RECORD)


def _whole_rows(
    rows: Any, known: NDArray[Any], first: dict[bytes, int], size: int, data: Path, reporter: Reporter
) -> dict[bytes, int]:
    """The rows of the wanted keys that are there and undamaged; the last one of each key counts."""
    places = {record["key"].tobytes(): row for row, record in enumerate(known)}
    found = {key: places[key] for key in first if key in places}
    damaged = []
    for key, row in found.items():
        rows.seek(row * size)
        if zlib.crc32(rows.read(size)) != int(known["crc"][row]):
            damaged.append(key)
    if damaged:
        reporter.warn(f"{len(damaged):,} of {len(first):,} rows of {data} are damaged: they are computed again")
    return {key: row for key, row in found.items() if key not in damaged}


def _discard_if_too_large(data: Path, index: Path, first: dict[bytes, int], size: int, limit_gb: float) -> None:
    """Begin anew where what is there, much of it of pictures that are gone, would not fit with what is wanted."""
    if not data.exists() or not index.exists():
        return
    known = np.fromfile(index, np.uint8)
    keys = known[: len(known) // _RECORD.itemsize * _RECORD.itemsize].view(_RECORD)["key"]
    missing = len(first.keys() - {key.tobytes() for key in keys})
    if not cache.fits(len(first) * size, limit_gb):
        return  # which is refused, or what is there would be lost for nothing
    if missing and not cache.fits(data.stat().st_size + missing * size, limit_gb):
        data.unlink(missing_ok=True)  # whoever has it mapped keeps it
        index.unlink(missing_ok=True)


def _check_room(data: Path, more: int, limit_gb: float) -> None:
    if not cache.fits(more, limit_gb):
        raise InputError(
            f"the activations take {more / 1e9:.2g} GB, above --cache-limit {limit_gb:g} GB: raise it, or take fewer "
            "--views or a later --from"
        )
    free = shutil.disk_usage(data.parent).free
    if free < more:
        raise RunError(f"the cache needs {more / 1e9:.2g} GB, and {data.parent} has room for {free / 1e9:.2g}{_HINT}")
