"""Data sets in a CSV: a line for each picture, with its path, its label and perhaps its split."""

from __future__ import annotations

import csv
import os
from collections import Counter
from pathlib import Path

from ception.data.dataset import SPLIT_ALIASES, SPLITS, UNSTATED, Dataset, from_names
from ception.data.pictures import Files
from ception.errors import InputError, nearest


def read(path: Path) -> Dataset:
    """The data set in a CSV with the columns `path,label[,split]` and any others; paths are relative to it.

    Raises:
        InputError: the file cannot be read, or a line is wrong.
    """
    ignored: Counter[str] = Counter()
    rows: dict[tuple[str, str], tuple[int, list[str]]] = {}
    further: list[str] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            columns = reader.fieldnames or []
            missing = [column for column in ("path", "label") if column not in columns]
            if missing:
                raise InputError(f"{path} has no column {' and no '.join(missing)}: it needs path,label[,split]")
            further = [column for column in columns if column not in ("path", "label", "split")]
            for row in reader:
                picture, label, split = _checked(row, path, reader.line_num)
                if (picture, label) in rows:
                    ignored["repeated rows"] += 1
                else:
                    rows[picture, label] = split, [row[column] or "" for column in further]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as a CSV in UTF-8: {error}") from None
    if not rows:
        raise InputError(f"{path} names no pictures: each line is path,label[,split]")
    paths, labels = zip(*rows, strict=True)
    stated, values = zip(*rows.values(), strict=True)
    by_column = {column: [of_row[number] for of_row in values] for number, column in enumerate(further)}
    return from_names(path.stem, Files(paths), labels, stated, ignored, by_column)


def _checked(row: dict[str, str | None], path: Path, line: int) -> tuple[str, str, int]:
    """The picture's path as the computer finds it, its label, and the split that is stated for it."""
    where = f"{path}, line {line}"
    label = (row["label"] or "").strip()
    if not row["path"] or not label:
        raise InputError(f"{where}: path and label must not be empty")
    split = (row.get("split") or "").lower()
    if split and split not in SPLIT_ALIASES:
        raise InputError(f"{where}: unknown split '{split}': {nearest(split, SPLITS)}")
    picture = os.path.join(path.parent, row["path"])
    if not os.path.isfile(picture):
        raise InputError(f"{where}: there is no file {picture} (paths are relative to the CSV)")
    return picture, label, SPLIT_ALIASES.get(split, UNSTATED)
