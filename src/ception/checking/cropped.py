"""Which pictures show a part of another, mirrored and turned too: candidates by small copies, decided by the pictures.

A picture that is a part of another looks like a window of it. Ten windows of each, the whole and nine places that keep
0.9 of both sides, are described by 63 low frequencies of its small grey copy, the high ones counting more, as pictures
of alike grounds share the low ones. The correlation of two descriptions is their product, so that all pairs are one
product of matrices for each window and turn. What it finds is loose, and bounded: the best few of each picture. Those
are opened and compared in detail (`alignment`).

Measured on TrashNet (2,527 photos on similar grounds, `benchmarks/results/planted_copies.csv`), together with what
`duplicates` finds: of 150 copies cropped by 10 % at the centre or anywhere all are found, of those mirrored or turned
too at least 98 %, cropped by 5 % 99 %, by 15 % 85 %, brightened by 30 % 98 %. Ten pairs of photos come in beside the 21
of `duplicates`; all show the same thing in the same place, none is of two classes. Of 777 candidate pairs, those taken
agree in detail by 0.54 or more, and look-alikes by 0.34 at most; one between, of 0.39, is a copy in another light.
Time grows with the square of the photos, by 0.2 microseconds of a core for two of them, so that among more than 20,000
parts are not looked for; memory with their number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ception.checking import alignment
from ception.checking.duplicates import BACK, TURNS
from ception.checking.groups import joined
from ception.checking.scan import preview
from ception.data import images
from ception.data.sources import Encoded, Pictures, parallel
from ception.reporting import Reporter

if TYPE_CHECKING:
    from numpy.typing import NDArray

CORRELATION = 0.88  # of two descriptions, from which on pictures are candidates
MOST = 20_000  # pictures, above which that takes too long
_KEPT = 0.9  # share of a side
_PLACES = (0.0, (1 - _KEPT) / 2, 1 - _KEPT)
WINDOWS: tuple[alignment.Window, ...] = (
    alignment.WHOLE, *((left, left + _KEPT, top, top + _KEPT) for left in _PLACES for top in _PLACES),
)  # fmt: skip
_FREQUENCIES = 8  # along each side
_MOST_OF_ONE = 16  # candidates of a picture, each turn counted
_MOST_IN_ALL = 50_000  # candidates, of which a core compares about 1,000 in a second
_MOST_AT_ONCE = 1 << 22  # pairs in memory
_MOST_COMPARED = 64  # candidates, after which those that are settled by others are left out
_MOST_OPEN = 4096  # opened pictures in memory, 100 MB
_CANDIDATE = np.dtype([("part", "i8"), ("whole", "i8"), ("turn", "i1"), ("window", "i1"), ("correlation", "f4")])


def together(
    pictures: Pictures,
    indices: NDArray[np.intp],
    copies: NDArray[np.uint8],
    group_of: NDArray[np.intp],
    reporter: Reporter,
) -> NDArray[np.intp]:
    """Each picture's group when those are joined that show a part of another.

    Args:
        pictures: All pictures; candidates are opened.
        indices: Those that are compared.
        copies: Their grey copies of shape (pictures, side, side), which show something.
        group_of: The group that each is in already.
        reporter: Receives the progress.
    """
    found = candidates(copies, reporter)
    if len(found) > _MOST_IN_ALL:
        reporter.note(f"of {len(found):,} pairs of look-alikes the {_MOST_IN_ALL:,} most alike are compared closely")
        found = found[:_MOST_IN_ALL]
    opened: dict[int, NDArray[np.uint8]] = {}
    with reporter.task("Comparing closely", len(found)) as task:
        for start in range(0, len(found), _MOST_COMPARED):
            some = found[start : start + _MOST_COMPARED]
            some = some[group_of[some["part"]] != group_of[some["whole"]]]
            _open(pictures, indices, np.union1d(some["part"], some["whole"]), opened)
            alike = some[_confirmed(some, opened)]
            group_of = joined(group_of, alike["part"], alike["whole"])
            task.advance(min(_MOST_COMPARED, len(found) - start))
    return group_of


def _confirmed(found: NDArray[np.void], opened: dict[int, NDArray[np.uint8]]) -> NDArray[np.bool_]:
    """Which candidates are copies, by what was opened."""
    parts = [TURNS[turn](opened[part][None])[0] for part, turn in zip(found["part"], found["turn"], strict=True)]
    wholes = [opened[whole] for whole in found["whole"]]
    if not parts:
        return np.zeros(0, bool)
    return alignment.are_parts(np.stack(parts), np.stack(wholes), np.array(WINDOWS)[found["window"]])


def candidates(copies: NDArray[np.uint8], reporter: Reporter) -> NDArray[np.void]:
    """Pairs of pictures of which one may show a part of the other, the most alike first; a few of each picture at most.

    Args:
        copies: Grey copies of shape (pictures, side, side), which show something.
        reporter: Receives the progress.

    Returns:
        An array with the indices `part` and `whole`, the `turn` of the part, an index of `TURNS`, where it fits best:
        the `window` of the whole, an index of `WINDOWS`, and the `correlation` there. A pair may be in it with several
        turns, because a round thing looks the same in all of them.
    """
    windows = [_described(copies, window).T for window in WINDOWS]
    step = max(1, _MOST_AT_ONCE // max(1, len(copies)))
    kept = [np.zeros(0, _CANDIDATE)]
    with reporter.task("Comparing parts", len(copies)) as task:
        for start in range(0, len(copies), step):
            of_block = np.zeros(0, _CANDIDATE)
            for number, turned in enumerate(TURNS):
                parts = _described(turned(copies[start : start + step]), alignment.WHOLE)
                alike = [_alike(parts, wholes, start, number, window) for window, wholes in enumerate(windows)]
                of_block = _best(np.concatenate([of_block, *alike]))
            kept.append(of_block)
            task.advance(min(step, len(copies) - start))
    found = np.concatenate(kept)
    found = found[np.argsort(-found["correlation"], kind="stable")]
    part, whole = found["part"], found["whole"]
    turn = np.where(part < whole, found["turn"], np.array(BACK)[found["turn"]])
    same = np.stack([np.minimum(part, whole), np.maximum(part, whole), turn], 1)
    return np.asarray(found[np.sort(np.unique(same, axis=0, return_index=True)[1])])


def _described(copies: NDArray[np.uint8], window: alignment.Window) -> NDArray[np.float32]:
    """A window of each copy by its low frequencies, without the mean and of length 1: (pictures, 63)."""
    side = copies.shape[-1]
    left, right, top, bottom = window
    steps = np.arange(_FREQUENCIES)
    strength = np.hypot(steps[:, None], steps[None]).astype(np.float32)
    low = _waves(top, bottom, side) @ copies.astype(np.float32) @ _waves(left, right, side).T * strength
    low = low.reshape(len(copies), _FREQUENCIES**2)[:, 1:]
    return np.asarray(low / np.maximum(np.linalg.norm(low, axis=1, keepdims=True), 1e-6), np.float32)


def _waves(low: float, high: float, side: int) -> NDArray[np.float32]:
    """A matrix from `side` values to the cosines of a stretch of them, (8, side), each as far as it is in it."""
    edges = np.linspace(low, high, side + 1) * side
    pixels = np.arange(side)
    covered = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    cosines = np.cos(np.pi * (pixels + 0.5) * np.arange(_FREQUENCIES)[:, None] / side)
    cosines[0] /= np.sqrt(2)
    return np.asarray(cosines @ np.maximum(covered, 0) / (high - low), np.float32)


def _alike(
    parts: NDArray[np.float32], wholes: NDArray[np.float32], start: int, turn: int, window: int
) -> NDArray[np.void]:
    """The candidates among a block of parts, the first of which is the picture `start`, and all wholes."""
    correlation = parts @ wholes
    most = min(_MOST_OF_ONE + 1, wholes.shape[1])  # with the picture itself
    at = np.flatnonzero(correlation >= CORRELATION)
    if len(at) > most * len(parts):  # where all are alike, sorting all pairs would take longer than finding them
        best = np.argpartition(correlation, -most, axis=1)[:, -most:]
        at = (best + wholes.shape[1] * np.arange(len(parts))[:, None]).reshape(-1)
        at = at[correlation.reshape(-1)[at] >= CORRELATION]
    found = np.zeros(len(at), _CANDIDATE)
    found["part"], found["whole"] = start + at // wholes.shape[1], at % wholes.shape[1]
    found["turn"], found["window"], found["correlation"] = turn, window, correlation.reshape(-1)[at]
    return np.asarray(found[found["part"] != found["whole"]])


def _best(found: NDArray[np.void]) -> NDArray[np.void]:
    """Of each pair and turn the window that is most alike, of each part the most alike of those."""
    names = ["part", "whole", "turn"]
    found = found[np.lexsort((-found["correlation"], *(found[name] for name in names)))]
    again = np.zeros(len(found), bool)
    again[1:] = found[names][1:] == found[names][:-1]
    found = found[~again]
    found = found[np.lexsort((-found["correlation"], found["part"]))]
    first = np.searchsorted(found["part"], found["part"])
    return np.asarray(found[np.arange(len(found)) - first < _MOST_OF_ONE])


def _open(
    pictures: Pictures, indices: NDArray[np.intp], wanted: NDArray[np.intp], opened: dict[int, NDArray[np.uint8]]
) -> None:
    """Add what is wanted to the opened pictures, of which the longest unused go where they are many."""
    for number in wanted.tolist():
        if number in opened:
            opened[number] = opened.pop(number)
    new = [number for number in wanted.tolist() if number not in opened]
    read = parallel(lambda k: _grey(pictures, int(indices[new[k]])), len(new), threads=isinstance(pictures, Encoded))
    opened.update(zip(new, read, strict=True))
    for number in list(opened)[: max(0, len(opened) - _MOST_OPEN)]:
        del opened[number]


def _grey(pictures: Pictures, index: int) -> NDArray[np.uint8]:
    """The grey copy of a picture that `alignment` compares; a plain one where it cannot be read any more."""
    from PIL import Image

    try:
        image = images.flatten(preview(pictures, index, alignment.SIDE, "L"), 1)
    except images.PictureError:
        return np.zeros((alignment.SIDE, alignment.SIDE), np.uint8)
    return np.asarray(image.resize((alignment.SIDE, alignment.SIDE), Image.Resampling.BOX))
