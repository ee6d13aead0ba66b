"""Where the library lies, and what it says of itself."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["BFLOAT16", "FLOAT32", "INTERFACE", "instructions", "library", "set_threads", "tensorflow_operations",
           "xla_handlers", "xla_set_version", "xla_version"]  # fmt: skip

INTERFACE = 6  # which version of include/ception_kernels.h this is written for


class Windows(ctypes.Structure):
    """`ception_windows`."""

    _fields_ = tuple(
        (name, ctypes.c_int64)
        for name in (
            "batch", "height", "width", "channels", "window_height", "window_width", "down", "right", "top", "left",
            "out_height", "out_width",
        )
    )  # fmt: skip


Added = ctypes.CFUNCTYPE(None, ctypes.POINTER(ctypes.c_double), ctypes.c_int64)


class Reading(ctypes.Structure):
    """`ception_reading`."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("mean", "variance", "gamma", "beta")),
        ("epsilon", ctypes.c_float),
        ("clipped", ctypes.c_int32),
        ("apart", ctypes.c_int32),
        ("added", Added),
    )


FLOAT32, BFLOAT16 = 0, 1
_POINTER, _INT, _LONG = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64
_WINDOWS, _READING = ctypes.POINTER(Windows), ctypes.POINTER(Reading)
_SIGNATURES = {
    "ception_product": (_LONG, _LONG, _LONG, _POINTER, _INT, _POINTER, _INT, _POINTER),
    "ception_depthwise": (_WINDOWS, _INT, _READING, *[_POINTER] * 3),
    "ception_depthwise_gradients": (_WINDOWS, _INT, _READING, *[_POINTER] * 7),
    "ception_moments": (_LONG, _LONG, _INT, *[_POINTER] * 3),
    "ception_normalize": (_LONG, _LONG, _INT, _READING, *[_POINTER] * 2),
    "ception_normalize_gradients": (_LONG, _LONG, _INT, _READING, *[_POINTER] * 5),
    "ception_finish_gradient": (_LONG, _LONG, _INT, _READING, *[_POINTER] * 4, _LONG, _POINTER),
    "ception_bias_selu": (_LONG, _LONG, _INT, *[_POINTER] * 3),
    "ception_bias_selu_gradients": (_LONG, _LONG, _INT, *[_POINTER] * 4),
    "ception_convolution": (_WINDOWS, _LONG, *[_POINTER] * 3),
    "ception_convolution_gradient": (_WINDOWS, _LONG, *[_POINTER] * 3),
    "ception_convolution_kernel_gradient": (_WINDOWS, _LONG, *[_POINTER] * 3),
    "ception_convolution_selu": (_WINDOWS, _LONG, *[_POINTER] * 4),
    "ception_convolution_selu_gradients": (_WINDOWS, _LONG, *[_POINTER] * 5),
    "ception_separable_selu": (_WINDOWS, _LONG, *[_POINTER] * 5),
    "ception_separable_selu_gradients": (_WINDOWS, _LONG, *[_POINTER] * 9),
    "ception_max_pool": (_WINDOWS, _INT, *[_POINTER] * 2),
    "ception_max_pool_gradient": (_WINDOWS, _INT, *[_POINTER] * 4),
}


def _file(name: str) -> Path:
    suffix = {"darwin": ".dylib", "win32": ".dll"}.get(sys.platform, ".so")
    return Path(__file__).with_name(f"lib{name}{suffix}")


@cache
def library() -> ctypes.CDLL:
    """The library, with the types of its functions; calls let other threads of Python run.

    Raises:
        OSError: it cannot be loaded, or has another interface.
    """
    loaded = ctypes.CDLL(str(_file("ception_kernels")))
    if loaded.ception_interface() != INTERFACE:
        raise OSError(f"ception_kernels has interface {loaded.ception_interface()} instead of {INTERFACE}")
    for name, types in _SIGNATURES.items():
        getattr(loaded, name).argtypes = types
    loaded.ception_instructions.restype = ctypes.c_char_p
    return loaded


def instructions() -> str:
    """Which instructions of the processor it uses: avx512, avx2 or portable."""
    return str(library().ception_instructions().decode())


def set_threads(number: int) -> None:
    """Compute in so many threads, at most as many as this process may use processors."""
    library().ception_set_threads(number)


def tensorflow_operations() -> Path:
    """The library for `tf.load_op_library`."""
    return _file("ception_tensorflow")


_XLA = (
    "product", "moments", "normalize", "normalize_gradients", "factor_gradients", "finish_gradient", "depthwise",
    "depthwise_gradients", "normalized_depthwise", "normalized_depthwise_gradients", "bias_selu",
    "bias_selu_gradients", "convolution", "convolution_gradient", "convolution_kernel_gradient", "convolution_selu",
    "convolution_selu_gradients", "separable_selu", "separable_selu_gradients", "max_pool", "max_pool_gradient",
)  # fmt: skip


@cache
def _for_xla() -> ctypes.CDLL:
    library()  # which it is linked to
    return ctypes.CDLL(str(_file("ception_xla")))


def xla_handlers() -> dict[str, Any]:
    """The functions that XLA calls, for `jax.ffi.pycapsule`, by the names of the operations.

    Raises:
        OSError: the library cannot be loaded.
    """
    return {name: getattr(_for_xla(), f"ception_xla_{name}") for name in _XLA}


def xla_version() -> int:
    """The latest version of XLA's interface that they were written for: its minor number, the major one being 0."""
    return int(_for_xla().ception_xla_latest_version())


def xla_set_version(minor: int) -> None:
    """Let them say that they were written for an earlier version, which has what they use, too."""
    _for_xla().ception_xla_set_version(minor)
