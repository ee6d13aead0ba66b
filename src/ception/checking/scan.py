"""One picture to facts: what it is, how large, whose copy; read in parallel and remembered in the cache."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import PIL
from PIL import Image

from ception import cluster
from ception.checking.on_disk import OnDisk
from ception.data import cache, formats, images
from ception.data.pictures import digest_of
from ception.data.sources import Arrays, Encoded, Files, Pictures, parallel
from ception.errors import RunError
from ception.files import cache_folder
from ception.reporting import Reporter
from ception.settings import ClusterSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 16  # of the small grey copy by which near duplicates are found
FACTS = np.dtype([
    ("digest", "V16"), ("format", "S8"), ("mode", "S6"), ("width", "i4"), ("height", "i4"), ("orientation", "u1"),
    ("alpha", "?"), ("deep", "?"), ("frames", "i4"), ("ground", "f4"), ("entropy", "f4"),
])  # fmt: skip
_COPY = np.dtype(("u1", (SIDE, SIDE)))
_KEPT = np.dtype([("key", "V16"), ("facts", FACTS), ("copy", _COPY)])  # a picture in the cache
_PART = 500  # pictures that a worker of a cluster looks at before it tells
_AT_ONCE = 4096  # pictures whose copies are in memory
_MOST_REASONS = 10_000  # why pictures cannot be read: of more, those of the first
_VERSION = f"3, Pillow {PIL.__version__}"  # the number changes with what is kept, and what it means
_ENOUGH = 4 * SIDE  # pixels of a side that a JPEG is decoded to, for the small copy and the grey levels
Found: TypeAlias = "tuple[NDArray[np.void], NDArray[np.uint8], str]"  # facts, copy, and why it cannot be read


def room(count: int) -> OnDisk:
    """Where so many grey copies go."""
    return OnDisk(count, (SIDE, SIDE), np.uint8)


def scan(
    pictures: Pictures,
    source: str,
    copies: OnDisk | None = None,
    *,
    cache_limit: float,
    reporter: Reporter,
    where: ClusterSettings = ClusterSettings(),
) -> tuple[NDArray[np.void], dict[int, str]]:
    """The facts about each picture.

    Files are read again only when their path, size or time has changed, and when they could not be read.

    Args:
        pictures: The pictures.
        source: What names the data set in the cache: its path.
        copies: Receives a grey copy of 16 x 16 of each that can be read; None if nobody wants them.
        cache_limit: Most that the cache folder may hold, in GB.
        reporter: Receives progress, and a warning where the cache is of no use.
        where: Whether the pictures are read here or by the workers of a cluster.

    Returns:
        An array of type `FACTS` and shape (pictures,); width and height, in pixels, are those of the upright picture,
        `deep` says that its values have more than 8 bits, `ground` is the share, 0..1, of its most common grey level
        and `entropy` that of all levels in bits. And the reasons of the pictures that cannot be read by index, of
        10,000 at least where there are more: their width is 0, and so is their digest where even the bytes cannot.
    """
    if copies is None:
        with room(len(pictures)) as unwanted:
            return scan(pictures, source, unwanted, cache_limit=cache_limit, reporter=reporter, where=where)
    facts, failed = np.zeros(len(pictures), FACTS), dict[int, str]()
    name = cache.name_of(b"check", _VERSION.encode(), os.fsencode(os.path.abspath(source)))
    keys = _keys(pictures)
    todo = np.arange(len(pictures)) if keys is None else _take_over(name, keys, facts, copies, reporter)
    with reporter.task("Checking", len(pictures)) as task:
        task.advance(len(pictures) - len(todo))
        looked_at = _here(pictures, todo) if where.on is None else _on_cluster(pictures, todo, where, reporter)
        for index, (row, copy, why) in looked_at:
            facts[index] = row
            copies.write(index, copy[None])
            if why:
                failed[index] = why
            if len(failed) >= 2 * _MOST_REASONS:
                failed = dict(sorted(failed.items())[:_MOST_REASONS])
            task.advance()
    if keys is not None and (facts["width"][todo] > 0).any():
        _remember(name, keys, facts, copies, cache_limit, reporter)
    return facts, failed


def _keys(pictures: Pictures) -> NDArray[np.void] | None:
    """By what each picture is found in the cache, 0 where it is not there; None where they are not stored as files."""
    if not isinstance(pictures, Encoded):
        return None
    keys = np.zeros(len(pictures), "V16")
    for index in range(len(pictures)):
        if key := pictures.state(index):
            keys[index] = np.void(key)
    return keys


def _here(pictures: Pictures, indices: NDArray[np.integer]) -> Iterator[tuple[int, Found]]:
    """Index, and what was found, of some pictures."""
    found = parallel(lambda k: _facts(pictures, int(indices[k])), len(indices), threads=isinstance(pictures, Encoded))
    for index, one in zip(indices, found, strict=True):
        yield int(index), one


def _on_cluster(
    pictures: Pictures, indices: NDArray[np.integer], where: ClusterSettings, reporter: Reporter
) -> Iterator[tuple[int, Found]]:
    """As `_here`, in whatever order the workers of a cluster come to them."""
    parts = range(-(-len(indices) // _PART))
    for _, found in cluster.carried_out(Scanning, (pictures, indices), parts, where, reporter):
        yield from found


class Scanning:
    """What looks at pictures in a worker of a cluster.

    Args:
        pictures: All pictures.
        indices: Those that are asked for.
    """

    def __init__(self, pictures: Pictures, indices: NDArray[np.integer]) -> None:
        self.pictures, self.indices = pictures, indices

    def __call__(self, number: int) -> list[tuple[int, Found]]:
        """Index, and what was found, of a part of the pictures."""
        return list(_here(self.pictures, self.indices[number * _PART : (number + 1) * _PART]))


def preview(pictures: Pictures, index: int, side: int, mode: str = "RGB") -> Image.Image:
    """The picture upright, with about `side` pixels at least, and in grey as mode `L`, where that saves decoding more.

    Raises:
        PictureError: it cannot be read.
    """
    if not isinstance(pictures, Encoded):
        return pictures.open(index)
    data = pictures.read(index)
    try:
        return formats.with_opened(data, lambda image: _upright(image, side, mode))
    except Exception:  # whatever it is: `decode` has the words for it
        return images.decode(data)


def _upright(image: Image.Image, side: int, mode: str) -> Image.Image:
    """An opened picture turned upright; of a JPEG no more pixels and colours are computed than are asked for.

    All of its data is read all the same, so that a broken one is noticed.
    """
    image.draft(mode, (side, side))
    return images.upright(image)


def _facts(pictures: Pictures, index: int) -> Found:
    """The facts about one picture, its grey copy, and why it cannot be read where that is so."""
    facts, copy = np.zeros((), FACTS), np.zeros((SIDE, SIDE), np.uint8)
    facts["orientation"], facts["frames"] = 1, 1
    try:
        if isinstance(pictures, Encoded):
            data = pictures.read(index)
            facts["digest"] = np.void(digest_of(data))
            image = _described(facts, data)
        else:
            facts["digest"] = np.void(pictures.digest(index))
            image = pictures.open(index)
            facts["mode"], facts["alpha"] = image.mode, image.has_transparency_data
            facts["width"], facts["height"] = image.size
        grey = images.flatten(image, 1)
        copy = np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BOX))
        facts["ground"], facts["entropy"] = _levels(grey)
        return facts, copy, ""
    except images.PictureError as error:
        facts["width"] = 0
        return facts, copy, "a link that leads nowhere" if _is_loose(pictures, index) else str(error)


def _levels(grey: Image.Image) -> tuple[float, float]:
    """The share of the most common grey level, give or take 4, and the entropy of steps of 8 around it, in bits."""
    if max(grey.size) > _ENOUGH:
        grey = grey.resize((_ENOUGH, _ENOUGH), Image.Resampling.BOX)
    shares = np.array(grey.histogram(), np.float64) / (grey.width * grey.height)
    sums = np.concatenate([np.zeros(5), np.cumsum(shares), np.ones(4)])
    near = sums[9:] - sums[:-9]
    first = max(0, int(near.argmax()) - 4)
    common = shares[first : int(near.argmax()) + 5]
    middle = round(float(np.average(np.arange(first, first + len(common)), weights=common)))
    steps = np.roll(shares, 124 - middle).reshape(-1, 8).sum(1)  # the most common level in the middle of a step
    steps = steps[steps > 0]
    return float(near.max()), float(-(steps * np.log2(steps)).sum())


def _described(facts: Any, data: bytes) -> Image.Image:
    """Fill in what a file says of its picture, and give the picture, upright and grey where that is quicker."""

    def describe(image: Image.Image) -> Image.Image:
        width, height = image.size
        facts["format"], facts["mode"] = image.format or "", image.mode
        facts["alpha"] = image.has_transparency_data
        raw = str(getattr(image, "tile", ""))  # Pillow reads colour of 16 bits as 8; what it reads from tells
        facts["deep"] = image.mode.startswith("I") or (";16" in raw and "BGR;16" not in raw)  # 5 + 6 + 5 bits
        turned = _upright(image, _ENOUGH, "L")
        facts["orientation"] = images.orientation(image)
        facts["width"], facts["height"] = (height, width) if facts["orientation"] >= 5 else (width, height)
        return turned

    try:
        upright = formats.with_opened(data, describe)
    except Exception:  # whatever it is: `decode` has the words for it
        upright = images.decode(data)
        facts["width"], facts["height"] = upright.size
    facts["frames"] = _frames(data)
    return upright


def _frames(data: bytes) -> int:
    def frames(image: Image.Image) -> int:
        return 1 if image.format == "MPO" else getattr(image, "n_frames", 1)  # MPO: with a camera's previews

    try:
        return formats.with_opened(data, frames)
    except Exception:  # a broken later frame, which nothing needs
        return 1


def _is_loose(pictures: Pictures, index: int) -> bool:
    return isinstance(pictures, Files) and os.path.islink(path := pictures.paths[index]) and not os.path.exists(path)


# The cache


def _take_over(
    name: str, keys: NDArray[np.void], facts: NDArray[np.void], copies: OnDisk, reporter: Reporter
) -> NDArray[np.intp]:
    """Take what an earlier scan found, by the state of the files; the indices of those that are still to be read."""
    todo = np.ones(len(keys), bool)
    path = cache_folder() / name
    try:
        kept = np.load(path, mmap_mode="r", allow_pickle=False)
        if kept.dtype != _KEPT or kept.ndim != 1:
            raise ValueError("it holds something else")
        os.utime(path)
        row_of = _rows_of(keys, kept["key"])
        for start in range(0, len(keys), _AT_ONCE):
            kept = np.load(path, mmap_mode="r", allow_pickle=False)  # anew: what is mapped and was read stays in memory
            rows = row_of[start : start + _AT_ONCE]
            (at,) = np.nonzero(rows >= 0)
            taken = kept[rows[at]]
            facts[start + at] = taken["facts"]
            found = np.zeros((len(rows), SIDE, SIDE), np.uint8)
            found[at] = taken["copy"]
            copies.write(start, found)
            todo[start + at] = False
    except (FileNotFoundError, NotADirectoryError):
        pass
    except RunError:
        raise
    except Exception as error:  # NumPy raises what its parser of headers does
        reporter.warn(f"{path} is damaged ({' '.join(str(error).split())}): all pictures are read again")
        todo[:] = True
    return np.flatnonzero(todo)


def _rows_of(keys: NDArray[np.void], kept: NDArray[np.void]) -> NDArray[np.int64]:
    """For each key the row of one that is kept, -1 where there is none, or it is 0."""
    if not len(kept):
        return np.full(len(keys), -1)
    kept = np.ascontiguousarray(kept)
    begin, begin_kept = (one.view(">u8")[::2].astype(np.uint64) for one in (np.ascontiguousarray(keys), kept))
    order = np.argsort(begin_kept)
    row = order[np.minimum(np.searchsorted(begin_kept, begin, sorter=order), len(kept) - 1)]
    return np.where((kept[row] == keys) & (keys != np.zeros(1, "V16")), row, -1)


def _remember(
    name: str,
    keys: NDArray[np.void],
    facts: NDArray[np.void],
    copies: OnDisk,
    cache_limit: float,
    reporter: Reporter,
) -> None:
    """Keep what was found for the next scan."""
    readable = (facts["width"] > 0) & (keys != np.zeros(1, "V16"))
    count = int(readable.sum())
    if not cache.fits(count * _KEPT.itemsize, cache_limit):
        return
    header = {"descr": np.lib.format.dtype_to_descr(_KEPT), "fortran_order": False, "shape": (count,)}
    try:
        with cache.writing(name, count * _KEPT.itemsize, cache_limit) as target, target.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for start in range(0, len(keys), _AT_ONCE):
                some = slice(start, start + _AT_ONCE)
                rows = np.zeros(len(keys[some]), _KEPT)
                rows["key"], rows["facts"], rows["copy"] = keys[some], facts[some], copies[some]
                file.write(rows[readable[some]].tobytes())
    except RunError as error:
        reporter.warn(f"what was found is not kept for the next time: {error}")


def are_arrays(pictures: Pictures) -> bool:
    """Whether the pictures lie in arrays, which have no files."""
    return isinstance(pictures, Arrays)
