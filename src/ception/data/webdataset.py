"""Tar archives as WebDataset has them, by others: `KEY.jpg` beside `KEY.cls` or `KEY.json`, or in class folders.

They have no index, so each is read once from its start to its end; what is in it is kept in the cache.
"""

from __future__ import annotations

import json
import os
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ception.data import cache, images, naming, stores
from ception.data.dataset import UNSTATED, Dataset, from_names, numbers_of
from ception.data.images import PictureError
from ception.data.pictures import digest_of
from ception.data.shards import MEMBER, Members
from ception.errors import InputError
from ception.reporting import Reporter, counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUFFIX = ".tar"
_PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
_OF_CLASS = ("label", "class_name", "class", "cls", "category", "target")  # keys of a sample's JSON
_LONGEST_LABEL = 1 << 16  # bytes of a .cls or .json
_VERSION = b"2"


@dataclass
class _Sample:
    """What one key of an archive has.

    Attributes:
        key: Its name without what follows the first dot.
        pictures: The name, the place of the content in the archive and the content of each picture.
        label: What `.cls` or `.json` says is its class; None where neither does.
    """

    key: str
    pictures: list[tuple[str, int, bytes]] = field(default_factory=list)
    label: str | None = None


def require_unpacked(path: str) -> None:
    """Refuse a tar archive that is packed.

    Raises:
        InputError: it is.
    """
    if path.lower().endswith(_PACKED):
        raise InputError(
            f"{path} is packed, so that no picture can be read without those before it: unpack it to .tar, which is "
            "hardly larger, as pictures are packed themselves"
        )


def read(folder: str, names: Sequence[str], called: str, *, cache_limit: float, reporter: Reporter) -> Dataset:
    """The data set in tar archives.

    Args:
        folder: Where they lie: a path or an address.
        names: Names of the archives; `train-000.tar` states a split.
        called: Name of the data set.
        cache_limit: Most that the cache folder may hold, in GB.
        reporter: Receives progress, and a note of what was taken for the classes.

    Raises:
        InputError: an archive is broken, or a picture has no class.
    """
    pictures, parts = _indexed_all(folder, names, cache_limit, reporter)
    beside = any(label is not None for part in parts for label in part.labels)
    classes = [one or "" for part in parts for one in (part.labels if beside else part.folders)]
    if "" in classes:
        name = pictures.name(classes.index(""))
        others = ", as there is of others" if beside else ", nor a folder around it in the archive"
        raise InputError(
            f"nothing says of which class {name} is: there is no .cls right before or after it, nor a .json "
            f"with one of {', '.join(_OF_CLASS)}{others}"
        )
    stated = [naming.split_of(_before_number(name)) for name in names]
    splits = [UNSTATED if (split := stated[shard]) is None else split for shard in pictures.members["shard"]]
    told_by = "the files .cls or .json beside the pictures" if beside else "the folders in them"
    reporter.note(f"{counted(len(names), 'tar archive')}: the classes are those of {told_by}")
    ignored = sum((Counter(part.ignored) for part in parts), Counter[str]())
    dataset = from_names(called, pictures, classes, splits, ignored)
    return replace(dataset, unnamed=numbers_of(dataset.class_names) is not None)


def pictures(folder: str, names: Sequence[str], *, cache_limit: float, reporter: Reporter) -> Members:
    """The pictures in tar archives; arguments and errors as of `read`."""
    return _indexed_all(folder, names, cache_limit, reporter)[0]


def _indexed_all(
    folder: str, names: Sequence[str], cache_limit: float, reporter: Reporter
) -> tuple[Members, list[_Part]]:
    """The pictures of all archives, and what is in each of these."""
    parts = []
    with reporter.task("Indexing", len(names)) as task:
        for name in names:
            parts.append(_part(folder, name, cache_limit))
            task.advance()
    counts = [len(part.members) for part in parts]
    if not any(counts):
        raise InputError(f"{stores.joined(folder, names[0])} holds no pictures")
    starts = np.cumsum([0, *(len(part.names) for part in parts)])[:-1].astype(np.uint64)
    members = np.concatenate([part.members for part in parts])
    members["shard"] = np.repeat(np.arange(len(parts)), counts)
    members["name"] += np.repeat(starts, counts)
    return Members(folder, tuple(names), members, np.concatenate([part.names for part in parts])), parts


@dataclass(frozen=True)
class _Part:
    """What is in one archive.

    Attributes:
        members: A row for each picture.
        names: Their names.
        labels: What `.cls` or `.json` says is the class of each; None where neither does.
        folders: The folder around each, empty where there is none.
        ignored: What was left out, with its number.
    """

    members: NDArray[np.void]
    names: NDArray[np.uint8]
    labels: tuple[str | None, ...]
    folders: tuple[str, ...]
    ignored: dict[str, int]


def _part(folder: str, name: str, cache_limit: float) -> _Part:
    """What is in an archive, from the cache where it was read before and has not changed."""
    where = stores.joined(folder, name)
    stores.require_parts(where)
    key = cache.digest(b"webdataset", _VERSION, stores.state(where))
    files = [f"array-{cache.digest(key.encode(), part)}.npy" for part in (b"members", b"names", b"said")]
    known = [cache.find(file, 0) for file in files]
    if all(known):
        try:
            members, names, said = (np.load(path, allow_pickle=False) for path in known if path)
            told = json.loads(said.tobytes())
            if members.dtype == MEMBER and len(members) == len(told["labels"]) == len(told["folders"]):
                return _Part(members, names, tuple(told["labels"]), tuple(told["folders"]), told["ignored"])
        except Exception:  # whatever NumPy's and JSON's parsers raise: it is read again
            pass
    part = _indexed(where)
    said = np.frombuffer(
        json.dumps({"labels": part.labels, "folders": part.folders, "ignored": part.ignored}).encode(), np.uint8
    )
    for file, array in zip(files, (part.members, part.names, said), strict=True):
        if cache.fits(array.nbytes, cache_limit):
            with cache.writing(file, array.nbytes, cache_limit) as path, path.open("wb") as target:
                np.save(target, array, allow_pickle=False)
    return part


def _indexed(where: str) -> _Part:
    """What is in an archive, read from its start to its end.

    Raises:
        InputError: it is broken, or a sample has more than one picture.
    """
    rows: list[tuple[Any, ...]] = []
    names, labels, folders, ignored = bytearray(), list[str | None](), list[str](), Counter[str]()
    try:
        with stores.open_file(where) as file, tarfile.open(fileobj=file, mode="r:") as archive:
            for sample in _samples(archive, ignored):
                if not sample.pictures:
                    ignored["samples without a picture"] += 1
                    continue
                if len(sample.pictures) > 1:
                    both = " and ".join(name for name, _, _ in sample.pictures[:2])
                    raise InputError(f"{where}: {sample.key} has {both}: a sample must have one picture")
                name, offset, data = sample.pictures[0]
                rows.append(_row(data, offset, len(names)))
                names += name.encode("utf-8", "replace").replace(b"\n", b"?") + b"\n"
                labels.append(sample.label)
                folders.append(os.path.basename(os.path.dirname(sample.key)))
            _require_end(archive)
    except InputError:  # which names the file
        raise
    except Exception as error:  # of tarfile, and each file system has its own
        raise InputError(f"{where} is broken: {' '.join(str(error).split()) or 'it ends too early'}") from None
    members = np.array(rows, MEMBER) if rows else np.zeros(0, MEMBER)
    return _Part(members, np.frombuffer(bytes(names), np.uint8), tuple(labels), tuple(folders), dict(ignored))


def _require_end(archive: tarfile.TarFile) -> None:
    """Refuse an archive that goes on, or breaks off, where `tarfile` saw no further file without a word.

    Raises:
        tarfile.TarError: so it is.
    """
    assert archive.fileobj is not None
    archive.fileobj.seek(archive.offset)
    if archive.fileobj.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:
        raise tarfile.ReadError(f"at byte {archive.offset:,} there is neither a file nor its end")


def _samples(archive: tarfile.TarFile, ignored: Counter[str]) -> Iterator[_Sample]:
    """The samples of an archive: files that follow one another with the same name up to its first dot."""
    sample = _Sample("")
    while (member := archive.next()) is not None:
        archive.members = []  # type: ignore[attr-defined]  # which it would keep
        base = os.path.basename(member.name)
        if not member.isreg() or naming.is_hidden(base) or naming.is_system(base):
            continue
        stem, _, suffix = base.partition(".")
        key = os.path.join(os.path.dirname(member.name), stem)
        if key != sample.key:
            if sample.key:
                yield sample
            sample = _Sample(key)
        opened = archive.extractfile(member)
        if opened is None:
            continue
        if naming.has_picture_suffix(member.name):
            sample.pictures.append((member.name, member.offset_data, opened.read()))
        elif suffix.lower() in ("cls", "json", "cls.txt"):
            label = _label(opened.read(_LONGEST_LABEL), suffix.lower())
            sample.label = sample.label if label is None or sample.label is not None else label
        else:
            ignored["other files"] += 1
    if sample.key:
        yield sample


def _label(data: bytes, suffix: str) -> str | None:
    """The class that a file beside a picture says; None where it says none."""
    text = data.decode("utf-8", "replace").strip()
    if suffix != "json":
        return text or None
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        return None
    said = next((told[key] for key in _OF_CLASS if key in told), None) if isinstance(told, dict) else told
    return str(said) if isinstance(said, str | int) and not isinstance(said, bool) else None


def _row(data: bytes, offset: int, name: int) -> tuple[Any, ...]:
    """What the index says of a picture; its label and split follow."""
    try:
        grey, side = images.is_grey(data), images.shorter_side(data)
    except PictureError:
        grey, side = True, 0
    digest = np.void(digest_of(data))
    return digest, 0, offset, len(data), zlib.crc32(data), 0, UNSTATED, grey, min(side, 0xFFFF), name


def _before_number(name: str) -> str:
    """What an archive is called without its number: `train` of `train-000012.tar`."""
    return name[: -len(SUFFIX)].rstrip("0123456789").rstrip("-_.") or name
