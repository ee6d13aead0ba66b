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
in 24 such orders: TrashNet has the same groups then (`benchmarks/results/planted_copies.csv`). So the time grows with
the pictures, and what is in memory for one is its hash, twice, its place in the order and its group: 75 bytes.
Pictures below 64 pixels show too little: there only a correlation of 0.998 counts. (On Fashion-MNIST 0.97 takes
137,361 pairs of look-alikes, 15,341 of them of two classes; 0.998 takes 74, none of two classes.) Nor are they compared
mirrored or turned: most things are as good as symmetric there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ception.checking.groups import join, roots
from ception.checking.on_disk import OnDisk, Rows, Selected
from ception.reporting import Reporter, Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

Turn: TypeAlias = "Callable[[NDArray[Any]], NDArray[Any]]"
Pairs: TypeAlias = "tuple[NDArray[np.intp], NDArray[np.intp]]"

BITS = 10
CORRELATION, CORRELATION_TURNED, CORRELATION_SMALL = 0.97, 0.975, 0.998
SMALL = 64  # pixels of the shorter side
_MOST_AT_ONCE = 1 << 22  # pairs of hashes in memory
_MOST_COMPARED = 1 << 14  # pairs of copies in memory
_AT_ONCE = 1 << 11  # copies as numbers of four or eight bytes in memory
_IN_ORDER = 1 << 18  # places of an order that are looked at in one go
ALL_PAIRS = 20_000  # pictures, up to which all pairs are compared
_ORDERS, _PLANES, _APART = 24, 32, 16  # orders, planes that make one, and places between two that are compared

TURNS: tuple[Turn, ...] = (
    lambda copies: copies, lambda copies: copies[:, :, ::-1],
    lambda copies: copies[:, ::-1], lambda copies: copies[:, ::-1, ::-1],
    lambda copies: copies.transpose(0, 2, 1), lambda copies: copies.transpose(0, 2, 1)[:, :, ::-1],
    lambda copies: copies.transpose(0, 2, 1)[:, ::-1], lambda copies: copies.transpose(0, 2, 1)[:, ::-1, ::-1],
)  # fmt: skip
BACK = (0, 1, 2, 3, 4, 6, 5, 7)  # for each of `TURNS` the one that undoes it


def hashes(copies: Rows) -> NDArray[np.uint64]:
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


def deviations(copies: Rows) -> NDArray[np.float64]:
    """The standard deviation of the grey values of each copy of shape (pictures, side, side)."""
    return in_parts(lambda some: some.std((1, 2)), copies)


def in_parts(function: Callable[[NDArray[np.uint8]], NDArray[Any]], copies: Rows) -> NDArray[Any]:
    """A function's value for each copy, of some at a time: what it needs in between does not grow with their number."""
    starts = range(0, max(1, len(copies)), _AT_ONCE)
    return np.concatenate([function(copies[start : start + _AT_ONCE]) for start in starts])


def near(copies: Rows, shorter_sides: NDArray[np.integer], reporter: Reporter | None = None) -> NDArray[np.intp]:
    """For each picture the number of its group: those share one that show nearly the same, and all that these hold.

    A group is what chains of near pairs hold together. Memory grows with the pictures, not with their pairs; above
    `ALL_PAIRS` so does the time, and the copies stay where they are.

    Args:
        copies: Grey copies of shape (pictures, side, side), which show something.
        shorter_sides: The smaller of height and width of each picture, in pixels.
        reporter: Receives the progress.
    """
    small = shorter_sides < SMALL
    large = np.flatnonzero(~small).astype(np.uint32)
    group_of = np.arange(len(copies))
    with (reporter or Reporter()).task("Comparing", len(copies) + (len(TURNS) - 1) * len(large)) as task:
        for turns, among in ((TURNS[:1], np.arange(len(copies), dtype=np.uint32)), (TURNS[1:], large)):
            search = _among_all if len(among) <= ALL_PAIRS else _in_orders
            for turn, one, other in search(Selected(copies, among), turns, task):
                _join_alike(group_of, copies, small, turn, among[one], among[other])
    return roots(group_of, np.arange(len(group_of)))


def _join_alike(
    group_of: NDArray[np.intp],
    copies: Rows,
    small: NDArray[np.bool_],
    turn: Turn,
    one: NDArray[np.integer],
    other: NDArray[np.integer],
) -> None:
    """Join those pairs of pictures, the first of them turned, whose copies correlate well enough."""
    apart = roots(group_of, one) != roots(group_of, other)  # where thousands are alike, a few pairs settle nearly all
    one, other = one[apart], other[apart]
    needed = np.where(
        small[one] | small[other], CORRELATION_SMALL, CORRELATION if turn is TURNS[0] else CORRELATION_TURNED
    )
    wanted, places = np.unique(np.concatenate([one, other]), return_inverse=True)
    read, (of_one, of_other) = copies[wanted], np.split(places, 2)
    correlation = np.einsum("ij,ij->i", _standard(turn(read[of_one])), _standard(read[of_other]))
    alike = correlation >= needed
    join(group_of, one[alike], other[alike])


def _among_all(rows: Selected, turns: Sequence[Turn], task: Task) -> Iterator[tuple[Turn, *Pairs]]:
    """All pairs whose hashes differ in few bits, each once and some at a time, with the turn of the first."""
    copies = rows[:]
    code = hashes(copies)
    for turn in turns:
        for one, other in _alike(hashes(turn(copies)), code, task):
            yield turn, one, other


def _alike(one: NDArray[np.uint64], other: NDArray[np.uint64], task: Task) -> Iterator[Pairs]:
    """The pairs, each once and some at a time, whose hashes differ in few bits."""
    step = max(1, _MOST_AT_ONCE // max(1, len(one)))
    for start in range(0, len(one), step):
        differing = np.bitwise_count(one[start : start + step, None] ^ other[None, start:])
        row, column = np.nonzero(np.triu(differing <= BITS, 1))
        for some in range(0, len(row), _MOST_COMPARED):
            yield start + row[some : some + _MOST_COMPARED], start + column[some : some + _MOST_COMPARED]
        task.advance(len(differing))


def _in_orders(rows: Selected, turns: Sequence[Turn], task: Task) -> Iterator[tuple[Turn, *Pairs]]:
    """As `_among_all`, of those pairs alone that stand near each other in one of some orders; a pair may come again."""
    random, count = np.random.default_rng(0), len(rows)
    upright, *turned = dict.fromkeys((TURNS[0], *turns))
    code = hashes(rows)
    with ExitStack() as stack:
        codes = [stack.enter_context(OnDisk(count, (), np.uint64)) for _ in turned]
        for file, turn in zip(codes, turned, strict=True):
            _write(rows, [file], lambda copies, turn=turn: _hashes(turn(copies))[:, None])  # type: ignore[misc]
        sides = [stack.enter_context(OnDisk(count, (), np.uint32)) for _ in (upright, *turned)]
        for done in range(_ORDERS):
            planes = random.standard_normal((_side(rows) ** 2, _PLANES)).astype(np.float32)
            planes -= planes.mean(0)  # so that brightness does not count
            _write(rows, sides, partial(_sides, planes=_for_turns(planes, [upright, *turned])))
            if upright in turns:
                for one, other in _neighbours(_ordered(sides[0][:])):
                    yield from _few(upright, one, other, code, code)
            for turn, of_turn, file in zip(turned, sides[1:], codes, strict=True):
                code_of_turned = file[:]
                for one, other in _neighbours(_ordered(of_turn[:], sides[0][:]), count):
                    yield from _few(turn, one, other, code_of_turned, code)
            task.advance(len(turns) * count * (done + 1) // _ORDERS - len(turns) * count * done // _ORDERS)


def _few(
    turn: Turn,
    one: NDArray[np.intp],
    other: NDArray[np.intp],
    code_of_turned: NDArray[np.uint64],
    code: NDArray[np.uint64],
) -> Iterator[tuple[Turn, *Pairs]]:
    """Those of some pairs whose hashes differ in few bits, some at a time."""
    at = np.flatnonzero(np.bitwise_count(code_of_turned[one] ^ code[other]) <= BITS)
    for some in range(0, len(at), _MOST_COMPARED):
        yield turn, one[at[some : some + _MOST_COMPARED]], other[at[some : some + _MOST_COMPARED]]


def _write(rows: Rows, files: Sequence[OnDisk], compute: Callable[[NDArray[np.uint8]], NDArray[Any]]) -> None:
    """Write the columns of what is computed of each copy, (copies, files), of some copies at a time."""
    for start in range(0, len(rows), _AT_ONCE):
        computed = compute(rows[start : start + _AT_ONCE])
        for file, column in zip(files, computed.T, strict=True):
            file.write(start, column)


def _side(rows: Rows) -> int:
    """Pixels of a copy's side."""
    return int(rows[:1].shape[-1])


def _for_turns(planes: NDArray[np.float32], turns: Sequence[Turn]) -> NDArray[np.float32]:
    """Planes (pixels, planes) on whose sides copies lie as turned ones do on those that are given, turn after turn."""
    side = round(len(planes) ** 0.5)
    drawn = planes.T.reshape(-1, side, side)
    back = [TURNS[BACK[TURNS.index(turn)]](drawn) for turn in turns]
    return np.concatenate([one.reshape(len(drawn), -1) for one in back]).T


def _sides(copies: NDArray[np.uint8], planes: NDArray[np.float32]) -> NDArray[np.uint32]:
    """On which side of each plane copies lie, the first of 32 in the highest bit of a number: (copies, numbers)."""
    sides = copies.reshape(len(copies), -1).astype(np.float32) @ planes > 0
    return np.packbits(sides, axis=1).view(">u4").astype(np.uint32)


def _ordered(*sides: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """The places of numbers, of one array after another, in the order of the numbers."""
    packed = np.concatenate(sides).astype(np.uint64)
    packed <<= np.uint64(32)
    packed |= np.arange(len(packed), dtype=np.uint32)
    packed.sort()
    return packed.astype(np.uint32)  # of which the lower half is the place


def _neighbours(order: NDArray[np.uint32], count: int = 0) -> Iterator[Pairs]:
    """Pairs of pictures that stand near each other in an order, the first the lower one.

    Args:
        order: The pictures' numbers; those of turned ones below `count`, else so much higher.
        count: How many pictures there are turned and not, of which one of each is in a pair; 0 where none are turned.
    """
    for start in range(0, len(order), _IN_ORDER):
        here = order[start : start + _IN_ORDER + _APART]
        for apart in range(1, _APART + 1):
            first = here[: max(0, min(_IN_ORDER, len(here) - apart))]
            second = here[apart : apart + len(first)]
            low, high = np.minimum(first, second), np.maximum(first, second)
            if count:
                high = high - np.uint32(count)  # which is one that is not turned, or else falls out
                at = np.flatnonzero((low < count) & (np.maximum(first, second) >= count) & (low < high))
                low, high = low[at], high[at]
            yield low.astype(np.intp), high.astype(np.intp)


def _standard(copies: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The copies as vectors without their mean and of length 1, the product of two of which is their correlation."""
    plain = copies.reshape(len(copies), copies.shape[1] * copies.shape[2]).astype(np.float32)
    plain -= plain.mean(1, keepdims=True)
    return np.asarray(plain / np.maximum(np.linalg.norm(plain, axis=1, keepdims=True), 1e-6))
