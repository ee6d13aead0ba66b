"""Which pictures stand more than once: equal, nearly the same, or as a part of another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ception.checking import cropped, duplicates, placeholders
from ception.data.sources import Pictures
from ception.reporting import Reporter

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FLAT = 4.0  # standard deviation of the grey values below which a picture shows nothing to compare
_FLAT_DRAWN = 2.0  # where it is drawn, as there is no noise in it


def find(
    pictures: Pictures, facts: NDArray[np.void], reporter: Reporter
) -> tuple[list[NDArray[np.intp]], list[NDArray[np.intp]]]:
    """Groups of equal pictures, and groups of pictures that show nearly the same, one of each equal ones.

    Parts of others are looked for among `cropped.MOST` pictures at most.

    Args:
        pictures: The pictures; those that may be parts of others are opened.
        facts: What `ception.checking.scan.scan` found.
        reporter: Receives the progress.
    """
    readable = np.flatnonzero(facts["width"] > 0)
    equal = [readable[group] for group in duplicates.equal(facts["digest"][readable])]
    _, first = np.unique(facts["digest"][readable], return_index=True)
    different = readable[np.sort(first)]
    least = np.where(placeholders.is_flat(facts[different]), _FLAT_DRAWN, _FLAT)
    different = different[duplicates.deviations(facts["copy"][different]) >= least]
    sides = np.minimum(facts["width"], facts["height"])[different]
    group_of = duplicates.near(facts["copy"][different], sides, reporter)
    large = np.flatnonzero(sides >= duplicates.SMALL)
    if len(large) > cropped.MOST:
        return equal, [different[group] for group in duplicates.groups(group_of)]
    _, of_large = np.unique(group_of[large], return_inverse=True)
    of_large = cropped.together(pictures, different[large], facts["copy"][different[large]], of_large, reporter)
    group_of = duplicates.joined(group_of, *_links(large, of_large))
    return equal, [different[group] for group in duplicates.groups(group_of)]


def _links(indices: NDArray[np.intp], group_of: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Each of some pictures with the first of its group."""
    _, first, number = np.unique(group_of, return_index=True, return_inverse=True)
    return indices, indices[first[number]]
