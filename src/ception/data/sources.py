"""From files to examples: what a data set is, its class names, and each picture's place in the split.

A data set is a folder per class; train, val and test folders of those; a CSV; an .npz; the four IDX
files of MNIST; or one of two names.
"""

from __future__ import annotations

import csv
import hashlib
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ception import backends
from ception.data import arrays, images
from ception.errors import InputError, nearest, reason
from ception.files import is_own
from ception.reporting import Reporter

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

TRAIN, VAL, TEST, UNSTATED = 0, 1, 2, -1
SPLITS = {"train": TRAIN, "val": VAL, "test": TEST}
_FOLDER_SPLITS = {
    "train": TRAIN, "training": TRAIN,
    "val": VAL, "valid": VAL, "validation": VAL,
    "test": TEST, "testing": TEST,
}  # fmt: skip
NAMES = ("fashion-mnist", "fashion-mnist-sample")
FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


class Pictures(Protocol):
    """A sequence of pictures that are read when asked for."""

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """What a person calls the picture: its path, or a place in an array."""

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


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Pictures with their labels.

    Attributes:
        name: Short name, used for folders.
        class_names: Names of the classes, in the order of the labels.
        pictures: The pictures.
        labels: Index into `class_names` for each picture, int32 of shape (pictures,).
        stated: Part of the split that the source itself states for each picture (TRAIN, VAL, TEST or
            UNSTATED), int8 of shape (pictures,).
        ignored: What was passed over, with counts: `{"hidden": 2}`.
        unnamed: Whether the source has no class names and `class_names` are just numbers.
        columns: Further columns of a CSV by name, one value for each picture.
    """

    name: str
    class_names: tuple[str, ...]
    pictures: Pictures
    labels: NDArray[np.int32]
    stated: NDArray[np.int8]
    ignored: dict[str, int]
    unnamed: bool = False
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def without(self, indices: Sequence[int]) -> Dataset:
        """The data set less some of its pictures, which must be files."""
        keep = np.setdiff1d(np.arange(len(self.labels)), indices)
        assert isinstance(self.pictures, Files)
        paths = [self.pictures.paths[index] for index in keep]
        columns = {name: [values[index] for index in keep] for name, values in self.columns.items()}
        labels, stated = self.labels[keep], self.stated[keep]
        return replace(self, pictures=Files(paths), labels=labels, stated=stated, columns=columns)


def load(data: str | Path, *, cache_limit: float = 10.0, reporter: Reporter | None = None) -> Dataset:
    """The data set behind a path or a name.

    Args:
        data: A folder, a .csv or .npz file, or one of `NAMES`.
        cache_limit: Most that the cache folder may hold, in GB (compressed arrays are unpacked there).
        reporter: Receives notes.

    Raises:
        InputError: there is no such data set, or something in it is wrong.
    """
    unpacking = arrays.Unpacking(cache_limit, reporter or Reporter())
    path = Path(data)
    try:
        if path.is_dir() and str(data):
            found = _idx_files(path)
            return _from_idx(path, found, unpacking) if found else _from_folder(path)
        if path.is_file():
            if path.suffix.lower() == ".csv":
                return _from_csv(path)
            if path.suffix.lower() == ".npz":
                return _from_npz(path, path.stem, unpacking)
            raise InputError(f"{path} is no data set: give a folder, a .csv or an .npz file, or {' or '.join(NAMES)}")
    except OSError as error:
        raise InputError(f"{error.filename or path} cannot be read: {reason(error)}") from None
    if str(data) == "fashion-mnist":
        return _fashion_mnist()
    if str(data) == "fashion-mnist-sample":
        return _from_npz(Path(__file__).parent / "samples" / "fashion_mnist_sample.npz", str(data), unpacking)
    if os.sep in str(data) or path.suffix:
        raise InputError(f"there is no file or folder {data}")
    raise InputError(f"there is no folder '{data}' and no data set of that name: {nearest(str(data), NAMES)}")


# Folders


def _from_folder(root: Path) -> Dataset:
    ignored: dict[str, int] = {}
    top = _visible_folders(root, ignored)
    split_folders = [path for path in top if path.name.lower() in _FOLDER_SPLITS and _has_folders(path)]
    paths: list[str] = []
    names: list[str] = []
    stated: list[int] = []
    for part in split_folders or [root]:
        place = _FOLDER_SPLITS[part.name.lower()] if split_folders else UNSTATED
        for folder in _visible_folders(part, {} if part is root else ignored):
            found = list(_walk(folder, ignored))
            paths += found
            names += [folder.name] * len(found)
            stated += [place] * len(found)
            if not found:
                ignored["empty folders"] = ignored.get("empty folders", 0) + 1
    if split_folders and len(top) > len(split_folders):
        ignored["folders beside the split's"] = len(top) - len(split_folders)
    if not paths:
        raise InputError(f"{root} holds no class folders with pictures: make one folder per class and put pictures in")
    return _with_names(root.resolve().name, Files(paths), names, stated, ignored)


def _visible_folders(root: Path, ignored: dict[str, int]) -> list[Path]:
    visible = []
    for path in sorted(root.iterdir()):
        if path.name.startswith("."):
            ignored["hidden"] = ignored.get("hidden", 0) + 1
        elif is_own(path):
            ignored["results of Ception"] = ignored.get("results of Ception", 0) + 1
        elif path.is_dir():
            visible.append(path)
        else:
            ignored["files outside class folders"] = ignored.get("files outside class folders", 0) + 1
    return visible


def _has_folders(path: Path) -> bool:
    return any(entry.is_dir() and not entry.name.startswith(".") for entry in path.iterdir())


def _walk(folder: Path, ignored: dict[str, int]) -> Iterator[str]:
    """The pictures in a folder and the folders in it, by their suffix, in the order of their names."""

    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename} cannot be read: {error.strerror}")

    for place, folders, files in os.walk(folder, onerror=refuse):
        hidden = [name for name in folders if name.startswith(".")]
        own = [name for name in folders if is_own(Path(place, name))]
        if own:
            ignored["results of Ception"] = ignored.get("results of Ception", 0) + len(own)
        folders[:] = sorted(set(folders) - set(hidden) - set(own))
        for name in sorted(files) + hidden:
            if name.startswith("."):
                ignored["hidden"] = ignored.get("hidden", 0) + 1
            elif os.path.splitext(name)[1].lower() in images.SUFFIXES:
                yield os.path.join(place, name)
            else:
                ignored["no pictures by their suffix"] = ignored.get("no pictures by their suffix", 0) + 1


def pictures_in(folder: Path) -> Files:
    """All pictures in a folder and the folders in it, hidden ones left out."""
    return Files(list(_walk(folder, {})))


def _with_names(
    name: str, pictures: Pictures, labels: Sequence[str], stated: Sequence[int], ignored: dict[str, int]
) -> Dataset:
    class_names = tuple(sorted(set(labels)))
    index = {class_name: number for number, class_name in enumerate(class_names)}
    return Dataset(
        name=name,
        class_names=class_names,
        pictures=pictures,
        labels=np.array([index[label] for label in labels], np.int32),
        stated=np.array(stated, np.int8),
        ignored=ignored,
    )


# Tables and arrays


def _from_csv(path: Path) -> Dataset:
    paths, labels, stated = [], [], []
    further: dict[str, list[str]] = {}
    ignored: dict[str, int] = {}
    seen: set[tuple[str, str]] = set()
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file, strict=True)
            columns = rows.fieldnames or []
            missing = [column for column in ("path", "label") if column not in columns]
            if missing:
                raise InputError(f"{path} has no column {' and no '.join(missing)}: it needs path,label[,split]")
            further = {column: [] for column in columns if column not in ("path", "label", "split")}
            for row in rows:
                where = f"{path}, line {rows.line_num}"
                label = (row["label"] or "").strip()
                if not row["path"] or not label:
                    raise InputError(f"{where}: path and label must not be empty")
                place = (row.get("split") or "").lower()
                if place and place not in _FOLDER_SPLITS:
                    raise InputError(f"{where}: unknown split '{place}': {nearest(place, SPLITS)}")
                picture = os.path.join(path.parent, row["path"])
                if not os.path.isfile(picture):
                    raise InputError(f"{where}: there is no file {picture} (paths are relative to the CSV)")
                if (picture, label) in seen:
                    ignored["repeated rows"] = ignored.get("repeated rows", 0) + 1
                    continue
                seen.add((picture, label))
                paths.append(picture)
                labels.append(label)
                stated.append(_FOLDER_SPLITS.get(place, UNSTATED))
                for column, values in further.items():
                    values.append(row[column] or "")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as a CSV in UTF-8: {error}") from None
    if not paths:
        raise InputError(f"{path} names no pictures: each line is path,label[,split]")
    return replace(_with_names(path.stem, Files(paths), labels, stated, ignored), columns=further)


def _from_npz(path: Path, name: str, unpacking: arrays.Unpacking) -> Dataset:
    found = arrays.open_npz(path, {f"x_{part}" for part in SPLITS}, unpacking)
    parts = [part for part in SPLITS if f"x_{part}" in found]
    if "train" not in parts and "test" not in parts:
        has = ", ".join(sorted(found)) or "nothing"
        raise InputError(f"{path} holds {has}; it needs x_train, y_train, x_test and y_test (and may have class_names)")
    for part in SPLITS:
        if (f"x_{part}" in found) != (f"y_{part}" in found):
            has, lacks = ("x", "y") if f"x_{part}" in found else ("y", "x")
            raise InputError(f"{path} has {has}_{part} but no {lacks}_{part}")
    class_names = _names_in(path, found["class_names"]) if "class_names" in found else None
    pairs = [(part, found[f"x_{part}"], found[f"y_{part}"]) for part in parts]
    return _from_arrays(str(path), name, pairs, ("x_", "y_"), class_names)


def _names_in(path: Path, names: NDArray[Any]) -> tuple[str, ...]:
    if names.ndim != 1 or names.dtype.kind not in "US":
        raise InputError(f"{path}: class_names is {names.dtype} {names.shape}; it must be a list of strings")
    found = tuple(name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name) for name in names.tolist())
    if len(set(found)) < len(found) or not all(found):
        raise InputError(f"{path}: class_names must be different and not empty, got {', '.join(found)}")
    return found


def _idx_files(folder: Path) -> dict[str, Path]:
    """The four IDX files in a folder by role, such as `x_train`; empty where there are none."""
    pattern = re.compile(r"(train|t10k)-(images|labels)[-.]idx[13]-ubyte(\.gz)?")
    found = {}
    for path in sorted(folder.iterdir(), reverse=True):
        if match := pattern.fullmatch(path.name):
            part = "train" if match[1] == "train" else "test"
            found[("x_" if match[2] == "images" else "y_") + part] = path
    return found


def _from_idx(folder: Path, found: dict[str, Path], unpacking: arrays.Unpacking) -> Dataset:
    for role, file in (("x_train", "train-images"), ("y_train", "train-labels"), ("x_test", "t10k-images"),
                       ("y_test", "t10k-labels")):  # fmt: skip
        if role not in found:
            raise InputError(f"{folder} lacks {file}-idx{3 if role[0] == 'x' else 1}-ubyte (or .gz) of its IDX files")
    read = {role: arrays.open_idx(path, unpacking) for role, path in found.items()}
    pairs = [(part, read[f"x_{part}"], read[f"y_{part}"]) for part in ("train", "test")]
    return _from_arrays(str(folder), folder.resolve().name, pairs, ("images ", "labels "), None)


def _fashion_mnist() -> Dataset:
    backends.start()
    import keras

    try:
        with redirect_stdout(sys.stderr):  # where Keras tells of the download
            (x_train, y_train), (x_test, y_test) = keras.datasets.fashion_mnist.load_data()
    except Exception as error:  # Keras wraps whatever its download met in a bare Exception
        said = " ".join(str(error).split())
        raise InputError(
            f"Fashion-MNIST could not be downloaded ({said}); check the connection or a proxy (HTTPS_PROXY), "
            "or use fashion-mnist-sample"
        ) from None
    pairs = [("train", x_train, y_train), ("test", x_test, y_test)]
    return _from_arrays("fashion-mnist", "fashion-mnist", pairs, ("x_", "y_"), FASHION_CLASSES)


def _from_arrays(
    source: str,
    name: str,
    pairs: list[tuple[str, NDArray[Any], NDArray[Any]]],
    prefixes: tuple[str, str],
    class_names: tuple[str, ...] | None,
) -> Dataset:
    x, y = prefixes
    labels = []
    for part, pictures, part_labels in pairs:
        shape = pictures.shape
        if pictures.dtype != np.uint8 or not (len(shape) == 3 or (len(shape) == 4 and shape[3] in (1, 3, 4))):
            raise InputError(
                f"{source}: {x}{part} is {pictures.dtype} {shape}; it must be uint8 (count, height, width[, 1, 3 or 4])"
            )
        flat = part_labels[:, 0] if part_labels.shape[1:] == (1,) else part_labels
        if flat.ndim != 1 or flat.dtype.kind not in "iu" or len(flat) != len(pictures):
            raise InputError(
                f"{source}: {y}{part} is {part_labels.dtype} {part_labels.shape}; "
                f"it must be one whole number for each of {len(pictures)} pictures"
            )
        if not len(flat):
            raise InputError(f"{source}: {x}{part} holds no pictures")
        labels.append(flat)
    unnamed = class_names is None
    if class_names is None:
        count = int(labels[0].max()) + 1
        if count > len(labels[0]):
            raise InputError(f"{source}: label {count - 1} in {y}{pairs[0][0]} is out of range; labels are 0, 1, 2 ...")
        class_names = tuple(str(number) for number in range(max(count, 1)))
    for (part, _, _), part_labels in zip(pairs, labels, strict=True):
        wrong = np.flatnonzero((part_labels < 0) | (part_labels >= len(class_names)))
        if len(wrong):
            raise InputError(
                f"{source}: {y}{part}[{wrong[0]}] is {part_labels[wrong[0]]}, out of range: "
                f"labels go from 0 to {len(class_names) - 1}"
            )
    return Dataset(
        name=name,
        class_names=class_names,
        pictures=Arrays([(f"{x}{part}", pictures) for part, pictures, _ in pairs]),
        labels=np.concatenate(labels).astype(np.int32),
        stated=np.repeat(np.array([SPLITS[part] for part, _, _ in pairs], np.int8), [len(p) for p in labels]),
        ignored={},
        unnamed=unnamed,
    )


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
    found = np.zeros(len(pictures), "V16")
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
                found[index] = np.void(digest)
            task.advance()
    return found, unreadable
