"""Pictures that lie in few large files, or at addresses: told by names, and opened by what reads them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ception.data import folders, naming, parquet, shards, stores, trees, webdataset
from ception.data.addresses import Addresses
from ception.data.dataset import Dataset
from ception.data.pictures import Encoded
from ception.errors import InputError
from ception.reporting import Reporter

SUFFIXES = (webdataset.SUFFIX, parquet.SUFFIX)


def few_files(folder: trees.Folder) -> list[str]:
    """The tar archives and Parquet files in a folder, also in its `data`; none beside pictures and other folders.

    Raises:
        InputError: there are packed archives alone.
        OSError: the folder cannot be read.
    """
    inside = [one for one in trees.entries(folder) if not naming.is_hidden(one.name)]
    if any(one.name != "data" if one.is_folder else naming.has_picture_suffix(one.name) for one in inside):
        return []
    names = [one.name for one in inside if not one.is_folder]
    for place in inside:  # `data` is where the hub's data sets have them
        if place.is_folder:
            within = trees.entries(trees.inner(folder, place))
            names += [f"{place.name}/{one.name}" for one in within if not one.is_folder]
    found = [name for name in names if name.lower().endswith(SUFFIXES) and not naming.is_hidden(os.path.basename(name))]
    for one in () if found or any(one.is_folder for one in inside) else inside:
        webdataset.require_unpacked(stores.joined(str(folder), one.name))
    return found


def read(folder: str, names: Sequence[str], called: str, *, cache_limit: float, reporter: Reporter) -> Dataset:
    """The data set in tar archives or Parquet files.

    Args:
        folder: Where they lie: a path or an address.
        names: Their names there.
        called: Name of the data set.
        cache_limit: Most that the cache folder may hold, in GB.
        reporter: Receives progress, and what was taken for what.

    Raises:
        InputError: there are both kinds, or one of them cannot be read.
    """
    archives, tables = _by_kind(folder, names)
    if tables:
        return parquet.read(tables, called, reporter)
    return webdataset.read(folder, archives, called, cache_limit=cache_limit, reporter=reporter)


def pictures(path: str, *, cache_limit: float, reporter: Reporter) -> Encoded | None:
    """The pictures at an address, in shards, or in tar archives or Parquet files; None where the path is none of these.

    Raises:
        InputError: they cannot be read.
    """
    if shards.is_sharded(path):
        return shards.pictures(path)
    folder, name = os.path.split(path)
    if name.lower().endswith(SUFFIXES):
        return _pictures(folder, [name], cache_limit, reporter)
    if not stores.is_address(path):
        names = few_files(Path(path)) if os.path.isdir(path) else []
        return _pictures(path, names, cache_limit, reporter) if names else None
    if not path.endswith("/") and stores.is_file(path):  # to the web's library a folder's page is a file
        return Addresses([path])
    opened = trees.opened(path)
    if names := few_files(opened):
        return _pictures(path, names, cache_limit, reporter)
    return Addresses(list(folders.walk(opened, Counter(), opened)))


def _pictures(folder: str, names: Sequence[str], cache_limit: float, reporter: Reporter) -> Encoded:
    archives, tables = _by_kind(folder, names)
    if tables:
        return parquet.pictures(tables)
    return webdataset.pictures(folder, archives, cache_limit=cache_limit, reporter=reporter)


def _by_kind(folder: str, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """The names of the tar archives, and the paths of the Parquet files.

    Raises:
        InputError: there are both.
    """
    archives = sorted(name for name in names if name.lower().endswith(webdataset.SUFFIX))
    tables = [stores.joined(folder, name) for name in sorted(names) if name.lower().endswith(parquet.SUFFIX)]
    if archives and tables:
        raise InputError(f"{folder} has tar archives and Parquet files: name one kind, or give each a folder")
    return archives, tables
