"""Pictures behind whatever a person gives: paths, folders, patterns, and what lies in memory."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from ception.data.folders import pictures_in
from ception.data.images import Picture
from ception.data.pictures import Given, given
from ception.errors import InputError


def collected(pictures: Picture | Iterable[Picture]) -> Given:
    """The pictures behind paths, folders (with all folders in them), patterns and what lies in memory, in that order.

    An array of four axes is a batch. A path that leads nowhere stays in the list, to be reported in its turn.

    Raises:
        InputError: there is no picture at all, or something is nothing that a picture can be in.
    """
    single = isinstance(pictures, str | os.PathLike | bytes | bytearray | memoryview | Image.Image)
    if single or hasattr(pictures, "read") or (isinstance(pictures, np.ndarray) and pictures.ndim < 4):
        pictures = [pictures]  # type: ignore[list-item]
    listed: list[Picture] = []
    try:
        for picture in pictures:  # type: ignore[union-attr]
            if isinstance(picture, str | os.PathLike):
                listed += _files(os.fspath(picture))
            else:
                listed.append(picture)  # type: ignore[arg-type]
    except TypeError:
        raise InputError(
            f"a {type(pictures).__name__} is no picture: give a path, bytes, an open file, an array or a Pillow image, "
            "or a list of these"
        ) from None
    if not any(os.path.exists(one) if isinstance(one, str) else True for one in listed):
        named = f" in {listed[0]!s}" if listed else ""
        raise InputError(f"there is no picture{named}: name files, folders or patterns such as 'photos/*.jpg'")
    return given(listed)


def _files(path: str) -> list[str]:
    """The files that a path, a folder or a pattern means; the path itself where it leads nowhere."""
    if not path:
        return []
    if os.path.isdir(path):
        return list(pictures_in(Path(path)).paths)
    if os.path.exists(path):
        return [path]
    return sorted(match for match in glob.glob(path, recursive=True) if os.path.isfile(match)) or [path]
