"""The scores of groups of pictures."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ception.errors import InputError, nearest
from ception.evaluation.metrics import group_scores
from ception.evaluation.table import Table
from ception.results import Slices

if TYPE_CHECKING:
    from ception.data.sources import Dataset

_SIZE = "size"
_DIGITS = re.compile(r"(\d+)")


def grouping(dataset: Dataset, by: str) -> Callable[[int], str]:
    """A function from a picture's index to the name of its group.

    Args:
        dataset: The data set.
        by: A further column of its CSV, or `size`: quarters by the shorter side.

    Raises:
        InputError: there is no such column.
    """
    if by in dataset.columns:
        values = dataset.columns[by]
        return lambda index: values[index] or "(none)"
    if by != _SIZE:
        raise InputError(f"cannot score by '{by}': {nearest(by, [*dataset.columns, _SIZE])}")
    sides = np.array([dataset.pictures.shorter_side(index) for index in range(len(dataset.labels))])
    edges = np.unique(np.quantile(sides, (0.25, 0.5, 0.75)).round().astype(int))
    names = [*(f"up to {edge} px" for edge in edges), f"above {edges[-1]} px"]
    return lambda index: names[int(np.searchsorted(edges, sides[index]))]


def sliced(table: Table, by: str, groups: Sequence[str]) -> Slices:
    """The accuracy of each group, with numbers in the names in their order.

    Args:
        table: What the model said of each picture.
        by: What they are grouped by.
        groups: Name of the group of each row.
    """
    names, group_of = np.unique(np.array(groups, object).astype(str), return_inverse=True)
    order = sorted(range(len(names)), key=lambda k: _with_numbers(str(names[k])))
    return Slices(
        by=by,
        groups={str(names[k]): group_scores(table.right[group_of == k]) for k in order},
    )


def _with_numbers(name: str) -> list[int | str]:
    return [int(part) if part.isdecimal() else part for part in _DIGITS.split(name)]
