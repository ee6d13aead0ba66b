"""The data set behind a path or a name.

It is a folder per class; train, val and test folders of those; a CSV; an .npz; the four IDX files of MNIST; or one
of two names.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ception.data import arrays, folders, labelled_arrays, shards, stored, stores, tables, trees, webdataset
from ception.data.dataset import SPLIT_NAMES, SPLITS, TEST, TRAIN, UNSTATED, VAL, Dataset
from ception.data.folders import pictures_in
from ception.data.pictures import Arrays, Encoded, Files, Pictures, digests, parallel
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
    "Encoded",
    "Files",
    "Pictures",
    "digests",
    "load",
    "parallel",
    "pictures_in",
]  # fmt: skip
NAMES = ("fashion-mnist", "fashion-mnist-sample")
_MODEL = "model.keras"
_NO_DATA = "{} is a trained model, not pictures: give the folder or file with the data in its place"


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
        if stores.is_address(data):
            return _at_address(str(data), unpacking)
        if path.is_dir() and str(data):
            if idx_files := labelled_arrays.idx_files(path):
                return labelled_arrays.read_idx(path, idx_files, unpacking)
            return _in_folder(path, unpacking)
        if path.is_file():
            return _read_file(path, unpacking)
    except OSError as error:
        raise InputError(f"{error.filename or path} cannot be read: {reason(error)}") from None
    return _named(str(data), unpacking)


def require_there(data: str | Path) -> None:
    """Refuse, without reading any data, what `load` would refuse because it leads nowhere; addresses are not looked at.

    Raises:
        InputError: there is no such file, folder or data set, or it is a model.
    """
    _require_data(Path(data))
    name = str(data)
    if not stores.is_address(data) and name not in NAMES and not (name and os.path.exists(name)):
        raise _nowhere(name)


def _named(name: str, unpacking: arrays.Unpacking) -> Dataset:
    """The data set of a name.

    Raises:
        InputError: there is none.
    """
    if name == "fashion-mnist":
        return labelled_arrays.fashion_mnist()
    if name == "fashion-mnist-sample":
        return labelled_arrays.fashion_mnist_sample(unpacking)
    raise _nowhere(name)


def _nowhere(name: str) -> InputError:
    """What is said of a path that leads nowhere."""
    asked = meant_path(path := Path(name))
    if os.sep in name or path.suffix:
        return InputError(f"there is no file or folder {name}{asked}")
    if asked:
        return InputError(f"there is no folder '{name}'{asked}")
    return InputError(f"there is no folder '{name}' and no data set of that name: {nearest(name, NAMES)}")


def _at_address(address: str, unpacking: arrays.Unpacking) -> Dataset:
    """The data set at an address: shards, a table, arrays, archives, or folders of pictures."""
    suffix = os.path.splitext(address)[1].lower()
    if suffix in tables.SUFFIXES:
        return tables.read(address, unpacking.reporter)
    if suffix == ".npz":
        return labelled_arrays.read_npz(stores.local_copy(address), Path(address).stem, unpacking)
    if suffix in stored.SUFFIXES:
        folder, _, name = address.rpartition("/")
        return _in_few_files(folder, [name], name[: -len(suffix)], unpacking)
    root = trees.opened(address)
    if any(one.name == _MODEL for one in trees.entries(root)):
        raise InputError(_NO_DATA.format(address))
    return _in_folder(root, unpacking)


def _in_folder(folder: trees.Folder, unpacking: arrays.Unpacking) -> Dataset:
    """The data set in a folder: in shards, archives or Parquet files where it has no other folders, or in folders."""
    if shards.is_sharded(str(folder)):
        return shards.read(str(folder))
    if names := stored.few_files(folder):
        return _in_few_files(str(folder), names, trees.name_of(folder), unpacking)
    return folders.read(folder, unpacking.reporter)


def _in_few_files(folder: str, names: Sequence[str], called: str, unpacking: arrays.Unpacking) -> Dataset:
    return stored.read(folder, names, called, cache_limit=unpacking.cache_limit, reporter=unpacking.reporter)


def _require_data(path: Path) -> None:
    """Refuse a run or a model in the place of data.

    Raises:
        InputError: it is one.
    """
    model = path / _MODEL if path.is_dir() and is_own(path) else path
    if model.suffix == ".keras" and model.is_file():
        raise InputError(_NO_DATA.format(path))


def _read_file(path: Path, unpacking: arrays.Unpacking) -> Dataset:
    """The data set in a file, by its suffix."""
    suffix = path.suffix.lower()
    if suffix in tables.SUFFIXES:
        return tables.read(str(path), unpacking.reporter)
    if suffix == ".npz":
        return labelled_arrays.read_npz(path, path.stem, unpacking)
    if suffix in stored.SUFFIXES:
        return _in_few_files(str(path.parent), [path.name], path.stem, unpacking)
    if suffix == ".npy":
        raise InputError(f"{path} is one array without labels: np.savez('data.npz', x_train=..., y_train=...)")
    webdataset.require_unpacked(str(path))
    raise InputError(
        f"{path} is no data set: give a folder, a .csv, .tsv, .npz, .tar or .parquet file, or {' or '.join(NAMES)}"
    )
