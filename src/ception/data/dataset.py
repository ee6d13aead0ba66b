"""What a data set is: pictures, their labels, and what its source says of the split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from ception.data.pictures import Files, Pictures

if TYPE_CHECKING:
    from numpy.typing import NDArray

TRAIN, VAL, TEST, UNSTATED = 0, 1, 2, -1
SPLITS = {"train": TRAIN, "val": VAL, "test": TEST}


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
    """

    name: str
    class_names: tuple[str, ...]
    pictures: Pictures
    labels: NDArray[np.int32]
    stated_splits: NDArray[np.int8]
    ignored: dict[str, int]
    unnamed: bool = False
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def without(self, indices: Sequence[int]) -> Dataset:
        """The data set less some of its pictures, which must be files."""
        keep = np.setdiff1d(np.arange(len(self.labels)), indices)
        assert isinstance(self.pictures, Files)
        paths = [self.pictures.paths[index] for index in keep]
        columns = {name: [values[index] for index in keep] for name, values in self.columns.items()}
        labels, stated = self.labels[keep], self.stated_splits[keep]
        return replace(self, pictures=Files(paths), labels=labels, stated_splits=stated, columns=columns)


def from_names(
    name: str,
    pictures: Pictures,
    names: Sequence[str],
    stated: Sequence[int],
    ignored: Mapping[str, int],
    columns: Mapping[str, Sequence[str]] | None = None,
) -> Dataset:
    """A data set whose classes are the different names, sorted.

    Args:
        name: Of the data set.
        pictures: The pictures.
        names: Name of each picture's class.
        stated_splits: As in `Dataset`.
        ignored: As in `Dataset`.
        columns: As in `Dataset`.
    """
    class_names = tuple(sorted(set(names)))
    label_of = {class_name: label for label, class_name in enumerate(class_names)}
    return Dataset(
        name=name,
        class_names=class_names,
        pictures=pictures,
        labels=np.array([label_of[name] for name in names], np.int32),
        stated_splits=np.array(stated, np.int8),
        ignored=dict(ignored),
        columns=columns or {},
    )
