"""The two errors a user meets: something in the input is wrong, or a run failed."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable


class InputError(ValueError):
    """Wrong input: the message names the thing, what is allowed and what to do. One line; exit code 2."""


class RunError(Exception):
    """A run that could not reach its end, for instance a loss that became NaN. One line; exit code 1."""


def reason(error: OSError) -> str:
    """The operating system's words for an error, without number and path: `Permission denied`."""
    return error.strerror or type(error).__name__


def meant(name: str, known_names: Iterable[str]) -> str:
    """A clause that asks whether the nearest known name was meant, `; did you mean 'a'?`; empty if none is near.

    Of paths in the same folder the names there are compared.
    """
    folder = os.path.join(os.path.dirname(name), "")
    known = {one.removeprefix(folder): one for one in known_names}
    close = [known[one] for one in difflib.get_close_matches(name.removeprefix(folder), known, n=2, cutoff=0.6)]
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else ""


def nearest(name: str, known_names: Iterable[str]) -> str:
    """A clause that names the nearest of the known names, and all: `did you mean 'a'? (known: a, b)`; else empty."""
    names = list(known_names)
    if not names:
        return ""
    close = difflib.get_close_matches(name, names, n=2, cutoff=0.5)
    known = f"known: {', '.join(names)}"
    return f"did you mean {' or '.join(repr(match) for match in close)}? ({known})" if close else known
