"""Files from the web: resumed where they broke off, checked by their hash, explained where they cannot be had."""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
from pathlib import Path

from ception.errors import InputError, RunError, reason
from ception.files import cache_folder
from ception.reporting import Reporter

_BLOCK = 1 << 20
_TIMEOUT_S = 30


def fetch(url: str, digest: str, *, reporter: Reporter | None = None) -> Path:
    """The file at an address, from the cache folder if it lies there.

    A download that broke off goes on where it stopped.

    Args:
        url: Its address; the last part is its name.
        digest: `md5:` or `sha256:` and the hexadecimal hash that it must have, or the hash's beginning.
        reporter: Receives progress.

    Raises:
        RunError: the address cannot be reached, or what lies there is not the file.
    """
    path = cache_folder() / f"weights-{url.rsplit('/', 1)[-1]}"
    if path.is_file() and _digest(path, digest).startswith(digest):
        path.touch()
        return path
    part = path.with_name(f".{path.name}.part")
    by_hand = f"or download it by hand and save it as {path} ({digest})"
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        _download(url, part, reporter or Reporter())
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        why = f"HTTP {error.code}" if isinstance(error, urllib.error.HTTPError) else getattr(error, "reason", error)
        raise RunError(
            f"{url} cannot be downloaded ({why}): check the connection and the proxy (https_proxy) and try again, "
            f"{by_hand}"
        ) from None
    except OSError as error:
        raise RunError(f"{part} cannot be written: {reason(error)}; set another folder with CEPTION_CACHE") from None
    found = _digest(part, digest)
    if not found.startswith(digest):
        part.unlink()
        raise RunError(f"{url} is not the file it should be ({found} instead of {digest}): try again later, {by_hand}")
    part.replace(path)
    return path


def _download(url: str, part: Path, reporter: Reporter) -> None:
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        answer = urllib.request.urlopen(request, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code != 416:  # all of it is here already
            raise
        return
    with answer:
        if have and answer.status != 206:  # the server began anew
            have = 0
        length = int(answer.headers.get("Content-Length") or 0)
        with part.open("ab" if have else "wb") as file, reporter.task("Downloading, MB", (have + length) >> 20) as task:
            task.advance(have >> 20)
            while block := answer.read(_BLOCK):
                file.write(block)
                task.advance(1)
    if length and part.stat().st_size < have + length:
        raise ConnectionError("it broke off; what has come is kept")


def _digest(path: Path, like: str) -> str:
    """The file's hash, of the kind that another one has."""
    kind, _, _ = like.partition(":")
    if kind not in ("md5", "sha256"):
        raise InputError(f"unknown kind of hash {like}")
    with path.open("rb") as file:
        return f"{kind}:{hashlib.file_digest(file, kind).hexdigest()}"
