"""Arrays in files, memory-mapped: compressed ones are unpacked into the cache first, piece by piece."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import struct
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ception.data import cache
from ception.errors import InputError, reason
from ception.files import cache_folder
from ception.reporting import Reporter

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, struct.error, RuntimeError)


@dataclass(frozen=True)
class Unpacking:
    """How compressed arrays may be unpacked into the cache.

    Attributes:
        cache_limit: Most that the cache folder may hold, in GB.
        reporter: Receives a note about each that takes more than 1 MB.
    """

    cache_limit: float
    reporter: Reporter


def npz_names(path: Path) -> list[str]:
    """The names of the arrays in an .npz file.

    Raises:
        InputError: the file is broken.
    """
    with _whole(path, ".npz file"), zipfile.ZipFile(path) as archive:
        return [name[:-4] for name in archive.namelist() if name.endswith(".npy")]


def open_npz(
    path: Path, large: Collection[str], small: Collection[str], unpacking: Unpacking
) -> dict[str, NDArray[Any]]:
    """Arrays of an .npz file by name; no pickle is opened.

    Args:
        path: The file.
        large: Names of arrays that are memory-mapped.
        small: Names of arrays that are read.
        unpacking: How to unpack them.

    Raises:
        InputError: the file is broken, or an array in it holds Python objects.
    """
    opened = {}
    with _whole(path, ".npz file"), zipfile.ZipFile(path) as archive:
        for item in archive.infolist():
            name = item.filename.removesuffix(".npy")
            if name == item.filename or name not in {*large, *small}:
                continue
            with archive.open(item) as stream, _plain(path, name):
                if name in large:
                    unpacked = _unpacked(path, item.filename, stream, item.file_size, unpacking)
                    opened[name] = np.load(unpacked, mmap_mode="r", allow_pickle=False)
                else:
                    opened[name] = np.load(io.BytesIO(stream.read()), allow_pickle=False)
    return opened


@contextmanager
def _whole(path: Path, kind: str) -> Iterator[None]:
    """Say in one line of a file that cannot be read, or is not all of a file of its kind."""
    try:
        yield
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be read: {reason(error)}") from None
    except _BROKEN as error:
        raise InputError(f"{path} is no whole {kind}: {error}") from None


@contextmanager
def _plain(path: Path, name: str) -> Iterator[None]:
    """Say of an array of Python objects, which only a pickle holds, how to save it."""
    try:
        yield
    except ValueError as error:
        if "allow_pickle" not in str(error) and "Python object" not in str(error):
            raise
        raise InputError(
            f"{path}: {name} is an array of Python objects: save plain ones, pictures as np.stack(list(pictures)), "
            "labels as np.array(labels.tolist())"
        ) from None


def open_idx(path: Path, unpacking: Unpacking) -> NDArray[np.uint8]:
    """The array of an IDX file of unsigned bytes (MNIST's format), gzipped or not.

    Raises:
        InputError: the file is broken, or holds another type.
    """
    with _whole(path, "IDX file of bytes"):
        if path.suffix != ".gz":
            return _mapped_idx(path)
        with path.open("rb") as file:
            file.seek(-4, 2)
            size = int.from_bytes(file.read(4), "little")  # gzip's own trailer: the size modulo 2**32
        with gzip.open(path) as stream:
            return _mapped_idx(_unpacked(path, "idx", stream, size, unpacking))


def _mapped_idx(path: Path) -> NDArray[np.uint8]:
    with path.open("rb") as file:
        zeros, kind, dimensions = struct.unpack(">HBB", file.read(4))
        if zeros or kind != 8 or not 1 <= dimensions <= 4:
            raise ValueError("its first bytes are not those of an IDX file of bytes")
        shape = struct.unpack(f">{dimensions}I", file.read(4 * dimensions))
        offset = file.tell()
    return np.memmap(path, np.uint8, "r", offset, shape)


def _unpacked(path: Path, member: str, stream: Any, size: int, unpacking: Unpacking) -> Path:
    """A file in the cache with what the stream holds; made once for each state of the source."""
    status = path.stat()
    state = f"{path.resolve()}|{member}|{status.st_size}|{status.st_mtime_ns}"
    name = cache.name_of(os.fsencode(state))
    if earlier := cache.find(name, size):
        return earlier
    if not cache.fits(size, unpacking.cache_limit):
        limit = unpacking.cache_limit
        raise InputError(f"{path} takes {size / 1e9:.1f} GB unpacked, above --cache-limit {limit:g} GB: raise it")
    if size > 1e6:
        unpacking.reporter.note(f"Unpacking {path.name} once into {cache_folder()} ({size / 1e6:,.0f} MB)")
    with cache.writing(name, size, unpacking.cache_limit) as target, target.open("wb") as file:
        shutil.copyfileobj(stream, file, 1 << 20)
    return cache_folder() / name
