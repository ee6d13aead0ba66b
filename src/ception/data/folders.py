"""Data sets in folders: a folder of pictures for each class, or train, val and test folders of those."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from ception.data import naming, trees
from ception.data.addresses import Addresses
from ception.data.dataset import UNSTATED, Dataset, from_names
from ception.data.layouts import layout, visible_folders
from ception.data.pictures import Encoded, Files
from ception.data.trees import Entry, Folder
from ception.errors import InputError, reason
from ception.reporting import Reporter, counted


def read(root: Folder, reporter: Reporter) -> Dataset:
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
    pictures: Encoded = Files(paths) if isinstance(root, Path) else Addresses(paths)
    return from_names(trees.name_of(root), pictures, names, stated, ignored, root=str(root))


def pictures_in(folder: Path) -> Files:
    """All pictures in a folder and the folders in it, hidden ones and the system's left out."""
    return Files(list(walk(folder, Counter(), folder)))


def walk(folder: Folder, ignored: Counter[str], root: Folder) -> Iterator[str]:
    """The pictures in a folder and the folders in it, in the order of their names; links are followed.

    Args:
        folder: The folder.
        ignored: Counts what is passed over.
        root: A folder above, or the same: links that lead to where this lies are passed over.

    Raises:
        InputError: a folder cannot be read.
    """
    above: list[Path] = []
    if isinstance(folder, Path) and isinstance(root, Path):  # at an address there are no links
        above = [folder, *folder.parents]
        above = above[1 : above.index(root) + 1] if root in above else []
    yield from _walk(folder, ignored, {os.path.realpath(parent) for parent in above})


def _walk(folder: Folder, ignored: Counter[str], seen: set[str]) -> Iterator[str]:
    real = trees.real(folder)
    if real in seen:
        ignored["links to folders that were read"] += 1
        return
    seen.add(real)
    try:
        listed = trees.entries(folder)
    except OSError as error:
        raise InputError(f"{error.filename or folder} cannot be read: {reason(error)}") from None
    within = []
    for entry in listed:
        if why := _passed_over(folder, entry):
            ignored[why] += 1
        elif entry.is_folder:
            within.append(entry)
        else:
            yield entry.path
    for entry in within:
        yield from _walk(trees.inner(folder, entry), ignored, seen)


def _passed_over(folder: Folder, entry: Entry) -> str:
    """What a file or folder is counted as that is not read; empty where it is read."""
    if naming.is_hidden(entry.name):
        return "hidden"
    if naming.is_system(entry.name):
        return "of the system"
    if entry.is_folder:
        return "results of Ception" if trees.is_result(trees.inner(folder, entry)) else ""
    return "" if naming.is_picture(entry.path) else "not a picture"


def _count_beside(folder: Folder, ignored: Counter[str]) -> None:
    """Count what lies beside the folders that are read."""
    read_on = {path.name for path in visible_folders(folder)}
    for entry in trees.entries(folder):
        if entry.name not in read_on:
            ignored[_passed_over(folder, entry) or "pictures outside class folders"] += 1


def _split_within(folder: Folder, path: str) -> int:
    """The split that the first folder within the class folder states."""
    split = naming.split_of(Path(path[len(str(folder)) :].lstrip("/" + os.sep)).parts[0])
    return UNSTATED if split is None else split


def _nothing_in(root: Folder) -> str:
    """Why a folder is no data set."""
    flat = list(walk(root, Counter(), root))
    if not flat:
        seen = Counter(os.path.splitext(path)[1].lower() or "without a suffix" for path in trees.below(root))
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
