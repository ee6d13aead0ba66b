"""A network of Keras as plain operations: each of eighteen kinds of layers translated by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from ception.engines.operations import ACTIVATIONS, INPUT, Kind, Operation, Operations, folded
from ception.keras_internals import producer
from ception.models.kinds import kind

if TYPE_CHECKING:
    from numpy.typing import NDArray


class UnknownLayerError(Exception):
    """A layer, or an option of one, that is not translated; the message names it."""


def operations(model: keras.Model) -> Operations:
    """The steps of a network with one input and one output, norms folded into the convolutions before them.

    Raises:
        UnknownLayerError: a layer is not translated.
    """
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise UnknownLayerError("more than one input or output")
    names: dict[int, str] = {id(model.inputs[0]): INPUT}
    steps: list[Operation] = []
    waiting = [model.outputs[0]]
    while waiting:  # from the network's end to its beginning without recursion, for networks are deep
        wanted = waiting[-1]
        layer, inputs = producer(wanted)
        missing = [x for x in inputs if id(x) not in names]
        if id(wanted) in names:
            waiting.pop()
        elif missing:
            waiting.extend(missing)
        elif not inputs:
            raise UnknownLayerError(f"{layer.name}, a second input")
        else:
            made = _steps(layer, tuple(names[id(x)] for x in inputs), inputs[0], wanted)
            steps.extend(made)
            names[id(wanted)] = made[-1].name if made else names[id(inputs[0])]
    return Operations(model.name, tuple(model.inputs[0].shape[1:]), folded(steps))


def _steps(layer: Any, inputs: tuple[str, ...], given: Any, made: Any) -> list[Operation]:
    """The operations of a layer; none where it does nothing in inference."""
    translate = _TRANSLATIONS.get(kind(layer))
    if translate is None:
        raise UnknownLayerError(f"{layer.name} is a {kind(layer)}")
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        raise UnknownLayerError(f"{layer.name} has its channels first")
    rank, shape = len(given.shape), tuple(made.shape[1:])
    steps: list[Operation] = []
    for operation, arrays, options in translate(layer, rank):
        last = len(steps) + 1
        name = layer.name if not steps else f"{layer.name}/{last}"
        numbers = {key: np.ascontiguousarray(values, np.float32) for key, values in arrays.items()}
        own = (*shape[:-1], numbers["kernel"].shape[-1]) if operation == "conv" else shape
        steps.append(Operation(name, operation, (steps[-1].name,) if steps else inputs, own, numbers, options))
    return steps


_Parts = list[tuple[Kind, Mapping[str, Any], Mapping[str, Any]]]


def _array(variable: Any) -> NDArray[np.float32]:
    return np.asarray(keras.ops.convert_to_numpy(variable), np.float32)


def _activation(function: Any) -> _Parts:
    """The activation function of a layer, by its name in Keras."""
    name = getattr(function, "__name__", str(function))
    if name == "linear":
        return []
    if name not in ACTIVATIONS:
        raise UnknownLayerError(f"the activation {name}")
    return [("activation", {}, {"function": name})]


def _convolution(layer: Any, kernel: NDArray[np.float32], groups: int, *, bias: bool = True) -> _Parts:
    """A convolution with a kernel (height, width, channels in a group, filters)."""
    arrays = {"kernel": kernel} | ({"bias": _array(layer.bias)} if bias and layer.use_bias else {})
    options = {"strides": tuple(layer.strides), "dilations": tuple(layer.dilation_rate), "padding": layer.padding,
               "groups": groups}  # fmt: skip
    return [("conv", arrays, options)]


def _depthwise(layer: Any, kernel: Any, *, bias: bool) -> _Parts:
    """A depthwise convolution with a kernel (height, width, channels, multiplier)."""
    height, width, channels, multiplier = kernel.shape
    return _convolution(layer, _array(kernel).reshape(height, width, 1, channels * multiplier), channels, bias=bias)


def _conv(layer: Any, _: int) -> _Parts:
    return _convolution(layer, _array(layer.kernel), layer.groups) + _activation(layer.activation)


def _depthwise_conv(layer: Any, _: int) -> _Parts:
    return _depthwise(layer, layer.kernel, bias=True) + _activation(layer.activation)


def _separable_conv(layer: Any, _: int) -> _Parts:
    pointwise = {"kernel": _array(layer.pointwise_kernel)} | ({"bias": _array(layer.bias)} if layer.use_bias else {})
    options = {"strides": (1, 1), "dilations": (1, 1), "padding": "valid", "groups": 1}
    depthwise = _depthwise(layer, layer.depthwise_kernel, bias=False)
    return [*depthwise, ("conv", pointwise, options), *_activation(layer.activation)]


def _batch_norm(layer: Any, rank: int) -> _Parts:
    if layer.axis not in (-1, rank - 1):
        raise UnknownLayerError(f"{layer.name} norms another axis than the channels")
    factor = 1 / np.sqrt(_array(layer.moving_variance).astype(np.float64) + layer.epsilon)
    if layer.scale:
        factor = factor * _array(layer.gamma)
    shift = -_array(layer.moving_mean) * factor
    if layer.center:
        shift = shift + _array(layer.beta)
    return [("affine", {"factor": factor, "shift": shift}, {})]


def _rescaling(layer: Any, _: int) -> _Parts:
    return [("affine", {"factor": np.reshape(layer.scale, -1), "shift": np.reshape(layer.offset, -1)}, {})]


def _pool(operation: Kind) -> Callable[[Any, int], _Parts]:
    return lambda layer, _: [
        (operation, {}, {"size": tuple(layer.pool_size), "strides": tuple(layer.strides), "padding": layer.padding})
    ]


def _dense(layer: Any, rank: int) -> _Parts:
    if rank != 2:
        raise UnknownLayerError(f"{layer.name} has inputs of {rank} dimensions")
    arrays = {"kernel": _array(layer.kernel)} | ({"bias": _array(layer.bias)} if layer.use_bias else {})
    return [("dense", arrays, {}), *_activation(layer.activation)]


def _relu(layer: Any, _: int) -> _Parts:
    if layer.max_value is not None or layer.negative_slope or layer.threshold:
        raise UnknownLayerError(f"{layer.name} is no plain ReLU")
    return [("activation", {}, {"function": "relu"})]


def _concatenate(layer: Any, rank: int) -> _Parts:
    if layer.axis not in (-1, rank - 1):
        raise UnknownLayerError(f"{layer.name} joins another axis than the channels")
    return [("concat", {}, {})]


_TRANSLATIONS: dict[str, Callable[[Any, int], _Parts]] = {
    "Activation": lambda layer, _: _activation(layer.activation),
    "Add": lambda layer, _: [("add", {}, {})],
    "AlphaDropout": lambda layer, _: [],
    "AveragePooling2D": _pool("average_pool"),
    "BatchNormalization": _batch_norm,
    "Concatenate": _concatenate,
    "Conv2D": _conv,
    "Cropping2D": lambda layer, _: [("crop", {}, {"sides": layer.cropping})],
    "Dense": _dense,
    "DepthwiseConv2D": _depthwise_conv,
    "Dropout": lambda layer, _: [],
    "Flatten": lambda layer, _: [("flatten", {}, {})],
    "GlobalAveragePooling2D": lambda layer, _: [("global_average", {}, {"keepdims": layer.keepdims})],
    "MaxPooling2D": _pool("max_pool"),
    "ReLU": _relu,
    "Rescaling": _rescaling,
    "SeparableConv2D": _separable_conv,
    "ZeroPadding2D": lambda layer, _: [("pad", {}, {"sides": layer.padding})],
}
