"""Which pictures stand more than once: equal, nearly the same, or as a part of another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ception.checking import cropped, duplicates, placeholders
from ception.checking.groups import Groups, equal, groups, joined
from ception.checking.on_disk import Rows, Selected
from ception.data.sources import Pictures
from ception.reporting import Reporter

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FLAT = 4.0  # standard deviation of the grey values below which a picture shows nothing to compare
_FLAT_DRAWN = 2.0  # where it is drawn, as there is no noise in it


def find(pictures: Pictures, facts: NDArray[np.void], copies: Rows, reporter: Reporter) -> tuple[Groups, Groups]:
    """Groups of equal pictures, and groups of pictures that show nearly the same, one of each equal ones.

    Parts of others are looked for among `cropped.MOST` pictures at most.

    Args:
        pictures: The pictures; those that may be parts of others are opened.
        facts: What `ception.checking.scan.scan` found.
        copies: The grey copies that it made.
        reporter: Receives the progress.
    """
    readable = facts["width"] > 0
    same = equal(np.where(readable, facts["digest"], np.zeros(1, "V16")))
    different = readable
    different[np.setdiff1d(same.members, same.first)] = False
    indices = np.flatnonzero(different)
    least = np.where(placeholders.is_flat(facts[indices]), _FLAT_DRAWN, _FLAT)
    indices = indices[duplicates.deviations(Selected(copies, indices)) >= least]
    these = Selected(copies, indices)
    sides = np.minimum(facts["width"][indices], facts["height"][indices])
    group_of = duplicates.near(these, sides, reporter)
    large = np.flatnonzero(sides >= duplicates.SMALL)
    if len(large) > cropped.MOST:
        return same, groups(group_of).of(indices)
    _, of_large = np.unique(group_of[large], return_inverse=True)
    of_large = cropped.together(pictures, indices[large], these[large], of_large, reporter)
    return same, groups(joined(group_of, *_links(large, of_large))).of(indices)


def _links(indices: NDArray[np.intp], group_of: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Each of some pictures with the first of its group."""
    _, first, number = np.unique(group_of, return_index=True, return_inverse=True)
    return indices, indices[first[number]]
