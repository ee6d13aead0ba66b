"""Pictures behind whatever a person gives: paths, folders, patterns, and what lies in memory."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from ception.data import stored, stores
from ception.data.folders import pictures_in
from ception.data.images import Picture
from ception.data.pictures import Address, Encoded, Member, Pictures, given
from ception.errors import InputError
from ception.files import meant_path
from ception.reporting import Reporter


def collected(
    pictures: Picture | Iterable[Picture],
    *,
    allow_urls: bool = False,
    cache_limit: float = 10.0,
    reporter: Reporter | None = None,
) -> Pictures:
    """The pictures behind paths, folders (with all folders in them), patterns and what lies in memory, in that order.

    An array of four axes is a batch. A path that leads nowhere stays in the list, to be reported in its turn.

    Args:
        pictures: What is given.
        allow_urls: Whether http and https addresses are read.
        cache_limit: Most that the cache folder may hold, in GB, of what is in archives.
        reporter: Receives progress where these are read for the first time.

    Raises:
        InputError: there is no picture at all, an address is not allowed, or something is nothing that a picture can
            be in.
    """
    single = isinstance(pictures, str | os.PathLike | bytes | bytearray | memoryview | Image.Image)
    if single or hasattr(pictures, "read") or (isinstance(pictures, np.ndarray) and pictures.ndim < 4):
        pictures = [pictures]  # type: ignore[list-item]
    opened = partial(_stored, cache_limit=cache_limit, reporter=reporter or Reporter())
    listed: list[Picture | Address | Member] = []
    try:
        pictures = list(pictures)  # type: ignore[arg-type]
        if len(pictures) == 1 and (whole := opened(pictures[0], of_the_web=allow_urls)) is not None:
            return whole
        for picture in pictures:
            if isinstance(picture, str | os.PathLike):
                whole = opened(picture)
                if whole is None:
                    listed += _behind(os.fspath(picture), allow_urls)
                else:
                    listed += [Member(whole, index) for index in range(len(whole))]
            else:
                listed.append(picture)
    except TypeError:
        raise InputError(
            f"a {type(pictures).__name__} is no picture: give a path, bytes, an open file, an array or a Pillow image, "
            "or a list of these"
        ) from None
    if not any(os.path.exists(one) if isinstance(one, str) else True for one in listed):
        named = f" in {listed[0]!s}" if listed else ""
        asked = meant_path(listed[0]) if listed and isinstance(listed[0], str) else ""
        way_out = asked or ": name files, folders or patterns such as 'photos/*.jpg'"
        raise InputError(f"there is no picture{named}{way_out}")
    return given(listed)


def _stored(picture: Picture, cache_limit: float, reporter: Reporter, of_the_web: bool = False) -> Encoded | None:
    """The pictures in shards, archives, Parquet files, or at an address; None elsewhere.

    Of the web are only archives, Parquet files and what ends in a slash, and only where they are allowed.
    """
    path = os.fspath(picture) if isinstance(picture, str | os.PathLike) else ""
    if not path:
        return None
    if stores.is_of_the_web(path) and not (of_the_web and path.lower().endswith(("/", *stored.SUFFIXES))):
        return None
    return stored.pictures(path, cache_limit=cache_limit, reporter=reporter)


def _behind(path: str, allow_urls: bool) -> list[str | Address]:
    """The files that a path, a folder or a pattern means, or what an address means; a path that is there is no address.

    Raises:
        InputError: it is an address, and these are not allowed.
    """
    if not stores.is_of_the_web(path) or os.path.exists(path):
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
