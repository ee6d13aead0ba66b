"""A network of Keras as OpenVINO's graph: each layer translated by hand.

So every backend's networks run, cut anywhere, at once. Keras's own export needs TensorFlow to trace the network on JAX,
and seconds on any backend.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import openvino as ov
from openvino import opset13 as ops

from ception.keras_internals import producer
from ception.models.kinds import kind

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TO_NCHW, _TO_NHWC = [0, 3, 1, 2], [0, 2, 3, 1]


class UnknownLayerError(Exception):
    """A layer, or an option of one, that is not translated; the message names it."""


def translated(model: keras.Model) -> ov.Model:
    """The network as OpenVINO's graph, in inference mode, float32, with a free batch size.

    Raises:
        UnknownLayerError: a layer is not translated.
    """
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise UnknownLayerError("more than one input or output")
    shape = [-1, *(-1 if side is None else side for side in model.inputs[0].shape[1:])]
    given = ops.parameter(shape, np.float32, name="pictures")
    maps = len(shape) == 4  # feature maps are (batch, channels, height, width) in OpenVINO
    nodes: dict[int, Any] = {id(model.inputs[0]): ops.transpose(given, _TO_NCHW).output(0) if maps else given.output(0)}

    def told(tensor: keras.KerasTensor) -> Any:
        """The node of a tensor; from the network's end to its beginning without recursion, for networks are deep."""
        waiting = [tensor]
        while waiting:
            wanted = waiting[-1]
            layer, inputs = producer(wanted)
            missing = [x for x in inputs if id(x) not in nodes]
            if id(wanted) in nodes:
                waiting.pop()
            elif missing:
                waiting.extend(missing)
            elif not inputs:
                raise UnknownLayerError(f"{layer.name}, a second input")
            else:
                nodes[id(wanted)] = _translate(layer, [nodes[id(x)] for x in inputs])
        return nodes[id(tensor)]

    end = told(model.outputs[0])
    if len(model.outputs[0].shape) == 4:
        end = ops.transpose(end, _TO_NHWC)
    return ov.Model([end], [given], model.name)


def _translate(layer: Any, inputs: list[Any]) -> Any:
    translate = _TRANSLATIONS.get(kind(layer))
    if translate is None:
        raise UnknownLayerError(f"{layer.name} is a {kind(layer)}")
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        raise UnknownLayerError(f"{layer.name} has its channels first")
    made = translate(layer, inputs if isinstance(layer.input, list) else inputs[0])
    return made if isinstance(made, ov.Output) else made.output(0)


def _array(variable: Any) -> NDArray[np.float32]:
    return np.asarray(keras.ops.convert_to_numpy(variable), np.float32)


def _along_channels(values: Any, rank: int) -> NDArray[np.float32]:
    """One value for each channel, or one for all, in the shape that multiplies a tensor of that rank."""
    array = np.asarray(values, np.float32).reshape(-1)
    return array.reshape(1, -1, 1, 1) if rank == 4 else array


def _rank(x: Any) -> int:
    return len(x.get_partial_shape())


def _activate(function: Any, x: Any) -> Any:
    """The activation function of a layer, by its name in Keras."""
    name = getattr(function, "__name__", str(function))
    if name == "linear":
        return x
    if name == "relu":
        return ops.relu(x)
    if name == "elu":
        return ops.elu(x, 1.0)
    if name == "selu":
        return ops.selu(x, np.float32(1.6732632423543772), np.float32(1.0507009873554805))
    if name == "softmax":
        return ops.softmax(x, 1)
    raise UnknownLayerError(f"the activation {name}")


def _with_bias(layer: Any, x: Any) -> Any:
    if layer.use_bias:
        x = ops.add(x, _along_channels(_array(layer.bias), 4))
    return _activate(layer.activation, x)


def _padding(layer: Any) -> dict[str, Any]:
    return {"auto_pad": {"same": "same_upper", "valid": "valid"}[layer.padding]}


def _convolve(x: Any, kernel: NDArray[np.float32], layer: Any, groups: int) -> Any:
    """A convolution with a kernel (height, width, channels in a group, filters)."""
    options = {"strides": list(layer.strides), "pads_begin": [0, 0], "pads_end": [0, 0],
               "dilations": list(layer.dilation_rate), **_padding(layer)}  # fmt: skip
    kernel = kernel.transpose(3, 2, 0, 1)
    if groups == 1:
        return ops.convolution(x, kernel, **options)
    return ops.group_convolution(x, kernel.reshape(groups, -1, *kernel.shape[1:]), **options)


def _depthwise(x: Any, kernel: NDArray[np.float32], layer: Any) -> Any:
    """A depthwise convolution with a kernel (height, width, channels, multiplier)."""
    height, width, channels, multiplier = kernel.shape
    return _convolve(x, kernel.reshape(height, width, 1, channels * multiplier), layer, channels)


def _conv(layer: Any, x: Any) -> Any:
    return _with_bias(layer, _convolve(x, _array(layer.kernel), layer, layer.groups))


def _depthwise_conv(layer: Any, x: Any) -> Any:
    return _with_bias(layer, _depthwise(x, _array(layer.kernel), layer))


def _separable_conv(layer: Any, x: Any) -> Any:
    x = _depthwise(x, _array(layer.depthwise_kernel), layer)
    pointwise = _array(layer.pointwise_kernel).transpose(3, 2, 0, 1)
    x = ops.convolution(x, pointwise, [1, 1], [0, 0], [0, 0], [1, 1])
    return _with_bias(layer, x)


def _batch_norm(layer: Any, x: Any) -> Any:
    """Two numbers for each channel, which OpenVINO folds into the convolution before."""
    factor = 1 / np.sqrt(_array(layer.moving_variance).astype(np.float64) + layer.epsilon)
    if layer.scale:
        factor = factor * _array(layer.gamma)
    shift = -_array(layer.moving_mean) * factor
    if layer.center:
        shift = shift + _array(layer.beta)
    rank = _rank(x)
    return ops.add(ops.multiply(x, _along_channels(factor, rank)), _along_channels(shift, rank))


def _max_pool(layer: Any, x: Any) -> Any:
    strides, size = list(layer.strides), list(layer.pool_size)
    return ops.max_pool(x, strides, [1, 1], [0, 0], [0, 0], size, **_padding(layer)).output(0)


def _average_pool(layer: Any, x: Any) -> Any:
    return ops.avg_pool(x, list(layer.strides), [0, 0], [0, 0], list(layer.pool_size), True, **_padding(layer))


def _global_average_pool(layer: Any, x: Any) -> Any:
    return ops.reduce_mean(x, np.array([2, 3]), layer.keepdims)


def _zero_padding(layer: Any, x: Any) -> Any:
    (top, bottom), (left, right) = layer.padding
    return ops.pad(x, np.array([0, 0, top, left]), np.array([0, 0, bottom, right]), "constant", np.float32(0))


def _cropping(layer: Any, x: Any) -> Any:
    (top, bottom), (left, right) = layer.cropping
    last = np.iinfo(np.int64).max
    stop = [-bottom if bottom else last, -right if right else last]
    return ops.slice(x, np.array([top, left]), np.array(stop), np.array([1, 1]), np.array([2, 3]))


def _rescaling(layer: Any, x: Any) -> Any:
    rank = _rank(x)
    return ops.add(ops.multiply(x, _along_channels(layer.scale, rank)), _along_channels(layer.offset, rank))


def _dense(layer: Any, x: Any) -> Any:
    if _rank(x) != 2:
        raise UnknownLayerError(f"{layer.name} has inputs of {_rank(x)} dimensions")
    x = ops.matmul(x, _array(layer.kernel), False, False)
    if layer.use_bias:
        x = ops.add(x, _array(layer.bias))
    return _activate(layer.activation, x)


def _relu(layer: Any, x: Any) -> Any:
    if layer.max_value is not None or layer.negative_slope or layer.threshold:
        raise UnknownLayerError(f"{layer.name} is no plain ReLU")
    return ops.relu(x)


def _flatten(layer: Any, x: Any) -> Any:
    if _rank(x) == 4:
        x = ops.transpose(x, _TO_NHWC)
    return ops.reshape(x, np.array([0, -1]), True)


def _add(_: Any, inputs: list[Any]) -> Any:
    total = inputs[0]
    for other in inputs[1:]:
        total = ops.add(total, other)
    return total


def _concatenate(layer: Any, inputs: list[Any]) -> Any:
    rank = _rank(inputs[0])
    axis = layer.axis % rank
    return ops.concat(inputs, {1: 2, 2: 3, 3: 1}[axis] if rank == 4 else axis)


_TRANSLATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "Activation": lambda layer, x: _activate(layer.activation, x),
    "Add": _add,
    "AlphaDropout": lambda _, x: x,
    "AveragePooling2D": _average_pool,
    "BatchNormalization": _batch_norm,
    "Concatenate": _concatenate,
    "Conv2D": _conv,
    "Cropping2D": _cropping,
    "Dense": _dense,
    "DepthwiseConv2D": _depthwise_conv,
    "Dropout": lambda _, x: x,
    "Flatten": _flatten,
    "GlobalAveragePooling2D": _global_average_pool,
    "MaxPooling2D": _max_pool,
    "ReLU": _relu,
    "Rescaling": _rescaling,
    "SeparableConv2D": _separable_conv,
    "ZeroPadding2D": _zero_padding,
}
