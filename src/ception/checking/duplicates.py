"""Which pictures are the same: by their bytes, or nearly by what a small copy shows, also mirrored and turned.

Near duplicates must pass two tests on their grey copies of 16 x 16, in one of the eight ways to turn and mirror them.
Their perceptual hashes (the signs of the 63 lowest frequencies against their median) differ in at most 10 bits, which
is quick for all pairs; and the copies correlate by at least 0.97, turned ones by 0.975, which leaves few false ones.

Measured on TrashNet (2,527 photos on similar grounds): 21 pairs beside the three equal ones, each of the same thing
(one has it moved), and none of two classes. From 0.95 on other objects come in, and by the hash alone there are 157, 77
of them of two classes. Of copies re-encoded as JPEG of quality 30, halved, squashed, made grey, darkened by 30 % or
given 30 % more contrast, all 300 tried are found; of those cut by 2 % at each edge 97 %, brightened by 30 %, which
burns out, 87 %; mirrored and turned copies are all found, with no pair more. What is cropped more, or burns out, is
found by `cropped`.
Above 20,000 pictures not all pairs are compared, but those that stand near each other when all are sorted by the sides
of random planes on which their copies lie (Charikar, Similarity Estimation Techniques from Rounding Algorithms, 2002),
in 24 such orders: TrashNet has the same groups then (`benchmarks/results/planted_copies.csv`).
Pictures below 64 pixels show too little: there only a correlation of 0.998 counts. (On Fashion-MNIST 0.97 takes
137,361 pairs of look-alikes, 15,341 of them of two classes; 0.998 takes 74, none of two classes.) Nor are they compared
mirrored or turned: most things are as good as symmetric there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ception.reporting import Reporter, Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

BITS = 10
CORRELATION, CORRELATION_TURNED, CORRELATION_SMALL = 0.97, 0.975, 0.998
SMALL = 64  # pixels of the shorter side
_MOST_AT_ONCE = 1 << 22  # pairs of hashes in memory
_MOST_COMPARED = 1 << 14  # pairs of copies in memory
_AT_ONCE = 1 << 11  # copies as numbers of four or eight bytes in memory
ALL_PAIRS = 20_000  # pictures, up to which all pairs are compared
_ORDERS, _PLANES, _APART = 24, 32, 16  # orders, planes that make one, and places between two that are compared

TURNS: tuple[Callable[[NDArray[np.uint8]], NDArray[np.uint8]], ...] = (
    lambda copies: copies, lambda copies: copies[:, :, ::-1],
    lambda copies: copies[:, ::-1], lambda copies: copies[:, ::-1, ::-1],
    lambda copies: copies.transpose(0, 2, 1), lambda copies: copies.transpose(0, 2, 1)[:, :, ::-1],
    lambda copies: copies.transpose(0, 2, 1)[:, ::-1], lambda copies: copies.transpose(0, 2, 1)[:, ::-1, ::-1],
)  # fmt: skip


def equal(digests: NDArray[np.void]) -> list[NDArray[np.intp]]:
    """Groups of two or more pictures with the same digest, as rising indices; digests of 0 are no pictures."""
    _, number_of = np.unique(digests, return_inverse=True)
    return [group for group in groups(number_of.reshape(-1)) if digests[group[0]].tobytes().strip(b"\0")]


def hashes(copies: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """A perceptual hash of 63 bits for each grey copy of shape (pictures, side, side).

    Source: the discrete cosine transform and median of Zauner, Implementation and Benchmarking of Perceptual Image Hash
        Functions (2010), section 3.2; without the mean, so that brightness does not count.
    """
    return in_parts(_hashes, copies)


def _hashes(copies: NDArray[np.uint8]) -> NDArray[np.uint64]:
    side = copies.shape[-1]
    steps = np.arange(side, dtype=np.float32)
    waves = np.cos(np.pi * (steps + 0.5)[None] * steps[:8, None] / side)
    low = (waves @ copies.astype(np.float32) @ waves.T).reshape(len(copies), 64)
    bits = low > np.median(low[:, 1:], axis=1, keepdims=True) + 0.5  # what is 0 but for rounding stays 0
    bits[:, 0] = False
    return np.packbits(bits, axis=1).view(np.uint64)[:, 0]


def deviations(copies: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The standard deviation of the grey values of each copy of shape (pictures, side, side)."""
    return in_parts(lambda some: some.std((1, 2)), copies)


def in_parts(function: Callable[[NDArray[np.uint8]], NDArray[Any]], copies: NDArray[np.uint8]) -> NDArray[Any]:
    """A function's value for each copy, of some at a time: what it needs in between does not grow with their number."""
    starts = range(0, max(1, len(copies)), _AT_ONCE)
    return np.concatenate([function(copies[start : start + _AT_ONCE]) for start in starts])


def near(
    copies: NDArray[np.uint8], shorter_sides: NDArray[np.integer], reporter: Reporter | None = None
) -> NDArray[np.intp]:
    """For each picture the number of its group: those share one that show nearly the same, and all that these hold.

    A group is what chains of near pairs hold together. Memory grows with the pictures, not with their pairs; above
    `ALL_PAIRS` so does the time.

    Args:
        copies: Grey copies of shape (pictures, side, side), which show something.
        shorter_sides: The smaller of height and width of each picture, in pixels.
        reporter: Receives the progress.
    """
    small = shorter_sides < SMALL
    group_of, large = np.arange(len(copies)), np.flatnonzero(~small)
    code = hashes(copies)
    with (reporter or Reporter()).task("Comparing", len(copies) + (len(TURNS) - 1) * len(large)) as task:
        for turn in TURNS:
            upright = turn is TURNS[0]
            among = np.arange(len(copies)) if upright else large
            needed = np.where(small, CORRELATION_SMALL, CORRELATION if upright else CORRELATION_TURNED)
            turned = turn(copies)
            code_of_turned = hashes(turned[among])
            if len(among) <= ALL_PAIRS:
                found = _alike(code_of_turned, code[among], task)
            else:
                found = _near_in_order(turned[among], copies[among], code_of_turned, code[among], task)
            for at, other_at in found:
                one, other = among[at], among[other_at]
                apart = group_of[one] != group_of[other]  # where thousands are alike, a few pairs settle nearly all
                one, other = one[apart], other[apart]
                correlation = np.einsum("ij,ij->i", _standard(turned[one]), _standard(copies[other]))
                alike = correlation >= np.maximum(needed[one], needed[other])
                group_of = joined(group_of, one[alike], other[alike])
    return group_of


def _alike(
    one: NDArray[np.uint64], other: NDArray[np.uint64], task: Task
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """The pairs, each once and some at a time, whose hashes differ in few bits."""
    step = max(1, _MOST_AT_ONCE // max(1, len(one)))
    for start in range(0, len(one), step):
        differing = np.bitwise_count(one[start : start + step, None] ^ other[None, start:])
        row, column = np.nonzero(np.triu(differing <= BITS, 1))
        for some in range(0, len(row), _MOST_COMPARED):
            yield start + row[some : some + _MOST_COMPARED], start + column[some : some + _MOST_COMPARED]
        task.advance(len(differing))


def _near_in_order(
    turned: NDArray[np.uint8],
    copies: NDArray[np.uint8],
    code_of_turned: NDArray[np.uint64],
    code: NDArray[np.uint64],
    task: Task,
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """As `_alike`, of those pairs alone that stand near each other in one of some orders; a pair may come again."""
    random, count = np.random.default_rng(0), len(copies)
    for done in range(_ORDERS):
        planes = random.standard_normal((copies[0].size, _PLANES)).astype(np.float32)
        planes -= planes.mean(0)  # so that brightness does not count
        order = np.argsort(np.concatenate([_sides(turned, planes), _sides(copies, planes)]), kind="stable")
        is_turned, index = order < count, order % count
        for apart in range(1, _APART + 1):
            first, second = index[:-apart], index[apart:]
            at = np.flatnonzero((is_turned[:-apart] != is_turned[apart:]) & (first != second))
            one = np.where(is_turned[at], first[at], second[at])
            other = np.where(is_turned[at], second[at], first[at])
            at = np.flatnonzero((one < other) & (np.bitwise_count(code_of_turned[one] ^ code[other]) <= BITS))
            for some in range(0, len(at), _MOST_COMPARED):
                yield one[at[some : some + _MOST_COMPARED]], other[at[some : some + _MOST_COMPARED]]
        task.advance(count * (done + 1) // _ORDERS - count * done // _ORDERS)


def _sides(copies: NDArray[np.uint8], planes: NDArray[np.float32]) -> NDArray[np.uint32]:
    """On which side of each plane copies lie, the first plane in the highest bit."""
    made = np.zeros(len(copies), ">u4")
    for start in range(0, len(copies), _MOST_COMPARED):
        some = copies[start : start + _MOST_COMPARED]
        sides = some.reshape(len(some), -1).astype(np.float32) @ planes > 0
        made[start : start + len(some)] = np.packbits(sides, axis=1).view(">u4")[:, 0]
    return made.astype(np.uint32)


def joined(group_of: NDArray[np.intp], one: NDArray[np.intp], other: NDArray[np.intp]) -> NDArray[np.intp]:
    """Each picture's group when those of the pairs `one` and `other` are joined."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not len(one):
        return group_of
    size = len(group_of)
    links = coo_array((np.ones(len(one), np.int8), (group_of[one], group_of[other])), shape=(size, size))
    return np.asarray(connected_components(links, directed=False)[1][group_of], np.intp)


def groups(number_of: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """The indices that share a value, as rising indices, where two or more do."""
    order = np.argsort(number_of, kind="stable")
    starts = np.flatnonzero(np.diff(number_of[order])) + 1
    found = [group for group in np.split(order, starts) if len(group) > 1]
    return sorted(found, key=lambda group: int(group[0]))


def _standard(copies: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The copies as vectors without their mean and of length 1, the product of two of which is their correlation."""
    plain = copies.reshape(len(copies), copies.shape[1] * copies.shape[2]).astype(np.float32)
    plain -= plain.mean(1, keepdims=True)
    return np.asarray(plain / np.maximum(np.linalg.norm(plain, axis=1, keepdims=True), 1e-6))
