"""What a data set is: pictures, their labels, and what its source says of the split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from ception.data.pictures import Encoded, Pictures

if TYPE_CHECKING:
    from numpy.typing import NDArray

TRAIN, VAL, TEST, UNSTATED = 0, 1, 2, -1
SPLITS = {"train": TRAIN, "val": VAL, "test": TEST}
SPLIT_NAMES = {number: name for name, number in SPLITS.items()}
_MOST_DIGITS = 100  # Python refuses to read numbers of some thousands


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Pictures with their labels.

    Attributes:
        name: Short name, used for folders.
        class_names: Names of the classes, in the order of the labels.
        pictures: The pictures.
        labels: Index into `class_names` for each picture, int32 of shape (pictures,).
        stated_splits: The split that the source itself states for each picture (TRAIN, VAL, TEST or UNSTATED), int8 of
            shape (pictures,).
        ignored: What was passed over, with counts: `{"hidden": 2}`.
        unnamed: Whether the source has no class names and `class_names` are just numbers.
        columns: Further columns of a CSV by name, one value for each picture.
        root: The folder within which the files' paths mean something; empty where there are none.
        groups: For each picture the name of a group that stays in one split; None where each is by itself.
    """

    name: str
    class_names: tuple[str, ...]
    pictures: Pictures
    labels: NDArray[np.int32]
    stated_splits: NDArray[np.int8]
    ignored: dict[str, int]
    unnamed: bool = False
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    root: str = ""
    groups: tuple[str, ...] | None = None

    def without(self, indices: Sequence[int]) -> Dataset:
        """The data set less some of its pictures, which must be stored as files are."""
        keep = np.setdiff1d(np.arange(len(self.labels)), indices)
        assert isinstance(self.pictures, Encoded)
        columns = {name: [values[index] for index in keep] for name, values in self.columns.items()}
        labels, stated = self.labels[keep], self.stated_splits[keep]
        groups = None if self.groups is None else tuple(self.groups[index] for index in keep)
        pictures = self.pictures.take(keep)
        return replace(self, pictures=pictures, labels=labels, stated_splits=stated, columns=columns, groups=groups)


def from_names(
    name: str,
    pictures: Pictures,
    names: Sequence[str],
    stated: Sequence[int],
    ignored: Mapping[str, int],
    columns: Mapping[str, Sequence[str]] | None = None,
    root: str = "",
) -> Dataset:
    """A data set whose classes are the different names, sorted; as numbers where all are.

    Args:
        name: Of the data set.
        pictures: The pictures.
        names: Name of each picture's class.
        stated_splits: As in `Dataset`.
        ignored: As in `Dataset`.
        columns: As in `Dataset`.
        root: As in `Dataset`.
    """
    different = sorted(set(names))
    numbers = numbers_of(different)
    if numbers is not None:
        different = [name for _, name in sorted(zip(numbers, different, strict=True))]
    class_names = tuple(different)
    label_of = {class_name: label for label, class_name in enumerate(class_names)}
    return Dataset(
        name=name,
        class_names=class_names,
        pictures=pictures,
        labels=np.array([label_of[name] for name in names], np.int32),
        stated_splits=np.array(stated, np.int8),
        ignored=dict(ignored),
        columns=columns or {},
        root=root,
    )


def numbers_of(names: Sequence[str]) -> list[int] | None:
    """The numbers that names such as `0`, `1` or `00`, `01` are; None unless all are."""
    numbers = all(name.isascii() and name.isdigit() and len(name) <= _MOST_DIGITS for name in names)
    return [int(name) for name in names] if numbers else None


@dataclass(frozen=True)
class ClassMatches:
    """Which classes of a model those of a data set are.

    Attributes:
        places: For each class of the data set its index among the model's; None where the model does not know it.
        by: What they are matched by.
    """

    places: tuple[int | None, ...]
    by: Literal["name", "number", "order"]


def match_classes(names: Sequence[str], known: Sequence[str], *, nameless: bool) -> ClassMatches:
    """Which classes of a model those of a data set are.

    Args:
        names: Names of the data set's classes.
        known: Names of the model's classes.
        nameless: Whether the names of one side are just numbers that stand for missing names.
    """
    index = {name: place for place, name in enumerate(known)}
    by_name = tuple(map(index.get, names))
    if None not in by_name:
        return ClassMatches(by_name, "name")
    numbers, numbers_known = numbers_of(names), numbers_of(known)
    if numbers is not None and numbers_known is not None and len(set(numbers_known)) == len(known):
        place_of = {number: place for place, number in enumerate(numbers_known)}
        return ClassMatches(tuple(map(place_of.get, numbers)), "number")
    if nameless and len(names) == len(known):
        return ClassMatches(tuple(range(len(known))), "order")
    return ClassMatches(by_name, "name")
