"""Batches of one size, for which an engine is compiled once, whatever number of pictures there is."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ception.backends import ran_out_of_memory
from ception.engines import Engine
from ception.reporting import Reporter

if TYPE_CHECKING:
    from numpy.typing import NDArray

Batch = TypeVar("Batch")
Result = TypeVar("Result")


class BatchRunner:
    """Runs any number of inputs in batches of one size, the last one padded; of half of it where memory runs out.

    Args:
        engine: What runs them.
        batch_size: Inputs in a batch.
        reporter: Warned where the batches are halved.
        what: What is computed, for that warning.
    """

    def __init__(self, engine: Engine, batch_size: int, *, reporter: Reporter, what: str) -> None:
        self.engine = engine
        self.batch_size = batch_size
        self.reporter = reporter
        self._what = what

    def __call__(self, inputs: NDArray[Any]) -> NDArray[np.float32]:
        """The engine's output for at least one input, (inputs, ...)."""
        outputs: list[NDArray[np.float32]] = []
        done = 0
        while done < len(inputs):
            size = self.batch_size
            batch = inputs[done : done + size]
            try:
                outputs.append(self.engine.run(_padded(batch, size))[: len(batch)])
            except Exception as error:
                if not ran_out_of_memory(error) or size == 1:
                    raise
                self.batch_size = size // 2
                self.reporter.warn(f"memory ran out; {self._what} are computed {self.batch_size} at a time")
                continue
            done += len(batch)
        return outputs[0] if len(outputs) == 1 else np.concatenate(outputs)


def _padded(batch: NDArray[Any], size: int) -> NDArray[Any]:
    if len(batch) == size:
        return batch
    padded = np.zeros((size, *batch.shape[1:]), batch.dtype)
    padded[: len(batch)] = batch
    return padded


def one_ahead(compute: Callable[[Batch], Result], batches: Iterator[Batch]) -> Iterator[Result]:
    """What a function makes of each batch, in their order: a thread computes the next while the caller has the last.

    The batches themselves are asked for in the caller's thread. What fails is raised in its place, after all that came
    before it. Whoever ends early waits for no more than the batch that is computed.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="ception engine")
    computing: deque[Future[Result]] = deque()
    try:
        while True:
            try:
                computing.append(pool.submit(compute, next(batches)))
            except Exception as error:  # StopIteration, or there is no next one for another reason
                end = error
                break
            if len(computing) > 1:
                yield computing.popleft().result()
        while computing:
            yield computing.popleft().result()
        if not isinstance(end, StopIteration):
            raise end
    finally:
        pool.shutdown(cancel_futures=True)
