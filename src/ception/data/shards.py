"""Data sets in tar shards, as `ception shard` writes them: WebDataset's files beside an index of what is in them.

A shard is a tar archive with `KEY.jpg` and `KEY.cls` for each picture, the latter with the number of its class. The
index says where each picture lies, so that any of them is read without those before it, and nothing has to be read to
begin with.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ception.data import stores
from ception.data.dataset import SPLITS, Dataset
from ception.data.images import PictureError
from ception.data.pictures import Encoded, digest_of
from ception.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMAT = 1
DESCRIPTION, INDEX, NAMES = "shards.json", "index.npy", "names.txt"
MEMBER = np.dtype([
    ("digest", "V16"), ("shard", "<u4"), ("offset", "<u8"), ("size", "<u4"), ("crc", "<u4"), ("label", "<i4"),
    ("split", "i1"), ("grey", "?"), ("side", "<u2"), ("name", "<u8"),
])  # fmt: skip
_MOST_JSON = 64 << 20  # bytes
_LONGEST_NAME = 4096  # bytes
_AT_ONCE = 1 << 16  # entries of the index that are looked at in one go


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A tar archive.

    Attributes:
        name: Of its file.
        size: In bytes.
        pictures: How many it holds.
    """

    name: str
    size: int
    pictures: int


@dataclass(frozen=True, kw_only=True)
class Description:
    """What `shards.json` says.

    Attributes:
        name: Of the data set.
        class_names: Names of the classes, in the order of the labels.
        unnamed: Whether they are just numbers.
        shards: The archives, in the order in which the index counts them.
        digest: Of the index and the names, in hexadecimal digits.
    """

    name: str
    class_names: tuple[str, ...]
    unnamed: bool
    shards: tuple[Shard, ...]
    digest: str

    def as_json(self) -> str:
        """As text."""
        return json.dumps({"ception_shards": FORMAT} | asdict(self), indent=1) + "\n"


@dataclass(frozen=True)
class Members(Encoded):
    """Pictures in tar archives.

    Attributes:
        folder: Where the archives lie, a path or an address.
        shards: Their names.
        members: Where each picture lies, of type `MEMBER` and shape (pictures,).
        names: The names of all pictures in UTF-8, each ended by a line feed; `members["name"]` is where one begins.
    """

    folder: str
    shards: tuple[str, ...]
    members: NDArray[np.void]
    names: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.members)

    def name(self, index: int) -> str:
        """The archive and the picture's name in it."""
        member = self.members[index]
        text = self.names[int(member["name"]) :][:_LONGEST_NAME].tobytes().partition(b"\n")[0]
        return f"{stores.joined(self.folder, self.shards[member['shard']])}/{text.decode('utf-8', 'replace')}"

    def read(self, index: int) -> bytes:
        member = self.members[index]
        where = stores.joined(self.folder, self.shards[member["shard"]])
        data = stores.read_part(where, int(member["offset"]), int(member["size"]))
        if zlib.crc32(data) != int(member["crc"]):
            raise PictureError(f"{self.shards[member['shard']]} has changed since it was written")
        return data

    def state(self, index: int) -> bytes:
        member = self.members[index]
        return digest_of(self.folder.encode() + member.tobytes())

    def take(self, indices: Sequence[int] | NDArray[np.integer]) -> Members:
        return replace(self, members=self.members[np.asarray(indices, np.int64)])

    def digest(self, index: int) -> bytes:
        """That of the picture which the archive was made of, by the index."""
        return bytes(self.members["digest"][index].tobytes())

    def shorter_side(self, index: int) -> int:
        return int(self.members["side"][index])

    def is_grey(self, index: int) -> bool:
        return bool(self.members["grey"][index])


def is_sharded(folder: str) -> bool:
    """Whether a folder, at a path or address, holds shards with their index."""
    return stores.is_file(stores.joined(folder, DESCRIPTION))


def read(folder: str) -> Dataset:
    """The data set in a folder of shards.

    Args:
        folder: Its path or address.

    Raises:
        InputError: a file is missing, or has changed since the shards were written.
    """
    described = _described(folder)
    whole = f"copy {folder} again, or write it anew with ception shard"
    for shard in described.shards:
        size = stores.size(where := stores.joined(folder, shard.name))
        if size != shard.size:
            there = "is missing" if size is None else f"has {size:,} bytes, not {shard.size:,}"
            raise InputError(f"{where} {there}: {whole}")
    for shard in described.shards[:1]:
        stores.require_parts(stores.joined(folder, shard.name))
    members, names = _index(folder, described, whole)
    pictures = Members(folder, tuple(shard.name for shard in described.shards), members, names)
    return Dataset(
        name=described.name,
        class_names=described.class_names,
        pictures=pictures,
        labels=np.array(members["label"], np.int32),
        stated_splits=np.array(members["split"], np.int8),
        ignored={},
        unnamed=described.unnamed,
    )


def pictures(folder: str) -> Members:
    """The pictures in a folder of shards; raises as `read`."""
    members = read(folder).pictures
    assert isinstance(members, Members)
    return members


def digest_of_index(index: Path, names: Path) -> str:
    """What `Description.digest` has to be, of two files, which are read and not mapped, as that would take memory."""
    digest = hashlib.blake2b(digest_size=16)
    for path in (index, names):
        with path.open("rb") as file:
            hashlib.file_digest(file, lambda: digest)
    return digest.hexdigest()


def _described(folder: str) -> Description:
    """What a folder of shards says of itself.

    Raises:
        InputError: it cannot be read.
    """
    where = stores.joined(folder, DESCRIPTION)
    try:
        if (stores.size(where) or 0) > _MOST_JSON:
            raise ValueError("it is too large")
        told: Any = json.loads(stores.read(where))
        version = told["ception_shards"]
        if version != FORMAT:
            raise InputError(f"{where} has format {version}, which needs a newer version of Ception")
        shards = tuple(
            Shard(name=_plain(one["name"]), size=int(one["size"]), pictures=int(one["pictures"]))
            for one in told["shards"]
        )
        class_names = tuple(str(name) for name in told["class_names"])
        return Description(
            name=_plain(told["name"]), class_names=class_names, unnamed=bool(told["unnamed"]), shards=shards,
            digest=str(told["digest"]),
        )  # fmt: skip
    except (PictureError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputError(f"{where} is damaged ({' '.join(str(error).split())}): copy it again") from None


def _plain(name: Any) -> str:
    """A name that leads nowhere else.

    Raises:
        ValueError: it does.
    """
    if not isinstance(name, str) or not name or set(name) & set("/\\\0") or name in (".", ".."):
        raise ValueError(f"{name!r} is no name of a file")
    return name


def _index(folder: str, described: Description, whole: str) -> tuple[NDArray[np.void], NDArray[np.uint8]]:
    """Where the pictures lie, and their names, mapped from files."""
    paths = [stores.local_copy(stores.joined(folder, name)) for name in (INDEX, NAMES)]
    try:
        if digest_of_index(*paths) != described.digest:
            raise ValueError("it has changed")
        members, names = np.load(paths[0], mmap_mode="r", allow_pickle=False), np.memmap(paths[1], np.uint8, "r")
        if members.dtype != MEMBER or members.ndim != 1 or not len(members):
            raise ValueError("it is of another kind")
        for start in range(0, len(members), _AT_ONCE):
            _require_inside(members[start : start + _AT_ONCE], described, len(names))
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{folder}: {INDEX} is damaged ({' '.join(str(error).split())}): {whole}") from None
    return members, names


def _require_inside(members: NDArray[np.void], described: Description, names: int) -> None:
    """Raises ValueError where the index points to what is not there."""
    shard = members["shard"]
    if int(shard.max()) >= len(described.shards):
        raise ValueError("it names other shards")
    sizes = np.array([one.size for one in described.shards], np.uint64)
    label, split = members["label"], members["split"]
    inside = (
        (members["size"] <= sizes[shard]) & (members["offset"] <= sizes[shard] - members["size"])
        & (members["name"] < names) & (label >= 0) & (label < len(described.class_names))
        & np.isin(split, list(SPLITS.values()))
    )  # fmt: skip
    if not inside.all():
        raise ValueError("it points to what is not there")
