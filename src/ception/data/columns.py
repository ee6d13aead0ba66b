"""Which column of a table says what: by its name, by a usual other name, or by its place where there are no names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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


@dataclass(frozen=True)
class Columns:
    """Where each thing stands in a line.

    Attributes:
        path, label, split: Numbers of columns; `split` may be None.
        further: Further columns by name, with their numbers.
        has_header: Whether the first line names the columns.
    """

    path: int
    label: int
    split: int | None
    further: dict[str, int]
    has_header: bool = True

    def of(self, fields: Sequence[str]) -> tuple[str, str, str, list[str]]:
        """Path, label, split and what the further columns say, without blanks around; empty where the line ends."""
        wanted = (self.path, self.label, self.split, *self.further.values())
        path, label, split, *further = (
            "" if number is None or number >= len(fields) else fields[number].strip() for number in wanted
        )
        return path, label, split, further


def columns_of(first: Sequence[str], path: Path, locator: Locator, reporter: Reporter) -> Columns:
    """What the columns of a table are.

    Args:
        first: The first line.
        path: The table.
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
    missing = [meaning for meaning in _NEEDED if taken[meaning] is None]
    if missing:
        raise InputError(
            f"{path} has no column {' and no '.join(missing)}: it needs path,label[,split]; its columns are "
            f"{', '.join(name or '(no name)' for name in names)}"
        )
    renamed = [f"'{names[number]}' is the {meaning}" for meaning, number in taken.items()
               if number is not None and plain[number] != meaning]  # fmt: skip
    if renamed:
        reporter.note(f"{path.name}: {', '.join(renamed)}")
    used = {number for number in taken.values() if number is not None}
    further = {name: number for number, name in enumerate(names) if name and number not in used}
    assert taken["path"] is not None
    assert taken["label"] is not None
    return Columns(taken["path"], taken["label"], taken["split"], further)


def _column(meaning: str, plain: Sequence[str], names: Sequence[str], path: Path) -> int | None:
    """The number of the column with a meaning; None if there is none."""
    exact = [number for number, name in enumerate(plain) if name == meaning]
    found = exact or [number for number, name in enumerate(plain) if name in _USUAL[meaning]]
    if len(found) > 1 and (exact or meaning in _NEEDED):
        listed = " and ".join(f"'{names[number]}'" for number in found)
        raise InputError(
            f"{path} has the columns {listed}: call the one to be taken {meaning}, and the other otherwise"
        )
    return found[0] if len(found) == 1 else None


def _without_header(first: Sequence[str], path: Path, reporter: Reporter) -> Columns:
    """The columns of a table whose first line is a picture's."""
    if len(first) not in (2, 3) or (len(first) == 3 and naming.split_of(first[2]) is None):
        raise InputError(
            f"{path} has {len(first)} columns without names: let the first line say which they are, as path,label,split"
        )
    reporter.note(f"{path.name}: no names of columns; they are taken for {', '.join(list(_USUAL)[: len(first)])}")
    return Columns(0, 1, 2 if len(first) == 3 else None, {}, has_header=False)
