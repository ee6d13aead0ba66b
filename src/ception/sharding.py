"""A data set as tar shards, for storage that likes few large files: `shard` writes them, split and checked."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import numpy as np

from ception import checking
from ception.data import formats, grouping, images, sources, splitting
from ception.data.dataset import Dataset
from ception.data.images import PictureError
from ception.data.pictures import Encoded, Pictures, parallel
from ception.data.shard_writing import Picture, ShardWriter
from ception.errors import InputError, RunError, reason
from ception.options import ShardOptions
from ception.reporting import Reporter, counted, or_default
from ception.results import CheckResult, ShardResult
from ception.settings import ShardSettings
from ception.validation import settings_of
from ception.values import require_here

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PAGE = "check.html"


def shard(
    data: str | Path, out: str | Path, *, reporter: Reporter | None = None, **options: Unpack[ShardOptions]
) -> ShardResult:
    """Write a data set as tar shards with an index: few large files, from which training begins at once.

    Each picture's file is kept byte for byte (those of arrays become PNG), with the split that training would make, so
    that a training on the shards is one on the data set. They are WebDataset's, `KEY.jpg` beside `KEY.cls`, in an order
    that follows from the pictures' bytes and mixes the classes.

    Args:
        data: A data set as `ception.data.sources.load` takes it.
        out: The folder to write, on this machine, which must not exist yet.
        reporter: Receives notes, warnings and progress; None for what `ception.reporting.default` gives.
        options: Fields of `ShardSettings`.

    Raises:
        InputError: the data cannot be used, a picture cannot be read, or the folder exists or is an address.
        RunError: the folder cannot be written.
    """
    settings, reporter = settings_of(ShardSettings, options), or_default(reporter)
    require_here("the folder for shards", out)
    out = Path(out)
    if out.exists():
        raise InputError(f"{out} exists: name a new folder")
    if os.path.isdir(data) and out.resolve().is_relative_to(Path(data).resolve()):
        raise InputError(f"{out} lies in {data}, which stays as it is: name a folder elsewhere")
    for left in out.parent.glob(f".{out.name}.*.tmp"):
        reporter.warn(f"{left} was left by a command that was killed, if none is at work there: remove it")
    dataset = sources.load(data, cache_limit=settings.cache_limit, reporter=reporter)
    dataset = grouping.grouped(dataset, settings.group)
    if dataset.columns:
        reporter.warn(f"shards have no columns: {', '.join(dataset.columns)} are left out")
    digests, _ = sources.digests(dataset.pictures, reporter)
    splits = splitting.split(dataset, digests)
    size = int(settings.shard_size * 1e6)
    with _new_folder(out) as unfinished, ShardWriter(unfinished, size) as writer:
        found = checking.check(
            data, out=unfinished / _PAGE, group=settings.group, cache_limit=settings.cache_limit, reporter=reporter
        )
        left_out = _write(writer, dataset, digests, splits, reporter)
        if left_out and not settings.skip_unreadable:
            raise InputError(
                f"{counted(len(left_out), 'picture')} cannot be read, the first is {left_out[0]}; mend or remove what "
                "cannot be read, or leave it out with --skip-unreadable"
            )
        for line in left_out:
            reporter.warn(f"left out {line}")
        writer.finish(dataset)
    return _result(str(data), out, dataset, writer, left_out, found)


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """A folder to write to, which has its name when the context ends well, and else is gone.

    Raises:
        RunError: it cannot be written.
    """
    unfinished = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        unfinished.mkdir(parents=True)
        yield unfinished
        os.replace(unfinished, out)
    except OSError as error:
        raise RunError(f"{out} cannot be written: {reason(error)}") from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _write(
    writer: ShardWriter, dataset: Dataset, digests: NDArray[np.void], splits: NDArray[np.int8], reporter: Reporter
) -> list[str]:
    """Write all pictures, by split and digest; the names of those that cannot be read, each with the reason."""
    halves = digests.view((">u8", 2))
    order = np.lexsort((halves[:, 1], halves[:, 0], splits)).astype(np.uint32)
    pictures = dataset.pictures
    left_out: list[str] = []
    threads = isinstance(pictures, Encoded)
    with reporter.task("Writing", len(order)) as task:
        read = parallel(lambda k: _read(pictures, int(order[k])), len(order), threads=threads)
        for index, told in zip(map(int, order), read, strict=True):
            if isinstance(told, str):
                left_out.append(f"{pictures.name(index)}: {told}")
            else:
                data, suffix, grey, side = told
                writer.write(Picture(
                    name=pictures.name(index), suffix=suffix, data=data, digest=digests[index],
                    label=int(dataset.labels[index]), split=int(splits[index]), grey=grey, side=side,
                ))  # fmt: skip
            task.advance()
    return left_out


def _read(pictures: Pictures, index: int) -> tuple[bytes, str, bool, int] | str:
    """A picture's file, its suffix, whether it is grey and its shorter side; or why it cannot be read."""
    try:
        if isinstance(pictures, Encoded):
            data = pictures.read(index)
            image = images.decode(data)
            suffix = formats.suffix_of(pictures.name(index), data)
        else:
            image, suffix, buffer = pictures.open(index), ".png", io.BytesIO()
            image.save(buffer, "PNG")
            data = buffer.getvalue()
        images.flatten(image, 1)  # what cannot be shown in 8 bits is told now
        return data, suffix, images.is_grey(data), min(image.size)
    except PictureError as error:
        return str(error)


def _result(
    data: str, out: Path, dataset: Dataset, writer: ShardWriter, left_out: list[str], found: CheckResult
) -> ShardResult:
    """What was written, in figures."""
    return ShardResult(
        data=data,
        out=str(out),
        pictures=len(writer),
        classes=len(dataset.class_names),
        split=writer.per_split(),
        shards=len(writer.shards),
        size=sum(one.size for one in writer.shards),
        left_out=tuple(left_out),
        errors=found.errors,
        warnings=found.warnings,
        verdict=found.verdict,
        page=str(out / _PAGE),
    )
