"""Data sets in arrays: an .npz, the four IDX files of MNIST, and Fashion-MNIST, whole or as a sample."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ception import backends
from ception.data import arrays
from ception.data.dataset import SPLITS, Dataset
from ception.data.pictures import Arrays
from ception.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
_IDX_FILES = {
    "x_train": "train-images-idx3-ubyte", "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte", "y_test": "t10k-labels-idx1-ubyte",
}  # fmt: skip


@dataclass(frozen=True)
class _Split:
    """The arrays of one split as they are given, and what their source calls them."""

    name: str
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
    given = arrays.open_npz(path, {f"x_{split}" for split in SPLITS}, unpacking)
    present = [split for split in SPLITS if f"x_{split}" in given]
    if "train" not in present and "test" not in present:
        has = ", ".join(sorted(given)) or "nothing"
        raise InputError(f"{path} holds {has}; it needs x_train, y_train, x_test and y_test (and may have class_names)")
    for split in SPLITS:
        if (f"x_{split}" in given) != (f"y_{split}" in given):
            has, lacks = ("x", "y") if f"x_{split}" in given else ("y", "x")
            raise InputError(f"{path} has {has}_{split} but no {lacks}_{split}")
    class_names = _names_in(path, given["class_names"]) if "class_names" in given else None
    splits = [_split(split, given[f"x_{split}"], given[f"y_{split}"]) for split in present]
    return _from_splits(str(path), name, splits, class_names)


def _split(name: str, pictures: NDArray[Any], labels: NDArray[Any]) -> _Split:
    return _Split(name, pictures, labels, f"x_{name}", f"y_{name}")


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
        _Split(split, given[f"x_{split}"], given[f"y_{split}"], f"images {split}", f"labels {split}")
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
    splits = [_split("train", *train), _split("test", *test)]
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
    unnamed = class_names is None
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
        stated_splits=np.repeat(
            np.array([SPLITS[split.name] for split in splits], np.int8), [len(of) for of in labels]
        ),
        ignored={},
        unnamed=unnamed,
    )


def _flat_labels(source: str, split: _Split) -> NDArray[np.integer]:
    """One whole number for each picture, whose array is checked, too."""
    shape, labels = split.pictures.shape, split.labels
    if split.pictures.dtype != np.uint8 or not (len(shape) == 3 or (len(shape) == 4 and shape[3] in (1, 3, 4))):
        raise InputError(
            f"{source}: {split.pictures_name} is {split.pictures.dtype} {shape}; "
            "it must be uint8 (count, height, width[, 1, 3 or 4])"
        )
    flat = labels[:, 0] if labels.shape[1:] == (1,) else labels
    if flat.ndim != 1 or flat.dtype.kind not in "iu" or len(flat) != len(split.pictures):
        raise InputError(
            f"{source}: {split.labels_name} is {labels.dtype} {labels.shape}; "
            f"it must be one whole number for each of {len(split.pictures)} pictures"
        )
    if not len(flat):
        raise InputError(f"{source}: {split.pictures_name} holds no pictures")
    return flat
