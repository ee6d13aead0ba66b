"""What names of files and folders mean: splits, the systems' own, pictures. One place for all that read folders."""

from __future__ import annotations

import os
import re

from ception.data import stores
from ception.data.dataset import TEST, TRAIN, VAL
from ception.data.formats import SUFFIXES

_WORDS = {
    "train": TRAIN, "training": TRAIN, "trn": TRAIN, "val": VAL, "valid": VAL, "validation": VAL, "dev": VAL,
    "test": TEST, "testing": TEST, "tst": TEST,
}  # fmt: skip
_BESIDE = "data|dataset|images|imgs|img|photos|pictures|seg|set|split"  # training_set, seg_train, test-images
_SPLIT = re.compile(rf"(?:(?:{_BESIDE})[ ._-]*)?({'|'.join(_WORDS)})(?:[ ._-]*(?:{_BESIDE}))*")
_SYSTEM = frozenset((
    "__macosx", "@eadir", "#recycle", "@recycle", "$recycle.bin", "system volume information", "lost+found",
    "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r",
))  # fmt: skip


def split_of(name: str) -> int | None:
    """The split that a folder or a column means, TRAIN, VAL or TEST: `train`, `Training_Set`, `dev`; None for no such.

    Args:
        name: What it is called, in any letter case.
    """
    found = _SPLIT.fullmatch(name.strip().casefold())
    return _WORDS[found[1]] if found else None


def is_hidden(name: str) -> bool:
    """Whether the name is one that systems hide, as `.git` or `._photo.jpg`."""
    return name.startswith(".")


def is_system(name: str) -> bool:
    """Whether systems, archives and network drives leave a file or folder of that name behind, as `@eaDir`."""
    return name.casefold() in _SYSTEM


def has_picture_suffix(name: str) -> bool:
    """Whether the name ends as that of a picture, as `a.JPG`."""
    return os.path.splitext(name)[1].lower() in SUFFIXES


def is_picture(path: str) -> bool:
    """Whether a file is a picture by its suffix, or without a suffix by its first bytes."""
    suffix = os.path.splitext(path)[1]
    return suffix.lower() in SUFFIXES or ((not suffix or suffix[1:].isdigit()) and bool(stores.kind_of_file(path)))
