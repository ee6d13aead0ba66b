"""What layers are made of, for TensorFlow on a CPU with the compiled kernels; in float32, other numbers as without."""

from __future__ import annotations

from functools import cache
from typing import Any

import tensorflow as tf

from ception.layers import tensorflow as plain
from ception.layers.compiled import kernels, margins

KINDS = ("BatchNormalization", "Conv2D", "DepthwiseConv2D", "MaxPooling2D", "SeparableConv2D")
pointwise, convolution = plain.pointwise, plain.convolution  # in which TensorFlow is as quick


@cache
def _operations() -> Any:
    """The operations as functions."""
    module = kernels()
    assert module is not None
    return tf.load_op_library(str(module.tensorflow_operations()))


def _windows(window: tuple[int, int], strides: tuple[int, int], padding: str) -> dict[str, int]:
    return {"window_height": window[0], "window_width": window[1], "down": strides[0], "right": strides[1],
            "same": int(padding == "same")}  # fmt: skip


def _of(op: Any) -> dict[str, int]:
    return {name: op.get_attr(name) for name in ("window_height", "window_width", "down", "right", "same")}


def _shaped(made: Any, x: Any, window: tuple[int, int], strides: tuple[int, int], padding: str, channels: int) -> Any:
    """The result with the shape that is known before anything is computed."""
    sizes = [
        None if x.shape[axis + 1] is None else margins(x.shape[axis + 1], window[axis], strides[axis], padding)[0]
        for axis in (0, 1)
    ]
    return tf.ensure_shape(made, (x.shape[0], *sizes, channels))


def depthwise(x: Any, kernel: Any, strides: tuple[int, int], padding: str) -> Any:
    """A convolution of each channel alone, with a kernel of (height, width, channels, 1)."""
    if x.dtype != tf.float32:
        return plain.depthwise(x, kernel, strides, padding)
    window = tuple(kernel.shape[:2])
    made = _operations().ception_depthwise(x=x, kernel=kernel, **_windows(window, strides, padding))
    return _shaped(made, x, window, strides, padding, x.shape[-1])


def _depthwise_gradients(op: Any, gradient: Any) -> Any:
    x, kernel = op.inputs
    return _operations().ception_depthwise_gradients(x=x, kernel=kernel, gradient=gradient, **_of(op))


def separable(x: Any, depthwise_kernel: Any, kernel: Any, strides: tuple[int, int], padding: str) -> Any:
    """A convolution of each channel alone, then one across all."""
    return pointwise(depthwise(x, depthwise_kernel, strides, padding), kernel, (1, 1))


def batch_norm(x: Any, gamma: Any, beta: Any, epsilon: float) -> tuple[Any, Any, Any]:
    """The input with mean beta and deviation gamma in each channel, and the batch's mean and variance."""
    if x.dtype != tf.float32:
        return plain.batch_norm(x, gamma, beta, epsilon)
    normed, mean, variance = _operations().ception_batch_norm(x=x, gamma=gamma, beta=beta, epsilon=epsilon)
    channels = x.shape[-1:]
    return tf.ensure_shape(normed, x.shape), tf.ensure_shape(mean, channels), tf.ensure_shape(variance, channels)


def _batch_norm_gradients(op: Any, gradient: Any, *_: Any) -> Any:
    x, gamma, _beta = op.inputs
    return _operations().ception_batch_norm_gradients(
        x=x, gamma=gamma, mean=op.outputs[1], variance=op.outputs[2], gradient=gradient, epsilon=op.get_attr("epsilon")
    )


def max_pool(x: Any, window: tuple[int, int], strides: tuple[int, int], padding: str) -> Any:
    """The largest value of each window."""
    if x.dtype != tf.float32:
        return plain.max_pool(x, window, strides, padding)
    made = _operations().ception_max_pool(x=x, **_windows(window, strides, padding))
    return _shaped(made, x, window, strides, padding, x.shape[-1])


def _max_pool_gradient(op: Any, gradient: Any) -> Any:
    return _operations().ception_max_pool_gradient(x=op.inputs[0], y=op.outputs[0], gradient=gradient, **_of(op))


for _name, _gradients in {
    "CeptionDepthwise": _depthwise_gradients,
    "CeptionBatchNorm": _batch_norm_gradients,
    "CeptionMaxPool": _max_pool_gradient,
}.items():
    tf.RegisterGradient(_name)(_gradients)
