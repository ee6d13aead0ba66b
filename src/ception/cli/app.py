"""The application that the commands join, what their signatures share, and `main`."""

from __future__ import annotations

import inspect
import io
import logging
import os
import re
import shlex
import sys
import warnings
from contextlib import redirect_stdout
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import cyclopts
from cyclopts import Parameter

from ception import backends
from ception.cli.terminal import complain, muted, quoted
from ception.distributed import ToldElsewhereError, is_first
from ception.errors import InputError, RunError, reason
from ception.settings import TRAIN_GROUPS, EngineSettings
from ception.validation import RENAMED
from ception.values import flag

if TYPE_CHECKING:
    from cyclopts.help import HelpPanel
    from rich.console import Console, ConsoleOptions


def _shared_last(console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
    """Show help that ends with what commands share: what they compute with, and what may be kept."""
    from cyclopts.help import DefaultFormatter

    shared = {flag(field.name) for field in fields(EngineSettings)}
    entries = sorted(panel.entries, key=lambda entry: not shared.isdisjoint(entry.positive_names))
    DefaultFormatter()(console, options, panel.copy(entries=entries))


def _in_groups(console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
    """Show a training's help in groups, the basic options first."""
    from cyclopts.help import DefaultFormatter

    group_of = {flag(name): title for title, names in TRAIN_GROUPS.items() for name in names}
    for title in ("Basics", *TRAIN_GROUPS):
        entries = [
            entry for entry in panel.entries
            if title == next((group_of[name] for name in entry.positive_names if name in group_of), "Basics")
        ]  # fmt: skip
        DefaultFormatter()(console, options, panel.copy(title=title, entries=entries))


def _version() -> str:
    """What `--version` shows; what is installed is looked up only then."""
    from ception.diagnosis import what_runs

    return what_runs()


app = cyclopts.App(
    name="ception",
    version=_version,
    version_format="plaintext",
    help="From a folder of pictures to a classifier with the Inception to Xception family.\n\nStart with: ception demo",
    version_flags=("--version", "-V"),
    suppress_keyboard_interrupt=False,
    group_parameters=cyclopts.Group("Parameters", help_formatter=_shared_last),
    help_epilogue="Exit codes: 0 done, 2 wrong input or usage, 1 a run that failed or faults that check found, "
    "130 stopped by Ctrl-C.",
)
TRAINING = cyclopts.Group("Parameters", help_formatter=_in_groups)
Flat = Parameter(name="*")
Quiet = Annotated[bool, Parameter(name="--quiet", negative="", help="Show warnings and the result only.")]
Verbose = Annotated[
    bool, Parameter(name="--verbose", negative="", help="Also show what each phase trains, and how it is computed.")
]
AsJson = Annotated[
    bool, Parameter(name="--json", negative="", help="Write JSON to standard output, all else to standard error.")
]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # whatever the terminal's encoding
    warnings.filterwarnings("ignore", message="Glyph .* missing from")  # a letter that Matplotlib's font lacks
    warnings.filterwarnings("ignore", module="PIL")  # what is wrong with a picture is told in our words
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    backends.importing = muted
    backends.downloading = lambda: redirect_stdout(sys.stderr)
    try:
        result = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except cyclopts.CycloptsError as error:
        chain = [name for name in error.command_chain or () if name in app]
        said = _renamed(error, chain) or _in_words(error) or re.sub(r"^\w+Error ", "", " ".join(str(error).split()))
        _complain_once(f"{said}  See: {' '.join(['ception', *chain])} --help")
        return 2
    except InputError as error:
        _complain_once(str(error))
        return 2
    except RunError as error:
        if not isinstance(error, ToldElsewhereError):
            complain(str(error))
        return 1
    except KeyboardInterrupt as interrupt:
        command = shlex.join(["ception", *(sys.argv[1:] if arguments is None else arguments)])
        _complain_once(f"stopped by Ctrl-C; {str(interrupt) or f'to begin again: {command}'}")
        return 130
    except BrokenPipeError:  # the reader of our output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # wherever a disk is full or a folder goes away
        complain(f"{error.filename or 'a file'} cannot be used: {reason(error)}")
        return 1


def _complain_once(text: str) -> None:
    """Tell what is wrong with what was asked for, which it is in each of several processes."""
    if is_first():
        complain(text)


@app.command(name="help")
def show_help(*command: str) -> int:
    """Show this page, or that of a command."""
    app([*command, "--help"], exit_on_error=False, print_error=False, result_action="return_value")
    return 0


@app.command(name="--install-completion")
def install_completion(*, shell: Annotated[Literal["bash", "zsh", "fish", "powershell"] | None, Parameter(
    help="The shell; the one that runs this when not given.")] = None) -> int:  # fmt: skip
    """Let the shell complete commands and options. What the shell reads at its start is not changed."""
    from cyclopts.completion.detect import ShellDetectionError, detect_shell

    try:
        shell = shell or detect_shell()
    except ShellDetectionError:
        raise InputError("the shell cannot be told: name it with --shell bash, zsh, fish or powershell") from None
    script = app.install_completion(shell=shell, add_to_startup=False)
    print(f"Completion for {shell} in {script}")
    line = {"zsh": f"fpath=({quoted(script.parent)} $fpath); autoload -Uz compinit; compinit",
            "powershell": f". '{script}'"}.get(shell)  # fmt: skip
    if line:
        print(f"Add this line to {'~/.zshrc' if shell == 'zsh' else '$PROFILE'}: {line}")
    else:
        print("It is loaded by every new shell" + (", by bash-completion 2.8 or later" if shell == "bash" else ""))
    return 0


def options_of(settings: Any) -> dict[str, Any]:
    """The settings as keyword arguments of the library's function."""
    return {field.name: getattr(settings, field.name) for field in fields(settings)}


def require_order(command: str, model: Path, *data: str) -> None:
    """Refuse a model and data that stand in each other's place.

    Raises:
        InputError: they do.
    """
    from ception.model_file import model_file

    if data and model.exists() and model_file(model).suffix != ".keras" and model_file(data[0]).suffix == ".keras":
        raise InputError(f"the model comes first: ception {command} {quoted(Path(data[0]))} {quoted(model)}")


def _in_words(error: cyclopts.CycloptsError) -> str | None:
    """What is wrong where the parser's words would leave a person alone; None where they do not."""
    if isinstance(error, cyclopts.UnusedCliTokensError):
        extra = ", ".join(f"'{token}'" for token in error.unused_tokens or ())
        return f"too many arguments: {extra}"
    if isinstance(error, cyclopts.UnknownOptionError):
        given = error.token.keyword or error.token.value
        everywhere = get_close_matches(given, ("--help", "--version"), n=1, cutoff=0.7)
        return f"Unknown option: {given}. Did you mean {everywhere[0]}?" if everywhere else None
    return None


def _renamed(error: cyclopts.CycloptsError, chain: list[str]) -> str | None:
    """What the unknown option of a command is called now; None where it never was an option of that command."""
    command = app[chain[0]].default_command if chain else None
    if command is None or not isinstance(error, cyclopts.UnknownOptionError):
        return None
    settings = inspect.signature(command).parameters.get("settings")
    renamed = RENAMED.get(type(settings.default), {}) if settings else {}
    names = {flag(old): flag(new) for old, new in renamed.items()}
    given = (error.token.keyword or error.token.value).partition("=")[0]
    return f"{given} is called {names[given]} now" if given in names else None
