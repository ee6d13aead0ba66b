"""What the network sees of some pictures: at its size, and changed as a training would change them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ception import pages
from ception.checking.scan import preview
from ception.data import images
from ception.data.augmentation import Augmentation, augment
from ception.data.sources import Dataset, Encoded, parallel
from ception.reporting import Reporter

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CLASSES, _OF_CLASS = 10, 3
_CHANGED = 2  # of a picture; with thumbnails of 4 KB, all of it takes half a megabyte
_DRAWS = 8  # by chance, for so many that differ
_THUMBNAIL = 112  # pixels; of 28, each becomes a square of four


@dataclass(frozen=True)
class Seen:
    """A picture as it is, as the network takes it, and changed as in training; all as data URIs.

    Attributes:
        index: Of the picture.
        original: The picture.
        pixels: What the network takes.
        changed: What training makes of that, none alike.
    """

    index: int
    original: str
    pixels: str
    changed: tuple[str, ...]


def seen(
    dataset: Dataset,
    readable: NDArray[np.bool_],
    contract: images.ImageContract,
    augmentation: Augmentation,
    reporter: Reporter,
) -> list[Seen]:
    """Some pictures of each class, evenly among all; of many classes some.

    Args:
        dataset: The data set.
        readable: Whether each picture can be read.
        contract: What the network expects of a picture.
        augmentation: How training changes pictures.
        reporter: Receives the progress.
    """
    chosen = _chosen(dataset.labels, readable)
    threads = isinstance(dataset.pictures, Encoded)
    found = []
    with reporter.task("Looking through the network", len(chosen)) as task:
        for one in parallel(lambda k: _seen(dataset, chosen[k], contract, augmentation), len(chosen), threads=threads):
            found += [one] if one else []
            task.advance()
    return found


def _chosen(labels: NDArray[np.integer], readable: NDArray[np.bool_]) -> list[int]:
    """Indices of pictures, class by class."""
    present = np.unique(labels[readable])
    classes = present[_evenly(len(present), _CLASSES)]
    of_classes = [np.flatnonzero(readable & (labels == label)) for label in classes]
    return [index for these in of_classes for index in these[_evenly(len(these), _OF_CLASS)].tolist()]


def _evenly(count: int, most: int) -> NDArray[np.intp]:
    """So many of a number of places at most, evenly among them."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.intp))


def _seen(dataset: Dataset, index: int, contract: images.ImageContract, augmentation: Augmentation) -> Seen | None:
    """The picture as it is seen; None where it cannot be read any more."""
    try:
        original = images.flatten(preview(dataset.pictures, index, _THUMBNAIL), 3)
        pixels = images.to_pixels(dataset.pictures.open(index), contract)
    except images.PictureError:
        return None
    changed = _changed(pixels, augmentation, index)
    return Seen(index, pages.thumbnail(original, _THUMBNAIL, quality=80), _drawn(pixels), tuple(map(_drawn, changed)))


def _changed(pixels: NDArray[np.uint8], augmentation: Augmentation, seed: int) -> Sequence[NDArray[np.uint8]]:
    """What training makes of the pixels, by chance and the same each time; none alike, nor like the pixels."""
    different = [pixels]
    for draw in range(_DRAWS):
        (one,) = augment(pixels[None], augmentation, np.random.default_rng([seed, draw]))
        if len(different) <= _CHANGED and not any((one == other).all() for other in different):
            different.append(one)
    return different[1:]


def _drawn(pixels: NDArray[np.uint8]) -> str:
    return pages.thumbnail(images.from_array(pixels), _THUMBNAIL, quality=80)
