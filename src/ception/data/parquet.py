"""Data sets in Parquet files, as the Hugging Face hub has them: a column with pictures, one with their classes."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from ception.data import naming, stores
from ception.data.dataset import UNSTATED, Dataset, from_names
from ception.data.images import PictureError
from ception.data.pictures import Encoded, digest_of
from ception.errors import InputError, nearest
from ception.reporting import Reporter

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUFFIX = ".parquet"
_ROW = np.dtype([("file", "<u4"), ("group", "<u4"), ("row", "<u4")])
_LABELS = ("label", "labels", "class", "class_name", "category", "target", "fine_label")
_GROUPS_KEPT = 2  # groups of rows whose pictures are held, as they are read one after another


@dataclass(frozen=True)
class Rows(Encoded):
    """Pictures in a column of Parquet files, of which whole groups of rows are read at once.

    Attributes:
        files: Paths or addresses of the files.
        column: Name of the column.
        rows: Where each picture lies: its file, group of rows, and row in this; of shape (pictures,).
        states: What changes when a file does.
    """

    files: tuple[str, ...]
    column: str
    rows: NDArray[np.void]
    states: tuple[bytes, ...] = field(repr=False)
    _groups: _Groups = field(repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.rows)

    def name(self, index: int) -> str:
        """The file and the number of its row within its group."""
        row = self.rows[index]
        return f"{self.files[row['file']]}[{row['group']}:{row['row']}]"

    def read(self, index: int) -> bytes:
        row = self.rows[index]
        try:
            told = self._groups.of(self.files[row["file"]], int(row["group"]), self.column)[int(row["row"])].as_py()
        except InputError as error:
            raise PictureError(str(error)) from None
        except Exception as error:  # whatever the library raises where a file is damaged
            raise PictureError(f"cannot be read: {' '.join(str(error).split())}") from None
        data = told.get("bytes") if isinstance(told, dict) else told
        if not isinstance(data, bytes):
            raise PictureError("the row holds no picture")
        return data

    def state(self, index: int) -> bytes:
        return digest_of(self.states[int(self.rows["file"][index])] + self.rows[index].tobytes())

    def take(self, indices: Sequence[int] | NDArray[np.integer]) -> Rows:
        return replace(self, rows=self.rows[np.asarray(indices, np.int64)])


class _Groups:
    """The pictures of the groups of rows that were read last."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._read = lru_cache(maxsize=_GROUPS_KEPT)(_group)

    def of(self, file: str, group: int, column: str) -> Any:
        """A column of a group of rows."""
        with self._lock:  # so that threads do not read the same one
            return self._read(file, group, column)

    def __reduce__(self) -> tuple[type[_Groups], tuple[()]]:
        return _Groups, ()


def _group(file: str, group: int, column: str) -> Any:
    with stores.open_file(file) as opened:
        return _library().ParquetFile(opened).read_row_group(group, columns=[column]).column(0)


def pictures(files: Sequence[str]) -> Rows:
    """The pictures in Parquet files.

    Raises:
        InputError: a file is broken, has no such column, or the library that reads it is not installed.
    """
    return _read(files, labelled=False)[0]


def read(files: Sequence[str], called: str, reporter: Reporter) -> Dataset:
    """The data set in Parquet files.

    Args:
        files: Their paths or addresses; `train-00000-of-00001.parquet` states a split.
        called: Name of the data set.
        reporter: Receives what was taken for what.

    Raises:
        InputError: a file is broken, has no such columns, or the library that reads it is not installed.
    """
    rows, classes, column, unnamed = _read(files, labelled=True)
    reporter.note(f"{called}: '{rows.column}' has the pictures, '{column}' their classes")
    of_files = [naming.split_of(os.path.basename(file)[: -len(SUFFIX)].partition("-")[0]) for file in files]
    stated = [UNSTATED if split is None else split for split in of_files]
    dataset = from_names(called, rows, classes, [stated[number] for number in rows.rows["file"]], {})
    return replace(dataset, unnamed=unnamed)


def _read(files: Sequence[str], *, labelled: bool) -> tuple[Rows, list[str], str, bool]:
    """The pictures, and if they are to have labels: these, their column, and whether they are numbers without names."""
    rows, classes = [], list[str]()
    columns, labels, unnamed = dict[str, str](), dict[str, str](), dict[bool, str]()  # each with the first file so
    for number, file in enumerate(files):
        stores.require_parts(file)
        try:
            with stores.open_file(file) as opened:
                parquet = _library().ParquetFile(opened)
                columns.setdefault(_picture_column(parquet.schema_arrow, file), file)
                if labelled:
                    label = _label_column(parquet.schema_arrow, file)
                    labels.setdefault(label, file)
                    told = parquet.read(columns=[label]).column(0).to_pylist()
                    names = _class_names(parquet.schema_arrow, label)
                    classes += _named(told, names, file)
                    if told:
                        unnamed.setdefault(names is None and all(isinstance(one, int) for one in told), file)
                sizes = [parquet.metadata.row_group(group).num_rows for group in range(parquet.num_row_groups)]
        except InputError:  # which names the file
            raise
        except Exception as error:  # of the library, and each file system has its own
            raise InputError(f"{file} cannot be read: {' '.join(str(error).split())}") from None
        part = np.zeros(sum(sizes), _ROW)
        part["file"], part["group"] = number, np.repeat(np.arange(len(sizes)), sizes)
        part["row"] = np.concatenate([np.arange(size) for size in sizes]) if sizes else 0
        rows.append(part)
    if not any(map(len, rows)):
        raise InputError(f"{files[0]} holds no pictures")
    _require_one("the pictures in the column", columns)
    _require_one("the classes in the column", labels)
    if len(unnamed) > 1:
        raise InputError(f"the classes are numbers without names in {unnamed[True]} and names in {unnamed[False]}: "
                         "write them alike")  # fmt: skip
    stored = Rows(tuple(files), next(iter(columns)), np.concatenate(rows), tuple(map(stores.state, files)), _Groups())
    return stored, classes, next(iter(labels), ""), True in unnamed


def _require_one(what: str, found: dict[str, str]) -> None:
    """Refuse columns of several names.

    Raises:
        InputError: there are.
    """
    if len(found) > 1:
        (first, file), (second, other) = list(found.items())[:2]
        raise InputError(f"{file} has {what} '{first}', {other} in '{second}': give both the same name")


def _library() -> Any:
    """PyArrow's Parquet.

    Raises:
        InputError: it is not installed.
    """
    try:
        from pyarrow import parquet
    except ImportError:
        raise InputError("Parquet files need a library: pip install 'ception[parquet]'") from None
    return parquet


def _picture_column(schema: Any, file: str) -> str:
    """The name of the column with the pictures.

    Raises:
        InputError: there is none, or more than one may be meant.
    """
    from pyarrow import types

    binary = [one.name for one in schema if _is_picture(one.type, types)]
    listed = ", ".join(f"{one.name} ({one.type})" for one in schema)
    if len(binary) != 1:
        raise InputError(
            f"{file} has {'several columns' if binary else 'no column'} with pictures' files as bytes: it must have "
            f"one; its columns are {listed}"
        )
    return str(binary[0])


def _label_column(schema: Any, file: str) -> str:
    """The name of the column with the classes.

    Raises:
        InputError: there is none.
    """
    label = next((name for name in _LABELS if name in schema.names), None)
    if label is None:
        raise InputError(f"{file} has no column label: {nearest('label', schema.names)}")
    return label


def _is_picture(type_: Any, types: Any) -> bool:
    """Whether a column holds files: as bytes, or as the hub's `Image`, bytes beside a path."""
    if types.is_struct(type_):
        return any(one.name == "bytes" and _is_picture(one.type, types) for one in type_)
    return bool(types.is_binary(type_) or types.is_large_binary(type_))


def _class_names(schema: Any, label: str) -> list[str] | None:
    """The names that the hub's `ClassLabel` gives its numbers; None where there is none."""
    try:
        told = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"][label]["names"]
    except (KeyError, ValueError, TypeError, RecursionError):
        return None
    return told if isinstance(told, list) and all(isinstance(name, str) for name in told) else None


def _named(labels: Sequence[Any], names: Sequence[str] | None, file: str) -> list[str]:
    """The class of each row by name.

    Raises:
        InputError: a row has none.
    """
    for label in set(labels):
        number = isinstance(label, int) and not isinstance(label, bool)
        if not (isinstance(label, str) or number) or (names and number and not 0 <= label < len(names)):
            raise InputError(f"{file}: a row has the class {label!r}: give each a name, or a number that has one")
    return [names[label] if names and isinstance(label, int) else str(label) for label in labels]
