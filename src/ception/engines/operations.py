"""A network of Keras as a list of plain operations with their numbers, from which other runtimes' graphs are written.

One translation of the layers serves them all: OpenVINO, ONNX, TensorFlow and PyTorch each write these few kinds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import keras
import numpy as np

from ception.keras_internals import producer
from ception.models.kinds import kind

if TYPE_CHECKING:
    from numpy.typing import NDArray

INPUT = "pictures"  # what the first operations take
Kind = Literal[
    "activation", "add", "affine", "average_pool", "concat", "conv", "crop", "dense", "flatten", "global_average",
    "max_pool", "pad",
]  # fmt: skip
ACTIVATIONS = ("relu", "elu", "selu", "softmax")


class UnknownLayerError(Exception):
    """A layer, or an option of one, that is not translated; the message names it."""


@dataclass(frozen=True)
class Operation:
    """One step of a network.

    Attributes:
        name: Unique; that of the layer, or with what it does there behind it.
        kind: What is computed.
        inputs: Names of the operations whose results it takes, or `INPUT`.
        shape: Of its result without the batch, channels last; None for a free side.
        arrays: Its numbers: of `conv` the kernel (height, width, channels in a group, filters) and bias (filters,); of
            `dense` the kernel (inputs, units) and bias (units,); of `affine` factor and shift, (channels,) or (1,).
        options: Of `conv` strides, dilations, padding (`same` or `valid`) and groups; of pools size, strides and
            padding; of `pad` and `crop` the rows and columns at ((top, bottom), (left, right)); of `activation` its
            function, one of `ACTIVATIONS`; of `global_average` whether it keeps its dimensions.
    """

    name: str
    kind: Kind
    inputs: tuple[str, ...]
    shape: tuple[int | None, ...]
    arrays: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Operations:
    """A network in inference mode.

    Attributes:
        name: What the network is called.
        shape: (height, width, channels) of its input, or of whatever else it takes; None for a free side.
        steps: In an order in which each comes after those whose results it takes. The last one's is the network's.
    """

    name: str
    shape: tuple[int | None, ...]
    steps: tuple[Operation, ...]


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


def folded(steps: list[Operation]) -> tuple[Operation, ...]:
    """The same with every factor and shift of channels inside a convolution or dense layer beside it, where it can be.

    That is the one before, if nothing else takes its result; or the one behind, if that pads nothing with zeros.
    """
    by_name: dict[str, Operation] = {}
    takers = Counter(name for step in steps for name in step.inputs)
    renamed: dict[str, str] = {}
    for step in steps:
        step = replace(step, inputs=tuple(renamed.get(name, name) for name in step.inputs))
        before = by_name.get(step.inputs[0])
        if before is not None and takers[before.name] == 1:
            if step.kind == "affine" and before.kind in ("conv", "dense", "affine"):
                by_name[before.name] = _scaled_behind(before, step)
                renamed[step.name] = before.name
                takers[before.name] = takers[step.name]
                continue
            if before.kind == "affine" and _can_scale_before(step):
                del by_name[before.name]
                step = _scaled_before(before, step)
        by_name[step.name] = step
    return tuple(by_name.values())


def _scaled_behind(step: Operation, affine: Operation) -> Operation:
    """A convolution, a dense layer or an affine step whose result is scaled and shifted at once."""
    factor, shift = (affine.arrays[name].astype(np.float64) for name in ("factor", "shift"))
    first, last = ("factor", "shift") if step.kind == "affine" else ("kernel", "bias")
    arrays = {first: step.arrays[first] * factor, last: step.arrays.get(last, np.zeros(1)) * factor + shift}
    if step.kind != "affine":
        arrays[last] = np.broadcast_to(arrays[last], arrays[first].shape[-1:])
    return replace(step, arrays={name: np.asarray(values, np.float32) for name, values in arrays.items()})


def _can_scale_before(step: Operation) -> bool:
    options = step.options
    return step.kind == "dense" or (step.kind == "conv" and options["padding"] == "valid" and options["groups"] == 1)


def _scaled_before(affine: Operation, step: Operation) -> Operation:
    """A convolution without padding, or a dense layer, whose input is scaled and shifted at once."""
    kernel = step.arrays["kernel"].astype(np.float64)
    channels = kernel.shape[-2]
    factor, shift = (np.broadcast_to(affine.arrays[name].astype(np.float64), channels) for name in ("factor", "shift"))
    spread = np.einsum("kio,i->o", kernel.reshape(-1, *kernel.shape[-2:]), shift)
    arrays = {"kernel": kernel * factor[:, None], "bias": step.arrays.get("bias", 0) + spread}
    numbers = {name: np.asarray(values, np.float32) for name, values in arrays.items()}
    return replace(step, inputs=affine.inputs, arrays=numbers)


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


_Parts = list[tuple[Kind, dict[str, Any], dict[str, Any]]]


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
