"""Files that are whole or not there, folders that hold results, locks, and where the cache lies."""

from __future__ import annotations

import errno
import glob
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock, Timeout

from ception.errors import InputError, RunError, meant, reason

MARK = ".ception"
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)  # what file systems without them answer
_UNTOLD_S = 1.0  # that a lock is waited for without a word


def cache_folder() -> Path:
    """Where files lie that can be had again: `CEPTION_CACHE`, or ~/.cache/ception, or a folder among temporary files.

    The last is for those without a home folder of their own, as users without a name have none in a container.

    Raises:
        InputError: there is no such folder that could be trusted.
    """
    if named := os.environ.get("CEPTION_CACHE"):
        return Path(named)
    return _home_cache() or _temporary_cache()


def cache_is_temporary() -> bool:
    """Whether the cache lies among temporary files, for want of a home folder."""
    return not os.environ.get("CEPTION_CACHE") and _home_cache() is None


def _home_cache() -> Path | None:
    """The cache in the home folder; None where there is no such folder, nor may it be made."""
    home = os.path.expanduser("~")
    if not os.path.isabs(home):  # left as it is where neither HOME nor the system's list of users names one
        return None
    folder = Path(home, ".cache", "ception")
    there = next((place for place in (folder, *folder.parents) if os.path.exists(place)), None)
    return folder if there == folder or (there and os.access(there, os.W_OK)) else None


def _temporary_cache() -> Path:
    user = os.getuid() if hasattr(os, "getuid") else None
    try:
        folder = Path(tempfile.gettempdir(), "ception" if user is None else f"ception-{user}")
        if user is not None:
            folder.mkdir(mode=0o700, exist_ok=True)
            if folder.lstat().st_uid != user:  # who might have put weights of his own there
                raise InputError(f"{folder} belongs to another user: set CEPTION_CACHE to a folder of your own")
    except OSError as error:
        raise InputError(
            f"there is no home folder, and no temporary one to keep a cache in ({reason(error)}): set CEPTION_CACHE "
            "to a folder"
        ) from None
    return folder


def meant_path(path: str | Path) -> str:
    """A clause that asks whether a name beside a path that leads nowhere was meant, `; did you mean 'a'?`; else empty.

    The name compared is the first in the path that is not there, a folder's or the file's; that of a pattern is none.
    """
    path = Path(path)
    there = next((folder for folder in path.parents if folder.is_dir()), None)
    if there is None or path.exists():
        return ""
    name = path.relative_to(there).parts[0]
    return "" if glob.has_magic(name) else meant(name, (one for one in _names_in(there) if not one.startswith(".")))


def _names_in(folder: Path) -> list[str]:
    """What a folder holds; nothing where it may not be listed."""
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


@contextmanager
def whole(path: Path, hint: str = "") -> Iterator[Path]:
    """A path to write to; when the context ends well, the file has its name at once and whole, else nothing is left.

    Args:
        path: Where the file shall lie; its folder is made.
        hint: What to do when it cannot be written, for the message.

    Raises:
        RunError: the file cannot be written.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield unfinished
        with unfinished.open("rb+") as file:
            os.fsync(file.fileno())  # the content before the name, should the power fail
        os.replace(unfinished, path)
    except BrokenPipeError:  # of another file, such as standard output
        raise
    except OSError as error:
        if error.errno is None:  # not the system's: a broken archive that was being unpacked, say
            raise
        raise RunError(f"{path} cannot be written: {reason(error)}{hint}") from None
    finally:
        with suppress(OSError):  # the folder itself may be what cannot be used
            unfinished.unlink(missing_ok=True)


@contextmanager
def locked(path: Path, busy: str, *, wait: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold a lock file for as long as the context lasts; it is free again when the process ends, however it ends.

    On a file system without locks, such as Lustre, all may enter.

    Args:
        path: The lock file; it stays.
        busy: What to say where another process or thread holds it.
        wait: Told `busy` where the holder is waited for longer than a moment; None refuses at once.

    Raises:
        InputError: another one holds it.
    """
    lock = FileLock(path, fallback_to_soft=False, preserve_lock_file=True)
    try:
        _acquire(lock, busy, wait)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    try:
        yield
    finally:
        lock.release()


def _acquire(lock: BaseFileLock, busy: str, wait: Callable[[str], None] | None) -> None:
    try:
        lock.acquire(timeout=0 if wait is None else _UNTOLD_S)
    except Timeout:
        if wait is None:
            raise InputError(busy) from None
        wait(busy)
        lock.acquire()


def mark(folder: Path) -> None:
    """Make a folder for results and mark it, so that its pictures are never taken for data."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MARK).touch()
    except OSError as error:
        raise RunError(f"{folder} cannot be written: {reason(error)}") from None


def is_own(folder: Path) -> bool:
    """Whether a folder holds results of this package."""
    return (folder / MARK).exists()


def write_json(path: Path, value: Any) -> None:
    """Save plain values as indented JSON, whole or not at all."""
    with whole(path) as unfinished:
        unfinished.write_text(json.dumps(value, indent=2) + "\n", encoding="ascii")
