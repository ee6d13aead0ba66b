"""Pictures that are read when asked for, wherever they lie, and the digests of their bytes."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from PIL import Image

from ception import downloads
from ception.data import images
from ception.data.images import PictureError
from ception.errors import InputError, RunError
from ception.reporting import Reporter

if TYPE_CHECKING:
    from numpy.typing import NDArray

Kept: TypeAlias = "str | Address | Member | bytes | NDArray[np.uint8] | Image.Image | PictureError"
_MOST_BYTES, _MOST_SECONDS = 64_000_000, 30.0  # of a picture at an address


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

    def size(self, index: int) -> tuple[int, int]:
        """The picture's width and height in pixels, upright; 0, 0 where it cannot be read."""


class Encoded(ABC):
    """Pictures that are stored as files are, each some bytes with a name; threads may read them."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def name(self, index: int) -> str:
        """As in `Pictures`."""

    @abstractmethod
    def read(self, index: int) -> bytes:
        """The picture's file; raises `images.PictureError` where it cannot be read."""

    @abstractmethod
    def state(self, index: int) -> bytes:
        """What changes when the picture does, without reading it; empty where it is not there."""

    @abstractmethod
    def take(self, indices: Sequence[int] | NDArray[np.integer]) -> Encoded:
        """Some of the pictures."""

    def open(self, index: int) -> Image.Image:
        """As in `Pictures`."""
        return images.decode(self.read(index))

    def digest(self, index: int) -> bytes:
        """As in `Pictures`."""
        return digest_of(self.read(index))

    def shorter_side(self, index: int) -> int:
        """As in `Pictures`."""
        return min(self.size(index))

    def size(self, index: int) -> tuple[int, int]:
        """As in `Pictures`."""
        try:
            return images.size(self.read(index))
        except PictureError:
            return 0, 0

    def is_grey(self, index: int) -> bool:
        """As in `Pictures`."""
        try:
            return images.is_grey(self.read(index))
        except PictureError:
            return True


@dataclass(frozen=True)
class Files(Encoded):
    """Pictures in files."""

    paths: Sequence[str]

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, index: int) -> str:
        return self.paths[index]

    def read(self, index: int) -> bytes:
        return images.read_bytes(self.paths[index])

    def state(self, index: int) -> bytes:
        path = self.paths[index]
        try:
            status = os.stat(path)
        except OSError:
            return b""
        return digest_of(os.fsencode(os.path.abspath(path)) + f"\0{status.st_size}\0{status.st_mtime_ns}".encode())

    def take(self, indices: Sequence[int] | NDArray[np.integer]) -> Files:
        return Files([self.paths[index] for index in indices])

    def size(self, index: int) -> tuple[int, int]:
        return images.size(self.paths[index])

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
        return digest_of(self.row(index)[1].tobytes())

    def shorter_side(self, index: int) -> int:
        return min(self.size(index))

    def size(self, index: int) -> tuple[int, int]:
        height, width = self.row(index)[1].shape[:2]
        return int(width), int(height)

    def is_grey(self, index: int) -> bool:
        return self.row(index)[1].shape[2:] in ((), (1,))


@dataclass(frozen=True)
class Address:
    """A picture at an http or https address."""

    url: str

    def read(self) -> bytes:
        """The picture's file.

        Raises:
            PictureError: it cannot be had, or not within the limits.
        """
        try:
            return downloads.read(self.url, most_bytes=_MOST_BYTES, most_seconds=_MOST_SECONDS)
        except RunError as error:
            raise PictureError(f"cannot be downloaded: {error}") from None


@dataclass(frozen=True)
class Member:
    """One of the pictures that are stored in something larger."""

    pictures: Encoded
    index: int

    def read(self) -> bytes:
        """The picture's file; raises `images.PictureError` where it cannot be read."""
        return self.pictures.read(self.index)


@dataclass(frozen=True)
class Given:
    """Pictures as a person has them, in files and in memory, one kind beside the other.

    Attributes:
        names: What each is called.
        pictures: A path, an address, the bytes of a file, an array or a Pillow image; or why it cannot be read.
    """

    names: Sequence[str]
    pictures: Sequence[Kept]

    def __len__(self) -> int:
        return len(self.pictures)

    def name(self, index: int) -> str:
        return self.names[index]

    def open(self, index: int) -> Image.Image:
        return images.open_picture(self._readable(index))

    def digest(self, index: int) -> bytes:
        """Of the file's bytes where there are any, else of the upright picture's values."""
        picture = self._readable(index)
        if isinstance(picture, str):
            return digest_of(images.read_bytes(picture))
        if isinstance(picture, Image.Image):
            upright = images.open_picture(picture)
            picture = np.asarray(upright.convert("RGBA") if upright.mode in ("P", "PA") else upright)
        return digest_of(picture if isinstance(picture, bytes) else picture.tobytes())

    def shorter_side(self, index: int) -> int:
        return min(self.size(index))

    def size(self, index: int) -> tuple[int, int]:
        try:
            return images.size(self._readable(index))
        except PictureError:
            return 0, 0

    def is_grey(self, index: int) -> bool:
        try:
            return images.is_grey(self._readable(index))
        except PictureError:
            return True

    def _readable(self, index: int) -> str | bytes | NDArray[np.uint8] | Image.Image:
        picture = self.pictures[index]
        if isinstance(picture, PictureError):
            raise PictureError(str(picture))
        return picture.read() if isinstance(picture, Address | Member) else picture


def given(pictures: Iterable[images.Picture | Address | Member]) -> Given:
    """The pictures, each called by its path or address where it has one, else `picture 1` and so on, by its number.

    File objects and Pillow images are read at once, as threads could not read from one file; paths and addresses when
    asked for.

    Raises:
        InputError: one is nothing that a picture can be in.
    """
    names: list[str] = []
    kept: list[Kept] = []
    for number, picture in enumerate(pictures, 1):
        try:
            kept.append(_kept(picture))
        except InputError as error:
            raise InputError(f"picture {number}: {error}") from None
        names.append(_path_of(picture) or f"picture {number}")
    return Given(names, kept)


def _kept(picture: Any) -> Kept:
    """What `Given` holds of a picture."""
    if isinstance(picture, str | os.PathLike):
        return os.fspath(picture)
    if isinstance(picture, Address | Member):
        return picture
    if isinstance(picture, bytes | bytearray | memoryview):
        return bytes(picture)
    if isinstance(picture, np.ndarray):
        return images.checked_array(picture)
    try:
        return images.loaded(picture) if isinstance(picture, Image.Image) else images.content(picture)
    except PictureError as error:
        return error


def _path_of(picture: images.Picture | Address | Member) -> str | None:
    """The path or address that it is, or was opened from if it tells."""
    if isinstance(picture, Member):
        return picture.pictures.name(picture.index)
    if isinstance(picture, Address):
        return picture.url
    if isinstance(picture, str | os.PathLike):
        return os.fspath(picture)
    told = "filename" if isinstance(picture, Image.Image) else "name"
    path = getattr(picture, told, None)
    return path if isinstance(path, str) else None


def digest_of(data: bytes) -> bytes:
    """Sixteen bytes that follow from some bytes alone."""
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
        except PictureError as error:
            return str(error)

    with (reporter or Reporter()).task("Reading", len(pictures)) as task:
        for index, digest in enumerate(parallel(one, len(pictures), threads=isinstance(pictures, Encoded))):
            if isinstance(digest, str):
                unreadable[index] = digest
            else:
                all_digests[index] = np.void(digest)
            task.advance()
    return all_digests, unreadable
