"""Writes tar shards with their index, one picture after another: nothing of a picture stays in memory."""

from __future__ import annotations

import re
import shutil
import tarfile
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from ception.data.dataset import SPLIT_NAMES, Dataset
from ception.data.shards import (
    DESCRIPTION,
    INDEX,
    MEMBER,
    NAMES,
    Description,
    Shard,
    digest_of_index,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MEMBERS = ".members"  # of the index, until it is known how many there are
_BLOCK = tarfile.BLOCKSIZE
_LONGEST_STEM = 40  # characters of a picture's name that its archive keeps
_ODD = re.compile(r"[^\w-]+")  # in a member's name: WebDataset's suffix begins at the first dot


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture to be written.

    Attributes:
        name: What a person calls it.
        suffix: Of its file, as `.jpg`.
        data: Its file.
        digest: That of the picture in the data set.
        label: Number of its class.
        split: TRAIN, VAL or TEST.
        grey: Whether it is stored as grey.
        side: The shorter one, in pixels.
    """

    name: str
    suffix: str
    data: bytes
    digest: NDArray[np.void]
    label: int
    split: int
    grey: bool
    side: int


class ShardWriter:
    """Writes into a folder; `finish` writes the index.

    A context that closes what is open at its end.

    Args:
        folder: An empty folder.
        size: Bytes of an archive, from which the next one is begun.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self.shards: list[Shard] = []
        self._folder, self._size = folder, size
        self._per_split = Counter[int]()
        self._count, self._names_size = 0, 0
        self._names, self._members = (folder / NAMES).open("wb"), (folder / _MEMBERS).open("wb")
        self._file: BinaryIO | None = None
        self._split = -1

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, *_: object) -> None:
        for file in (self._file, self._names, self._members):
            if file is not None:
                file.close()

    def __len__(self) -> int:
        return self._count

    def write(self, picture: Picture) -> None:
        """Add a picture; those of a split come one after another."""
        if self._file is None or picture.split != self._split or self._file.tell() >= self._size:
            self._close()
            self._split = picture.split
            number = sum(one.name.startswith(SPLIT_NAMES[picture.split]) for one in self.shards)
            self._open(f"{SPLIT_NAMES[picture.split]}-{number:06d}.tar")
        key = f"{self._count:08d}-{_ODD.sub('_', Path(picture.name).stem)[-_LONGEST_STEM:]}"
        name = f"{key}{picture.suffix}"
        self._add(f"{key}.cls", str(picture.label).encode())
        offset = self._add(name, picture.data)
        member = np.array((
            picture.digest, len(self.shards), offset, len(picture.data), zlib.crc32(picture.data), picture.label,
            picture.split, picture.grey, min(picture.side, 0xFFFF), self._names_size,
        ), MEMBER)  # fmt: skip
        self._members.write(member.tobytes())
        self._per_split[picture.split] += 1
        self._names_size += self._names.write(f"{name}\n".encode())
        self._count += 1

    def per_split(self) -> dict[str, int]:
        """How many pictures were written of each split."""
        return {name: self._per_split[split] for split, name in SPLIT_NAMES.items()}

    def finish(self, dataset: Dataset) -> None:
        """Write the index, and what the folder says of itself."""
        self._close()
        self._names.close()
        self._members.close()
        index, members = self._folder / INDEX, self._folder / _MEMBERS
        header = {"descr": np.lib.format.dtype_to_descr(MEMBER), "fortran_order": False, "shape": (self._count,)}
        with index.open("wb") as target, members.open("rb") as source:  # the header says how many there are
            np.lib.format.write_array_header_1_0(target, header)
            shutil.copyfileobj(source, target)
        members.unlink()
        digest = digest_of_index(index, self._folder / NAMES)
        described = Description(
            name=dataset.name, class_names=dataset.class_names, unnamed=dataset.unnamed, shards=tuple(self.shards),
            digest=digest,
        )  # fmt: skip
        (self._folder / DESCRIPTION).write_text(described.as_json(), encoding="ascii")

    def _open(self, name: str) -> None:
        self._file, self._name, self._first = (self._folder / name).open("wb"), name, self._count

    def _close(self) -> None:
        if self._file is not None:
            self._file.write(bytes(2 * _BLOCK))  # which end an archive
            size = self._file.tell()
            self._file.close()
            self.shards.append(Shard(name=self._name, size=size, pictures=self._count - self._first))
            self._file = None

    def _add(self, name: str, data: bytes) -> int:
        """A member of the archive; where its content begins."""
        assert self._file is not None
        member = tarfile.TarInfo(name)
        member.size = len(data)
        self._file.write(member.tobuf(tarfile.PAX_FORMAT))
        offset = self._file.tell()
        self._file.write(data)
        self._file.write(bytes(-len(data) % _BLOCK))
        return offset
