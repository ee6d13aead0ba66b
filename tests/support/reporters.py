"""A reporter that remembers."""

from __future__ import annotations

from collections.abc import Callable

from ception.reporting import Reporter


class Notes(Reporter):
    """Remembers what it is told: all in `lines`, in its order, and by kind in `notes`, `details` and `warnings`.

    Args:
        then: Called after every note.
    """

    def __init__(self, then: Callable[[], object] | None = None) -> None:
        self.lines: list[str] = []
        self.notes: list[str] = []
        self.details: list[str] = []
        self.warnings: list[str] = []
        self.then = then

    def note(self, text: str) -> None:
        self.notes.append(text)
        self.lines.append(text)
        if self.then:
            self.then()

    def detail(self, text: str) -> None:
        self.details.append(text)
        self.lines.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)
        self.lines.append(f"warning: {text}")
