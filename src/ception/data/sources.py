"""The data set behind a path or a name.

It is a folder per class; train, val and test folders of those; a CSV; an .npz; the four IDX files of MNIST; or one
of two names.
"""

from __future__ import annotations

import os
from pathlib import Path

from ception.data import arrays, folders, labelled_arrays, tables
from ception.data.dataset import SPLIT_NAMES, SPLITS, TEST, TRAIN, UNSTATED, VAL, Dataset
from ception.data.folders import pictures_in
from ception.data.pictures import Arrays, Files, Pictures, digests, parallel
from ception.errors import InputError, nearest, reason
from ception.files import is_own, meant_path
from ception.reporting import Reporter

__all__ = [
    "NAMES",
    "SPLITS",
    "SPLIT_NAMES",
    "TEST",
    "TRAIN",
    "UNSTATED",
    "VAL",
    "Arrays",
    "Dataset",
    "Files",
    "Pictures",
    "digests",
    "load",
    "parallel",
    "pictures_in",
]  # fmt: skip
NAMES = ("fashion-mnist", "fashion-mnist-sample")


def load(data: str | Path, *, cache_limit: float = 10.0, reporter: Reporter | None = None) -> Dataset:
    """The data set behind a path or a name.

    Args:
        data: A folder, a .csv, .tsv or .npz file, or one of `NAMES`.
        cache_limit: Most that the cache folder may hold, in GB (compressed arrays are unpacked there).
        reporter: Receives notes.

    Raises:
        InputError: there is no such data set, or something in it is wrong.
    """
    unpacking = arrays.Unpacking(cache_limit, reporter or Reporter())
    path = Path(data)
    _require_data(path)
    try:
        if path.is_dir() and str(data):
            idx_files = labelled_arrays.idx_files(path)
            if idx_files:
                return labelled_arrays.read_idx(path, idx_files, unpacking)
            return folders.read(path, unpacking.reporter)
        if path.is_file():
            return _read_file(path, unpacking)
    except OSError as error:
        raise InputError(f"{error.filename or path} cannot be read: {reason(error)}") from None
    if str(data) == "fashion-mnist":
        return labelled_arrays.fashion_mnist()
    if str(data) == "fashion-mnist-sample":
        return labelled_arrays.fashion_mnist_sample(unpacking)
    if os.sep in str(data) or path.suffix:
        raise InputError(f"there is no file or folder {data}{meant_path(path)}")
    if asked := meant_path(path):
        raise InputError(f"there is no folder '{data}'{asked}")
    raise InputError(f"there is no folder '{data}' and no data set of that name: {nearest(str(data), NAMES)}")


def _require_data(path: Path) -> None:
    """Refuse a run or a model in the place of data.

    Raises:
        InputError: it is one.
    """
    model = path / "model.keras" if path.is_dir() and is_own(path) else path
    if model.suffix == ".keras" and model.is_file():
        raise InputError(f"{path} is a trained model, not pictures: give the folder or file with the data in its place")


def _read_file(path: Path, unpacking: arrays.Unpacking) -> Dataset:
    """The data set in a file, by its suffix."""
    suffix = path.suffix.lower()
    if suffix in tables.SUFFIXES:
        return tables.read(path, unpacking.reporter)
    if suffix == ".npz":
        return labelled_arrays.read_npz(path, path.stem, unpacking)
    if suffix == ".npy":
        raise InputError(f"{path} is one array without labels: np.savez('data.npz', x_train=..., y_train=...)")
    raise InputError(f"{path} is no data set: give a folder, a .csv, .tsv or .npz file, or {' or '.join(NAMES)}")
