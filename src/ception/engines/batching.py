"""Batches of one size, for which an engine is compiled once, whatever number of pictures there is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ception.backends import ran_out_of_memory
from ception.engines import Engine
from ception.reporting import Reporter

if TYPE_CHECKING:
    from numpy.typing import NDArray


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
            batch = inputs[done : done + self.batch_size]
            try:
                outputs.append(self.engine.run(self._padded(batch))[: len(batch)])
            except Exception as error:
                if not ran_out_of_memory(error) or self.batch_size == 1:
                    raise
                self.batch_size //= 2
                self.reporter.warn(f"memory ran out; {self._what} are computed {self.batch_size} at a time")
                continue
            done += len(batch)
        return outputs[0] if len(outputs) == 1 else np.concatenate(outputs)

    def _padded(self, batch: NDArray[Any]) -> NDArray[Any]:
        if len(batch) == self.batch_size:
            return batch
        padded = np.zeros((self.batch_size, *batch.shape[1:]), batch.dtype)
        padded[: len(batch)] = batch
        return padded
