"""A network's operations as an ONNX model.

Source: the operators of ONNX's opset 18, https://onnx.ai/onnx/operators.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ception.engines.operations import INPUT, Operation, Operations

if TYPE_CHECKING:
    from numpy.typing import NDArray

OPSET = 18
_IR_VERSION = 10  # what runtimes of 2024 read, too
_FUNCTIONS = {"relu": "Relu", "elu": "Elu", "selu": "Selu", "softmax": "Softmax"}


class _Graph:
    """Nodes and numbers as they are written, one operation after another.

    Args:
        precision: Numbers that are written and computed with.
    """

    def __init__(self, precision: str) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.numbers: list[onnx.TensorProto] = []
        self._dtype = np.dtype(precision)

    def add(self, kind: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """Write a node, whose result has its name."""
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, values: NDArray[Any], name: str) -> str:
        """Write numbers; floats in the graph's precision."""
        if values.dtype.kind == "f":
            values = values.astype(self._dtype)
        self.numbers.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name


def model_of(
    network: Operations,
    *,
    output: str = "scores",
    takes: str = "float32",
    precision: str = "float32",
    metadata: Mapping[str, str] | None = None,
) -> onnx.ModelProto:
    """The network as an ONNX model with a free batch size and its channels last at both ends.

    Args:
        network: The operations.
        output: What its result is called: no name of an operation.
        takes: Numbers of its input, `float32` or `uint8`.
        precision: Numbers that it computes with, `float32` or `float16`; its result is float32.
        metadata: Texts that the model carries, by name.
    """
    graph = _Graph(precision)
    x = INPUT
    if takes != precision:
        x = graph.add("Cast", [x], "numbers", to=helper.np_dtype_to_tensor_dtype(np.dtype(precision)))
    if len(network.shape) == 3:
        x = graph.add("Transpose", [x], "channels_first", perm=[0, 3, 1, 2])
    named = {INPUT: x}
    for step in network.steps:
        named[step.name] = _WRITERS[step.kind](graph, step, [named[name] for name in step.inputs])
    last = network.steps[-1]
    end = named[last.name]
    if len(last.shape) == 3:
        end = graph.add("Transpose", [end], "channels_last", perm=[0, 2, 3, 1])
    if precision == "float32":
        graph.add("Identity", [end], output)
    else:
        graph.add("Cast", [end], output, to=TensorProto.FLOAT)
    given = helper.make_tensor_value_info(
        INPUT, helper.np_dtype_to_tensor_dtype(np.dtype(takes)), ["batch", *network.shape]
    )
    result = helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", *last.shape])
    made = helper.make_graph(graph.nodes, network.name, [given], [result], graph.numbers)
    model = helper.make_model(
        made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=_IR_VERSION, producer_name="ception"
    )
    helper.set_model_props(model, dict(metadata or {}))
    onnx.checker.check_model(model)
    return model


def _along_channels(values: NDArray[np.float32], step: Operation) -> NDArray[np.float32]:
    """One value for each channel, or one for all, in the shape that fits the step's result."""
    return values.reshape(-1, 1, 1) if len(step.shape) == 3 else values


def _padding(step: Operation) -> str:
    return {"same": "SAME_UPPER", "valid": "VALID"}[step.options["padding"]]


def _conv(graph: _Graph, step: Operation, inputs: list[str]) -> str:
    kernel = step.arrays["kernel"].transpose(3, 2, 0, 1)
    numbers = [graph.constant(kernel, f"{step.name}.kernel")]
    if "bias" in step.arrays:
        numbers.append(graph.constant(step.arrays["bias"], f"{step.name}.bias"))
    return graph.add(
        "Conv", [*inputs, *numbers], step.name, kernel_shape=kernel.shape[2:], strides=step.options["strides"],
        dilations=step.options["dilations"], group=step.options["groups"], auto_pad=_padding(step),
    )  # fmt: skip


def _dense(graph: _Graph, step: Operation, inputs: list[str]) -> str:
    numbers = [graph.constant(step.arrays["kernel"], f"{step.name}.kernel")]
    if "bias" in step.arrays:
        numbers.append(graph.constant(step.arrays["bias"], f"{step.name}.bias"))
    return graph.add("Gemm", [*inputs, *numbers], step.name)


def _affine(graph: _Graph, step: Operation, inputs: list[str]) -> str:
    factor, shift = (
        graph.constant(_along_channels(step.arrays[name], step), f"{step.name}.{name}") for name in ("factor", "shift")
    )
    return graph.add("Add", [graph.add("Mul", [*inputs, factor], f"{step.name}.scaled"), shift], step.name)


def _activation(graph: _Graph, step: Operation, inputs: list[str]) -> str:
    function = step.options["function"]
    return graph.add(_FUNCTIONS[function], inputs, step.name, **({"axis": 1} if function == "softmax" else {}))


def _pool(kind: str, **attributes: Any) -> Callable[[_Graph, Operation, list[str]], str]:
    def write(graph: _Graph, step: Operation, inputs: list[str]) -> str:
        size, strides = step.options["size"], step.options["strides"]
        return graph.add(
            kind, inputs, step.name, kernel_shape=size, strides=strides, auto_pad=_padding(step), **attributes
        )

    return write


def _global_average(graph: _Graph, step: Operation, inputs: list[str]) -> str:
    axes = graph.constant(np.array([2, 3]), f"{step.name}.axes")
    return graph.add("ReduceMean", [*inputs, axes], step.name, keepdims=int(step.options["keepdims"]))


def _pad(graph: _Graph, step: Operation, inputs: list[str]) -> str:
    (top, bottom), (left, right) = step.options["sides"]
    return graph.add(
        "Pad", [*inputs, graph.constant(np.array([0, 0, top, left, 0, 0, bottom, right]), f"{step.name}.sides")],
        step.name,
    )  # fmt: skip


def _crop(graph: _Graph, step: Operation, inputs: list[str]) -> str:
    (top, bottom), (left, right) = step.options["sides"]
    last = np.iinfo(np.int64).max
    bounds = {"starts": [top, left], "ends": [-bottom or last, -right or last], "axes": [2, 3]}
    numbers = [graph.constant(np.array(values), f"{step.name}.{name}") for name, values in bounds.items()]
    return graph.add("Slice", [*inputs, *numbers], step.name)


def _flatten(graph: _Graph, step: Operation, inputs: list[str]) -> str:
    last = graph.add("Transpose", inputs, f"{step.name}.channels_last", perm=[0, 2, 3, 1])
    return graph.add("Flatten", [last], step.name)


def _add(graph: _Graph, step: Operation, inputs: list[str]) -> str:
    total = inputs[0]
    for number, other in enumerate(inputs[1:], start=1):
        name = step.name if number == len(inputs) - 1 else f"{step.name}.{number}"
        total = graph.add("Add", [total, other], name)
    return total


_WRITERS: dict[str, Callable[[_Graph, Operation, list[str]], str]] = {
    "activation": _activation,
    "add": _add,
    "affine": _affine,
    "average_pool": _pool("AveragePool", count_include_pad=0),
    "concat": lambda graph, step, inputs: graph.add("Concat", inputs, step.name, axis=1),
    "conv": _conv,
    "crop": _crop,
    "dense": _dense,
    "flatten": _flatten,
    "global_average": _global_average,
    "max_pool": _pool("MaxPool"),
    "pad": _pad,
}
