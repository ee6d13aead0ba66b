"""Pictures of many requests in one batch: whatever came while the last batch was computed is the next one."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ception.engines import Engine

_LOG = logging.getLogger("ception.serving")
_Waiting = tuple["NDArray[np.uint8]", "Future[NDArray[np.float32]]"]


def sizes_up_to(most: int) -> list[int]:
    """The sizes of batches that are computed: powers of two, and the largest itself."""
    return sorted({*(1 << power for power in range(most.bit_length()) if 1 << power <= most), most})


class FailedError(Exception):
    """The engine failed, or what runs it."""


class Batcher:
    """Runs single pictures in batches, in a thread of its own.

    No picture waits for others: a batch is what has come by the time that the engine is free, or so many of it as one
    of a few sizes takes. Engines prepare themselves for each size, and to fill a larger one up would cost as much as
    pictures do. Whatever fails, each picture that was taken gets an answer; `broken` says so until a batch succeeds.

    Args:
        engine: What computes them.
        shape: (height, width, channels) of a picture.
        most: Pictures in a batch.
        observe: Told how many pictures a batch had.
    """

    def __init__(
        self, engine: Engine, shape: tuple[int, ...], most: int, observe: Callable[[int], Any] = lambda size: None
    ) -> None:
        self._engine, self._most, self._observe, self._sizes = engine, most, observe, sizes_up_to(most)
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._closed, self._ended, self._lock, self.broken = False, False, Lock(), False
        self._taken: list[_Waiting] = []
        for size in self._sizes:  # what is slow the first time is not left to the first who asks
            engine.run(np.zeros((size, *shape), np.uint8))
        self._thread = Thread(target=self._work, name="ception batches", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many pictures wait for a batch."""
        return self._queue.qsize()

    def submit(self, pixels: NDArray[np.uint8]) -> Future[NDArray[np.float32]]:
        """The logits of a picture (height, width, channels), (classes,), when they are there.

        Raises:
            RuntimeError: it was closed.
        """
        with self._lock:
            if self._closed:
                raise RuntimeError("the model is no longer served")
            future: Future[NDArray[np.float32]] = Future()
            self._queue.put((pixels, future))
            return future

    def close(self) -> None:
        """Answer what is waiting, then end; nothing more is taken."""
        with self._lock:
            if self._ended:
                return
            self._ended = self._closed = True
            self._queue.put(None)
        self._thread.join()
        try:
            self._engine.close()
        except Exception:  # it may be what failed
            _LOG.exception("the engine could not be closed")

    def _work(self) -> None:
        """Answer until it is closed; if that ends otherwise, say so to all that wait."""
        try:
            self._answer_batches()
        except BaseException:  # else nobody would hear of it
            _LOG.exception("the thread that runs batches ended")
            with self._lock:
                self._closed = self.broken = True
            while not self._queue.empty():
                if (item := self._queue.get()) is not None:
                    self._taken.append(item)
            for _, future in self._taken:
                if not future.done():
                    future.set_exception(FailedError())

    def _answer_batches(self) -> None:
        open_ = True
        while open_ or self._taken:
            open_ = open_ and self._take()
            if self._taken:
                size = max(size for size in self._sizes if size <= len(self._taken))
                self._answer(self._taken[:size])
                self._taken = self._taken[size:]

    def _take(self) -> bool:
        """Take what waits, as much as a batch holds; False if nothing more will come."""
        while len(self._taken) < self._most:
            try:
                item = self._queue.get(block=not self._taken)
            except Empty:
                return True
            if item is None:
                return False
            if item[1].set_running_or_notify_cancel():
                self._taken.append(item)
        return True

    def _answer(self, batch: list[_Waiting]) -> None:
        """Compute a batch; what goes wrong is the answer to each of its pictures."""
        try:
            self._observe(len(batch))
            logits = self._engine.run(np.stack([picture for picture, _ in batch]))
        except BaseException:  # also what would end this thread: nobody shall wait in vain
            _LOG.exception("the engine failed")
            self.broken = True
            for _, future in batch:
                future.set_exception(FailedError())
            return
        self.broken = False
        for row, (_, future) in enumerate(batch):
            if np.isfinite(logits[row]).all():
                future.set_result(logits[row])
            else:  # damaged weights, or too large for the precision
                future.set_exception(FailedError())
