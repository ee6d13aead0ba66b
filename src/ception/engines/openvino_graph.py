"""A network's operations as OpenVINO's graph.

So every backend's networks run, cut anywhere, at once. Keras's own export needs TensorFlow to trace the network on JAX,
and seconds on any backend.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino as ov
from openvino import opset13 as ops

from ception.engines.operations import INPUT, Operation, Operations

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TO_NCHW, _TO_NHWC = [0, 3, 1, 2], [0, 2, 3, 1]
BIASED = ".biased"  # behind a layer's name, where its bias is added
_SELU = np.float32(1.6732632423543772), np.float32(1.0507009873554805)


def graph_of(network: Operations, *, output: str = "scores", takes: Any = np.float32) -> ov.Model:
    """The network as OpenVINO's graph, float32, with a free batch size and its channels last at both ends.

    Args:
        network: The operations.
        output: What its result is called: no name of an operation.
        takes: Numbers of its input: float32, or uint8, which the graph then makes float32.
    """
    shape = [-1, *(-1 if side is None else side for side in network.shape)]
    given = ops.parameter(shape, takes, name=INPUT)
    given.output(0).set_names({INPUT})
    start = given if takes == np.float32 else ops.convert(given, "f32")
    nodes: dict[str, Any] = {INPUT: (ops.transpose(start, _TO_NCHW) if len(shape) == 4 else start).output(0)}
    for step in network.steps:  # feature maps are (batch, channels, height, width) in OpenVINO
        made = _WRITERS[step.kind](step, [nodes[name] for name in step.inputs])
        node = made.get_node() if isinstance(made, ov.Output) else made
        node.set_friendly_name(step.name + (BIASED if "bias" in step.arrays else ""))
        nodes[step.name] = made if isinstance(made, ov.Output) else made.output(0)
    end = nodes[network.steps[-1].name]
    if len(network.steps[-1].shape) == 3:
        end = ops.transpose(end, _TO_NHWC).output(0)
    end.set_names({output})
    return ov.Model([end], [given], network.name)


def _along_channels(values: NDArray[np.float32], step: Operation) -> NDArray[np.float32]:
    """One value for each channel, or one for all, in the shape that fits the step's result."""
    return values.reshape(1, -1, 1, 1) if len(step.shape) == 3 else values


def _padding(step: Operation) -> str:
    return {"same": "same_upper", "valid": "valid"}[step.options["padding"]]


def _conv(step: Operation, inputs: list[Any]) -> Any:
    kernel, groups = step.arrays["kernel"].transpose(3, 2, 0, 1), step.options["groups"]
    options = {"strides": list(step.options["strides"]), "pads_begin": [0, 0], "pads_end": [0, 0],
               "dilations": list(step.options["dilations"]), "auto_pad": _padding(step)}  # fmt: skip
    if groups == 1:
        made = ops.convolution(inputs[0], np.ascontiguousarray(kernel), **options)
    else:
        kernel = kernel.reshape(groups, -1, *kernel.shape[1:])
        made = ops.group_convolution(inputs[0], np.ascontiguousarray(kernel), **options)
    return _with_bias(step, made)


def _dense(step: Operation, inputs: list[Any]) -> Any:
    return _with_bias(step, ops.matmul(inputs[0], step.arrays["kernel"], False, False))


def _with_bias(step: Operation, made: Any) -> Any:
    made.set_friendly_name(step.name)
    return ops.add(made, _along_channels(step.arrays["bias"], step)) if "bias" in step.arrays else made


def _affine(step: Operation, inputs: list[Any]) -> Any:
    scaled = ops.multiply(inputs[0], _along_channels(step.arrays["factor"], step))
    return ops.add(scaled, _along_channels(step.arrays["shift"], step))


def _activation(step: Operation, inputs: list[Any]) -> Any:
    match step.options["function"]:
        case "relu":
            return ops.relu(inputs[0])
        case "elu":
            return ops.elu(inputs[0], 1.0)
        case "selu":
            return ops.selu(inputs[0], *_SELU)
        case _:
            return ops.softmax(inputs[0], 1)


def _max_pool(step: Operation, inputs: list[Any]) -> Any:
    strides, size = list(step.options["strides"]), list(step.options["size"])
    return ops.max_pool(inputs[0], strides, [1, 1], [0, 0], [0, 0], size, auto_pad=_padding(step)).output(0)


def _average_pool(step: Operation, inputs: list[Any]) -> Any:
    strides, size = list(step.options["strides"]), list(step.options["size"])
    return ops.avg_pool(inputs[0], strides, [0, 0], [0, 0], size, True, auto_pad=_padding(step))


def _pad(step: Operation, inputs: list[Any]) -> Any:
    (top, bottom), (left, right) = step.options["sides"]
    return ops.pad(inputs[0], np.array([0, 0, top, left]), np.array([0, 0, bottom, right]), "constant", np.float32(0))


def _crop(step: Operation, inputs: list[Any]) -> Any:
    (top, bottom), (left, right) = step.options["sides"]
    last = np.iinfo(np.int64).max
    stop = [-bottom if bottom else last, -right if right else last]
    return ops.slice(inputs[0], np.array([top, left]), np.array(stop), np.array([1, 1]), np.array([2, 3]))


def _flatten(step: Operation, inputs: list[Any]) -> Any:
    x = inputs[0]
    if len(x.get_partial_shape()) == 4:
        x = ops.transpose(x, _TO_NHWC)
    return ops.reshape(x, np.array([0, -1]), True)


def _add(step: Operation, inputs: list[Any]) -> Any:
    total = inputs[0]
    for other in inputs[1:]:
        total = ops.add(total, other)
    return total


_WRITERS: dict[str, Callable[[Operation, list[Any]], Any]] = {
    "activation": _activation,
    "add": _add,
    "affine": _affine,
    "average_pool": _average_pool,
    "concat": lambda step, inputs: ops.concat(inputs, 1),
    "conv": _conv,
    "crop": _crop,
    "dense": _dense,
    "flatten": _flatten,
    "global_average": lambda step, x: ops.reduce_mean(x[0], np.array([2, 3]), step.options["keepdims"]),
    "max_pool": _max_pool,
    "pad": _pad,
}
