"""Layers that compute what Keras's own do, in less time: made in training, never saved.

`classes.py` has the layers, one file for each backend the operations that they are made of, and another the same with
the compiled kernels of `ception-kernels`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ception import backends

if TYPE_CHECKING:
    import keras


def quicker(device: str | None = None) -> Mapping[str, type[keras.layers.Layer]]:
    """By kind, the class that is quicker than Keras's own on the backend that runs; none where a GPU computes.

    Args:
        device: As for `backends.on`; None means the backend's own choice.
    """
    on_cpu = device.startswith("cpu") if device else not backends.has_accelerator()
    if not on_cpu:
        return {}
    from ception.layers.classes import CLASSES, operations

    return {kind: CLASSES[kind] for kind in operations().KINDS}


def remark() -> str | None:
    """What to tell of the operations that the layers are made of: that compiled ones are missing where they would do.

    None where they are there, or the backend is not quicker with them.
    """
    import keras

    from ception.layers.compiled import are_used

    backend = keras.backend.backend()
    if backend == "tensorflow" or are_used(backend):
        return None
    return "without the compiled kernels of ception-kernels (docs/kernels.md), which train in less time and memory"
