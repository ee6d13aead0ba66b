"""The compiled kernels of the distribution `ception-kernels`, where it is installed."""

from __future__ import annotations

import os
from functools import cache
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from ception.backends import threads

_INTERFACE = 6  # of the kernels that this version calls
BACKENDS = ("tensorflow", "torch", "jax")  # that can call them


@cache
def kernels() -> ModuleType | None:
    """The module, which computes in as many threads as this process may use; None where there is none.

    `CEPTION_KERNELS=none` in the environment stands for that.
    """
    if os.environ.get("CEPTION_KERNELS") == "none" or find_spec("ception_kernels") is None:
        return None
    import ception_kernels

    if ception_kernels.INTERFACE != _INTERFACE:  # of an earlier or later version of this package
        return None
    try:
        ception_kernels.set_threads(threads("TF_NUM_INTRAOP_THREADS"))
    except OSError:  # built for another machine, or of another version
        return None
    module: ModuleType = ception_kernels
    return module


def are_used(backend: str) -> bool:
    """Whether layers on a backend are made of the kernels; those for any processor are slower than TensorFlow."""
    module = kernels()
    if module is None or backend not in BACKENDS:
        return False
    if backend == "jax":
        return are_known_to_xla()
    return backend != "tensorflow" or module.instructions() != "portable"  # benchmarks/results/layers.csv


@cache
def are_known_to_xla() -> bool:
    """Register the kernels with the XLA that JAX has, as `ception_NAME`; whether it takes them.

    XLA takes handlers that were written for its own version of the interface, later ones for some earlier ones, too;
    those that the kernels were written for do not differ in what they use.
    """
    module = kernels()
    if module is None:
        return False
    import jax

    try:
        handlers, latest = module.xla_handlers(), module.xla_version()
    except (AttributeError, OSError):  # kernels from before there were any, or built for another machine
        return False
    jax.devices("cpu")  # which would register them later, and fail as a whole
    for version in range(latest, 0, -1):
        module.xla_set_version(version)
        try:
            for name, handler in handlers.items():
                jax.ffi.register_ffi_target(f"ception_{name}", jax.ffi.pycapsule(handler), platform="cpu")
        except jax.errors.JaxRuntimeError as error:
            if "version" not in str(error):
                raise
        else:
            return True
    return False


_FEW = 64  # numbers that a window covers: copied for each output, they take no longer than the product with the kernel


def covers_few(kernel: Any) -> bool:
    """Whether a kernel (height, width, channels, filters) is multiplied with copied windows in less time."""
    height, width, channels, _ = kernel.shape
    return bool(height * width * channels <= _FEW)


def margins(size: int, window: int, stride: int, padding: str) -> tuple[int, int]:
    """How many windows fit along an axis, and the margin before the first.

    Args:
        size: Of the maps.
        window: Places of a window.
        stride: Places from one window to the next.
        padding: "same" or "valid".
    """
    if padding == "valid":
        return max(0, (size - window) // stride + 1), 0
    made = -(-size // stride)
    return made, max(0, (made - 1) * stride + window - size) // 2


def windows(shape: Any, window: tuple[int, int], strides: tuple[int, int], padding: str) -> Any:
    """The structure `ception_windows` for maps of a shape (batch, height, width, channels)."""
    batch, height, width, channels = shape
    (out_height, top), (out_width, left) = (
        margins(size, window[axis], strides[axis], padding) for axis, size in enumerate((height, width))
    )
    module = kernels()
    assert module is not None  # or nobody would ask
    return module.Windows(batch, height, width, channels, *window, *strides, top, left, out_height, out_width)
