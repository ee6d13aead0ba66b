"""Files by their path, or by an address that fsspec opens: s3://, gs://, hf://, https://, memory:// and others."""

from __future__ import annotations

import hashlib
import html
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ception.data import formats
from ception.data.formats import PictureError
from ception.errors import InputError, RunError, nearest, reason
from ception.files import cache_folder, whole

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_LIBRARIES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs",
           "http": "aiohttp", "https": "aiohttp"}  # fmt: skip
_OF_OBJECTS = ("s3", "s3a", "gs", "gcs", "az", "abfs", "adl", "oss")  # where to make a folder may make a bucket
_OF_THE_WEB = re.compile("https?://", re.IGNORECASE)
_CHANGING = ("size", "ETag", "etag", "LastModified", "last_modified", "Last-Modified", "mtime", "created", "sha", "oid",
             "blob_id")  # fmt: skip
_PART = 8 << 20  # bytes copied at once


def is_address(path: str | os.PathLike[str]) -> bool:
    """Whether it is an address, such as `s3://bucket/photos`, and no path."""
    return bool(_ADDRESS.match(os.fspath(path))) and not os.path.exists(path)


def is_of_the_web(where: str) -> bool:
    """Whether it is an address of a web server, whose folders are pages with links."""
    return bool(_OF_THE_WEB.match(where))


def joined(folder: str, name: str) -> str:
    """A file in a folder."""
    return f"{folder.rstrip('/')}/{name}" if _ADDRESS.match(folder) else os.path.join(folder, name)


def is_file(where: str) -> bool:
    """Whether there is a file.

    Raises:
        InputError: the address cannot be opened.
    """
    return size(where) is not None


def size(where: str) -> int | None:
    """A file's bytes; None where there is no file.

    Raises:
        InputError: the address cannot be opened.
    """
    if not is_address(where):
        return os.path.getsize(where) if os.path.isfile(where) else None
    try:
        system, inner = opened(where)
        told = system.info(inner)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except InputError:
        raise
    except Exception as error:  # each file system has its own
        raise unreachable(where, error) from None
    return int(told["size"] or 0) if told["type"] == "file" else None


def files_below(folder: str) -> list[str]:
    """The files in a folder at an address and in the folders there, by what follows the folder's own address.

    Raises:
        InputError: it cannot be listed.
    """
    system, inner = opened(folder)
    try:
        listed = list(_linked(system, inner.rstrip("/"))) if is_of_the_web(folder) else system.find(inner)
    except FileNotFoundError:
        return []
    except Exception as error:  # each file system has its own
        raise unreachable(folder, error) from None
    start = len(inner.rstrip("/")) + 1
    return [name[start:] for name in sorted(listed) if name[start:]]


def _linked(system: AbstractFileSystem, folder: str) -> Iterator[str]:
    """The files that a web server's page about a folder leads to, and its pages about the folders there."""
    for one in system.ls(f"{folder}/", detail=False):
        name = html.unescape(one)[len(folder) + 1 :]
        if re.fullmatch(r"[^/?#]+", name):
            yield f"{folder}/{name}"
        elif re.fullmatch(r"(?!\.\.?/)[^/?#]+/", name):  # neither itself nor the one above
            with suppress(FileNotFoundError):  # a link that leads nowhere
                yield from _linked(system, f"{folder}/{name[:-1]}")


def require_parts(where: str) -> None:
    """Refuse a file of which pictures are parts where its server sends nothing but whole files.

    Raises:
        InputError: so it is, or the file cannot be read.
    """
    if not is_of_the_web(where):
        return
    system, inner = opened(where)
    try:
        with system.open(inner, block_size=0, size=1, headers={"Range": "bytes=1-1"}) as file:
            status = file.r.status
    except Exception as error:  # those of aiohttp
        raise _unread(where, error) from None
    if status == 200:
        raise InputError(f"{where}: its server sends whole files, no parts of them: copy the file to this machine")
    if status != 206:
        raise unreachable(where, RuntimeError(f"its server answers {status}"))


def read(where: str) -> bytes:
    """All of a file.

    Raises:
        PictureError: it cannot be read.
    """
    return read_part(where, 0, None)


def read_part(where: str, start: int, length: int | None) -> bytes:
    """Some of a file's bytes, fewer where it ends before; all that follow where no length is given.

    Raises:
        PictureError: they cannot be read.
    """
    try:
        if not is_address(where):
            with open(where, "rb") as file:
                file.seek(start)
                return file.read(length)
        system, inner = opened(where)
        end = None if length is None else start + length
        data = bytes(system.cat_file(inner, start=start or None, end=end))
        if length is not None and start and len(data) > length:
            raise PictureError("cannot be read: its server sends whole files, no parts of them")
        return data[:length]
    except PictureError:
        raise
    except OSError as error:
        raise PictureError(f"cannot be read: {reason(error)}") from None
    except InputError as error:
        raise PictureError(str(error)) from None
    except Exception as error:  # each file system has its own
        raise PictureError(f"cannot be read: {' '.join(str(error).split())}") from None


def write(where: str, data: bytes) -> None:
    """Write a file, which is there as a whole or not at all: a store of objects has none before its last byte.

    Raises:
        RunError: it cannot be written.
    """
    if not is_address(where):
        with whole(Path(where)) as unfinished:
            unfinished.write_bytes(data)
        return
    system, inner = opened(where)
    try:
        if where.partition("://")[0].lower() not in _OF_OBJECTS:
            system.makedirs(inner.rpartition("/")[0], exist_ok=True)
        system.pipe_file(inner, data)
    except Exception as error:  # each file system has its own
        raise RunError(f"{where} cannot be written: {' '.join(str(error).split())}") from None


@contextmanager
def open_file(where: str) -> Iterator[BinaryIO]:
    """A file to be read, wherever it lies.

    Raises:
        InputError: there is no file at the address, or it cannot be opened.
        OSError: a file of this machine cannot.
    """
    if not is_address(where):
        with open(where, "rb") as file:
            yield file
        return
    system, inner = opened(where)
    try:
        file = system.open(inner, "rb")
    except Exception as error:  # each file system has its own
        raise _unread(where, error) from None
    with file:
        yield file


def state(where: str) -> bytes:
    """What changes when a file does.

    Raises:
        InputError: there is no such file, or it cannot be asked for.
    """
    try:
        if not is_address(where):
            told = os.stat(where)
            return f"{os.path.abspath(where)}\0{told.st_size}\0{told.st_mtime_ns}".encode()
        system, inner = opened(where)
        known = system.info(inner)
    except OSError as error:
        raise _unread(where, error) from None
    return "\0".join([where, *(str(known.get(key)) for key in _CHANGING)]).encode()


def kind_of_file(where: str) -> str:
    """The format that a file begins like, such as `JPEG`; empty where it shows none, or cannot be read."""
    if not is_address(where):
        return formats.kind_of_file(where)
    try:
        return formats.kind_of(read_part(where, 0, min(formats.ENOUGH, size(where) or 0)))
    except (InputError, PictureError):
        return ""


def local_copy(where: str) -> Path:
    """A file as one on this machine: itself, or a copy in the cache folder, made again when the file has changed.

    Raises:
        InputError: there is no such file, or it cannot be had.
        RunError: the cache folder cannot be written.
    """
    if not is_address(where):
        return Path(where)
    system, inner = opened(where)
    try:
        digest = hashlib.blake2b(state(where), digest_size=12).hexdigest()
        path = cache_folder() / f"copy-{digest}{Path(inner).suffix}"
        if path.is_file():
            os.utime(path)
            return path
        with whole(path) as unfinished, unfinished.open("wb") as target, system.open(inner, "rb") as source:
            while part := source.read(_PART):
                target.write(part)
        return path
    except (InputError, RunError):
        raise
    except Exception as error:  # each file system has its own
        raise _unread(where, error) from None


def _unread(where: str, error: Exception) -> InputError:
    """That there is no file, or why it cannot be read, which may stand behind its being missing."""
    cause = error.__cause__
    if not isinstance(error, FileNotFoundError):
        return unreachable(where, error)
    if isinstance(cause, Exception) and getattr(cause, "status", None) != 404 and is_of_the_web(where):
        return unreachable(where, cause)
    return InputError(f"there is no file {where}")


def unreachable(where: str, error: Exception) -> InputError:
    """That an address cannot be read, and why."""
    return InputError(f"{where} cannot be read: {' '.join(str(error).split()) or type(error).__name__}")


def opened(where: str) -> tuple[AbstractFileSystem, str]:
    """What opens an address, and the file's name to it.

    Raises:
        InputError: nothing installed does.
    """
    import fsspec

    scheme = where.partition("://")[0].lower()
    endpoint = os.environ.get("HF_ENDPOINT")  # which its library reads but once, when it is imported
    try:
        return fsspec.core.url_to_fs(where, **({"endpoint": endpoint} if scheme == "hf" else {}))  # type: ignore[no-any-return]
    except ImportError as error:
        library = _LIBRARIES.get(scheme, error.name or "a library that fsspec knows")
        raise InputError(f"{scheme}:// needs a library: pip install {library}") from None
    except ValueError:
        raise InputError(f"{where}: {nearest(scheme, fsspec.available_protocols())}") from None
    except Exception as error:  # each file system has its own, for lack of credentials for example
        raise unreachable(where, error) from None
