"""Networks in LiteRT, on its kernels for CPUs (XNNPACK)."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from ception import backends
from ception.engines import Precision

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAME = f"litert {version('ai-edge-litert')}"


class LiteRtEngine:
    """A model of LiteRT on this machine's CPU, on all its cores.

    LiteRT runs its own operations alone, none of which opens a file.

    Args:
        model: The model's file, or its bytes.
        precision: Numbers that it was written with.
    """

    any_thread = True

    def __init__(self, model: Path | bytes, precision: Precision) -> None:
        given = {"model_path": str(model)} if isinstance(model, Path) else {"model_content": model}
        with backends.importing():
            interpreter = Interpreter(**given, num_threads=backends.threads())
            interpreter.allocate_tensors()
        (taken,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()
        self.name = NAME
        self.precision = precision
        self._taken, self._result, self._dtype = taken["index"], result["index"], taken["dtype"]
        self._shape = tuple(taken["shape"])
        self._interpreter: Any = interpreter
        self._lock = Lock()  # it holds one batch

    def run(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """As `Engine.run`."""
        with self._lock:
            if self._interpreter is None:
                raise RuntimeError("the engine is closed")
            if batch.shape != self._shape:
                self._interpreter.resize_tensor_input(self._taken, batch.shape)
                self._interpreter.allocate_tensors()
                self._shape = batch.shape
            self._interpreter.set_tensor(self._taken, np.ascontiguousarray(batch, self._dtype))
            self._interpreter.invoke()
            return np.asarray(self._interpreter.get_tensor(self._result), np.float32)

    def close(self) -> None:
        """As `Engine.close`."""
        with self._lock:
            self._interpreter = None
