"""One picture to facts: what it is, how large, whose copy; read in parallel and remembered in the cache."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL
from PIL import Image

from ception import cluster
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
    ("key", "V16"), ("digest", "V16"), ("format", "U12"), ("mode", "U8"), ("width", "i4"), ("height", "i4"),
    ("orientation", "u1"), ("alpha", "?"), ("deep", "?"), ("frames", "i4"), ("copy", "u1", (SIDE, SIDE)),
    ("ground", "f4"), ("entropy", "f4"),
])  # fmt: skip
_PART = 500  # pictures that a worker of a cluster looks at before it tells
_VERSION = f"2, Pillow {PIL.__version__}"  # the number changes with what the facts mean
_ENOUGH = 4 * SIDE  # pixels of a side that a JPEG is decoded to, for the small copy and the grey levels


def scan(
    pictures: Pictures,
    source: str,
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
        cache_limit: Most that the cache folder may hold, in GB.
        reporter: Receives progress, and a warning where the cache is of no use.
        where: Whether the pictures are read here or by the workers of a cluster.

    Returns:
        An array of type `FACTS` and shape (pictures,); width and height, in pixels, are those of the upright picture,
        `deep` says that its values have more than 8 bits, `copy` is a grey copy of 16 x 16, `ground` the share, 0..1,
        of its most common grey level and `entropy` that of all levels in bits. And the reasons of the pictures that
        cannot be read by index: their width is 0, and so is their digest where even the bytes cannot.
    """
    facts = np.zeros(len(pictures), FACTS)
    failed: dict[int, str] = {}
    keys: dict[int, bytes] = {}
    todo = list(range(len(pictures)))
    name = cache.name_of(b"check", _VERSION.encode(), os.fsencode(os.path.abspath(source)))
    if isinstance(pictures, Encoded):
        keys = {index: key for index in range(len(pictures)) if (key := pictures.state(index))}
        known = _remembered(name, reporter)
        for index in [index for index, key in keys.items() if key in known]:
            facts[index] = known[keys[index]]
        todo = [index for index in todo if keys.get(index) not in known]
    with reporter.task("Checking", len(pictures)) as task:
        task.advance(len(pictures) - len(todo))
        looked_at = _here(pictures, todo) if where.on is None else _on_cluster(pictures, todo, where, reporter)
        for index, row, why in looked_at:
            facts[index] = row
            facts[index]["key"] = np.void(keys.get(index, bytes(16)))
            if why:
                failed[index] = why
            task.advance()
    if keys and len(failed) < len(todo):
        _remember(name, facts[facts["width"] > 0], cache_limit, reporter)
    return facts, failed


def _here(pictures: Pictures, indices: Sequence[int]) -> Iterator[tuple[int, NDArray[np.void], str]]:
    """Index, facts, and why it cannot be read, of some pictures."""
    found = parallel(lambda k: _facts(pictures, indices[k]), len(indices), threads=isinstance(pictures, Encoded))
    for index, (row, why) in zip(indices, found, strict=True):
        yield index, row, why


def _on_cluster(
    pictures: Pictures, indices: Sequence[int], where: ClusterSettings, reporter: Reporter
) -> Iterator[tuple[int, NDArray[np.void], str]]:
    """As `_here`, in whatever order the workers of a cluster come to them."""
    parts = range(-(-len(indices) // _PART))
    for _, found in cluster.carried_out(Scanning, (pictures, np.array(indices)), parts, where, reporter):
        yield from found


class Scanning:
    """What looks at pictures in a worker of a cluster.

    Args:
        pictures: All pictures.
        indices: Those that are asked for.
    """

    def __init__(self, pictures: Pictures, indices: NDArray[np.int64]) -> None:
        self.pictures, self.indices = pictures, indices

    def __call__(self, number: int) -> list[tuple[int, NDArray[np.void], str]]:
        """Index, facts, and why it cannot be read, of a part of the pictures."""
        return list(_here(self.pictures, self.indices[number * _PART : (number + 1) * _PART].tolist()))


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


def _facts(pictures: Pictures, index: int) -> tuple[NDArray[np.void], str]:
    """The facts about one picture, and why it cannot be read where that is so."""
    facts = np.zeros((), FACTS)
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
        facts["copy"] = grey.resize((SIDE, SIDE), Image.Resampling.BOX)
        facts["ground"], facts["entropy"] = _levels(grey)
        return facts, ""
    except images.PictureError as error:
        facts["width"] = 0
        return facts, "a link that leads nowhere" if _is_loose(pictures, index) else str(error)


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


def _remembered(name: str, reporter: Reporter) -> dict[bytes, NDArray[np.void]]:
    """The facts of an earlier scan by the state of the file; nothing where there was none, or its file is damaged."""
    path = cache_folder() / name
    try:
        facts = np.load(path, allow_pickle=False)
        if facts.dtype != FACTS or facts.ndim != 1:
            raise ValueError("it holds something else")
        os.utime(path)
        return {facts["key"][row].tobytes(): facts[row] for row in range(len(facts))}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except Exception as error:  # NumPy raises what its parser of headers does
        reporter.warn(f"{path} is damaged ({' '.join(str(error).split())}): all pictures are read again")
        return {}


def _remember(name: str, facts: NDArray[np.void], cache_limit: float, reporter: Reporter) -> None:
    if not cache.fits(facts.nbytes, cache_limit):
        return
    try:
        with cache.writing(name, facts.nbytes, cache_limit) as target, target.open("wb") as file:
            np.save(file, facts, allow_pickle=False)
    except RunError as error:
        reporter.warn(f"what was found is not kept for the next time: {error}")


def are_arrays(pictures: Pictures) -> bool:
    """Whether the pictures lie in arrays, which have no files."""
    return isinstance(pictures, Arrays)
