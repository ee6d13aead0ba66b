"""Pictures behind whatever a person gives: paths, folders, patterns, and what lies in memory."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from ception.data import shards
from ception.data.folders import pictures_in
from ception.data.images import Picture
from ception.data.pictures import Address, Encoded, Member, Pictures, given
from ception.errors import InputError

_IS_ADDRESS = re.compile("https?://", re.IGNORECASE)


def collected(pictures: Picture | Iterable[Picture], *, allow_urls: bool = False) -> Pictures:
    """The pictures behind paths, folders (with all folders in them), patterns and what lies in memory, in that order.

    An array of four axes is a batch. A path that leads nowhere stays in the list, to be reported in its turn.

    Args:
        pictures: What is given.
        allow_urls: Whether http and https addresses are read.

    Raises:
        InputError: there is no picture at all, an address is not allowed, or something is nothing that a picture can
            be in.
    """
    single = isinstance(pictures, str | os.PathLike | bytes | bytearray | memoryview | Image.Image)
    if single or hasattr(pictures, "read") or (isinstance(pictures, np.ndarray) and pictures.ndim < 4):
        pictures = [pictures]  # type: ignore[list-item]
    listed: list[Picture | Address | Member] = []
    try:
        pictures = list(pictures)  # type: ignore[arg-type]
        if len(pictures) == 1 and (stored := _stored(pictures[0])) is not None:
            return stored
        for picture in pictures:
            if isinstance(picture, str | os.PathLike):
                listed += _behind(os.fspath(picture), allow_urls)
            else:
                listed.append(picture)
    except TypeError:
        raise InputError(
            f"a {type(pictures).__name__} is no picture: give a path, bytes, an open file, an array or a Pillow image, "
            "or a list of these"
        ) from None
    if not any(os.path.exists(one) if isinstance(one, str) else True for one in listed):
        named = f" in {listed[0]!s}" if listed else ""
        raise InputError(f"there is no picture{named}: name files, folders or patterns such as 'photos/*.jpg'")
    return given(listed)


def _stored(picture: Picture) -> Encoded | None:
    """The pictures of the shards in a folder; None where it is none."""
    path = os.fspath(picture) if isinstance(picture, str | os.PathLike) else ""
    return shards.pictures(path) if path and shards.is_sharded(path) else None


def _behind(path: str, allow_urls: bool) -> list[str | Address | Member]:
    """The files that a path, a folder or a pattern means, or what an address means; a path that is there is no address.

    Raises:
        InputError: it is an address, and these are not allowed.
    """
    if (stored := _stored(path)) is not None:
        return [Member(stored, index) for index in range(len(stored))]
    if not _IS_ADDRESS.match(path) or os.path.exists(path):
        return [*_files(path)]
    if not allow_urls:
        raise InputError(f"{path} is an address: give --allow-urls to read pictures from the web, or download it first")
    return [Address(path)]


def _files(path: str) -> list[str]:
    """The files that a path, a folder or a pattern means; the path itself where it leads nowhere."""
    if not path:
        return []
    if os.path.isdir(path):
        return list(pictures_in(Path(path)).paths)
    if os.path.exists(path):
        return [path]
    return sorted(match for match in glob.glob(path, recursive=True) if os.path.isfile(match)) or [path]
