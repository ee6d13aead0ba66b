"""Data sets in folders: a folder of pictures for each class, or train, val and test folders of those."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from ception.data import formats
from ception.data.dataset import SPLIT_ALIASES, UNSTATED, Dataset, from_names
from ception.data.pictures import Files
from ception.errors import InputError
from ception.files import is_own


def read(root: Path) -> Dataset:
    """The data set in a folder.

    Raises:
        InputError: no folder in it holds pictures, or one cannot be read.
        OSError: the folder itself cannot be read.
    """
    ignored: Counter[str] = Counter()
    top = _visible_folders(root, ignored)
    split_folders = [path for path in top if path.name.lower() in SPLIT_ALIASES and _has_folders(path)]
    paths: list[str] = []
    names: list[str] = []
    stated: list[int] = []
    for parent in split_folders or [root]:
        split = SPLIT_ALIASES[parent.name.lower()] if split_folders else UNSTATED
        for folder in _visible_folders(parent, ignored) if split_folders else top:
            of_class = list(_walk(folder, ignored))
            paths += of_class
            names += [folder.name] * len(of_class)
            stated += [split] * len(of_class)
            if not of_class:
                ignored["empty folders"] += 1
    if split_folders and len(top) > len(split_folders):
        ignored["folders beside the split's"] = len(top) - len(split_folders)
    if not paths:
        raise InputError(f"{root} holds no class folders with pictures: make one folder per class and put pictures in")
    return from_names(root.resolve().name, Files(paths), names, stated, ignored)


def pictures_in(folder: Path) -> Files:
    """All pictures in a folder and the folders in it, hidden ones left out."""
    return Files(list(_walk(folder, Counter())))


def _visible_folders(root: Path, ignored: Counter[str]) -> list[Path]:
    visible = []
    for path in sorted(root.iterdir()):
        if path.name.startswith("."):
            ignored["hidden"] += 1
        elif is_own(path):
            ignored["results of Ception"] += 1
        elif path.is_dir():
            visible.append(path)
        else:
            ignored["files outside class folders"] += 1
    return visible


def _has_folders(path: Path) -> bool:
    return any(entry.is_dir() and not entry.name.startswith(".") for entry in path.iterdir())


def _walk(folder: Path, ignored: Counter[str]) -> Iterator[str]:
    """The pictures in a folder and the folders in it, by their suffix, in the order of their names."""

    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename} cannot be read: {error.strerror}")

    for parent, folders, files in os.walk(folder, onerror=refuse):
        hidden = [name for name in folders if name.startswith(".")]
        own = [name for name in folders if is_own(Path(parent, name))]
        if own:
            ignored["results of Ception"] += len(own)
        folders[:] = sorted(set(folders) - set(hidden) - set(own))
        for name in sorted(files) + hidden:
            if name.startswith("."):
                ignored["hidden"] += 1
            elif os.path.splitext(name)[1].lower() in formats.SUFFIXES:
                yield os.path.join(parent, name)
            else:
                ignored["no pictures by their suffix"] += 1
