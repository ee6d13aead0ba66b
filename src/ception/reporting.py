"""How a task tells its caller what happens: notes, warnings, progress.

Every public task takes a `reporter`. Without one it asks `default`, which shows what happens where a person looks on,
in a terminal or a notebook, and else gives a silent `Reporter`. One line makes all tasks silent:

    ception.reporting.default = ception.Reporter
"""

from __future__ import annotations

import importlib.util
import logging
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console
    from rich.progress import Progress


_PAUSE_S = 30.0  # between two lines of progress where no bar can be shown


class Task:
    """One stretch of work whose progress is reported."""

    def advance(self, steps: int = 1, detail: str = "") -> None:
        """`steps` more of the task's total are done; `detail` is a short text such as `loss 0.41`."""


class Reporter:
    """Says nothing, but for warnings, which become Python warnings. `Display` is one that shows."""

    def note(self, text: str) -> None:
        """A fact worth a line."""

    def detail(self, text: str) -> None:
        """How it is done, for those who want to know: the command line shows it with --verbose."""

    def epoch(self, row: Mapping[str, float]) -> None:
        """An epoch of a training, as the log has it, after it was kept; what this raises ends the training."""

    def began(self, folder: Path) -> None:
        """The folder of a training's run, once it is there."""

    def warn(self, text: str) -> None:
        """Something that may spoil the result; the work goes on."""
        warnings.warn(text, stacklevel=3)

    @contextmanager
    def task(self, label: str, total: int) -> Iterator[Task]:
        """Progress over `total` steps for as long as the context lasts."""
        yield Task()


class Display(Reporter):
    """Notes, warnings and progress for a person, on a console; bars are there only while something goes on.

    Args:
        console: What is written to.
        bars: Whether it can show bars; where not, a note every half minute says how far a task is.
        quiet: Whether notes are left out.
        verbose: Whether details are shown.
        redirect: Whether what is printed to a terminal while there are bars is caught, to be shown above them.
    """

    def __init__(
        self, console: Console, *, bars: bool, quiet: bool = False, verbose: bool = False, redirect: bool = False
    ) -> None:
        self.console, self.bars, self.redirect = console, bars, redirect
        self.quiet, self.verbose = quiet, verbose
        self._progress: Progress | None = None
        self._tasks = 0
        self._lock = threading.Lock()

    @property
    def busy(self) -> bool:
        """Whether bars are shown now."""
        return self._progress is not None

    def note(self, text: str) -> None:
        """Write the line, unless quiet."""
        if not self.quiet:
            self.print(text)

    def detail(self, text: str) -> None:
        """Write the line, if verbose."""
        if self.verbose:
            self.print(text, style="dim")

    def warn(self, text: str) -> None:
        """Write the line in yellow."""
        self.print(f"warning: {text}", style="yellow")

    def print(self, text: str, style: str | None = None) -> None:
        """Write the text as it is: whatever stands in a class or file name is no markup."""
        self.console.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True, style=style)

    @contextmanager
    def task(self, label: str, total: int) -> Iterator[Task]:
        """A bar, or a line now and then, for as long as the context lasts; none for a single step."""
        if not self.bars or total < 2:
            yield Task() if total < 2 else _Lines(self, label, total)
            return
        progress = self._enter()
        number = progress.add_task(label, total=total, detail="")
        try:
            yield _Bar(progress, number)
        finally:
            progress.remove_task(number)
            self._leave()

    def _enter(self) -> Progress:
        """The bars, shown from the first task on; anew after the last, because a notebook's cannot be shown again."""
        with self._lock:
            if self._progress is None:
                self._progress = _bars(self.console, self.redirect)
                self._progress.start()
            self._tasks += 1
            return self._progress

    def _leave(self) -> None:
        with self._lock:
            self._tasks -= 1
            if self._progress is not None and not self._tasks:
                self._progress.stop()
                self._progress = None


class _Bar(Task):
    def __init__(self, progress: Progress, number: Any) -> None:
        self._progress, self._number = progress, number

    def advance(self, steps: int = 1, detail: str = "") -> None:
        self._progress.advance(self._number, steps)
        if detail:
            self._progress.update(self._number, detail=detail)


class _Lines(Task):
    """Progress as notes, far apart in time."""

    def __init__(self, display: Display, label: str, total: int) -> None:
        self._display, self._label, self._total = display, label, total
        self._begun = self._told = time.monotonic()
        self._done, self._detail = 0, ""

    def advance(self, steps: int = 1, detail: str = "") -> None:
        self._done, self._detail = self._done + steps, detail or self._detail
        now = time.monotonic()
        if now - self._told >= _PAUSE_S and self._done < self._total:
            self._told = now
            said = f"{self._label}: {self._done:,} of {self._total:,} after {duration(now - self._begun)}"
            self._display.note(f"{said}  {self._detail}".rstrip())


def _bars(console: Console, redirect: bool) -> Progress:
    """Rich's progress bars, which vanish when they are stopped.

    Standard output is caught only where it is a terminal: else it is a file or another program's, and stays theirs.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        TextColumn("{task.fields[detail]}"),
    )  # fmt: skip
    return Progress(
        *columns, console=console, transient=True, redirect_stdout=redirect and sys.stdout.isatty(),
        redirect_stderr=redirect,
    )  # fmt: skip


def automatic() -> Reporter:
    """A reporter that shows what happens where standard error is a terminal, or in a notebook; else a silent one.

    What the caller prints is not redirected.
    """
    terminal = sys.stderr is not None and not sys.stderr.closed and sys.stderr.isatty()
    if not terminal and "IPython" not in sys.modules:
        return Reporter()
    from rich.console import Console

    console = Console(stderr=True)
    if console.is_jupyter:
        bars = importlib.util.find_spec("ipywidgets") is not None
        if not bars:
            warnings.warn("progress bars in notebooks need ipywidgets: pip install ipywidgets", stacklevel=4)
        return Display(console, bars=bars)
    return Display(console, bars=console.is_terminal) if terminal else Reporter()


default: Callable[[], Reporter] = automatic  # what gives the reporter of a task that is called without one


def or_default(reporter: Reporter | None) -> Reporter:
    """The reporter that a task was given, or what `default` gives."""
    return default() if reporter is None else reporter


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


@contextmanager
def silenced(logger: str) -> Iterator[None]:
    """A context in which a library logs nothing but what is critical: what it raises is told by us."""
    log = logging.getLogger(logger)
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)
