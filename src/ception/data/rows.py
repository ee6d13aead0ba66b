"""Arrays of one shape in the cache folder, each found by its key, written one after another as they are computed."""

from __future__ import annotations

import os
import shutil
import zlib
from collections.abc import Callable, Iterable
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
    compute: Callable[[NDArray[np.int64]], Iterable[NDArray[Any]]],
    *,
    limit_gb: float,
    announce: Callable[[int, int], None],
    reporter: Reporter,
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The array of each key, memory-mapped; those that are not in the cache, or damaged there, are computed.

    What was written before a kill is found again: a row counts once its record is in the index.

    Args:
        name: Of the two files, `NAME.rows` and `NAME.index`: follows from all that the arrays depend on but the key.
        keys: Of type `V16`; equal ones have equal arrays.
        shape: Of one array.
        dtype: Of its numbers.
        compute: From positions in `keys` to batches of arrays in that order, of the dtype.
        limit_gb: Most that the cache folder may hold, in GB.
        announce: Told how many arrays are about to be computed, and their bytes.
        reporter: Warned of damaged rows.

    Returns:
        All rows (rows, *shape), and for each key its row.

    Raises:
        InputError: the arrays are larger than the limit, or another process is writing them.
        RunError: the cache cannot be written, or its disk is full.
    """
    data, index = (cache_folder() / f"{name}.{ending}" for ending in ("rows", "index"))
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    try:
        data.parent.mkdir(parents=True, exist_ok=True)
        refusal = f"another process writes {data.name} in the cache folder: wait for it"
        with locked(index, refusal), data.open("ab+") as rows, index.open("ab+") as records:
            known = _known(rows, records, size)
            places = {record["key"].tobytes(): row for row, record in enumerate(known)}
            wanted = dict.fromkeys(key.tobytes() for key in keys)
            damaged = [key for key in wanted if key in places and not _is_whole(rows, known, places[key], size)]
            if damaged:
                reporter.warn(
                    f"{len(damaged):,} of {len(wanted):,} rows of {data} are damaged: they are computed again"
                )
            for key in damaged:
                del places[key]
            first: dict[bytes, int] = {}
            for position, key in enumerate(keys):
                first.setdefault(key.tobytes(), position)
            missing = np.array([first[key] for key in wanted if key not in places], np.int64)
            if len(missing):
                _check_room(data, len(known) * size, len(missing) * size, limit_gb)
                cache.make_room(len(missing) * size, limit_gb, keep=(data, index))
                announce(len(missing), len(missing) * size)
                written = len(known)
                for batch in compute(missing):
                    done = missing[written - len(known) :][: len(batch)]
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
            stored = np.memmap(rows, np.uint8, "r").view(dtype).reshape(-1, *shape)
    except OSError as error:
        raise RunError(f"{data} cannot be written: {reason(error)}{_HINT}") from None
    return stored, np.array([places[key.tobytes()] for key in keys], np.int64)


def _known(rows: Any, records: Any, size: int) -> NDArray[Any]:
    """The records of whole rows; what a kill left behind them is cut off."""
    records.seek(0)
    known = np.frombuffer(records.read(), np.uint8)
    count = min(len(known) // _RECORD.itemsize, os.fstat(rows.fileno()).st_size // size)
    rows.truncate(count * size)
    records.truncate(count * _RECORD.itemsize)
    return known[: count * _RECORD.itemsize].view(_RECORD)


def _is_whole(rows: Any, known: NDArray[Any], row: int, size: int) -> bool:
    rows.seek(row * size)
    return zlib.crc32(rows.read(size)) == int(known["crc"][row])


def _check_room(data: Path, present: int, more: int, limit_gb: float) -> None:
    if not cache.fits(present + more, limit_gb):
        if present and cache.fits(more, limit_gb):  # of pictures that are gone
            hint = "delete it with ception cache --clear, or raise the limit"
        else:
            hint = "raise it"
        raise InputError(
            f"the activations take {(present + more) / 1e9:.2g} GB, above --cache-limit {limit_gb:g} GB: {hint}"
        )
    free = shutil.disk_usage(data.parent).free
    if free < more:
        raise RunError(
            f"the activations take {more / 1e9:.2g} GB, and {data.parent} has room for {free / 1e9:.2g}{_HINT}"
        )
