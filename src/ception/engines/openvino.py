"""Networks in OpenVINO, translated once and kept in the cache, from where they run without Keras."""

from __future__ import annotations

import tempfile
from functools import cache
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino as ov

from ception.backends import cores, threads
from ception.engines import Precision, keeping
from ception.engines.openvino_graph import graph_of
from ception.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ception.engines.operations import Operations

NAME = f"openvino {version('openvino')}"
_PRECISIONS: dict[Any, Precision] = {ov.Type.f32: "float32", ov.Type.bf16: "bfloat16"}
_HINTS: dict[Precision, str] = {"float32": "f32", "bfloat16": "bf16", "float16": "f32", "int8": "f32"}


@cache
def core() -> ov.Core:
    """The process's one OpenVINO, which lives as long as that.

    Each gives the thread that begins it a stack for signals, and takes it away when it ends. Where two end in the order
    in which they began, the thread keeps one that is gone, and the next Ctrl-C or SIGTERM ends the process.
    """
    return ov.Core()


class OpenVinoEngine:
    """A graph compiled for this machine's CPU.

    Args:
        graph: As `graph_of` gives it.
        precision: Numbers to compute with; None takes those that OpenVINO prefers on this machine. A graph with weights
            in float16 or int8 has its other numbers in float32.

    Raises:
        InputError: this processor has no bfloat16.
    """

    any_thread = True

    def __init__(self, graph: ov.Model, precision: Precision | None = None) -> None:
        options: dict[str, str | int] = {"PERFORMANCE_HINT": "LATENCY"}  # one batch at a time, on all cores
        if threads() < cores():
            options["INFERENCE_NUM_THREADS"] = threads()
            options["ENABLE_CPU_PINNING"] = False  # or every process would take the first cores
        if precision:
            if precision == "bfloat16" and "BF16" not in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
                raise InputError("this processor does not compute in bfloat16: take float32")
            options["INFERENCE_PRECISION_HINT"] = _HINTS[precision]
        compiled = core().compile_model(graph, "CPU", options)
        self.name = NAME
        computed = _PRECISIONS.get(compiled.get_property("INFERENCE_PRECISION_HINT"), "float32")
        self.precision: Precision = precision if precision in ("float16", "int8") else computed
        self._dtype = compiled.input(0).get_element_type().to_dtype()
        self._shape = [None if one.is_dynamic else one.get_length() for one in compiled.input(0).get_partial_shape()]
        self._request: ov.InferRequest | None = compiled.create_infer_request()
        self._lock = Lock()  # a request is busy as long as it runs

    def run(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """As `Engine.run`."""
        with self._lock:
            if self._request is None:
                raise RuntimeError("the engine is closed")
            if any(one not in (None, given) for one, given in zip(self._shape, batch.shape, strict=True)):
                raise ValueError(f"the graph takes {self._shape}, got {batch.shape}")  # which OpenVINO would compute
            result: NDArray[np.float32] = self._request.infer([np.ascontiguousarray(batch, self._dtype)])[0].copy()
            return result

    def close(self) -> None:
        """As `Engine.close`."""
        with self._lock:
            self._request = None


def translated(network: Operations) -> ov.Model:
    """The network as a graph."""
    return graph_of(network)


def opened(graph: ov.Model, precision: Precision | None) -> OpenVinoEngine:
    """The graph, ready to run."""
    return OpenVinoEngine(graph, precision)


def keep(graph: ov.Model, identity: str, *, limit_gb: float) -> None:
    """Put a translated network into the cache, as `keeping.keep` does.

    Raises:
        RunError: the cache cannot be written.
    """
    with tempfile.TemporaryDirectory() as folder:
        xml, weights = Path(folder) / "graph.xml", Path(folder) / "graph.bin"
        ov.serialize(graph, xml, weights)
        keeping.keep([xml.read_bytes(), weights.read_bytes()], NAME, identity, limit_gb=limit_gb)


def kept(identity: str) -> ov.Model | None:
    """The graph that was kept under an identity; None where there is none, or it is damaged."""
    parts = keeping.kept(2, NAME, identity)
    return core().read_model(parts[0].tobytes(), ov.Tensor(np.array(parts[1]))) if parts else None


def read(path: Path) -> ov.Model:
    """The graph in an .xml file, beside which its numbers lie."""
    return core().read_model(path)
