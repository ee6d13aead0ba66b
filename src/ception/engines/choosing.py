"""Which engine is the fastest: OpenVINO where it is installed and knows every layer, unless a measurement says else."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from ception import backends, measuring
from ception.engines import Engine, Precision
from ception.errors import InputError, RunError
from ception.reporting import Reporter
from ception.settings import EngineName

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

_WORTH_MEASURING_S = 30.0  # a job that takes OpenVINO longer has time to try Keras's backend, too
_MEASURED = 8  # pictures of a measurement


@dataclass(frozen=True)
class Runnable:
    """A network that may have to be built before it runs.

    Attributes:
        name: What it is called.
        shape: (height, width, channels) of its input.
        network: Builds it in a precision, importing Keras.
        identity: Digest of all that its outputs follow from, under which a translation is kept; None keeps none.
        architecture: What its speed depends on, under which a measurement is remembered.
    """

    name: str
    shape: tuple[int, ...]
    network: Callable[[Precision], keras.Model]
    identity: str | None
    architecture: str


def fastest(network: keras.Model, *, precision: Precision | None = None, reporter: Reporter | None = None) -> Engine:
    """The fastest installed engine for a network, which it runs in inference mode with the weights of this moment.

    Args:
        network: A network with one input (batch, height, width, channels) and one output.
        precision: Numbers to compute with; when not given, those that the engine is fastest with on this machine.
        reporter: Told where OpenVINO is installed but cannot run this network.

    Raises:
        InputError: bfloat16 is asked for, which without OpenVINO the network itself has to be built in.
    """
    from ception.engines.keras_backend import KerasEngine

    engine = _translated(network, precision, reporter or Reporter()) if may_use_openvino() else None
    return engine or KerasEngine(network, precision)


def choose(
    runnable: Runnable,
    *,
    precision: Precision = "float32",
    wanted: EngineName | None = None,
    pictures: int | None = 1,
    cache_limit: float = 10.0,
    reporter: Reporter,
) -> Engine:
    """The engine for a job; where OpenVINO has run the same network before, Keras is not imported.

    A job that takes long enough measures both engines once, and what is measured is remembered.

    Args:
        runnable: What to run.
        precision: Numbers to compute with.
        wanted: Takes this engine instead of the fastest.
        pictures: How many will be run; None leaves measurements out of it.
        cache_limit: Most that the cache folder may hold, in GB.
        reporter: Receives notes and warnings.

    Raises:
        InputError: the engine that is wanted is not installed or cannot run the network.
    """
    if wanted == "keras" or (wanted is None and not may_use_openvino()):
        return _with_keras(runnable, precision)
    engine = _with_openvino(runnable, precision, cache_limit, reporter, required=wanted == "openvino")
    if engine is None:
        return _with_keras(runnable, precision)
    if wanted == "openvino" or pictures is None:
        return engine
    times = {"openvino": _remembered(runnable, precision, "openvino"),
             "keras": _remembered(runnable, precision, "keras")}  # fmt: skip
    if times["openvino"] is None and pictures > _MEASURED:
        times["openvino"] = _measured(runnable, engine, "openvino")
    tried = times["keras"] is not None or not backends.installed_backends()
    if not tried and pictures * (times["openvino"] or 0) > _WORTH_MEASURING_S:
        other = _with_keras(runnable, precision)
        times["keras"] = _measured(runnable, other, "keras")
    if times["openvino"] is None or times["keras"] is None or times["openvino"] <= times["keras"]:
        return engine
    engine.close()
    return _with_keras(runnable, precision)


def may_use_openvino() -> bool:
    """Whether OpenVINO is installed and the backend has no faster processor than the one that it would use here."""
    return importlib.util.find_spec("openvino") is not None and not backends.has_accelerator()


def _with_keras(runnable: Runnable, precision: Precision) -> Engine:
    network = runnable.network(precision)
    from ception.engines.keras_backend import KerasEngine

    return KerasEngine(network, precision)


def _with_openvino(
    runnable: Runnable, precision: Precision, cache_limit: float, reporter: Reporter, *, required: bool
) -> Engine | None:
    """The network in OpenVINO, from the cache where it is there; None where it cannot run it.

    Raises:
        InputError: it is required, but not installed or cannot run the network.
    """
    if importlib.util.find_spec("openvino") is None:
        raise InputError("OpenVINO is not installed: pip install 'ception[openvino]', or leave out --engine")
    from ception.engines import openvino

    if runnable.identity and (graph := openvino.kept(runnable.identity)):
        return openvino.OpenVinoEngine(graph, precision)
    network = runnable.network("float32")
    from ception.engines.openvino_layers import UnknownLayerError, translated

    try:
        graph = translated(network)
    except UnknownLayerError as unknown:
        if required:
            raise InputError(f"OpenVINO cannot run {runnable.name} ({unknown}): leave out --engine") from None
        reporter.warn(f"OpenVINO cannot run {runnable.name} ({unknown}): {backends.choose()} runs it")
        return None
    if runnable.identity:
        try:
            openvino.keep(graph, runnable.identity, limit_gb=cache_limit)
        except RunError as error:
            reporter.warn(f"the translated network is not kept for the next time: {error}")
    return openvino.OpenVinoEngine(graph, precision)


def _translated(network: keras.Model, precision: Precision | None, reporter: Reporter) -> Engine | None:
    from ception.engines import openvino
    from ception.engines.openvino_layers import UnknownLayerError

    try:
        return openvino.compiled(network, precision)
    except UnknownLayerError as unknown:
        reporter.warn(f"OpenVINO cannot run {network.name} ({unknown}): {backends.choose()} runs it")
        return None


def _measured(runnable: Runnable, engine: Engine, kind: EngineName) -> float:
    """Seconds that an engine takes for a picture, remembered."""
    batch: NDArray[Any] = np.zeros((_MEASURED, *runnable.shape), np.uint8)
    key = _key(runnable, engine.precision, kind)
    return measuring.measured(key, lambda: engine.run(batch)) / _MEASURED


def _remembered(runnable: Runnable, precision: Precision, kind: EngineName) -> float | None:
    seconds = measuring.remembered(_key(runnable, precision, kind))
    return None if seconds is None else seconds / _MEASURED


def _key(runnable: Runnable, precision: Precision, kind: EngineName) -> dict[str, Any]:
    return {"engine": kind, "network": runnable.architecture, "shape": list(runnable.shape), "batch": _MEASURED,
            "precision": precision, "versions": _versions(kind)}  # fmt: skip


def _versions(kind: EngineName) -> str:
    if kind == "openvino":
        return version("openvino")
    return f"keras {version('keras')}, {backends.choose() if backends.installed_backends() else 'no backend'}"
