"""Files from the web: resumed where they broke off, checked by their hash, explained where they cannot be had.

And small ones at any address, which are read into memory within limits.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from ception.errors import InputError, RunError, reason
from ception.files import cache_folder, locked
from ception.reporting import Reporter

_BLOCK = 1 << 16  # at most this much is lost where a connection breaks
_TIMEOUT_S = 30
_IN_ADDRESSES = "!#$%&'()*+,/:;=?@[]~"  # what stays as it is in an address; blanks and letters of all tongues do not


def read(url: str, *, most_bytes: int, most_seconds: float) -> bytes:
    """What lies at an http or https address.

    Args:
        url: The address.
        most_bytes: More is refused, before it is read where the server tells the size.
        most_seconds: Within which all of it must have come, from the look-up of the server's name on.

    Raises:
        RunError: it cannot be had within the limits; the message says why in a clause.
    """
    answer: Future[bytes] = Future()

    def work() -> None:
        try:
            answer.set_result(_read_within(url, most_bytes, most_seconds))
        except BaseException as error:
            if isinstance(error, urllib.error.HTTPError):
                error.close()  # an answer, too
            answer.set_exception(error)

    # a thread of its own: nothing else ends the look-up of a name, or a server that sends a byte now and then
    threading.Thread(target=work, name=f"reading {url}", daemon=True).start()
    try:
        return answer.result(most_seconds)
    except TimeoutError:
        raise RunError(f"it takes more than {most_seconds:g} seconds") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise RunError(_why(error)) from None


def _read_within(url: str, most_bytes: int, most_seconds: float) -> bytes:
    """As `read`, which sees to it that nobody waits longer; errors are those of the network."""
    until = time.monotonic() + most_seconds
    request = urllib.request.Request(
        quote(url, safe=_IN_ADDRESSES), headers={"User-Agent": f"ception/{version('ception')}"}
    )
    opener = urllib.request.OpenerDirector()  # of http and https alone: no redirect leads to a file or to ftp
    for handler in (
        urllib.request.ProxyHandler(), urllib.request.HTTPHandler(), urllib.request.HTTPSHandler(),
        urllib.request.HTTPRedirectHandler(), urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(), urllib.request.UnknownHandler(),
    ):  # fmt: skip
        opener.add_handler(handler)
    with opener.open(request, timeout=most_seconds) as answer:
        data = bytearray()
        while True:
            if len(data) + (answer.length or 0) > most_bytes:
                raise RunError(f"it has more than {most_bytes:,} bytes")
            if time.monotonic() > until:
                raise TimeoutError
            block = answer.read1(_BLOCK)
            if not block:
                break
            data += block
        if answer.length:
            raise http.client.IncompleteRead(bytes(data), answer.length)
    return bytes(data)


def path_of(url: str) -> Path:
    """Where the file of an address lies once it is downloaded, be it by hand."""
    return (cache_folder() / f"weights-{urlsplit(url).path.rsplit('/', 1)[-1]}").absolute()


def fetch(url: str, digest: str, *, megabytes: int | None = None, reporter: Reporter | None = None) -> Path:
    """The file at an address, from the cache folder if it lies there.

    A download that broke off goes on where it stopped; one that another process is busy with is waited for.

    Args:
        url: Its address; the last part is its name.
        digest: `md5:` or `sha256:` and the hexadecimal hash that it must have, or the hash's beginning.
        megabytes: Its size, rounded; an answer of another size is refused before it is downloaded.
        reporter: Receives progress.

    Raises:
        InputError: what lies in the file's place is not the file.
        RunError: the address cannot be reached, what lies there is not the file, or it cannot be written.
    """
    path, reporter = path_of(url), reporter or Reporter()
    if _is_there(path, digest):
        return path
    download = _Download(url, digest, megabytes, path, path.with_name(f".{path.name}.part"), reporter)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        busy = f"Waiting for another process that downloads {path.name}"
        with locked(path.with_name(f".{path.name}.lock"), busy, wait=reporter.note):
            if not _is_there(path, digest):  # as another process may have seen to
                download.complete()
    except BrokenPipeError:  # of the reporter
        raise
    except OSError as error:
        raise RunError(
            f"{error.filename or download.part} cannot be written: {reason(error)}; {download.kept()}: make room, or "
            f"set another folder with CEPTION_CACHE, and run it again"
        ) from None
    return path


def _is_there(path: Path, digest: str) -> bool:
    """Whether the file lies in its place; whatever else lies there is the user's, and refused."""
    try:
        if not path.exists():
            return False
        if not path.is_file():
            what = "a folder" if path.is_dir() else "not a file"
            raise InputError(f"{path} is {what}, in the place of a file to be downloaded: move it away")
        actual = _digest(path, digest)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {reason(error)}") from None
    if not actual.startswith(digest):
        raise InputError(
            f"{path} is not the file it should be ({actual} instead of {digest}, {path.stat().st_size:,} bytes): "
            "delete it, and it is downloaded again"
        )
    with suppress(OSError):  # it may be another user's
        path.touch()
    return True


@dataclass(frozen=True)
class _Download:
    """The way of one file from the web into its place."""

    url: str
    digest: str
    megabytes: int | None
    path: Path
    part: Path
    reporter: Reporter

    def complete(self) -> None:
        """Get what is missing. An OSError that passes through is the disk's, a RunError tells of the network."""
        have = self._size()
        if not have or not _digest(self.part, self.digest).startswith(self.digest):
            with self._network():
                answer = self._ask(have)
            with answer:
                total = self._receive(answer, have)
            self._check(total)
        self.part.replace(self.path)

    def _ask(self, have: int) -> Any:
        request = urllib.request.Request(self.url, headers={"Range": f"bytes={have}-"} if have else {})
        opener = urllib.request.build_opener()  # a fresh one, as the proxy may have been set since
        try:
            return opener.open(request, timeout=_TIMEOUT_S)
        except urllib.error.HTTPError as error:
            error.close()  # an answer, too
            if error.code != 416 or not have:
                raise
        return self._ask(0)  # nothing follows on what is here, which is not the file

    def _receive(self, answer: Any, have: int) -> int:
        """Write the answer to the part, after what it goes on from; the size of the whole file, 0 where unknown."""
        start = _start(answer, have)
        total = start + answer.length if answer.length else 0
        block = self._read(answer)
        self._refuse_page(answer, total, block)
        if start > have:
            raise self._failure(f"it goes on at byte {start:,} instead of {have:,}")
        if start < have:
            self.reporter.note("The server cannot go on where the download broke off: it begins anew")
        with self.part.open("ab") as file, self.reporter.task("Downloading, MB", total >> 20) as task:
            file.truncate(start)
            task.advance(start >> 20)
            size = start
            while block:
                file.write(block)
                file.flush()
                if megabytes := (size + len(block) >> 20) - (size >> 20):
                    task.advance(megabytes)
                size += len(block)
                block = self._read(answer)
            os.fsync(file.fileno())  # the content before the name, should the power fail
        return total

    def _read(self, answer: Any) -> bytes:
        with self._network():
            return bytes(answer.read(_BLOCK))

    def _refuse_page(self, answer: Any, total: int, beginning: bytes) -> None:
        kind = answer.headers.get_content_type()
        is_page = kind == "text/html" or beginning.lstrip()[:14].lower().startswith((b"<html", b"<!doctype html"))
        other_size = self.megabytes and total and abs(total / 1e6 - self.megabytes) > 1
        if not is_page and not other_size:
            return
        size = f"{total:,} bytes" if total else "of unknown size"
        what = f"{kind}, {size}" + (f" instead of {self.megabytes} MB" if other_size else "")
        source = f" from {answer.url}" if answer.url != self.url else ""
        raise RunError(
            f"{self.url} cannot be downloaded: a web page or the like came instead{source} ({what}), perhaps the login "
            f"of a network or proxy; {self.kept()}: log in with a browser and run it again, {self._by_hand()}"
        )

    def _check(self, total: int) -> None:
        """Tell a part that is not the file from one that is not yet the file."""
        size = self._size()
        if size < total:
            raise self._failure(f"the connection broke off after {size:,} of {total:,} bytes")
        actual = _digest(self.part, self.digest)
        if actual.startswith(self.digest):
            return
        if not total:
            raise self._failure(f"it ended after {size:,} bytes, without having told its size, and is not whole")
        self.part.unlink()
        raise RunError(
            f"{self.url} is not the file it should be ({actual} instead of {self.digest}, {size:,} bytes, now deleted)"
            f": try again later, {self._by_hand()}"
        )

    @contextmanager
    def _network(self) -> Iterator[None]:
        """What fails within is the network's fault."""
        try:
            yield
        except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: of an address or a proxy's
            raise self._failure(_why(error)) from None

    def _failure(self, why: str) -> RunError:
        return RunError(
            f"{self.url} cannot be downloaded: {why}; {self.kept()}: check the connection and the proxy (https_proxy) "
            f"and run it again, {self._by_hand()}"
        )

    def _by_hand(self) -> str:
        return f"or download it by hand and save it as {self.path} ({self.digest})"

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0

    def kept(self) -> str:
        """What has come so far, in words."""
        try:
            size = self._size()
        except OSError:
            size = 0
        return f"{size:,} bytes are kept, from where it goes on" if size else "nothing has come"


def _start(answer: Any, have: int) -> int:
    """The place in the file where an answer begins."""
    if answer.status != 206:
        return 0
    start = answer.headers.get("Content-Range", "").removeprefix("bytes").strip().partition("-")[0]
    return int(start) if start.isdecimal() else have


def _why(error: BaseException) -> str:
    """A network's failure in one line."""
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code} {error.reason}".strip()
    if isinstance(error, http.client.IncompleteRead):
        return "the connection broke off"
    if isinstance(error, urllib.error.URLError):
        return _why(error.reason) if isinstance(error.reason, BaseException) else str(error.reason)
    words = (error.strerror if isinstance(error, OSError) else "") or str(error) or type(error).__name__
    return words.splitlines()[0]


def _digest(path: Path, like: str) -> str:
    """The file's hash, of the kind that another one has."""
    kind, _, _ = like.partition(":")
    if kind not in ("md5", "sha256"):
        raise InputError(f"unknown kind of hash {like}")
    with path.open("rb") as file:
        return f"{kind}:{hashlib.file_digest(file, kind).hexdigest()}"
