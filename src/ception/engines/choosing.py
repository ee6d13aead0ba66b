"""Which engine is the fastest: OpenVINO, else ONNX Runtime, where it is installed and knows every layer.

A measurement may say else.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from contextlib import closing
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

_EQUAL = 1e-3  # share of the largest logit, up to which those of two programs differ by rounding
_WORTH_TIMING = 256  # pictures of a job, from which on the runtime is timed
_WORTH_MEASURING_S = 30.0  # a job that takes it longer has time to try Keras's backend, too


@dataclass(frozen=True)
class Runtime:
    """What runs networks without Keras.

    Attributes:
        name: Its engine's name.
        told: What people call it.
        packages: What has to be installed; the first one's version counts.
        extra: What brings these.
        precisions: Numbers that it computes with.
    """

    name: EngineName
    told: str
    packages: tuple[str, ...]
    extra: str
    precisions: tuple[Precision, ...]

    @property
    def installed(self) -> bool:
        """Whether all that it needs is."""
        return all(importlib.util.find_spec(package) is not None for package in self.packages)

    @property
    def engines(self) -> Any:
        """The module that translates for it, keeps what is translated, and opens it."""
        if self.name == "openvino":
            from ception.engines import openvino

            return openvino
        from ception.engines import onnxruntime

        return onnxruntime


RUNTIMES = (  # the fastest first
    Runtime("openvino", "OpenVINO", ("openvino",), "openvino", ("float32", "bfloat16")),
    Runtime("onnxruntime", "ONNX Runtime", ("onnxruntime", "onnx"), "onnx", ("float32",)),
)


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
    """The fastest installed engine for a network in memory, without a measurement.

    It runs the network in inference mode with the weights of this moment.

    Args:
        network: A network with one input (batch, height, width, channels) and one output.
        precision: Numbers to compute with; when not given, those that the engine is fastest with on this machine.
        reporter: Told where a runtime is installed but cannot run this network.

    Raises:
        InputError: bfloat16 is asked for, which without OpenVINO the network itself has to be built in.
    """
    from ception.engines.keras_backend import KerasEngine

    if runtime := usual_runtime(precision or "float32"):
        graph = _translated(runtime, network, reporter or Reporter())
        if graph is not None:
            opened: Engine = runtime.engines.opened(graph, precision)
            return opened
    return KerasEngine(network, precision)


def choose(
    runnable: Runnable,
    *,
    precision: Precision = "float32",
    wanted: EngineName | None = None,
    batch_size: int = 32,
    pictures: int | None = None,
    cache_limit: float = 10.0,
    reporter: Reporter,
) -> Engine:
    """The engine for a job; where the same runtime has run the same network before, Keras is not imported.

    A job that takes the runtime more than half a minute measures it and Keras's backend once, which is remembered.

    Args:
        runnable: What to run.
        precision: Numbers to compute with.
        wanted: Takes this engine instead of the fastest.
        batch_size: Pictures that are run at once.
        pictures: How many will be run; None leaves measurements out of it.
        cache_limit: Most that the cache folder may hold, in GB.
        reporter: Receives notes and warnings.

    Raises:
        InputError: the engine that is wanted is not installed or cannot run the network.
    """
    runtime = usual_runtime(precision) if wanted is None else _named(wanted)
    if runtime is None:
        return _with_keras(runnable, precision)
    engine = _with_runtime(runtime, runnable, precision, cache_limit, reporter, required=wanted is not None)
    if engine is None:
        return _with_keras(runnable, precision)
    if wanted is not None or pictures is None:
        return engine
    return _faster(runtime, runnable, engine, batch_size, pictures, reporter)


def usual_runtime(precision: Precision = "float32") -> Runtime | None:
    """The fastest installed runtime with a precision; None where the backend has a faster processor than it."""
    if backends.has_accelerator():
        return None
    return next((one for one in RUNTIMES if precision in one.precisions and one.installed), None)


def _named(wanted: EngineName) -> Runtime | None:
    """The runtime that is asked for; None for Keras.

    Raises:
        InputError: it is not installed.
    """
    runtime = next((one for one in RUNTIMES if one.name == wanted), None)
    if runtime and not runtime.installed:
        raise InputError(
            f"{runtime.told} is not installed: pip install 'ception[{runtime.extra}]', or leave out --engine"
        )
    return runtime


def _faster(
    runtime: Runtime, runnable: Runnable, engine: Engine, batch_size: int, pictures: int, reporter: Reporter
) -> Engine:
    """The runtime's engine, or Keras's where that is known or now found to be faster; the other one is closed."""
    kinds: tuple[EngineName, ...] = (runtime.name, "keras")
    ours, theirs = (key_of(runnable, engine.precision, kind, batch_size) for kind in kinds)
    seconds, other = measuring.remembered(ours), None
    if seconds is None and pictures >= _WORTH_TIMING:
        seconds = _measured(ours, engine, runnable, batch_size)
    their_seconds = measuring.remembered(theirs)
    long = seconds is not None and pictures / batch_size * seconds > _WORTH_MEASURING_S
    if their_seconds is None and long and backends.installed_backends():
        reporter.note(f"Measuring once whether {backends.choose()} is faster here than {runtime.told} ...")
        other = _with_keras(runnable, engine.precision)
        their_seconds = _measured(theirs, other, runnable, batch_size)
    if seconds is None or their_seconds is None or seconds <= their_seconds:
        if other:
            other.close()
        return engine
    engine.close()
    return other or _with_keras(runnable, engine.precision)


def _with_keras(runnable: Runnable, precision: Precision) -> Engine:
    network = runnable.network(precision)
    from ception.engines.keras_backend import KerasEngine

    return KerasEngine(network, precision)


def _with_runtime(
    runtime: Runtime, runnable: Runnable, precision: Precision, cache_limit: float, reporter: Reporter, *,
    required: bool,
) -> Engine | None:  # fmt: skip
    """The network in a runtime, from the cache where it is there; None where it cannot run it.

    Raises:
        InputError: it is required, but cannot run the network.
    """
    engines = runtime.engines
    graph = engines.kept(runnable.identity) if runnable.identity else None
    if graph is None:
        network = runnable.network("float32")
        graph = _translated(runtime, network, reporter, required=required)
        if graph is None:
            return None
        compared = not backends.has_accelerator()  # such as a GPU, which rounds more
        if compared and not _is_equal(runtime, graph, network, reporter, required=required):
            return None
        if runnable.identity:
            try:
                engines.keep(graph, runnable.identity, limit_gb=cache_limit)
            except RunError as error:
                reporter.warn(f"the translated network is not kept for the next time: {error}")
    opened: Engine = engines.opened(graph, precision)
    return opened


def _translated(runtime: Runtime, network: keras.Model, reporter: Reporter, *, required: bool = False) -> Any:
    """The network as the runtime's graph; None, with a warning, where it cannot run it.

    Raises:
        InputError: it cannot, but is required.
    """
    from ception.engines.translating import UnknownLayerError, operations

    try:
        return runtime.engines.translated(operations(network))
    except UnknownLayerError as unknown:
        told = f"{runtime.told} cannot run {network.name} ({unknown})"
        if required:
            raise InputError(f"{told}: leave out --engine") from None
        reporter.warn(f"{told}: {backends.choose()} runs it")
        return None


def _is_equal(runtime: Runtime, graph: Any, network: keras.Model, reporter: Reporter, *, required: bool) -> bool:
    """Whether a translation answers as the network does, on noise; else there is a warning.

    Raises:
        InputError: it does not, but is required.
    """
    from keras import ops

    noise = np.random.default_rng(0).integers(0, 256, (2, *network.input_shape[1:]), np.uint8)
    theirs = ops.convert_to_numpy(network(noise.astype(np.float32), training=False))
    with closing(runtime.engines.opened(graph, "float32")) as engine:
        ours = engine.run(noise)
    if not np.isfinite(theirs).all():  # which tells nothing, and is told where the network is asked
        return True
    gap = float(np.abs(ours - theirs).max() / max(np.abs(theirs).max(), np.finfo(np.float32).tiny))
    if gap < _EQUAL:
        return True
    told = f"{runtime.told} answers otherwise than {network.name} in Keras (by {gap:.1g} of the largest number)"
    if required:
        raise InputError(f"{told}: leave out --engine, and please report this")
    reporter.warn(f"{told}: {backends.choose()} runs it; please report this")
    return False


def _measured(key: dict[str, Any], engine: Engine, runnable: Runnable, batch_size: int) -> float:
    """Seconds that an engine takes for a batch, remembered."""
    batch = np.zeros((batch_size, *runnable.shape), np.uint8)
    return measuring.measured(key, lambda: engine.run(batch))


def key_of(runnable: Runnable, precision: Precision, kind: EngineName, batch_size: int) -> dict[str, Any]:
    """What the time of a batch in a kind of engine depends on, beside the machine."""
    runtime = next((one for one in RUNTIMES if one.name == kind), None)
    versions = version(runtime.packages[0]) if runtime else f"keras {version('keras')}, {backends.likely()}"
    return {"engine": kind, "network": runnable.architecture, "shape": list(runnable.shape), "batch": batch_size,
            "precision": precision, "versions": versions}  # fmt: skip
