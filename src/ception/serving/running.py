"""The server's process: told to end, it finishes what is at work."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn


class Server(uvicorn.Server):
    """uvicorn's, which SIGTERM and Ctrl-C end without ending the process, too."""

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
