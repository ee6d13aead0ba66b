"""Pictures that are read when asked for, wherever they lie, and the digests of their bytes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ception.data import images
from ception.reporting import Reporter

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image


class Pictures(Protocol):
    """A sequence of pictures that are read when asked for."""

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """What a person calls the picture: its path, or its index in an array."""

    def is_grey(self, index: int) -> bool:
        """Whether the picture is stored as grey; also where it cannot be read."""

    def open(self, index: int) -> Image.Image:
        """The picture itself; raises `images.PictureError` where it cannot be read."""

    def digest(self, index: int) -> bytes:
        """16 bytes that follow from the picture's own bytes alone."""

    def shorter_side(self, index: int) -> int:
        """The smaller of the picture's height and width in pixels; 0 where it cannot be read."""


@dataclass(frozen=True)
class Files:
    """Pictures in files."""

    paths: Sequence[str]

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, index: int) -> str:
        return self.paths[index]

    def open(self, index: int) -> Image.Image:
        return images.read(self.paths[index])

    def digest(self, index: int) -> bytes:
        return _digest(images.read_bytes(self.paths[index]))

    def shorter_side(self, index: int) -> int:
        return images.shorter_side(self.paths[index])

    def is_grey(self, index: int) -> bool:
        return images.is_grey(self.paths[index])


@dataclass(frozen=True)
class Arrays:
    """Pictures in one or two uint8 arrays (count, height, width) or (count, height, width, channels)."""

    parts: Sequence[tuple[str, NDArray[np.uint8]]]

    def __len__(self) -> int:
        return sum(len(array) for _, array in self.parts)

    def row(self, index: int) -> tuple[str, NDArray[np.uint8]]:
        """A picture's name and its values."""
        for label, array in self.parts:
            if index < len(array):
                return f"{label}[{index}]", array[index]
            index -= len(array)
        raise IndexError(index)

    def name(self, index: int) -> str:
        return self.row(index)[0]

    def open(self, index: int) -> Image.Image:
        return images.from_array(self.row(index)[1])

    def digest(self, index: int) -> bytes:
        return _digest(self.row(index)[1].tobytes())

    def shorter_side(self, index: int) -> int:
        return int(min(self.row(index)[1].shape[:2]))

    def is_grey(self, index: int) -> bool:
        return self.row(index)[1].shape[2:] in ((), (1,))


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def parallel(function: Callable[[int], Any], count: int, *, threads: bool) -> Iterator[Any]:
    """The function's results for 0, 1, ... count - 1, computed by threads a window ahead."""
    if not threads:
        yield from map(function, range(count))
        return
    with ThreadPoolExecutor(min(8, (os.cpu_count() or 1) * 2)) as pool:
        for start in range(0, count, 256):  # a window, so that memory does not grow with the data set
            yield from pool.map(function, range(start, min(start + 256, count)))


def digests(pictures: Pictures, reporter: Reporter | None = None) -> tuple[NDArray[np.void], dict[int, str]]:
    """Sixteen bytes for each picture that follow from its bytes alone.

    Returns:
        The digests, of type `V16` and shape (pictures,), and the reasons of those that cannot be read by index
        (their digests are 0).
    """
    all_digests = np.zeros(len(pictures), "V16")
    unreadable: dict[int, str] = {}

    def one(index: int) -> bytes | str:
        try:
            return pictures.digest(index)
        except images.PictureError as error:
            return str(error)

    with (reporter or Reporter()).task("Reading", len(pictures)) as task:
        for index, digest in enumerate(parallel(one, len(pictures), threads=isinstance(pictures, Files))):
            if isinstance(digest, str):
                unreadable[index] = digest
            else:
                all_digests[index] = np.void(digest)
            task.advance()
    return all_digests, unreadable
