"""From a data set to pixels: decoded once into a memory-mapped cache, or in passing as they are asked for."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import PIL

from ception.data import cache, rows
from ception.data.dataset import Dataset
from ception.data.images import ImageContract, PictureError, to_pixels
from ception.data.pictures import Arrays, Encoded, Pictures, parallel
from ception.errors import RunError
from ception.files import cache_folder
from ception.reporting import Reporter, counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

THREADS = min(8, (os.cpu_count() or 1) + 1)
_MOST_AT_ONCE = 1 << 22  # values of pixels, when any number of pictures would do
_STEP = 64  # pictures decoded between two writes
DECODER = f"1, Pillow {PIL.__version__}"  # the number changes with what `images.to_pixels` computes


class Pixels(Protocol):
    """Pictures as the network expects them, by index."""

    def __getitem__(self, indices: NDArray[np.integer]) -> NDArray[np.uint8]:
        """uint8 of shape (indices, height, width, channels)."""


@dataclass(frozen=True)
class Chosen:
    """Some of other pixels, by their indices there."""

    pixels: Pixels
    chosen: NDArray[np.integer]

    def __getitem__(self, indices: NDArray[np.integer]) -> NDArray[np.uint8]:
        return self.pixels[self.chosen[indices]]


@dataclass(frozen=True)
class Streamed:
    """Some pictures, decoded.

    Attributes:
        indices: Of those that can be read.
        pixels: Of these, (pictures, height, width, channels).
        shorter_sides: Of these, before they were resized.
        errors: Why the others cannot be read, by index.
        told: Of those that can be read, what `stream` was asked to tell of their pixels.
    """

    indices: NDArray[np.integer]
    pixels: NDArray[np.uint8]
    shorter_sides: NDArray[np.int64]
    errors: dict[int, str]
    told: list[Any]


@dataclass(frozen=True)
class _Read:
    """What is known of a picture whose pixels are decoded: its shorter side before, and what was told of them."""

    shorter_side: int
    told: Any


@dataclass(frozen=True)
class _Decoding:
    """Pixels too large for the cache, decoded whenever they are asked for."""

    pictures: Pictures
    contract: ImageContract

    def __getitem__(self, indices: NDArray[np.integer]) -> NDArray[np.uint8]:
        with ThreadPoolExecutor(THREADS) as pool:
            return np.stack(list(pool.map(self._one, indices.tolist())))

    def _one(self, index: int) -> NDArray[np.uint8]:
        try:
            return to_pixels(self.pictures.open(index), self.contract)
        except PictureError as error:
            raise RunError(f"{self.pictures.name(index)} was readable when the training began: {error}") from None


@dataclass(frozen=True)
class _Decoded:
    """Pixels in the cache, each picture in a row of its own."""

    stored: NDArray[np.uint8]
    row_of: NDArray[np.int64]

    def __getitem__(self, indices: NDArray[np.integer]) -> NDArray[np.uint8]:
        return np.asarray(self.stored[self.row_of[indices]])


@dataclass(frozen=True)
class _Parts:
    """Pixels that lie in several arrays one after another."""

    parts: Sequence[NDArray[np.uint8]]

    def __getitem__(self, indices: NDArray[np.integer]) -> NDArray[np.uint8]:
        pixels = np.empty((len(indices), *self.parts[0].shape[1:]), np.uint8)
        first = 0
        for part in self.parts:
            inside = (indices >= first) & (indices < first + len(part))
            pixels[inside] = part[indices[inside] - first]
            first += len(part)
        return pixels


def channels_of(pictures: Pictures) -> int:
    """1 if every picture is stored as grey, else 3. Unreadable ones do not count."""
    return 1 if all(parallel(pictures.is_grey, len(pictures), threads=isinstance(pictures, Encoded))) else 3


def prepare(
    dataset: Dataset,
    contract: ImageContract,
    digests: NDArray[np.void],
    *,
    cache_limit: float,
    reporter: Reporter,
) -> tuple[Pixels, dict[int, str]]:
    """Every picture of a data set decoded and resized, memory-mapped from the cache.

    Arrays that already have the contract's shape are used as they are. A picture that was decoded before with the same
    contract is not decoded again. A data set larger than the cache's limit is decoded in each epoch.

    Returns:
        The pixels by index, and the reasons why pictures could not be read by index; those have no pixels.

    Raises:
        RunError: the cache cannot be written.
    """
    pictures = dataset.pictures
    if isinstance(pictures, Arrays) and all(_is_shaped(array, contract) for _, array in pictures.parts):
        return _Parts([array.reshape(-1, *contract.shape) for _, array in pictures.parts]), {}
    size = len(pictures) * int(np.prod(contract.shape, dtype=np.int64))
    if cache.fits(size, cache_limit):
        return _decode(dataset, contract, digests, cache_limit, reporter)
    reporter.warn(
        f"the decoded pictures take {size / 1e9:.1f} GB, above --cache-limit {cache_limit:g} GB: "
        "they are decoded again in each epoch, which is slow"
    )
    failed: dict[int, str] = {}
    everything = np.arange(len(pictures))
    for batch in stream(pictures, everything, contract, _STEP, reporter=reporter, label="Checking"):
        failed |= batch.errors
    return _Decoding(pictures, contract), failed


def _is_shaped(array: NDArray[np.uint8], contract: ImageContract) -> bool:
    return (*array.shape[1:], 1)[:3] == contract.shape


def _decode(
    dataset: Dataset, contract: ImageContract, digests: NDArray[np.void], cache_limit: float, reporter: Reporter
) -> tuple[_Decoded, dict[int, str]]:
    """As `prepare`, into the cache."""
    failed: dict[int, str] = {}

    def announce(count: int, size: int, _: int) -> None:
        reporter.note(f"Decoding {counted(count, 'picture')} once into {cache_folder()} ({size / 1e6:,.0f} MB)")

    def decode(indices: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.integer], NDArray[np.uint8]]]:
        for batch in stream(dataset.pictures, indices, contract, _STEP, reporter=reporter, label="Decoding"):
            failed.update(batch.errors)
            yield batch.indices, batch.pixels

    name = f"pixels-{cache.digest(DECODER.encode(), repr(contract).encode(), os.fsencode(dataset.name))}"
    stored, row_of = rows.collect(
        name, digests, contract.shape, np.uint8, decode, limit_gb=cache_limit, announce=announce, reporter=reporter
    )
    for index in np.flatnonzero(row_of < 0):  # equal bytes fail for the same reason
        twin = next(other for other in failed if digests[other] == digests[index])
        failed[int(index)] = failed[twin]
    return _Decoded(stored, row_of), failed


def stream(
    pictures: Pictures,
    indices: NDArray[np.integer],
    contract: ImageContract,
    batch_size: int,
    *,
    reporter: Reporter,
    label: str,
    tell: Callable[[NDArray[np.uint8]], Any] = lambda pixels: None,
) -> Generator[Streamed, None, None]:
    """Some pictures in the given order, decoded ahead by threads; memory does not grow with their number.

    A batch's memory is its own, and each thread decodes into it.

    Args:
        pictures: All pictures.
        indices: Those to decode.
        contract: What they shall look like.
        batch_size: Pictures in a batch; the last one may be smaller.
        reporter: Receives the progress.
        label: What the progress is called.
        tell: Asked of the pixels of each picture (height, width, channels), by the thread that has decoded it.

    Yields:
        A batch of them after another.
    """

    def submit(start: int) -> tuple[NDArray[np.integer], NDArray[np.uint8], list[Future[_Read | str]]]:
        chosen = indices[start : start + batch_size]
        pixels = np.empty((len(chosen), *contract.shape), np.uint8)
        return chosen, pixels, [
            pool.submit(_read_or_reason, pictures, int(index), contract, row, tell)
            for index, row in zip(chosen, pixels, strict=True)
        ]  # fmt: skip

    with ThreadPoolExecutor(THREADS) as pool, reporter.task(label, len(indices)) as task:
        ahead = 1 + -(-2 * THREADS // batch_size)
        starts = iter(range(0, len(indices), batch_size))
        waiting = deque(submit(start) for start in islice(starts, ahead))
        try:
            while waiting:
                chosen, pixels, futures = waiting.popleft()
                waiting.extend(submit(start) for start in islice(starts, 1))
                yield _parted(chosen, pixels, [future.result() for future in futures])
                task.advance(len(chosen))
        finally:
            pool.shutdown(cancel_futures=True)


def _read_or_reason(
    pictures: Pictures,
    index: int,
    contract: ImageContract,
    row: NDArray[np.uint8],
    tell: Callable[[NDArray[np.uint8]], Any],
) -> _Read | str:
    """Put a picture's pixels into `row`; why it cannot be read, where it cannot."""
    try:
        image = pictures.open(index)
        row[:] = to_pixels(image, contract)
    except PictureError as error:
        return str(error)
    return _Read(min(image.size), tell(row))


def _parted(indices: NDArray[np.integer], pixels: NDArray[np.uint8], results: Sequence[_Read | str]) -> Streamed:
    """What `stream` yields."""
    read = [result for result in results if not isinstance(result, str)]
    errors = {int(i): result for i, result in zip(indices, results, strict=True) if isinstance(result, str)}
    if errors:
        readable = np.array([not isinstance(result, str) for result in results], bool)
        indices, pixels = indices[readable], pixels[readable]
    sides = np.array([one.shorter_side for one in read], np.int64)
    return Streamed(indices, pixels, sides, errors, [one.told for one in read])


def pixel_digests(pixels: NDArray[np.uint8]) -> NDArray[np.void]:
    """Sixteen bytes, of type `V16`, for the pixels of each picture (batch, height, width, channels).

    They are equal where the network cannot tell pictures apart, whatever files or arrays these come from.
    """
    found = np.zeros(len(pixels), "V16")
    for row, picture in enumerate(pixels):
        found[row] = np.void(hashlib.blake2b(np.ascontiguousarray(picture).data, digest_size=16).digest())
    return found


def stored_digests(pixels: Pixels, indices: NDArray[np.int64]) -> NDArray[np.void]:
    """What `pixel_digests` gives for the given pictures; nothing where each would have to be decoded again for it."""
    at_rest = pixels
    while isinstance(at_rest, Chosen):
        at_rest = at_rest.pixels
    if isinstance(at_rest, _Decoding):
        return np.zeros(0, "V16")
    parts = [pixel_digests(pixels[indices[start : start + _STEP]]) for start in range(0, len(indices), _STEP)]
    return np.concatenate(parts)


def mean_and_std(pixels: Pixels, indices: NDArray[np.int64]) -> tuple[float, float]:
    """Mean and standard deviation of all values 0..255 of the given pictures, exact to rounding."""
    count = np.zeros(256, np.int64)
    step = max(1, _MOST_AT_ONCE // max(1, pixels[indices[:1]].size))
    for start in range(0, len(indices), step):
        count += np.bincount(pixels[indices[start : start + step]].reshape(-1), minlength=256)
    values = np.arange(256)
    mean = float((count * values).sum() / count.sum())
    return mean, float(np.sqrt((count * (values - mean) ** 2).sum() / count.sum()))
