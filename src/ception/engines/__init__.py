"""What runs a trained network: OpenVINO, ONNX Runtime, PyTorch, Keras's backend; `choosing` takes the fastest."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Protocol, cast

from ception.settings import Precision as Precision

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# OpenVINO tells its makers of every import, from a forked copy of the process; without this package it does not
sys.modules.setdefault("openvino_telemetry", cast(Any, None))


class Engine(Protocol):
    """A network ready to run.

    Threads may share one: it runs one batch at a time.

    Attributes:
        name: What runs it, with its version, such as `openvino 2026.4.1`.
        precision: Numbers that it computes with.
        any_thread: Whether it computes alike in whichever thread; Keras's backend keeps its device for each.
    """

    @property
    def name(self) -> str: ...

    @property
    def precision(self) -> Precision: ...

    @property
    def any_thread(self) -> bool: ...

    def run(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """The network's output for a batch.

        Args:
            batch: uint8 or float32 of shape (batch, height, width, channels). Every batch size works; the same one
                again and again is fastest.

        Returns:
            float32; a later run does not change it.
        """

    def close(self) -> None:
        """Give back what it holds; it cannot run any more."""


def described(engine: Engine) -> str:
    """An engine in words, such as `openvino 2026.4.1 in float32`."""
    return f"{engine.name} in {engine.precision}"
