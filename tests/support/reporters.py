"""A reporter that remembers."""

from __future__ import annotations

from collections.abc import Callable

from ception.reporting import Reporter


class Notes(Reporter):
    """Remembers what it is told: all in `lines`, in its order, and by kind in `notes` and `warnings`.

    Args:
        then: Called after every note.
    """

    def __init__(self, then: Callable[[], object] | None = None) -> None:
        self.lines: list[str] = []
        self.notes: list[str] = []
        self.warnings: list[str] = []
        self.then = then

    def note(self, text: str) -> None:
        self.notes.append(text)
        self.lines.append(text)
        if self.then:
            self.then()

    def warn(self, text: str) -> None:
        self.warnings.append(text)
        self.lines.append(f"warning: {text}")
