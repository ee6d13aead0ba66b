"""Arrays in files, memory-mapped: compressed ones are unpacked into the cache first, piece by piece."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import struct
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ception.data import cache
from ception.errors import InputError, reason

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, struct.error, NotImplementedError, RuntimeError)


def open_npz(path: Path, cache_limit: float) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file by name; none of them is wholly in memory, and no pickle is opened.

    Raises:
        InputError: the file is broken, or an array in it holds Python objects.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [item for item in archive.infolist() if item.filename.endswith(".npy")]
            found = {}
            for item in members:
                with archive.open(item) as stream:
                    unpacked = _unpacked(path, item.filename, stream, item.file_size, cache_limit)
                found[item.filename[:-4]] = np.load(unpacked, mmap_mode="r", allow_pickle=False)
            return found
    except OSError as error:
        raise InputError(f"{path} cannot be read: {reason(error)}") from None
    except _BROKEN as error:
        raise InputError(f"{path} is no whole .npz file: {error}") from None


def open_idx(path: Path, cache_limit: float) -> NDArray[np.uint8]:
    """The array of an IDX file of unsigned bytes (MNIST's format), gzipped or not.

    Raises:
        InputError: the file is broken, or holds another type.
    """
    try:
        if path.suffix != ".gz":
            return _mapped_idx(path)
        with path.open("rb") as file:
            file.seek(-4, 2)
            size = int.from_bytes(file.read(4), "little")  # gzip's own trailer: the size modulo 2**32
        with gzip.open(path) as stream:
            return _mapped_idx(_unpacked(path, "idx", stream, size, cache_limit))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {reason(error)}") from None
    except _BROKEN as error:
        raise InputError(f"{path} is no whole IDX file of bytes: {error}") from None


def _mapped_idx(path: Path) -> NDArray[np.uint8]:
    with path.open("rb") as file:
        zeros, kind, dimensions = struct.unpack(">HBB", file.read(4))
        if zeros or kind != 8 or not 1 <= dimensions <= 4:
            raise ValueError("its first bytes are not those of an IDX file of bytes")
        shape = struct.unpack(f">{dimensions}I", file.read(4 * dimensions))
        offset = file.tell()
    return np.memmap(path, np.uint8, "r", offset, shape)


def _unpacked(path: Path, member: str, stream: Any, size: int, cache_limit: float) -> Path:
    """A file in the cache with what the stream holds; made once for each state of the source."""
    status = path.stat()
    state = f"{path.resolve()}|{member}|{status.st_size}|{status.st_mtime_ns}"
    name = f"array-{hashlib.blake2b(state.encode(), digest_size=12).hexdigest()}.npy"
    found = cache.find(name)
    if found:
        return found
    with cache.writing(name, size, cache_limit) as target, target.open("wb") as file:
        shutil.copyfileobj(stream, file, 1 << 20)
    return cache.folder() / name
