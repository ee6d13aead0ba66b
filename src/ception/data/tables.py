"""Data sets in a table: a line for each picture, with its path, its label and perhaps its split."""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ception.data import naming, stores
from ception.data.addresses import Addresses
from ception.data.columns import Columns, columns_of
from ception.data.dataset import SPLIT_NAMES, SPLITS, UNSTATED, Dataset, from_names
from ception.data.locating import Locator
from ception.data.pictures import Files
from ception.errors import InputError, nearest, reason
from ception.reporting import Reporter

SUFFIXES = (".csv", ".tsv")
_NO_LABEL = frozenset(("nan", "none", "null", "n/a", "na", "-", "?"))


@dataclass(frozen=True)
class _Line:
    """What a line says of a picture; `split` is UNSTATED where it says nothing."""

    number: int
    label: str
    split: int
    further: Sequence[str]


def read(path: str, reporter: Reporter) -> Dataset:
    """The data set in a CSV with the columns `path,label[,split]` and any others; paths are relative to it.

    In place of `label` there may be a column of 0 and 1 for each class.

    Args:
        path: The file or its address: in UTF-8 or UTF-16, with commas, semicolons or tabs.
        reporter: Receives what was taken for what, where the columns or paths are called otherwise.

    Raises:
        InputError: the file cannot be read, or a line is wrong.
    """
    rows = _rows(path)
    if not rows:
        raise InputError(f"{path} is empty: it needs path,label[,split]")
    folder = os.path.dirname(path)
    locator = Locator(folder)
    columns = columns_of(rows[0][1], [fields for _, fields in rows[1:]], path, locator, reporter)
    ignored: Counter[str] = Counter()
    lines: dict[tuple[str, str], _Line] = {}
    splits: dict[str, _Line] = {}
    for number, fields in rows[columns.has_header :]:
        picture, line = _checked(fields, columns, f"{path}, line {number}", number, locator)
        other = splits.setdefault(picture, line)
        if other.split != line.split:
            first, second = (SPLIT_NAMES.get(one.split, "none") for one in (other, line))
            raise InputError(
                f"{path}: {picture} is in two splits, {first} in line {other.number} and {second} in line {number}: "
                "leave it in one"
            )
        if (picture, line.label) in lines:
            ignored["repeated rows"] += 1
        else:
            lines[picture, line.label] = line
    if not lines:
        raise InputError(f"{path} names no pictures: each line is path,label[,split]")
    for note in locator.notes():
        reporter.note(f"{os.path.basename(path)}: {note}")
    labels = _labels([label for _, label in lines], path, reporter)
    by_column = {name: [line.further[number] for line in lines.values()] for number, name in enumerate(columns.further)}
    places, stated = [picture for picture, _ in lines], [line.split for line in lines.values()]
    pictures = Addresses(places) if any(map(stores.is_address, places)) else Files(places)
    name = os.path.splitext(os.path.basename(path))[0]
    return from_names(name, pictures, labels, stated, ignored, by_column, root=folder or os.curdir)


def _rows(path: str) -> list[tuple[int, list[str]]]:
    """The lines that are not blank, split into fields, with their numbers."""
    try:
        content = stores.local_copy(path).read_bytes()
        coding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        text = content.decode(coding)
        first = text.partition("\n")[0]
        # the separator that the first line has most of; a tab in a .tsv
        separator = "\t" if path.lower().endswith(".tsv") else max(",;\t|", key=first.count)
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        return [(reader.line_num, fields) for fields in reader if any(map(str.strip, fields))]
    except OSError as error:
        raise InputError(f"{path} cannot be read: {reason(error)}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as a CSV in UTF-8: {error}; save it as 'CSV UTF-8'") from None


def _checked(fields: Sequence[str], columns: Columns, where: str, number: int, locator: Locator) -> tuple[str, _Line]:
    """The picture's path as the computer finds it, and what the line says of it."""
    written, label, split, further = columns.of(fields)
    label = columns.class_of(fields, where) if columns.classes else label
    if not written or not label:
        raise InputError(f"{where}: path and label must not be empty")
    stated = naming.split_of(split) if split else UNSTATED
    if stated is None:
        raise InputError(f"{where}: unknown split '{split}': {nearest(split.lower(), SPLITS)}")
    picture = locator.find(written)
    if picture is None:
        raise InputError(f"{where}: there is no file {locator.asked(written)} (paths are relative to the CSV)")
    return picture, _Line(number, label, stated, further)


def _labels(labels: list[str], path: str, reporter: Reporter) -> list[str]:
    """The labels, numbers in one spelling; doubtful ones are warned of."""
    counts = Counter(labels)
    for label, count in counts.items():
        if label.casefold() in _NO_LABEL:
            reporter.warn(
                f"{path}: {count:,} of {len(labels):,} pictures have the label '{label}', which is a class like any "
                "other; leave these lines out if it means that there is no label"
            )
    numbers = {label: _whole_number(label) for label in counts}
    if None in numbers.values():
        return labels
    if other := next((label for label in counts if "." in label), None):
        reporter.note(f"{os.path.basename(path)}: labels are whole numbers: '{other}' is taken for '{numbers[other]}'")
        labels = [str(numbers[label]) if "." in label else label for label in labels]
    first: dict[int | None, str] = {}
    for label in dict.fromkeys(labels):
        if (twin := first.setdefault(_whole_number(label), label)) != label:
            reporter.warn(f"{path}: '{twin}' and '{label}' are the same number but two classes; spell it in one way")
    return labels


def _whole_number(label: str) -> int | None:
    """The number that a label spells, if it is a whole one."""
    try:
        number = float(label)
    except ValueError:
        return None
    return int(number) if number.is_integer() else None
