"""What layers are made of, for TensorFlow on a CPU with the compiled kernels.

Operations that follow one another are taken together while a graph is traced: what normalises is an operation of its
own, and the one that reads its result, a ReLU or a depthwise convolution, takes over what it was made from, normalises
and clips while it reads, and leaves the former without a reader. In eager mode nothing is taken together.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import tensorflow as tf

from ception.layers import tensorflow as plain
from ception.layers.compiled import covers_few, kernels, margins

KINDS = ("BatchNormalization", "Conv2D", "DepthwiseConv2D", "MaxPooling2D", "ReLU", "SeparableConv2D")
pointwise, convolution = plain.pointwise, plain.convolution  # in which TensorFlow is as quick
_WINDOWS = ("window_height", "window_width", "down", "right", "same")


@cache
def _operations() -> Any:
    """The operations as functions."""
    module = kernels()
    assert module is not None
    return tf.load_op_library(str(module.tensorflow_operations()))


def _is_computed(x: Any) -> bool:
    return x.dtype in (tf.float32, tf.bfloat16)


def _windows(window: tuple[int, int], strides: tuple[int, int], padding: str) -> dict[str, int]:
    return dict(zip(_WINDOWS, (*window, *strides, int(padding == "same")), strict=True))


def _of(op: Any, *names: str) -> Mapping[str, Any]:
    return {name: op.get_attr(name) for name in names}


def _maker(x: Any) -> tuple[str, Any]:
    """The kind of the operation that gave a tensor, and that itself; nothing of it where no graph is traced."""
    op = None if tf.executing_eagerly() else getattr(x, "op", None)
    return (op.type if op is not None else "", op)


def _shaped(made: Any, shape: tuple[int | None, ...]) -> Any:
    """The result with the shape that is known before anything is computed."""
    if not tf.executing_eagerly():
        made.set_shape(shape)
    return made


def _after_windows(x: Any, window: tuple[int, int], strides: tuple[int, int], padding: str) -> tuple[int | None, ...]:
    sizes = [
        None if x.shape[axis + 1] is None else margins(x.shape[axis + 1], window[axis], strides[axis], padding)[0]
        for axis in (0, 1)
    ]
    return (x.shape[0], *sizes, x.shape[-1])


def relu(x: Any) -> Any:
    """The inputs, or 0 where they are below."""
    kind, maker = _maker(x)
    if kind != "CeptionNormalize":
        return tf.nn.relu(x)
    made = _operations().ception_normalize(*maker.inputs, clipped=1, **_of(maker, "epsilon"))
    return _shaped(made, x.shape)


def depthwise(x: Any, kernel: Any, strides: tuple[int, int], padding: str) -> Any:
    """A convolution of each channel alone, with a kernel of (height, width, channels, 1)."""
    if not _is_computed(x):
        return plain.depthwise(x, kernel, strides, padding)
    window = tuple(kernel.shape[:2])
    places, shape = _windows(window, strides, padding), _after_windows(x, window, strides, padding)
    kind, maker = _maker(x)
    if kind == "CeptionNormalize":
        read, *statistics = maker.inputs
        options = {**places, **_of(maker, "clipped", "epsilon")}
        return _shaped(_operations().ception_normalized_depthwise(read, kernel, *statistics, **options), shape)
    if kind == "Relu":
        x = maker.inputs[0]
    return _shaped(_operations().ception_depthwise(x, kernel, clipped=int(kind == "Relu"), **places), shape)


def separable(x: Any, depthwise_kernel: Any, kernel: Any, strides: tuple[int, int], padding: str) -> Any:
    """A convolution of each channel alone, then one across all."""
    return pointwise(depthwise(x, depthwise_kernel, strides, padding), kernel, (1, 1))


def convolution_selu(x: Any, kernel: Any, bias: Any, strides: tuple[int, int], padding: str) -> Any:
    """A convolution, SELU of its sum with a bias of float32 for each filter."""
    if x.dtype != tf.float32 or not covers_few(kernel):
        return bias_selu(convolution(x, kernel, strides, padding), bias)
    window = tuple(kernel.shape[:2])
    shape = (*_after_windows(x, window, strides, padding)[:3], kernel.shape[-1])
    return _shaped(_operations().ception_convolution_selu(x, kernel, bias, **_windows(window, strides, padding)), shape)


def separable_selu(
    x: Any, depthwise_kernel: Any, kernel: Any, bias: Any, strides: tuple[int, int], padding: str
) -> Any:
    """A separable convolution, SELU of its sum with a bias of float32 for each filter."""
    if x.dtype != tf.float32:
        return bias_selu(separable(x, depthwise_kernel, kernel, strides, padding), bias)
    window = tuple(depthwise_kernel.shape[:2])
    shape = (*_after_windows(x, window, strides, padding)[:3], kernel.shape[-1])
    places = _windows(window, strides, padding)
    return _shaped(_operations().ception_separable_selu(x, depthwise_kernel, kernel, bias, **places), shape)


def batch_norm(x: Any, gamma: Any, beta: Any, epsilon: float) -> tuple[Any, Any, Any]:
    """The input with mean beta and deviation gamma in each channel, and the batch's mean and variance."""
    if not _is_computed(x):
        return plain.batch_norm(x, gamma, beta, epsilon)
    mean, variance = (_shaped(made, x.shape[-1:]) for made in _operations().ception_moments(x))
    normed = _operations().ception_normalize(x, mean, variance, gamma, beta, epsilon=epsilon, clipped=0)
    return _shaped(normed, x.shape), mean, variance


def bias_selu(x: Any, bias: Any) -> Any:
    """SELU of the sum with a bias of float32 for each channel."""
    if x.dtype != tf.float32:  # in bfloat16 the gradient that follows from the result has few digits, Keras's as ours
        return tf.nn.selu(x + tf.cast(bias, x.dtype))
    return _shaped(_operations().ception_bias_selu(x, bias), x.shape)


def max_pool(x: Any, window: tuple[int, int], strides: tuple[int, int], padding: str) -> Any:
    """The largest value of each window; where these overlap, TensorFlow's own is quicker."""
    if not _is_computed(x) or window != strides:
        return plain.max_pool(x, window, strides, padding)
    made = _operations().ception_max_pool(x, **_windows(window, strides, padding))
    return _shaped(made, _after_windows(x, window, strides, padding))


def _as_inputs(op: Any, *gradients: Any) -> list[Any]:
    """The gradients of an operation's inputs, with the shapes of these: optimisers in Keras ask for them."""
    pairs = zip(gradients, op.inputs, strict=True)
    return [gradient if gradient is None else _shaped(gradient, one.shape) for gradient, one in pairs]


def _normalize_gradients(op: Any, gradient: Any) -> Any:
    """The statistics are those of x, whose gradient has what goes through them."""
    options = _of(op, "clipped", "epsilon")
    of_x, of_gamma, of_beta = _operations().ception_normalize_gradients(*op.inputs, gradient, **options)
    return _as_inputs(op, of_x, None, None, of_gamma, of_beta)


def _depthwise_gradients(op: Any, gradient: Any) -> Any:
    made = _operations().ception_depthwise_gradients(*op.inputs, gradient, **_of(op, "clipped", *_WINDOWS))
    return _as_inputs(op, *made)


def _normalized_depthwise_gradients(op: Any, gradient: Any) -> Any:
    made = _operations().ception_normalized_depthwise_gradients(
        *op.inputs, gradient, **_of(op, "clipped", "epsilon", *_WINDOWS)
    )
    of_x, of_kernel, of_gamma, of_beta = made
    return _as_inputs(op, of_x, of_kernel, None, None, of_gamma, of_beta)


def _bias_selu_gradients(op: Any, gradient: Any) -> Any:
    return _as_inputs(op, *_operations().ception_bias_selu_gradients(op.outputs[0], gradient))


def _convolution_selu_gradients(op: Any, gradient: Any) -> Any:
    """The input's is left out of the graph where it is a batch, whose gradient nobody asks for."""
    (x, kernel, _), y, options = op.inputs, op.outputs[0], _of(op, *_WINDOWS)
    of_kernel, of_bias = _operations().ception_convolution_selu_gradients(x, kernel, y, gradient, **options)
    before, _ = _operations().ception_bias_selu_gradients(y, gradient)
    of_x = tf.raw_ops.Conv2DBackpropInput(
        input_sizes=tf.shape(x), filter=kernel, out_backprop=before,
        strides=[1, options["down"], options["right"], 1], padding="SAME" if options["same"] else "VALID",
    )  # fmt: skip
    return _as_inputs(op, of_x, of_kernel, of_bias)


def _separable_selu_gradients(op: Any, gradient: Any) -> Any:
    given = (*op.inputs[:3], op.outputs[0], gradient)
    return _as_inputs(op, *_operations().ception_separable_selu_gradients(*given, **_of(op, *_WINDOWS)))


def _max_pool_gradient(op: Any, gradient: Any) -> Any:
    given = (op.inputs[0], op.outputs[0], gradient)
    return _as_inputs(op, _operations().ception_max_pool_gradient(*given, **_of(op, *_WINDOWS)))


for _name, _gradients in {
    "CeptionMoments": lambda op, *gradients: None,  # what normalises has the gradient through them
    "CeptionNormalize": _normalize_gradients,
    "CeptionBiasSelu": _bias_selu_gradients,
    "CeptionConvolutionSelu": _convolution_selu_gradients,
    "CeptionSeparableSelu": _separable_selu_gradients,
    "CeptionMaxPool": _max_pool_gradient,
    "CeptionDepthwise": _depthwise_gradients,
    "CeptionNormalizedDepthwise": _normalized_depthwise_gradients,
}.items():
    tf.RegisterGradient(_name)(_gradients)
