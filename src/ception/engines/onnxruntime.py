"""Networks in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort

from ception.backends import cores
from ception.engines import Precision

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAME = f"onnxruntime {ort.__version__}"
_ERRORS = 3  # and what is worse; of warnings there are many that nobody can do anything about


class OnnxRuntimeEngine:
    """An ONNX model on this machine's CPU.

    Args:
        model: The model's file, or its bytes.
        precision: Numbers that it was written with.
    """

    def __init__(self, model: Path | bytes, precision: Precision) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = cores(), _ERRORS
        given = str(model) if isinstance(model, Path) else model
        session = ort.InferenceSession(given, options, providers=["CPUExecutionProvider"])
        (taken,) = session.get_inputs()
        self.name = NAME
        self.precision = precision
        self._taken, self._dtype = taken.name, np.uint8 if taken.type == "tensor(uint8)" else np.float32
        self._session: ort.InferenceSession | None = session
        self._lock = Lock()  # its threads are shared by all runs

    def run(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """As `Engine.run`."""
        with self._lock:
            if self._session is None:
                raise RuntimeError("the engine is closed")
            (result,) = self._session.run(None, {self._taken: np.ascontiguousarray(batch, self._dtype)})
            return np.asarray(result, np.float32)

    def close(self) -> None:
        """As `Engine.close`."""
        with self._lock:
            self._session = None
