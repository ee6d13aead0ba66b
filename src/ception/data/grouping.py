"""Pictures that belong together, as the frames of one track or the visits of one patient, and stay in one split."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from functools import partial

from ception.data.dataset import TEST, VAL, Dataset
from ception.data.pictures import Files
from ception.errors import InputError, nearest

FOLDER, ORIGINAL = "folder", "original"
SERIES = r"(.+)[_-]\d+"  # what is suggested where names look like TRACK_FRAME
_CHANGED = (
    r"(?:aug(?:ment(?:ed|ation)?)?|[hv]?flip(?:ped)?|mirror(?:ed)?|rot(?:ate(?:d)?|ation)?)\d*"  # by augmentation
)
# of a path the folder and the name, without what says that it is an augmented copy: `flipped_a.jpg`, `a-rot90.jpg`
_AUGMENTED = rf"(?i)^(.*/)?(?:{_CHANGED}[ ._-]+)*([^/]+?)(?:[ ._-]+{_CHANGED}(?:[ ._-][^/]*)?)?(?:\.[^./]*)?$"
_FRAMES = 5  # pictures that a series has on average, from which on its frames are taken for alike
_SERIES_NAME = re.compile(r"(.*\d)[_-](\d+)")


@dataclass(frozen=True)
class Series:
    """Names of files that look like frames of series.

    Attributes:
        count: How many series there are.
        pictures: How many pictures are in one.
        example: The name of a picture.
    """

    count: int
    pictures: int
    example: str


def grouped(dataset: Dataset, group: str | None) -> Dataset:
    """The data set, its pictures grouped.

    Args:
        dataset: The data set.
        group: `folder` for the folder that a picture lies in, `original` for that picture beside it of which its name
            says that it is an augmented copy, the name of a column of the table, or a regular
            expression that is searched in the picture's path within the data, whose groups, or else all of it, name the
            picture's group; None leaves every picture by itself.

    Raises:
        InputError: there is no such column, the expression is none, or it is not found in a path.
    """
    if group is None:
        return dataset
    if group in dataset.columns:
        return replace(dataset, groups=tuple(dataset.columns[group]))
    if not isinstance(dataset.pictures, Files):
        raise InputError("--group is for pictures in files: those in arrays have no names")
    paths = [os.path.relpath(path, dataset.root).replace(os.sep, "/") for path in dataset.pictures.paths]
    if group == FOLDER:
        return replace(dataset, groups=tuple(os.path.dirname(path) for path in paths))
    if group == ORIGINAL:
        return replace(dataset, groups=tuple(_found(re.compile(_AUGMENTED), path) for path in paths))
    if group.isidentifier():
        raise InputError(
            f"--group {group} is no column of the table: {nearest(group, [FOLDER, ORIGINAL, *dataset.columns])}; a "
            "regular expression, such as '(.+)_', is searched in the paths"
        )
    try:
        pattern = re.compile(group)
    except re.error as error:
        raise InputError(f"--group '{group}' is no regular expression: {error}") from None
    return replace(dataset, groups=tuple(_found(pattern, path) for path in paths))


def series(dataset: Dataset) -> Series | None:
    """The series of frames that the names of the files look like; None where they do not, or are grouped."""
    if dataset.groups is not None or not isinstance(dataset.pictures, Files):
        return None
    paths, frames = dataset.pictures.paths, Counter[str]()
    for path in paths:
        found = _frame(path)
        if found is None:
            return None
        frames[found[1]] += 1
    name, _ = frames.most_common(1)[0]
    longest = {
        int(found[2]) for path in paths if path.startswith(name) and (found := _frame(path)) and found[1] == name
    }
    followed = sum(number + 1 in longest for number in longest)
    if len(paths) < _FRAMES * len(frames) or 2 * followed < len(longest):
        return None
    return Series(len(frames), round(len(paths) / len(frames)), os.path.basename(paths[0]))


def _frame(path: str) -> re.Match[str] | None:
    return _SERIES_NAME.fullmatch(os.path.splitext(path)[0])


def augmented(dataset: Dataset) -> list[tuple[int, ...]]:
    """Pictures whose names say that they are augmented copies of one that lies beside them.

    Returns:
        The indices of each original and its copies, the original first; none that the data set's groups, or the split
        that it states, keep together.
    """
    if not isinstance(dataset.pictures, Files):
        return []
    pattern = re.compile(_AUGMENTED)
    paths = dataset.pictures.paths
    originals: dict[str, list[int]] = defaultdict(list)
    copies: dict[str, list[int]] = defaultdict(list)
    for index, (own, original) in enumerate(map(partial(_original, pattern, dataset.root), paths)):
        if original and own != original:
            copies[original].append(index)
    for index, (own, _) in enumerate(map(partial(_original, pattern, dataset.root), paths) if copies else ()):
        if own in copies:  # so that nothing is kept of the many that have no copies
            originals[own].append(index)
    together = [tuple(originals[key] + copies[key]) for key in copies if key in originals]
    if dataset.groups is not None:
        together = [one for one in together if len({dataset.groups[index] for index in one}) > 1]
    if {VAL, TEST} <= set(dataset.stated_splits.tolist()):
        together = [one for one in together if len(set(dataset.stated_splits[list(one)].tolist())) > 1]
    return together


def _original(pattern: re.Pattern[str], root: str, path: str) -> tuple[str, str]:
    """A path within the data without its suffix, and that of the original, empty where the name is none of either."""
    path = os.path.relpath(path, root).replace(os.sep, "/")
    found = pattern.search(path)
    return os.path.splitext(path)[0], (found[1] or "") + found[2] if found else ""


def _found(pattern: re.Pattern[str], path: str) -> str:
    """The group of a picture."""
    found = pattern.search(path)
    if found is None:
        raise InputError(f"--group '{pattern.pattern}' is not found in {path}: all paths within the data must have it")
    return "\0".join(part or "" for part in found.groups()) if found.groups() else found[0]
