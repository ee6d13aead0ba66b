"""What a network costs, layer by layer: shapes, parameters, MACs, activations, the memory that training takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Never

import keras
import ml_dtypes  # noqa: F401  # teaches NumPy bfloat16
import numpy as np

from ception.errors import InputError, nearest
from ception.model_file import describe
from ception.models import MODELS
from ception.models.building import build_network
from ception.models.kinds import kind
from ception.models.networks import modules
from ception.models.sizes import count
from ception.networks import build
from ception.results import LayerCost, NetworkSummary, TrainingCost
from ception.settings import RENAMED, SummarySettings, refuse_unknown

_KERNELS = {
    "Conv2D": ("kernel",), "DepthwiseConv2D": ("kernel",), "Dense": ("kernel",),
    "SeparableConv2D": ("depthwise_kernel", "pointwise_kernel"),
}  # fmt: skip

# What TensorFlow on a CPU holds beyond the tensors that have to be kept, fitted to benchmarks/results/memory.csv
_SURPLUS = 1.2
_BYTES_PER_LAYER = 1_000_000


def summary(
    model: str | Path | keras.Model,
    *,
    image_size: int | tuple[int, int] | None = None,
    every: Mapping[str, Any] | None = None,
    batch_size: int = 32,
    dtype: str = "float32",
    **unknown: Never,
) -> NetworkSummary:
    """What a network costs.

    Args:
        model: Name of a network or of a module of the walk from Inception to Xception, model file, run folder, or
            network.
        image_size: Side of the square, or (height, width), in pixels; None means the network's own.
        every: As for `ception.build`.
        batch_size: Pictures in a training step, for the estimate of memory.
        dtype: Keras dtype policy of the training, such as `float32` or `mixed_bfloat16`; a network has its own.
        unknown: What is no option; it is refused in words.

    Returns:
        Every layer with what it costs, the sums, and what a training step takes.

    Raises:
        InputError: there is no such network or option, or it cannot have that size.
    """
    refuse_unknown(unknown, ("image_size", "every", "batch_size", "dtype"), RENAMED[SummarySettings])
    batch_size = count("batch_size", batch_size)
    network = network_of(model, image_size=image_size, every=every, dtype=dtype)
    layers = tuple(costs(network))
    return NetworkSummary(
        model=network.name,
        input_shape=tuple(network.input.shape[1:]),
        layers=layers,
        parameters=sum(layer.parameters for layer in layers),
        trainable=sum(math.prod(weight.shape) for weight in network.trainable_weights),
        macs=sum(layer.macs for layer in layers),
        activation_bytes=sum(layer.activation_bytes for layer in layers),
        training=TrainingCost(
            batch_size=batch_size, dtype=_policy(network), memory_bytes=training_memory(network, batch_size)
        ),
    )


def network_of(
    model: str | Path | keras.Model,
    *,
    image_size: int | tuple[int, int] | None = None,
    every: Mapping[str, Any] | None = None,
    dtype: str = "float32",
) -> keras.Model:
    """The network that a name, a model file or a network means, with fresh weights unless it is a network.

    Raises:
        InputError: there is no such network, or it cannot have that size.
    """
    if isinstance(model, keras.Model):
        return model
    name = str(model)
    if name in MODELS:
        return build(name, image_size=image_size, every=every, dtype=dtype)
    if every:
        raise InputError(f"columns can be changed in a network by name, not in {name}")
    if name in modules.MODULES:
        return modules.build(name, image_size=image_size, dtype=dtype)
    if not Path(name).exists():
        known = nearest(name, [*MODELS, *modules.MODULES])
        raise InputError(f"{name} is neither a model file nor a network: {known}")
    config = describe(name).config
    return build_network(config if image_size is None else config.but(image_size=image_size), dtype=dtype)


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


def _policy(network: keras.Model) -> str:
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
