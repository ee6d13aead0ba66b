"""Several processes that carry out one training: where one stands among them, and what they do together.

Each process runs the same code on its share of every batch. What a machine or a moment decides is decided by the first,
which also writes the run's folder and tells what happens. A process alone imports nothing for it.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from ception import backends
from ception.distributed.places import Place as Place
from ception.distributed.places import place_of as place_of
from ception.distributed.team import ALONE as ALONE
from ception.distributed.team import LostError as LostError
from ception.distributed.team import Team as Team
from ception.distributed.team import ToldElsewhereError as ToldElsewhereError
from ception.errors import InputError
from ception.reporting import Reporter

if TYPE_CHECKING:
    from ception.distributed.team import Several


class Silent(Reporter):
    """Says nothing at all: the first process tells what happens."""

    def warn(self, text: str) -> None:
        """Nothing: the first process is warned of the same."""


def is_first() -> bool:
    """Whether this process is alone, or the one of several that tells what happens."""
    try:
        place = place_of()
    except InputError:  # told by whatever asks for the place
        return True
    return place is None or place.index == 0


@contextmanager
def joined(backend: Callable[[], str | None], reporter: Reporter) -> Iterator[tuple[Team, Reporter]]:
    """The processes that this one carries out a training with, and who tells of it here.

    Args:
        backend: Gives Keras's backend, as for `backends.choose`; not asked where a process is alone.
        reporter: Of the first process.

    Raises:
        InputError: the backend cannot train in several processes.
        RunError: the processes do not come together, or one is gone before they part.
    """
    place = place_of()
    if place is None:
        yield ALONE, reporter
        return
    reporter = Silent() if place.index else reporter
    team = _joined(place, backend(), reporter)
    with _ended_by_launcher(team):
        try:
            yield team, reporter
        except BaseException:
            with suppress(LostError):  # there is something else to tell
                team.close()
            raise
        team.close()


def require_several(backend: str) -> str:
    """The backend, if several processes can train together on it.

    Raises:
        InputError: they cannot.
    """
    if backend == "tensorflow":
        raise InputError("several processes train together with --backend torch or jax, not with tensorflow")
    return backend


def _joined(place: Place, backend: str | None, reporter: Reporter) -> Several:
    try:
        name = require_several(backends.choose(backend))
    except InputError as error:
        raise (ToldElsewhereError(str(error)) if place.index else error) from None
    reporter.note(f"{place.count} processes train together on {name} ...")
    if name == "jax":  # before anything is computed, as importing Keras may
        from ception.distributed.jax import join as join_on_jax

        return join_on_jax(place)
    backends.start(name)
    from ception.distributed.torch import join

    return join(place)


@contextmanager
def _ended_by_launcher(team: Several) -> Iterator[None]:
    """A context in which the signal that launchers send when a process has died ends this one with its own words."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(*_: Any) -> None:
        if not team.is_over:
            raise team.lost("ended by SIGTERM, as launchers do where another process of the training has died")

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
