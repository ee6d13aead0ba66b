"""A network as a list of plain operations with their numbers, from which other runtimes' graphs are written.

One translation of Keras's layers (`translating`) serves them all: OpenVINO, ONNX, TensorFlow and PyTorch each write
these few kinds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

INPUT = "pictures"  # what the first operations take
Kind = Literal[
    "activation", "add", "affine", "average_pool", "concat", "conv", "crop", "dense", "flatten", "global_average",
    "max_pool", "pad",
]  # fmt: skip
ACTIVATIONS = ("relu", "elu", "selu", "softmax")


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


def folded(steps: Sequence[Operation]) -> tuple[Operation, ...]:
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
