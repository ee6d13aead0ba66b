"""Data sets in folders: a folder of pictures for each class, or train, val and test folders of those."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from ception.data import naming
from ception.data.dataset import UNSTATED, Dataset, from_names
from ception.data.layouts import layout, visible_folders
from ception.data.pictures import Files
from ception.errors import InputError, reason
from ception.files import is_own
from ception.reporting import Reporter, counted


def read(root: Path, reporter: Reporter) -> Dataset:
    """The data set in a folder.

    Args:
        root: The folder.
        reporter: Receives what was taken for what, where it could be taken otherwise.

    Raises:
        InputError: no folder in it holds pictures, one cannot be read, or it can be read in two ways.
        OSError: the folder itself cannot be read.
    """
    found = layout(root)
    for note in found.notes:
        reporter.note(note)
    for warning in found.warnings:
        reporter.warn(warning)
    ignored: Counter[str] = Counter()
    for parent in dict.fromkeys([root, *(parent for parent, _ in found.parents)]):
        _count_beside(parent, ignored)
    paths: list[str] = []
    names: list[str] = []
    stated: list[int] = []
    for folder, split in found.class_folders():
        of_class = list(walk(folder, ignored, root))
        if not of_class:
            ignored["empty folders"] += 1
        paths += of_class
        names += [folder.name] * len(of_class)
        stated += [_split_within(folder, path) for path in of_class] if found.class_first else [split] * len(of_class)
    if not paths:
        raise InputError(_nothing_in(root))
    name = root.name if root.name not in ("", "..") else root.resolve().name  # as the user calls it
    return from_names(name, Files(paths), names, stated, ignored, root=str(root))


def pictures_in(folder: Path) -> Files:
    """All pictures in a folder and the folders in it, hidden ones and the system's left out."""
    return Files(list(walk(folder, Counter(), folder)))


def walk(folder: Path, ignored: Counter[str], root: Path) -> Iterator[str]:
    """The pictures in a folder and the folders in it, in the order of their names; links are followed.

    Args:
        folder: The folder.
        ignored: Counts what is passed over.
        root: A folder above, or the same: links that lead to where this lies are passed over.

    Raises:
        InputError: a folder cannot be read.
    """
    above = [folder, *folder.parents]
    above = above[1 : above.index(root) + 1] if root in above else []
    yield from _walk(str(folder), ignored, {os.path.realpath(parent) for parent in above})


def _walk(folder: str, ignored: Counter[str], seen: set[str]) -> Iterator[str]:
    real = os.path.realpath(folder)
    if real in seen:
        ignored["links to folders that were read"] += 1
        return
    seen.add(real)
    try:
        with os.scandir(folder) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
            folders = {entry.path for entry in listed if entry.is_dir()}
    except OSError as error:
        raise InputError(f"{error.filename or folder} cannot be read: {reason(error)}") from None
    inner = []
    for entry in listed:
        if why := _passed_over(entry.path, is_folder := entry.path in folders):
            ignored[why] += 1
        elif is_folder:
            inner.append(entry.path)
        else:
            yield entry.path
    for path in inner:
        yield from _walk(path, ignored, seen)


def _passed_over(path: str, is_folder: bool) -> str:
    """What a file or folder is counted as that is not read; empty where it is read."""
    name = os.path.basename(path)
    if naming.is_hidden(name):
        return "hidden"
    if naming.is_system(name):
        return "of the system"
    if is_folder:
        return "results of Ception" if is_own(Path(path)) else ""
    return "" if naming.is_picture(path) else "no pictures"


def _count_beside(folder: Path, ignored: Counter[str]) -> None:
    """Count what lies beside the folders that are read."""
    read_on = {path.name for path in visible_folders(folder)}
    for path in folder.iterdir():
        if path.name not in read_on:
            ignored[_passed_over(str(path), path.is_dir()) or "pictures outside class folders"] += 1


def _split_within(folder: Path, path: str) -> int:
    """The split that the first folder within the class folder states."""
    split = naming.split_of(Path(path).relative_to(folder).parts[0])
    return UNSTATED if split is None else split


def _nothing_in(root: Path) -> str:
    """Why a folder is no data set."""
    flat = list(walk(root, Counter(), root))
    if not flat:
        seen = Counter(
            path.suffix.lower() or "without a suffix" for path in root.rglob("*") if path.is_file()
        )  # fmt: skip
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in seen.most_common(4))
        return (
            f"{root} holds no pictures{f' ({kinds})' if kinds else ''}: make one folder per class and put pictures in"
        )
    begin = Counter(match[1] for path in flat if (match := re.match(r"(\D*[^\W\d_])[\W_]*\d", os.path.basename(path))))
    classes = [name for name, count in begin.most_common() if count > 1]
    hint = f" (by their names the classes may be {', '.join(sorted(classes[:8]))})" if len(classes) > 1 else ""
    return (
        f"{root} holds {counted(len(flat), 'picture')} but no class folders: make one folder per class and put them "
        f"in{hint}, or list them in a CSV with path,label"
    )
