"""The cache folder: files that can be made again, kept under a limit; the least recently used goes first."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

from ception.files import cache_folder, whole

_STALE_S = 24 * 3600  # an unfinished file this old belongs to a process that died
_HEX = "[0-9a-f]{24}"
_ARRAY = rf"array-{_HEX}\.npy"
_COPY = rf"copy-{_HEX}[\w.]*"  # of a file at an address
_ENGINE = rf"engine-{_HEX}\.bin"  # a translated network
_ROWS = rf"(pixels|features)-{_HEX}\.(rows|index)"  # their locks stay: another process may hold one
_UNFINISHED = rf"\.({_ARRAY}|{_COPY}|{_ENGINE})\.\d+\.tmp"
_FROM_HUB = "hub/models--*/blobs/*"  # what the hub's library keeps there; a link to one that is gone is none to it
_OURS = re.compile(rf"{_ARRAY}|{_COPY}|{_ENGINE}|{_UNFINISHED}|{_ROWS}|timings\.json|weights-[\w.-]+")


def entries() -> list[tuple[Path, int, float]]:
    """Each cached file with its size in bytes and the time of its last use, the least recently used first.

    Whatever else lies in the folder is none of ours.
    """
    present = []
    folder = cache_folder()
    ours = (path for path in folder.glob("*") if _OURS.fullmatch(path.name))
    for path in chain(ours, folder.glob(_FROM_HUB)):
        try:
            status = path.stat()
        except FileNotFoundError:  # another process was quicker
            continue
        if stat.S_ISREG(status.st_mode):
            present.append((path, status.st_size, status.st_mtime))
    return sorted(present, key=lambda entry: entry[2])


def clear() -> int:
    """Delete every cached file; the number of bytes that were freed."""
    freed = 0
    for path, size, _ in entries():
        path.unlink(missing_ok=True)
        freed += size
    return freed


def fits(size: int, limit_gb: float) -> bool:
    """Whether a file of `size` bytes may be cached at all."""
    return size <= limit_gb * 1e9


def name_of(*parts: bytes) -> str:
    """The name of a cached array that follows from all that its content depends on."""
    return f"array-{digest(*parts)}.npy"


def digest(*parts: bytes) -> str:
    """24 hexadecimal digits that follow from the parts."""
    hashed = hashlib.blake2b(digest_size=12)
    for part in parts:
        hashed.update(len(part).to_bytes(8, "little") + part)
    return hashed.hexdigest()


def find(name: str, size: int) -> Path | None:
    """The cached file of that name, marked as just used; None where there is none.

    One that has not `size` bytes, but for a header, is broken: it is passed over, and will be made again.
    """
    path = cache_folder() / name
    try:
        if not size <= path.stat().st_size < size + 4096:
            return None
        os.utime(path)
    except OSError:
        return None
    return path


@contextmanager
def writing(name: str, size: int, limit_gb: float) -> Iterator[Path]:
    """A path to write `size` bytes to; when the context ends well, the file gets its name at once and whole.

    Older files make room for it.

    Raises:
        RunError: the folder cannot be written, or its disk is full.
    """
    make_room(size, limit_gb)
    with whole(cache_folder() / name, "; set CEPTION_CACHE to a folder with room") as unfinished:
        yield unfinished


def make_room(size: int, limit_gb: float, keep: tuple[Path, ...] = ()) -> None:
    """Delete the files used least recently until `size` more bytes keep to the limit; those to `keep` stay."""
    present = entries()
    total = size + sum(bytes_ for _, bytes_, _ in present)
    for path, bytes_, used in present:
        unfinished = path.suffix == ".tmp"
        if path not in keep and (
            (unfinished and used < time.time() - _STALE_S) or (not unfinished and total > limit_gb * 1e9)
        ):
            path.unlink(missing_ok=True)
            total -= bytes_
