"""The server's process: told to end, it finishes what is at work."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from ception.errors import RunError
from ception.reporting import silenced
from ception.serving.connections import Connection, State

_LONGEST_HEADERS = 32 << 10  # bytes
_IDLE_S = 15  # seconds that a head may take to come, and an answer to be read


class Server(uvicorn.Server):
    """uvicorn's, which SIGTERM and Ctrl-C end without ending the process, too.

    Args:
        app: What answers.
        seconds: That an answer may take.
    """

    def __init__(self, app: Any, seconds: float) -> None:
        super().__init__(
            uvicorn.Config(
                app, log_config=None, log_level="error", access_log=False, server_header=False,
                timeout_keep_alive=_IDLE_S, timeout_graceful_shutdown=int(seconds) + 1,
                h11_max_incomplete_event_size=_LONGEST_HEADERS, http=Connection, ws="none",
            )
        )  # fmt: skip
        self.server_state: State = State()
        self._failure: str | None = None

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End, with an answer to each request that was sent."""
        self.server_state.ending = True
        await super().shutdown(sockets)

    def fail(self, why: str) -> None:
        """End as a failure, once what is at work is answered."""
        self._failure, self.should_exit = why, True

    def answer(self, listening: socket.socket) -> None:
        """Answer what comes until it is told to end.

        Raises:
            RunError: it could not go on.
        """
        with silenced("python_multipart"):  # what is wrong with a form is told to who sent it
            self.run(sockets=[listening])
        if self._failure is not None:
            raise RunError(self._failure)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Listen to the signals as long as the context lasts; uvicorn's own would die of the one that it has obeyed."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {told: signal.signal(told, self.handle_exit) for told in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for told, handler in before.items():
                signal.signal(told, handler)
