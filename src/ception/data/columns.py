"""Which column of a table says what: by its name, by a usual other name, or by its place where there are no names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from ception.data import naming
from ception.data.locating import Locator
from ception.errors import InputError
from ception.reporting import Reporter

# the first name counts before the others, which count where there is one of them only
_USUAL = {
    "path": ("path", "filepath", "file_path", "filename", "file_name", "file", "image_path", "image", "picture", "img"),
    "label": ("label", "labels", "class", "class_name", "category", "target"),
    "split": ("split", "subset", "partition", "set"),
}
_NEEDED = ("path", "label")
_ZERO, _ONE = {"0", "0.0"}, {"1", "1.0"}


@dataclass(frozen=True)
class Columns:
    """Where each thing stands in a line.

    Attributes:
        path, label, split: Numbers of columns; `split` may be None, and `label` where there are `classes`.
        further: Further columns by name, with their numbers.
        has_header: Whether the first line names the columns.
        classes: Columns by the name of a class, with their numbers: the one with a 1 is the picture's class.
    """

    path: int
    label: int | None
    split: int | None
    further: dict[str, int]
    has_header: bool = True
    classes: dict[str, int] = field(default_factory=dict)

    def of(self, fields: Sequence[str]) -> tuple[str, str, str, list[str]]:
        """Path, label, split and what the further columns say, without blanks around; empty where the line ends."""
        wanted = (self.path, self.label, self.split, *self.further.values())
        path, label, split, *further = (
            "" if number is None or number >= len(fields) else fields[number].strip() for number in wanted
        )
        return path, label, split, further

    def class_of(self, fields: Sequence[str], where: str) -> str:
        """The class whose column has the 1.

        Raises:
            InputError: there is none, or more than one.
        """
        named = [name for name, number in self.classes.items() if fields[number].strip() in _ONE]
        if len(named) == 1:
            return named[0]
        said = f"1 in {' and '.join(named)}" if named else "1 in none of the columns of the classes"
        raise InputError(
            f"{where}: {said} ({', '.join(self.classes)}): a picture has one class, or give a column label"
        )


def columns_of(
    first: Sequence[str], lines: Sequence[Sequence[str]], path: str, locator: Locator, reporter: Reporter
) -> Columns:
    """What the columns of a table are.

    Args:
        first: The first line.
        lines: All others.
        path: What the table is called: its path or address.
        locator: Finds a picture, by which a line without names is told.
        reporter: Receives what was taken for what, where it is not called `path`, `label` and `split`.

    Raises:
        InputError: there is no path or no label, or two columns are called so.
    """
    names = [name.strip() for name in first]
    plain = [name.casefold().replace(" ", "_") for name in names]
    taken = {meaning: _column(meaning, plain, names, path) for meaning in _USUAL}
    if taken["path"] is None and locator.find(names[0]):
        return _without_header(names, path, reporter)
    used = {number for number in taken.values() if number is not None}
    classes = {} if taken["path"] is None or taken["label"] is not None else _classes(names, lines, used)
    missing = [meaning for meaning in _NEEDED if taken[meaning] is None]
    if missing and not classes:
        raise InputError(
            f"{path} has no column {' and no '.join(missing)}: it needs path,label[,split]; its columns are "
            f"{', '.join(name or '(no name)' for name in names)}"
        )
    renamed = [f"'{names[number]}' is the {meaning}" for meaning, number in taken.items()
               if number is not None and plain[number] != meaning]  # fmt: skip
    if renamed:
        reporter.note(f"{os.path.basename(path)}: {', '.join(renamed)}")
    if classes:
        reporter.note(
            f"{os.path.basename(path)}: {len(classes)} columns of 0 and 1 taken for classes: {', '.join(classes)}"
        )
    used |= set(classes.values())
    further = {name: number for number, name in enumerate(names) if name and number not in used}
    assert taken["path"] is not None
    return Columns(taken["path"], taken["label"], taken["split"], further, classes=classes)


def _classes(names: Sequence[str], lines: Sequence[Sequence[str]], used: set[int]) -> dict[str, int]:
    """The columns that have 0 or 1 in every line, by their names, if there are two or more of them."""
    found = {
        name: number
        for number, name in enumerate(names)
        if name and number not in used and names.count(name) == 1
        and all(number < len(fields) and fields[number].strip() in _ZERO | _ONE for fields in lines)
    }  # fmt: skip
    return found if lines and len(found) > 1 else {}


def _column(meaning: str, plain: Sequence[str], names: Sequence[str], path: str) -> int | None:
    """The number of the column with a meaning; None if there is none."""
    exact = [number for number, name in enumerate(plain) if name == meaning]
    found = exact or [number for number, name in enumerate(plain) if name in _USUAL[meaning]]
    if len(found) > 1 and (exact or meaning in _NEEDED):
        listed = " and ".join(f"'{names[number]}'" for number in found)
        raise InputError(
            f"{path} has the columns {listed}: call the one to be taken {meaning}, and the other otherwise"
        )
    return found[0] if len(found) == 1 else None


def _without_header(first: Sequence[str], path: str, reporter: Reporter) -> Columns:
    """The columns of a table whose first line is a picture's."""
    if len(first) not in (2, 3) or (len(first) == 3 and naming.split_of(first[2]) is None):
        raise InputError(
            f"{path} has {len(first)} columns without names: let the first line say which they are, as path,label,split"
        )
    reporter.note(
        f"{os.path.basename(path)}: no names of columns; they are taken for {', '.join(list(_USUAL)[: len(first)])}"
    )
    return Columns(0, 1, 2 if len(first) == 3 else None, {}, has_header=False)
