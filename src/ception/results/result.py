"""What all results share: a frozen dataclass with its plain values."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, ClassVar


def plain(value: Any) -> Any:
    """The value in what JSON has: results as dicts, tuples as lists."""
    if isinstance(value, Result):
        return value.as_dict()
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return value


class Result:
    """A frozen dataclass that knows its plain values.

    Attributes:
        _OMITTED: Fields that are left out of the plain values where they are None.
        _KEYS: Keys of fields whose name is another one there.
        _DERIVED: Properties that stand there after the fields.
    """

    _OMITTED: ClassVar[frozenset[str]] = frozenset()
    _KEYS: ClassVar[Mapping[str, str]] = {}
    _DERIVED: ClassVar[tuple[str, ...]] = ()

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON has them, and what is derived from them."""
        names = [*(one.name for one in fields(self)), *self._DERIVED]  # type: ignore[arg-type]
        named = {name: getattr(self, name) for name in names}
        return {
            self._KEYS.get(name, name): plain(value)
            for name, value in named.items()
            if not (value is None and name in self._OMITTED)
        }


def html_table(caption: str, rows: Sequence[Sequence[str]]) -> str:
    """A small table as notebooks show it; everything in it is escaped."""
    lines = ["".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in rows]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table><caption>{html.escape(caption)}</caption><tbody>{body}</tbody></table>"
