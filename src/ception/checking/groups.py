"""Pictures in groups: as two arrays, however many groups there are, and as a forest while pairs are joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Groups(Sequence["NDArray[np.intp]"]):
    """Groups of indices, each a slice of one array.

    Attributes:
        members: The indices, group after group.
        starts: Where each group begins among them.
    """

    members: NDArray[np.intp]
    starts: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.starts)

    @overload
    def __getitem__(self, number: int) -> NDArray[np.intp]: ...
    @overload
    def __getitem__(self, number: slice) -> Groups: ...
    def __getitem__(self, number: int | slice) -> NDArray[np.intp] | Groups:
        """One group, or some."""
        if isinstance(number, slice):
            return self.some(np.arange(len(self))[number])
        at = range(len(self))[number]
        stop = self.starts[at + 1] if at + 1 < len(self) else len(self.members)
        return self.members[self.starts[at] : stop]

    @property
    def first(self) -> NDArray[np.intp]:
        """The first index of each group."""
        return self.members[self.starts]

    @property
    def sizes(self) -> NDArray[np.intp]:
        """How many indices each group has."""
        return np.diff(self.starts, append=len(self.members))

    def some(self, numbers: NDArray[np.integer]) -> Groups:
        """Those of the numbers, in that order."""
        sizes = self.sizes[numbers]
        starts = np.cumsum(sizes) - sizes
        places = np.repeat(self.starts[numbers] - starts, sizes) + np.arange(int(sizes.sum()))
        return Groups(self.members[places], starts)

    def where(self, these: NDArray[np.bool_]) -> Groups:
        """Those of which it is true."""
        return self.some(np.flatnonzero(these))

    def of(self, indices: NDArray[np.intp]) -> Groups:
        """The groups where their members are places among some indices."""
        return Groups(indices[self.members], self.starts)

    def cross(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Whether the members of each group differ in what `values` has of each index."""
        of = values[self.members]
        return np.asarray(np.minimum.reduceat(of, self.starts) != np.maximum.reduceat(of, self.starts), bool)

    def all(self, values: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Whether `values` is true of all members of each group."""
        return np.asarray(np.logical_and.reduceat(values[self.members], self.starts), bool)


def groups(number_of: NDArray[np.integer]) -> Groups:
    """The indices that share a value, as rising indices, where two or more do; by their first."""
    order = np.argsort(number_of, kind="stable")
    return _repeated(order, np.flatnonzero(np.diff(number_of[order])) + 1)


def equal(digests: NDArray[np.void]) -> Groups:
    """Groups of two or more pictures with the same digest of 16 bytes, as `groups`; digests of 0 are no pictures."""
    halves = np.ascontiguousarray(digests).view(">u8").reshape(-1, 2).astype(np.uint64)
    order = np.lexsort((halves[:, 1], halves[:, 0]))
    changes = (halves[order[1:]] != halves[order[:-1]]).any(1)
    found = _repeated(order, np.flatnonzero(changes) + 1)
    return found.where(np.asarray(halves[found.first].any(1)))


def _repeated(order: NDArray[np.intp], changes: NDArray[np.intp]) -> Groups:
    """Groups of two or more in an order, in which the next begins at each change."""
    runs = Groups(order, np.append(0, changes)[: len(order)])
    found = runs.where(runs.sizes > 1)
    return found.some(np.argsort(found.first))


def roots(parent: NDArray[np.intp], of: NDArray[np.integer]) -> NDArray[np.intp]:
    """The index that each of some indices' groups goes by, in a forest that begins as `np.arange`."""
    found = np.asarray(parent[of])
    while not np.array_equal(above := np.asarray(parent[found]), found):
        found = above
    parent[of] = found  # so that the next one to ask has a shorter way
    return found


def join(parent: NDArray[np.intp], one: NDArray[np.integer], other: NDArray[np.integer]) -> None:
    """Join the groups of pairs in a forest; what that takes follows from the pairs, not from the size of the forest."""
    ends, places = np.unique(np.concatenate([roots(parent, one), roots(parent, other)]), return_inverse=True)
    component = joined(np.arange(len(ends)), *np.split(places, 2))
    _, first, number = np.unique(component, return_index=True, return_inverse=True)
    parent[ends] = ends[first[number]]


def joined(group_of: NDArray[np.intp], one: NDArray[np.integer], other: NDArray[np.integer]) -> NDArray[np.intp]:
    """Each picture's group when those of the pairs `one` and `other` are joined."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not len(one):
        return group_of
    size = len(group_of)
    links = coo_array((np.ones(len(one), np.int8), (group_of[one], group_of[other])), shape=(size, size))
    return np.asarray(connected_components(links, directed=False)[1][group_of], np.intp)
