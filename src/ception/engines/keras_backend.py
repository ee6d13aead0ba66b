"""Networks as Keras's backend runs them."""

from __future__ import annotations

import importlib
from threading import Lock
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from ception.engines import Precision
from ception.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def precision_of(network: keras.Model) -> Precision:
    """What a network was built to compute in."""
    # what an input layer calls its own follows from Keras's configuration
    dtypes = {layer.compute_dtype for layer in network.layers if not isinstance(layer, keras.layers.InputLayer)}
    return "bfloat16" if "bfloat16" in dtypes else "float32"


class KerasEngine:
    """A network in Keras's backend, in the precision it was built with.

    Args:
        network: A network with one input and one output.
        precision: What is expected of it; None takes whatever it is.

    Raises:
        InputError: another precision is asked for than the network was built with.
    """

    any_thread = False

    def __init__(self, network: keras.Model, precision: Precision | None = None) -> None:
        own = precision_of(network)
        if precision not in (None, own):
            raise InputError(
                f"{network.name} computes in {own}: build it with dtype for {precision}, or install openvino"
            )
        backend = keras.backend.backend()
        self.name = f"{backend} {importlib.import_module(backend).__version__}"
        self.precision = own
        self._network: keras.Model | None = network
        self._lock = Lock()  # Keras makes its function for prediction when it is first asked

    def run(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """As `Engine.run`."""
        with self._lock:
            if self._network is None:
                raise RuntimeError("the engine is closed")
            return np.asarray(self._network.predict_on_batch(np.asarray(batch, np.float32)), np.float32)

    def close(self) -> None:
        """As `Engine.close`."""
        self._network = None
