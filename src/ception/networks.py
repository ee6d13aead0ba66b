"""A network by name, with fresh weights or given ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from ception.models.blocks import Layers
from ception.models.building import build_with_whole
from ception.models.catalog import require_auxiliary
from ception.models.config import NetworkConfig
from ception.weights.loading import Report, load
from ception.weights.opening import OpenedWeights, open_weights


def build(
    name: str,
    *,
    classes: int | None = None,
    image_size: int | Sequence[int] | None = None,
    channels: int | None = None,
    dropout: float | None = None,
    weights: str | Path | None = None,
    scaling: Sequence[Any] | None = None,
    auxiliary: bool = False,
    depth_multiplier: float = 1.0,
    min_depth: int | None = None,
    every: Mapping[str, Any] | None = None,
    final_endpoint: str | None = None,
    port: str | None = None,
    partial: bool = False,
    dtype: str = "float32",
    seed: int | None = None,
) -> keras.Model:
    """A network with fresh or published weights.

    Args:
        name: A key of `MODELS`.
        classes: Number of classes; None means the network's own or, with `final_endpoint`, no head.
        image_size: Side of the square, or (height, width), in pixels; None means the network's own.
        channels: Input channels; None means the network's own.
        dropout: Share of hidden units that dropout hides in training, 0 <= rate < 1; None means the network's own.
        weights: "imagenet", a key of `ception.weights.published.WEIGHTS`, or a path: Keras `.h5`, `.weights.h5` or
            `.keras`, safetensors, a PyTorch state dict, a TF-Slim checkpoint, our own file. None means fresh ones.
        scaling: (mean, std) of the pixels 0..255; the network computes with (pixel - mean) / std. Each is
            a number or one for each channel. None means the weights' own, else (127.5, 127.5): -1..1.
        auxiliary: Whether the auxiliary head is a second output; `inception_v3` has one.
        depth_multiplier: Factor of every number of filters, above 0.
        min_depth: Least number of filters, whatever the factor; None means 16, Slim's, where there is a factor.
        every: Columns of the network's table to change in every row, such as `{"shortcut": None}`, `{"inner": "elu"}`
            or `{"segments": 4}` for an Xception: see `ception.models.tables.xception.Row`.
        final_endpoint: Endpoint, by any of its names, that the network ends at, with a head of its own where `classes`
            are given; None means the logits.
        port: Whose rules the network follows where ports of it differ: a key of `PORTS[name]`. None means the
            weights' own, else the publication's.
        partial: Whether the weights may lack tensors of the network.
        dtype: Keras dtype policy, such as `float32` or `mixed_bfloat16`; scaling and logits are always float32.
        seed: Start of the initial weights and of dropout; None draws another one each time.

    Returns:
        A `keras.Model` from float32 pictures (batch, height, width, channels) with values 0..255 to float32
        logits (batch, classes), with the auxiliary head to a list of both logits, without a head to feature maps. A
        layer that ends a block has the block's name, such as `block1`; all other names contain an underscore.

    Raises:
        InputError: an unknown name, or an option that the network cannot have.
    """
    options = {
        "classes": classes, "image_size": image_size, "channels": channels, "dropout": dropout, "scaling": scaling,
        "depth_multiplier": depth_multiplier, "min_depth": min_depth, "every": every,
        "final_endpoint": final_endpoint, "port": port,
    }  # fmt: skip
    config = NetworkConfig.of(name, **options)  # whatever is wrong with it is told before weights are opened
    if auxiliary:
        require_auxiliary(name)
    opened = None
    if weights is not None:
        opened = open_weights(name, weights)
        config = opened.config(**options)
    return filled(config, opened, auxiliary=auxiliary, partial=partial, dtype=dtype, seed=seed)[0]


def filled(
    config: NetworkConfig,
    weights: OpenedWeights | None = None,
    *,
    auxiliary: bool = False,
    partial: bool = False,
    dtype: str = "float32",
    seed: int | None = None,
) -> tuple[keras.Model, Report | None]:
    """The network of a config, and what became of the weights that it is filled with; fresh without any.

    Args:
        config: What to build.
        weights: What to fill it with.
        auxiliary: As for `build`, as are the others.
        partial: Whether the weights may lack tensors of the network.
        dtype: Keras dtype policy.
        seed: Start of the initial weights and of dropout.

    Raises:
        InputError: the network cannot be built so, or the weights do not fit it.
    """
    network, whole = build_with_whole(config, auxiliary=auxiliary, seed=seed, layers=Layers(dtype=dtype))
    if weights is None:
        return network, None
    return network, load(network, weights.checkpoint, partial=partial, whole=whole)
