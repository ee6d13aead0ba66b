"""A network's operations as a program of PyTorch.

Source: torch.export, https://docs.pytorch.org/docs/stable/export.html; the paddings of TensorFlow's "same",
https://www.tensorflow.org/api_docs/python/tf/nn#notes_on_padding_2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from ception.engines.operations import INPUT, Operation, Operations

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_FUNCTIONS: dict[str, Callable[[Any], Any]] = {"relu": torch.relu, "elu": functional.elu, "selu": torch.selu}


class Network(torch.nn.Module):
    """Operations as a module: pictures (batch, height, width, channels) in, float32 out.

    Feature maps are (batch, channels, height, width), their channels beside one another in memory, which on a CPU is
    the quickest. In bfloat16 the convolutions and what lies between them are; the scaling of the pixels, dense layers
    and the softmax stay in float32.

    Args:
        network: The operations; every side of the input is fixed.
        precision: Numbers of the convolutions, `float32` or `bfloat16`.
    """

    def __init__(self, network: Operations, precision: str) -> None:
        super().__init__()
        self._rank, self._last = len(network.shape), network.steps[-1].name
        shapes: dict[str, Sequence[Any]] = {INPUT: network.shape}
        self._calls: list[tuple[str, tuple[str, ...], Callable[..., Any], list[str]]] = []
        for number, step in enumerate(network.steps):
            function, arrays = _WRITERS[step.kind](step, [shapes[name] for name in step.inputs])
            names = [f"step_{number}_{name}" for name in arrays]
            for name, values in zip(names, arrays.values(), strict=True):
                self.register_buffer(name, _tensor(values, _DTYPES[precision] if step.kind == "conv" else None))
            self._calls.append((step.name, step.inputs, function, names))
            shapes[step.name] = step.shape

    def forward(self, pictures: Any) -> Any:
        """The network's result for pictures (batch, height, width, channels)."""
        x = pictures.permute(0, 3, 1, 2) if self._rank == 3 else pictures
        results = {INPUT: x.to(torch.float32)}
        for name, inputs, function, arrays in self._calls:
            results[name] = function(*(results[one] for one in inputs), *(getattr(self, array) for array in arrays))
        last = results[self._last]
        return (last.permute(0, 2, 3, 1) if last.ndim == 4 else last).to(torch.float32)


def program_of(network: Operations, *, precision: str = "float32", takes: str = "float32") -> Any:
    """The network as a `torch.export.ExportedProgram` with a free batch size and its channels last at both ends.

    It holds nothing but tensors and operations: no examples, which PyTorch would keep as a pickle, and no traces of the
    files that made it.

    Args:
        network: The operations; every side of the input is fixed.
        precision: Numbers of the convolutions, `float32` or `bfloat16`.
        takes: Numbers of its input, `float32` or `uint8`.
    """
    example = torch.zeros((2, *network.shape), dtype=getattr(torch, takes))
    free = ({0: torch.export.Dim("batch", min=1)},)
    program = torch.export.export(Network(network, precision).eval(), (example,), dynamic_shapes=free, strict=False)
    for node in program.graph.nodes:
        node.meta = {"val": node.meta["val"]} if "val" in node.meta else {}
    program.example_inputs = None
    return program


def _tensor(values: NDArray[Any], dtype: Any) -> Any:
    """The numbers, in another dtype if one is given."""
    return torch.from_numpy(np.array(values, np.float32, order="C")).to(dtype or torch.float32)


_Written = tuple[Callable[..., Any], dict[str, "NDArray[Any]"]]  # what is called with inputs and numbers; the numbers


def _same(side: int, window: int, stride: int) -> tuple[int, int]:
    """What TensorFlow's "same" pads before and behind a side."""
    padded = max((math.ceil(side / stride) - 1) * stride + window - side, 0)
    return padded // 2, padded - padded // 2


def _sides(step: Operation, shape: Sequence[Any], windows: Sequence[int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """What is padded at ((top, bottom), (left, right))."""
    if step.options["padding"] == "valid":
        return (0, 0), (0, 0)
    strides = step.options["strides"]
    rows, columns = (_same(shape[axis], windows[axis], strides[axis]) for axis in (0, 1))
    return rows, columns


def _padded(sides: Sequence[tuple[int, int]], value: float = 0.0) -> tuple[Callable[[Any], Any], tuple[int, int]]:
    """What pads a feature map where its sides differ, and the padding left to the operation where they do not."""
    (top, bottom), (left, right) = sides
    if top == bottom and left == right:
        return lambda x: x, (top, left)
    return lambda x: functional.pad(x, (left, right, top, bottom), value=value), (0, 0)


def _conv(step: Operation, shapes: Sequence[Sequence[Any]]) -> _Written:
    strides, dilations, groups = (step.options[name] for name in ("strides", "dilations", "groups"))
    kernel = step.arrays["kernel"].transpose(3, 2, 0, 1)
    windows = [(size - 1) * dilation + 1 for size, dilation in zip(kernel.shape[2:], dilations, strict=True)]
    pad, padding = _padded(_sides(step, shapes[0], windows))

    def call(x: Any, kernel: Any, bias: Any = None) -> Any:
        return functional.conv2d(pad(x.to(kernel.dtype)), kernel, bias, strides, padding, dilations, groups)

    return call, {**step.arrays, "kernel": kernel}


def _dense(step: Operation, _: Sequence[Sequence[Any]]) -> _Written:
    def call(x: Any, kernel: Any, bias: Any = None) -> Any:
        return functional.linear(x.to(kernel.dtype), kernel, bias)

    return call, {**step.arrays, "kernel": step.arrays["kernel"].T}


def _affine(step: Operation, _: Sequence[Sequence[Any]]) -> _Written:
    def call(x: Any, factor: Any, shift: Any) -> Any:
        return (x * factor + shift).to(x.dtype)

    maps = len(step.shape) == 3
    return call, {key: step.arrays[key].reshape(-1, 1, 1) if maps else step.arrays[key] for key in ("factor", "shift")}


def _activation(step: Operation, _: Sequence[Sequence[Any]]) -> _Written:
    function = step.options["function"]
    if function == "softmax":
        return lambda x: torch.softmax(x.to(torch.float32), 1), {}
    return _FUNCTIONS[function], {}


def _max_pool(step: Operation, shapes: Sequence[Sequence[Any]]) -> _Written:
    size, strides = step.options["size"], step.options["strides"]
    pad, padding = _padded(_sides(step, shapes[0], size), value=-math.inf)
    return lambda x: functional.max_pool2d(pad(x), size, strides, padding), {}


def _average_pool(step: Operation, shapes: Sequence[Sequence[Any]]) -> _Written:
    """The average of what lies inside of the feature map: what is padded does not count."""
    size, strides = step.options["size"], step.options["strides"]
    sides = _sides(step, shapes[0], size)
    pad, padding = _padded(sides)
    if padding != (0, 0) or sides == ((0, 0), (0, 0)):
        return lambda x: functional.avg_pool2d(x, size, strides, padding, count_include_pad=False), {}
    ones = np.pad(np.ones(shapes[0][:2], np.float32), sides)
    windows = np.lib.stride_tricks.sliding_window_view(ones, size)[:: strides[0], :: strides[1]]
    return lambda x, larger: functional.avg_pool2d(pad(x), size, strides) * larger.to(x.dtype), {
        "larger": 1 / windows.mean((2, 3))
    }


def _global_average(step: Operation, _: Sequence[Sequence[Any]]) -> _Written:
    kept = step.options["keepdims"]
    return lambda x: x.mean((2, 3), keepdim=kept), {}


def _pad(step: Operation, _: Sequence[Sequence[Any]]) -> _Written:
    (top, bottom), (left, right) = step.options["sides"]
    return lambda x: functional.pad(x, (left, right, top, bottom)), {}


def _crop(step: Operation, shapes: Sequence[Sequence[Any]]) -> _Written:
    (top, bottom), (left, right) = step.options["sides"]
    height, width = shapes[0][:2]
    return lambda x: x[:, :, top : height - bottom, left : width - right], {}


def _flatten(step: Operation, shapes: Sequence[Sequence[Any]]) -> _Written:
    if len(shapes[0]) == 3:
        return lambda x: x.permute(0, 2, 3, 1).flatten(1), {}
    return lambda x: x.flatten(1), {}


def _add(step: Operation, _: Sequence[Sequence[Any]]) -> _Written:
    return lambda *inputs: sum(inputs[1:], start=inputs[0]), {}


def _concat(step: Operation, _: Sequence[Sequence[Any]]) -> _Written:
    return lambda *inputs: torch.cat(inputs, 1), {}


_WRITERS: dict[str, Callable[[Operation, Sequence[Sequence[Any]]], _Written]] = {
    "activation": _activation,
    "add": _add,
    "affine": _affine,
    "average_pool": _average_pool,
    "concat": _concat,
    "conv": _conv,
    "crop": _crop,
    "dense": _dense,
    "flatten": _flatten,
    "global_average": _global_average,
    "max_pool": _max_pool,
    "pad": _pad,
}
