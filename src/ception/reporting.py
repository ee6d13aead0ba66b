"""How a task tells its caller what happens: notes, warnings, progress. The library itself never prints."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


class Task:
    """One stretch of work whose progress is reported."""

    def advance(self, steps: int = 1, detail: str = "") -> None:
        """`steps` more of the task's total are done; `detail` is a short text such as `loss 0.41`."""


class Reporter:
    """Says nothing, but for warnings, which become Python warnings. The command line has one that writes."""

    def note(self, text: str) -> None:
        """A fact worth a line."""

    def warn(self, text: str) -> None:
        """Something that may spoil the result; the work goes on."""
        warnings.warn(text, stacklevel=3)

    @contextmanager
    def task(self, label: str, total: int) -> Iterator[Task]:
        """Progress over `total` steps for as long as the context lasts."""
        yield Task()


def counted(count: int, noun: str) -> str:
    """A number of things in words: `1 picture`, `1,200 classes`."""
    plural = noun + ("es" if noun.endswith("s") else "s")
    return f"{count:,} {noun if count == 1 else plural}"


def duration(seconds: float) -> str:
    """Seconds as `1 h 05 min`, `3 min 20 s` or `12 s`."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
