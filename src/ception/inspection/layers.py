"""What each layer of a network costs, and the memory that training takes."""

from __future__ import annotations

import math
from typing import Any

import keras
import ml_dtypes  # noqa: F401  # teaches NumPy bfloat16
import numpy as np

from ception.models.kinds import kind
from ception.results import LayerCost

_KERNELS = {
    "Conv2D": ("kernel",), "DepthwiseConv2D": ("kernel",), "Dense": ("kernel",),
    "SeparableConv2D": ("depthwise_kernel", "pointwise_kernel"),
}  # fmt: skip

# What TensorFlow on a CPU holds beyond the tensors that have to be kept, fitted to benchmarks/results/memory.csv
_SURPLUS = 1.2
_BYTES_PER_LAYER = 1_000_000


def costs(network: keras.Model) -> list[LayerCost]:
    """Every layer with what it costs, in the network's order."""
    return [
        LayerCost(
            name=layer.name,
            kind=kind(layer),
            output_shape=tuple(layer.output.shape[1:]),
            parameters=layer.count_params(),
            macs=macs(layer),
            activation_bytes=_bytes(layer.output),
        )
        for layer in network.layers
    ]


def macs(layer: keras.Layer) -> int:
    """Multiply-accumulates of a layer's kernels for one picture; nothing else is counted."""
    kernels = [getattr(layer, name) for name in _KERNELS.get(kind(layer), ())]
    positions = math.prod(layer.output.shape[1:-1])
    return int(positions * sum(math.prod(kernel.shape) for kernel in kernels))


def _bytes(tensor: keras.KerasTensor) -> int:
    """Size of one picture's part of a tensor."""
    return int(math.prod(tensor.shape[1:]) * np.dtype(tensor.dtype).itemsize)


def policy(network: keras.Model) -> str:
    """The dtype policy of the network's layers with weights."""
    return next((str(layer.dtype_policy.name) for layer in network.layers if layer.weights), "float32")


def training_memory(network: keras.Model, batch_size: int) -> int:
    """Bytes that a training step with SGD and momentum takes at its peak, the backend itself not counted.

    Weights, gradients and momentum once each, and for every picture the tensors that the gradients are computed from:
    what enters convolutions, dense layers and (in float32, whatever the policy) batch normalisation, what leaves
    activations, and both for max pools; with a fifth, and a megabyte per layer, for what TensorFlow holds beyond that.
    PyTorch takes about twice as much, JAX up to 2.5 times.

    Args:
        network: The network, its layers with the dtype policy of the training.
        batch_size: Pictures in a step.
    """
    kept: dict[Any, int] = {}
    for layer in network.layers:
        layer_kind = kind(layer)
        if layer_kind == "BatchNormalization":
            kept["float32", id(layer.input)] = 4 * math.prod(layer.input.shape[1:])
        elif layer.weights or layer_kind == "MaxPooling2D":
            kept[layer.input.dtype, id(layer.input)] = _bytes(layer.input)
        if layer_kind in ("ReLU", "Activation", "MaxPooling2D"):
            kept[layer.output.dtype, id(layer.output)] = _bytes(layer.output)
        if layer_kind == "SeparableConv2D":  # the depthwise convolution's output
            kept[id(layer)] = _bytes(layer.output) * int(layer.input.shape[-1]) // int(layer.output.shape[-1])
    weights = sum(math.prod(weight.shape) for weight in network.weights) * 4
    trainable = sum(math.prod(weight.shape) for weight in network.trainable_weights) * 4
    fixed = weights + 2 * trainable + _BYTES_PER_LAYER * len(network.layers)
    return int(fixed + _SURPLUS * batch_size * sum(kept.values()))
