"""What a task shows when it is called without a reporter: in a terminal, in a notebook, elsewhere."""

from __future__ import annotations

import builtins
import importlib.util
import io
import re
import sys
import types
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

import ception
from ception import reporting
from ception.cli.terminal import terminal as of_command
from ception.reporting import Display, Reporter, automatic, duration
from support.pictures import write_pictures
from support.reporters import Notes


class FakeTerminal(io.StringIO):
    """Text that takes itself for a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def at_terminal(monkeypatch) -> Callable[[], FakeTerminal]:
    """Makes standard error a terminal, and gives it; to be called in the test, since pytest sets the stream before."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")

    def start() -> FakeTerminal:
        stream = FakeTerminal()
        monkeypatch.setattr(sys, "stderr", stream)
        return stream

    return start


@pytest.fixture
def notebook(monkeypatch) -> list[str]:
    """A process as Jupyter's kernel has it, whose shown texts are kept in the list."""
    shown: list[str] = []

    class ZMQInteractiveShell:
        """Named as the kernel's shell, which rich asks for."""

    def display(*values: object, **_: object) -> None:
        shown.extend(
            str(value._repr_mimebundle_([], [])["text/plain"])
            for value in values
            if hasattr(value, "_repr_mimebundle_")
        )

    module, part = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    part.display = display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", module)
    monkeypatch.setitem(sys.modules, "IPython.display", part)
    monkeypatch.setattr(builtins, "get_ipython", ZMQInteractiveShell, raising=False)
    return shown


@pytest.fixture
def colours(tmp_path) -> Path:
    return write_pictures(tmp_path / "d", {"red": 12, "blue": 12})


class TestInATerminal:
    def test_training_and_the_other_tasks_show_notes_and_bars(self, at_terminal, colours, tmp_path):
        terminal = at_terminal()
        streams = sys.stdout, sys.stderr
        run = ception.train(
            colours, model="separable_cnn", epochs=2, batch_size=4, image_size=8, runs=tmp_path / "runs"
        )
        said = terminal.getvalue()
        assert f"Run folder: {run.folder}" in said
        assert re.search("Training [^o][^\n]*━", said)
        assert re.search("Evaluating [^\n]*━", said)
        for task, bar in (
            (lambda: ception.evaluate(run.folder, colours, split="all"), "Evaluating"),
            (lambda: ception.predict(run.folder, colours), "Predicting"),
            (lambda: ception.check(colours, out=tmp_path / "page.html"), "Checking"),
        ):
            before = len(terminal.getvalue())
            task()
            assert re.search(f"{bar} [^\n]*━", terminal.getvalue()[before:])
        assert (sys.stdout, sys.stderr) == streams
        assert terminal.getvalue().rindex("\x1b[?25h") > terminal.getvalue().rindex("\x1b[?25l")  # the cursor is back

    def test_warnings_are_shown(self, at_terminal):
        terminal = at_terminal()
        reporter = automatic()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            reporter.warn("mind [this]")
        assert "warning: mind [this]" in terminal.getvalue()

    def test_one_line_makes_all_silent(self, at_terminal, colours, tmp_path, monkeypatch):
        terminal = at_terminal()
        monkeypatch.setattr(ception.reporting, "default", ception.Reporter)
        ception.check(colours, out=tmp_path / "page.html")
        assert terminal.getvalue() == ""

    def test_a_reporter_that_is_given_is_taken(self, at_terminal, colours, tmp_path):
        terminal = at_terminal()
        ception.check(colours, out=tmp_path / "page.html", reporter=ception.Reporter())
        notes = Notes()
        run = ception.train(
            colours, model="separable_cnn", epochs=1, image_size=8, runs=tmp_path / "runs", reporter=notes
        )
        assert f"Run folder: {run.folder}" in notes.notes
        assert terminal.getvalue() == ""

    def test_what_the_caller_prints_is_not_redirected(self, at_terminal, monkeypatch):
        terminal = at_terminal()
        out = FakeTerminal()
        monkeypatch.setattr(sys, "stdout", out)
        with automatic().task("Working", 3):
            assert (sys.stdout, sys.stderr) == (out, terminal)
            sys.stdout.write("mine\n")
        assert out.getvalue() == "mine\n"
        assert "Working" in terminal.getvalue()

    def test_what_a_command_prints_into_a_file_is_not_shown_above_its_bar(self, at_terminal, monkeypatch):
        shown = at_terminal()
        out = io.StringIO()
        monkeypatch.setattr(sys, "stdout", out)
        with of_command(quiet=False) as reporter, reporter.task("Predicting", 3) as task:
            for name in ("a.png", "b.png", "c.png"):
                reporter.line(f"{name}: red 90.0%")
                task.advance()
        assert out.getvalue() == "a.png: red 90.0%\nb.png: red 90.0%\nc.png: red 90.0%\n"
        assert re.search("Predicting [^\n]*━", shown.getvalue())
        assert "a.png" not in shown.getvalue()

    def test_what_a_command_prints_to_the_terminal_is_shown_above_its_bar(self, at_terminal, monkeypatch):
        shown = at_terminal()
        monkeypatch.setattr(sys, "stdout", FakeTerminal())
        with of_command(quiet=False) as reporter, reporter.task("Predicting", 3):
            reporter.line("a.png: red 90.0%")
            sys.stdout.write("plainly\n")
        assert re.search("a.png: red 90.0%.*━.*plainly.*━", shown.getvalue(), re.DOTALL)

    def test_bars_end_with_the_last_task_and_when_one_fails(self, at_terminal):
        terminal = at_terminal()
        display = automatic()
        assert isinstance(display, Display)
        with display.task("one", 3) as one:
            with display.task("two", 3):
                assert display.busy
            assert display.busy
            one.advance()
        assert not display.busy
        assert re.search("one [^\n]*━", terminal.getvalue())
        with pytest.raises(KeyError), display.task("one", 3):
            raise KeyError
        assert not display.busy

    def test_a_single_step_has_no_bar(self, at_terminal):
        terminal = at_terminal()
        with automatic().task("one", 1) as task:
            task.advance()
        assert terminal.getvalue() == ""


class TestElsewhere:
    def test_a_command_says_every_half_minute_how_far_it_is(self, monkeypatch):
        stream, clock = io.StringIO(), [0.0]
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setattr("ception.reporting.time.monotonic", lambda: clock[0])
        for quiet in (False, True):
            with of_command(quiet) as reporter, reporter.task("Predicting", 9000) as task:
                for _ in range(9):
                    clock[0] += 11
                    task.advance(1000, "loss 0.41" if clock[0] == 55 else "")
        assert stream.getvalue().splitlines() == [
            "Predicting: 3,000 of 9,000 after 33 s", "Predicting: 6,000 of 9,000 after 1 min 06 s  loss 0.41",
        ]  # fmt: skip

    @pytest.mark.parametrize("forced", [False, True])
    def test_nothing_is_shown_and_warnings_are_pythons(self, monkeypatch, colours, tmp_path, forced):
        stream = io.StringIO()
        monkeypatch.setattr(sys, "stderr", stream)
        if forced:
            monkeypatch.setenv("FORCE_COLOR", "1")
        assert type(automatic()) is Reporter
        ception.check(colours, out=tmp_path / "page.html")
        assert stream.getvalue() == ""
        with pytest.warns(UserWarning, match="mind"):
            automatic().warn("mind")

    def test_without_a_standard_error(self, monkeypatch):
        monkeypatch.setattr(sys, "stderr", None)
        assert type(automatic()) is Reporter
        closed = io.StringIO()
        closed.close()
        monkeypatch.setattr(sys, "stderr", closed)
        assert type(automatic()) is Reporter

    def test_ipython_without_a_notebook_or_terminal_is_none(self, notebook, monkeypatch):
        monkeypatch.delattr(builtins, "get_ipython")
        assert type(automatic()) is Reporter


class TestInANotebook:
    def test_notes_and_bars_are_shown_in_the_cell(self, notebook, monkeypatch, capsys):
        class Output:
            """A widget into which a context shows, as ipywidgets has it."""

            closed = 0

            def __enter__(self) -> None:
                pass

            def __exit__(self, *_: object) -> None:
                pass

            def clear_output(self, wait: bool = False) -> None:
                pass

            def close(self) -> None:
                Output.closed += 1

        widgets = types.ModuleType("ipywidgets")
        widgets.Output = Output  # type: ignore[attr-defined]
        widgets.__spec__ = importlib.util.spec_from_loader("ipywidgets", None)
        monkeypatch.setitem(sys.modules, "ipywidgets", widgets)
        reporter = automatic()
        reporter.note("a fact")
        for label in ("Working", "Again"):
            with reporter.task(label, 3) as task:
                task.advance()
        text = "".join(notebook)
        assert "a fact" in text
        assert "Working" in text
        assert "Again" in text
        assert Output.closed == 2
        assert capsys.readouterr() == ("", "")

    def test_without_widgets_the_notes_are_shown_and_what_is_lacking_is_told(self, notebook, monkeypatch):
        monkeypatch.setitem(sys.modules, "ipywidgets", None)
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.warns(UserWarning, match="pip install ipywidgets"):
            reporter = automatic()
        reporter.note("a fact")
        with reporter.task("Working", 3) as task:
            task.advance()
        assert "a fact" in "".join(notebook)
        assert "Working" not in "".join(notebook)


def test_the_default_is_public():
    assert ception.reporting is reporting
    assert reporting.default is automatic


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s"), (3900, "1 h 05 min")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text
