"""Networks in OpenVINO, translated once and kept in the cache, from where they run without Keras."""

from __future__ import annotations

import hashlib
import os
import struct
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino as ov

from ception.data import cache
from ception.engines import Precision
from ception.errors import InputError
from ception.files import cache_folder

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAME = f"openvino {version('openvino')}"
_PRECISIONS: dict[Any, Precision] = {ov.Type.f32: "float32", ov.Type.bf16: "bfloat16"}
_HINTS: dict[Precision, str] = {"float32": "f32", "bfloat16": "bf16", "float16": "f32", "int8": "f32"}
_TRANSLATION = b"2"  # changes with what `operations` and `openvino_graph` compute
_MAGIC = b"ception engine 1\n"  # then the lengths of graph and weights, a digest of both, both
_DIGEST = 16


class OpenVinoEngine:
    """A graph compiled for this machine's CPU.

    Args:
        graph: As `graph_of` gives it.
        precision: Numbers to compute with; None takes those that OpenVINO prefers on this machine. A graph with weights
            in float16 or int8 has its other numbers in float32.

    Raises:
        InputError: this processor has no bfloat16.
    """

    def __init__(self, graph: ov.Model, precision: Precision | None = None) -> None:
        core = ov.Core()
        options = {"PERFORMANCE_HINT": "LATENCY"}  # one batch at a time, on all cores
        if precision:
            if precision == "bfloat16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
                raise InputError("this processor does not compute in bfloat16: take float32")
            options["INFERENCE_PRECISION_HINT"] = _HINTS[precision]
        compiled = core.compile_model(graph, "CPU", options)
        self.name = NAME
        computed = _PRECISIONS.get(compiled.get_property("INFERENCE_PRECISION_HINT"), "float32")
        self.precision: Precision = precision if precision in ("float16", "int8") else computed
        self._dtype = compiled.input(0).get_element_type().to_dtype()
        self._request: ov.InferRequest | None = compiled.create_infer_request()
        self._lock = Lock()  # a request is busy as long as it runs

    def run(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """As `Engine.run`."""
        with self._lock:
            if self._request is None:
                raise RuntimeError("the engine is closed")
            result: NDArray[np.float32] = self._request.infer([np.ascontiguousarray(batch, self._dtype)])[0].copy()
            return result

    def close(self) -> None:
        """As `Engine.close`."""
        with self._lock:
            self._request = None


def keep(graph: ov.Model, identity: str, *, limit_gb: float) -> None:
    """Put a translated network into the cache, under what it was translated from.

    Args:
        graph: As `graph_of` gives it.
        identity: What it follows from: a digest of the model file.
        limit_gb: Most that the cache folder may hold, in GB; a larger graph is not kept.

    Raises:
        RunError: the cache cannot be written.
    """
    with tempfile.TemporaryDirectory() as folder:
        xml, weights = Path(folder) / "graph.xml", Path(folder) / "graph.bin"
        ov.serialize(graph, xml, weights)
        parts = [xml.read_bytes(), weights.read_bytes()]
    head = struct.pack("<2Q", *map(len, parts)) + _digest(parts)
    size = len(_MAGIC) + len(head) + sum(map(len, parts))
    if not cache.fits(size, limit_gb):
        return
    with cache.writing(_name(identity), size, limit_gb) as target, target.open("wb") as file:
        file.writelines([_MAGIC, head, *parts])


def kept(identity: str) -> ov.Model | None:
    """The graph that was kept under an identity; None where there is none, or it is damaged.

    Args:
        identity: As for `keep`.
    """
    path = cache_folder() / _name(identity)
    try:
        content = np.memmap(path, np.uint8, "r")
        with suppress(OSError):  # it may be another user's
            os.utime(path)
        start = len(_MAGIC) + 16 + _DIGEST
        head = content[:start].tobytes()
        lengths = struct.unpack_from("<2Q", head, len(_MAGIC))
        parts = [content[start : start + lengths[0]], content[start + lengths[0] :]]
        if not head.startswith(_MAGIC) or len(parts[1]) != lengths[1] or _digest(parts) != head[-_DIGEST:]:
            return None
    except (OSError, ValueError, struct.error):  # not there, empty, or cut off
        return None
    return ov.Core().read_model(parts[0].tobytes(), ov.Tensor(np.array(parts[1])))


def read(path: Path) -> ov.Model:
    """The graph in an .xml file, beside which its numbers lie."""
    return ov.Core().read_model(path)


def _name(identity: str) -> str:
    """The file's name, which follows from all that the graph depends on."""
    return f"engine-{cache.digest(identity.encode(), NAME.encode(), _TRANSLATION)}.bin"


def _digest(parts: Iterable[Any]) -> bytes:
    digest = hashlib.blake2b(digest_size=_DIGEST)
    for part in parts:
        digest.update(part)
    return digest.digest()
