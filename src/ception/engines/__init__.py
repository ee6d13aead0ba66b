"""What runs a trained network fastest: OpenVINO where it is installed and knows every layer, else Keras's backend."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import keras
import numpy as np

from ception.errors import InputError
from ception.reporting import Reporter

if TYPE_CHECKING:
    from numpy.typing import NDArray

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Engine:
    """A network ready to run.

    Attributes:
        name: What runs it, with its version, such as `openvino 2026.4.1`.
        precision: Numbers that it computes with: `float32` or `bfloat16`.
        run: From a batch, uint8 or float32, of shape (batch, height, width, channels) to the network's output, float32.
            Every batch size works; the same one again and again is fastest.
    """

    name: str
    precision: Precision
    run: Callable[[NDArray[Any]], NDArray[np.float32]]

    def __str__(self) -> str:
        return f"{self.name} in {self.precision}"


def fastest(model: keras.Model, *, precision: Precision | None = None, reporter: Reporter | None = None) -> Engine:
    """The fastest installed engine for a network, which it runs in inference mode with the weights of this moment.

    Args:
        model: A network with one input (batch, height, width, channels) and one output.
        precision: Numbers to compute with; when not given, those that the engine is fastest with on this machine.
        reporter: Told where OpenVINO is installed but cannot run this network.

    Raises:
        InputError: bfloat16 is asked for, which without OpenVINO the network itself has to be built in.
    """
    if importlib.util.find_spec("openvino") is not None and _on_cpu():
        from ception.engines import openvino

        try:
            return openvino.compiled(model, precision)
        except openvino.UnknownLayerError as unknown:
            if reporter:
                reporter.warn(f"OpenVINO cannot run {model.name} ({unknown}): {keras.backend.backend()} runs it")
    return with_keras(model, precision)


def with_keras(model: keras.Model, precision: Precision | None = None) -> Engine:
    """The network as Keras's backend runs it.

    Raises:
        InputError: another precision is asked for than the network was built with.
    """
    own: Precision = "bfloat16" if "bfloat16" in {layer.compute_dtype for layer in model.layers} else "float32"
    if precision not in (None, own):
        raise InputError(f"{model.name} computes in {own}: build it with dtype for {precision}, or install openvino")

    def run(batch: NDArray[Any]) -> NDArray[np.float32]:
        return np.asarray(model.predict_on_batch(np.asarray(batch, np.float32)), np.float32)

    backend = keras.backend.backend()
    number = importlib.import_module(backend).__version__
    return Engine(f"{backend} {number}", own, run)


def _on_cpu() -> bool:
    """Whether the backend has no faster processor than the one that OpenVINO would use here."""
    from ception.backends import devices

    return all(device.startswith("cpu") for device in devices())
