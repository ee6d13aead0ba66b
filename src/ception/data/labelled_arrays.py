"""Data sets in arrays: an .npz, the four IDX files of MNIST, and Fashion-MNIST, whole or as a sample."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ception import backends
from ception.data import arrays, naming
from ception.data.dataset import SPLIT_NAMES, SPLITS, TEST, TRAIN, UNSTATED, Dataset
from ception.data.pictures import Arrays
from ception.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
_KINDS = {
    "x": "x", "images": "x", "image": "x", "data": "x", "pictures": "x",
    "y": "y", "labels": "y", "label": "y", "targets": "y", "target": "y",
}  # fmt: skip
_IDX_FILES = {
    "x_train": "train-images-idx3-ubyte", "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte", "y_test": "t10k-labels-idx1-ubyte",
}  # fmt: skip


@dataclass(frozen=True)
class _Split:
    """The arrays of one split, of which UNSTATED is one, as they are given, and what their source calls them."""

    number: int
    pictures: NDArray[Any]
    labels: NDArray[Any]
    pictures_name: str
    labels_name: str


def read_npz(path: Path, name: str, unpacking: arrays.Unpacking) -> Dataset:
    """The data set in an .npz: `x_train`, `y_train` and the like, and perhaps `class_names`.

    Args:
        path: The file.
        name: What the data set is called.
        unpacking: How compressed arrays may be unpacked.

    Raises:
        InputError: the file cannot be read, or something in it is wrong.
    """
    roles = _roles(path, arrays.npz_names(path))
    if not any(role[0] == "x" for role in roles):
        has = ", ".join(sorted(roles.values())) or ", ".join(sorted(arrays.npz_names(path))) or "nothing"
        raise InputError(f"{path} holds {has}; it needs x_train, y_train, x_test and y_test (and may have class_names)")
    for kind, number in roles:
        other = "y" if kind == "x" else "x"
        if kind in "xy" and (other, number) not in roles:
            lacking = _standard(other, number)
            raise InputError(f"{path} has {roles[kind, number]} but no {lacking}")
    large = [name for (kind, _), name in roles.items() if kind == "x"]
    given = arrays.open_npz(path, large, [name for name in roles.values() if name not in large], unpacking)
    named = roles.get(("names", UNSTATED))
    class_names = _names_in(path, given[named]) if named else None
    numbers = sorted({number for kind, number in roles if kind == "x"}, key=[*SPLITS.values(), UNSTATED].index)
    splits = [
        _Split(number, given[roles["x", number]], given[roles["y", number]], roles["x", number], roles["y", number])
        for number in numbers
    ]
    taken = [name for (kind, number), name in roles.items() if name != _standard(kind, number)]
    if taken:
        unpacking.reporter.note(f"{path.name}: the pictures are {', '.join(large)}, the labels "
                                f"{', '.join(split.labels_name for split in splits)}")  # fmt: skip
    return _from_splits(str(path), name, splits, class_names)


def _roles(path: Path, names: Sequence[str]) -> dict[tuple[str, int], str]:
    """What the arrays of an .npz are: ("x" or "y" and a split, UNSTATED where there is none) or "names", and the name.

    Raises:
        InputError: two of them are the same.
    """
    roles: dict[tuple[str, int], str] = {}
    for name in names:
        plain = name.casefold().replace("-", "_")
        if plain == "class_names":
            roles["names", UNSTATED] = name
            continue
        words = [word for word in plain.split("_") if word]
        kinds = [_KINDS[word] for word in words if word in _KINDS]
        stated = [number for word in words if (number := naming.split_of(word)) is not None]
        if len(kinds) != 1 or len(stated) > 1 or len(kinds) + len(stated) != len(words):
            continue
        role = (kinds[0], stated[0] if stated else UNSTATED)
        if role in roles:
            raise InputError(f"{path} has {roles[role]} and {name}: leave one, called {_standard(*role)}")
        roles[role] = name
    return roles


def _standard(kind: str, number: int) -> str:
    """What an array should be called: `x_train`."""
    if kind == "names":
        return "class_names"
    return kind if number == UNSTATED else f"{kind}_{SPLIT_NAMES[number]}"


def _names_in(path: Path, names: NDArray[Any]) -> tuple[str, ...]:
    if names.ndim != 1 or names.dtype.kind not in "US":
        raise InputError(f"{path}: class_names is {names.dtype} {names.shape}; it must be a list of strings")
    decoded = tuple(
        name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name) for name in names.tolist()
    )
    if len(set(decoded)) < len(decoded) or not all(decoded):
        raise InputError(f"{path}: class_names must be different and not empty, got {', '.join(decoded)}")
    return decoded


def idx_files(folder: Path) -> dict[str, Path]:
    """The four IDX files in a folder by role, such as `x_train`; empty where there are none."""
    pattern = re.compile(r"(train|t10k)-(images|labels)[-.]idx[13]-ubyte(\.gz)?")
    files = {}
    for path in sorted(folder.iterdir(), reverse=True):
        if match := pattern.fullmatch(path.name):
            split = "train" if match[1] == "train" else "test"
            files[("x_" if match[2] == "images" else "y_") + split] = path
    return files


def read_idx(folder: Path, files: dict[str, Path], unpacking: arrays.Unpacking) -> Dataset:
    """The data set in the four files that `idx_files` gives.

    Raises:
        InputError: one is missing, cannot be read, or does not fit the others.
    """
    for role, name in _IDX_FILES.items():
        if role not in files:
            raise InputError(f"{folder} lacks {name} (or .gz) of its IDX files")
    given = {role: arrays.open_idx(path, unpacking) for role, path in files.items()}
    splits = [
        _Split(SPLITS[split], given[f"x_{split}"], given[f"y_{split}"], f"images {split}", f"labels {split}")
        for split in ("train", "test")
    ]
    return _from_splits(str(folder), folder.resolve().name, splits, None)


def fashion_mnist() -> Dataset:
    """Fashion-MNIST, downloaded by Keras the first time.

    Raises:
        InputError: it could not be downloaded.
    """
    backends.start()
    import keras

    try:
        with backends.downloading():
            train, test = keras.datasets.fashion_mnist.load_data()
    except Exception as error:  # Keras wraps whatever its download met in a bare Exception
        said = " ".join(str(error).split())
        raise InputError(
            f"Fashion-MNIST could not be downloaded ({said}); check the connection or a proxy (HTTPS_PROXY), "
            "or use fashion-mnist-sample"
        ) from None
    splits = [
        _Split(number, pictures, labels, "pictures", "labels")
        for number, (pictures, labels) in ((TRAIN, train), (TEST, test))
    ]
    return _from_splits("fashion-mnist", "fashion-mnist", splits, FASHION_CLASSES)


def fashion_mnist_sample(unpacking: arrays.Unpacking) -> Dataset:
    """The 12,000 pictures of Fashion-MNIST that come with the package."""
    return read_npz(Path(__file__).parent / "samples" / "fashion_mnist_sample.npz", "fashion-mnist-sample", unpacking)


def _from_splits(source: str, name: str, splits: list[_Split], class_names: tuple[str, ...] | None) -> Dataset:
    """The data set of the given arrays; None numbers the classes, as many as the first split has.

    Raises:
        InputError: something in the arrays is wrong.
    """
    labels = [_flat_labels(source, split) for split in splits]
    if any(of.dtype.kind in "US" for of in labels):
        class_names, labels = _from_strings(source, splits, labels, class_names)
    unnamed = class_names is None
    begin_at = min(int(of.min()) for of in labels)
    too_many = class_names is None or max(int(of.max()) for of in labels) == len(class_names)
    if begin_at == 1 and too_many and any(split.number != TEST for split in splits):
        raise InputError(
            f"{source}: labels begin at 1, but classes are counted from 0: save {splits[0].labels_name} - 1"
        )
    if class_names is None:
        count = int(labels[0].max()) + 1
        if count > len(labels[0]):
            raise InputError(
                f"{source}: label {count - 1} in {splits[0].labels_name} is out of range; labels are 0, 1, 2 ..."
            )
        class_names = tuple(str(number) for number in range(max(count, 1)))
    for split, of_split in zip(splits, labels, strict=True):
        wrong = np.flatnonzero((of_split < 0) | (of_split >= len(class_names)))
        if len(wrong):
            raise InputError(
                f"{source}: {split.labels_name}[{wrong[0]}] is {of_split[wrong[0]]}, out of range: "
                f"labels go from 0 to {len(class_names) - 1}"
            )
    return Dataset(
        name=name,
        class_names=class_names,
        pictures=Arrays([(split.pictures_name, split.pictures) for split in splits]),
        labels=np.concatenate(labels).astype(np.int32),
        stated_splits=np.repeat(np.array([split.number for split in splits], np.int8), [len(of) for of in labels]),
        ignored={},
        unnamed=unnamed,
    )


def _from_strings(
    source: str, splits: Sequence[_Split], labels: Sequence[NDArray[Any]], class_names: tuple[str, ...] | None
) -> tuple[tuple[str, ...], list[NDArray[Any]]]:
    """Class names, and labels as numbers, where the labels are names.

    Raises:
        InputError: some are numbers, or no class has such a name.
    """
    if not all(of.dtype.kind in "US" for of in labels):
        raise InputError(f"{source}: some labels are names and some are numbers; save all of them as one or the other")
    texts = [np.char.decode(of, "utf-8") if of.dtype.kind == "S" else of.astype(str) for of in labels]
    names = class_names or tuple(sorted(set(np.concatenate(texts).tolist())))
    for split, of_split in zip(splits, texts, strict=True):
        unknown = sorted(set(of_split.tolist()) - set(names))
        if unknown:
            raise InputError(f"{source}: {split.labels_name} has '{unknown[0]}', which is not in class_names")
    label_of = {name: label for label, name in enumerate(names)}
    return names, [np.array([label_of[text] for text in of.tolist()], np.int64) for of in texts]


def _flat_labels(source: str, split: _Split) -> NDArray[Any]:
    """One whole number or name for each picture, whose array is checked, too."""
    way_out = _way_out(split.pictures)
    if way_out is not None:
        raise InputError(
            f"{source}: {split.pictures_name} is {split.pictures.dtype} {split.pictures.shape}; "
            f"it must be uint8 (count, height, width[, 1, 3 or 4]){way_out}"
        )
    labels = split.labels
    flat = labels[:, 0] if labels.shape[1:] == (1,) else labels
    if flat.ndim == 2 and flat.dtype.kind in "biuf" and ((flat == 0) | (flat == 1)).all() and (flat.sum(1) == 1).all():
        flat = flat.argmax(1)  # one-hot
    if flat.dtype.kind == "b" or (flat.dtype.kind == "f" and (flat == np.round(flat)).all()):
        flat = flat.astype(np.int64)
    if flat.ndim != 1 or flat.dtype.kind not in "iuUS" or len(flat) != len(split.pictures):
        raise InputError(
            f"{source}: {split.labels_name} is {labels.dtype} {labels.shape}; "
            f"it must be one whole number for each of {len(split.pictures)} pictures"
        )
    if not len(flat):
        raise InputError(f"{source}: {split.pictures_name} holds no pictures")
    return flat


def _way_out(array: NDArray[Any]) -> str | None:
    """What makes pictures of an array that holds none; empty where nothing does, None where it holds pictures."""
    shape = array.shape
    if array.dtype != np.uint8:
        scale = ", after scaling its values to 0..255" if array.dtype.kind == "f" else ""
        return f": save it with .astype('uint8'){scale}" if array.dtype.kind in "fiu" else ""
    if len(shape) == 3 or (len(shape) == 4 and shape[3] in (1, 3, 4)):
        return None
    return ": save it with .transpose(0, 2, 3, 1)" if len(shape) == 4 and shape[1] in (1, 3, 4) else ""
