"""Networks in ONNX Runtime, translated once and kept in the cache, from where they run without Keras."""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort

from ception.backends import threads
from ception.engines import Precision, keeping
from ception.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ception.engines.operations import Operations

NAME = f"onnxruntime {ort.__version__}"
_ERRORS = 3  # and what is worse; of warnings there are many that nobody can do anything about


class OnnxRuntimeEngine:
    """An ONNX model on this machine's CPU.

    Args:
        model: The model's file, or its bytes.
        precision: Numbers that it was written with.
    """

    any_thread = True

    def __init__(self, model: Path | bytes, precision: Precision) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads(), _ERRORS
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


def translated(network: Operations) -> bytes:
    """The network as an ONNX model."""
    from ception.engines.onnx_graph import model_of

    written: bytes = model_of(network).SerializeToString()
    return written


def opened(model: bytes, precision: Precision | None) -> OnnxRuntimeEngine:
    """A translated network, ready to run.

    Raises:
        InputError: another precision than float32 is asked for.
    """
    if precision not in (None, "float32"):
        raise InputError(f"ONNX Runtime does not compute in {precision} on this processor: take float32")
    return OnnxRuntimeEngine(model, "float32")


def keep(model: bytes, identity: str, *, limit_gb: float) -> None:
    """Put a translated network into the cache, as `keeping.keep` does.

    Raises:
        RunError: the cache cannot be written.
    """
    keeping.keep([model], NAME, identity, limit_gb=limit_gb)


def kept(identity: str) -> bytes | None:
    """The model that was kept under an identity; None where there is none, or it is damaged."""
    parts = keeping.kept(1, NAME, identity)
    return parts[0].tobytes() if parts else None
