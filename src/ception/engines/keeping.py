"""Translated networks in the cache, from where they run without Keras."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ception.data import cache
from ception.files import cache_folder

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TRANSLATION = b"3"  # changes with what `operations` and the graphs compute, and how that is proved
_MAGIC = b"ception engine 1\n"  # then the length of each part, a digest of all, the parts
_DIGEST = 16


def keep(parts: Sequence[bytes], runtime: str, identity: str, *, limit_gb: float) -> None:
    """Put a translated network into the cache, under what it was translated from.

    Args:
        parts: What it consists of.
        runtime: What it was translated for, with its version.
        identity: What it follows from: a digest of the model file.
        limit_gb: Most that the cache folder may hold, in GB; what is larger is not kept.

    Raises:
        RunError: the cache cannot be written.
    """
    head = struct.pack(f"<{len(parts)}Q", *map(len, parts)) + _digest(parts)
    size = len(_MAGIC) + len(head) + sum(map(len, parts))
    if not cache.fits(size, limit_gb):
        return
    with cache.writing(_name(runtime, identity), size, limit_gb) as target, target.open("wb") as file:
        file.writelines([_MAGIC, head, *parts])


def kept(count: int, runtime: str, identity: str) -> list[NDArray[np.uint8]] | None:
    """The parts that were kept under an identity; None where there is nothing, or it is damaged.

    Args:
        count: How many there are.
        runtime: As for `keep`.
        identity: As for `keep`.
    """
    path = cache_folder() / _name(runtime, identity)
    try:
        content = np.memmap(path, np.uint8, "r")
        with suppress(OSError):  # it may be another user's
            os.utime(path)
        start = len(_MAGIC) + 8 * count + _DIGEST
        head = content[:start].tobytes()
        lengths = struct.unpack_from(f"<{count}Q", head, len(_MAGIC))
        bounds = list(accumulate(lengths, initial=start))
        parts = [content[begin:end] for begin, end in pairwise(bounds)]
        if not head.startswith(_MAGIC) or len(content) != bounds[-1] or _digest(parts) != head[-_DIGEST:]:
            return None
    except (OSError, ValueError, struct.error):  # not there, empty, or cut off
        return None
    return parts


def _name(runtime: str, identity: str) -> str:
    """The file's name, which follows from all that the translation depends on."""
    return f"engine-{cache.digest(identity.encode(), runtime.encode(), _TRANSLATION)}.bin"


def _digest(parts: Iterable[Any]) -> bytes:
    digest = hashlib.blake2b(digest_size=_DIGEST)
    for part in parts:
        digest.update(part)
    return digest.digest()
