"""A network by name, with fresh weights or given ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Unpack

import keras

from ception.models.blocks import Layers
from ception.models.building import build_with_whole
from ception.models.catalog import require_auxiliary
from ception.models.config import NetworkConfig, NetworkOptions, require_options
from ception.reporting import Reporter, or_default
from ception.weights.loading import Report, load
from ception.weights.opening import OpenedWeights, open_weights


def build(
    name: str,
    *,
    weights: str | Path | None = None,
    auxiliary: bool = False,
    partial: bool = False,
    dtype: str = "float32",
    seed: int | None = None,
    **options: Unpack[NetworkOptions],
) -> keras.Model:
    """A network with fresh or published weights.

    Args:
        name: A key of `MODELS`.
        weights: "imagenet", a key of `ception.weights.published.WEIGHTS`, or a path: Keras `.h5`, `.weights.h5` or
            `.keras`, safetensors, a PyTorch state dict, a TF-Slim checkpoint, our own file. None means fresh ones. A
            head of other classes stays fresh, and so does one of several layers, of which a warning tells.
        auxiliary: Whether the auxiliary head is a second output; `inception_v3` has one.
        partial: Whether the weights may lack tensors of the network.
        dtype: Keras dtype policy, such as `float32` or `mixed_bfloat16`; scaling and logits are always float32.
        seed: Start of the initial weights and of dropout; None draws another one each time.
        options: Fields of `ception.models.config.NetworkConfig`, explained there: `classes`, `image_size` (one side,
            or height and width), `channels`, `dropout`, `scaling`, `depth_multiplier`, `min_depth`, `every`,
            `final_endpoint`, `port`. None, or none given, means the network's own; scaling and port are the weights'.

    Returns:
        A `keras.Model` from float32 pictures (batch, height, width, channels) with values 0..255 to float32
        logits (batch, classes), with the auxiliary head to a list of both logits, without a head (`final_endpoint`
        and no `classes`) to feature maps. A layer that ends a block has the block's name, such as `block1`; all other
        names contain an underscore.

    Raises:
        InputError: an unknown name, or an option that the network cannot have.
    """
    require_options(options, ("weights", "auxiliary", "partial", "dtype", "seed"))
    config = NetworkConfig.of(name, **options)  # whatever is wrong with it is told before weights are opened
    if auxiliary:
        require_auxiliary(name)
    opened = None
    if weights is not None:
        opened = open_weights(name, weights, reporter=or_default(None))
        config = opened.config(**options)
    network, report = filled(config, opened, auxiliary=auxiliary, partial=partial, dtype=dtype, seed=seed)
    if report and report.left_out:
        Reporter().warn(f"{weights}: {report.of_another_head()}")
    return network


def filled(
    config: NetworkConfig,
    weights: OpenedWeights | None = None,
    *,
    auxiliary: bool = False,
    partial: bool = False,
    dtype: str = "float32",
    seed: int | None = None,
    exact: bool = False,
    layers: Mapping[str, type[keras.layers.Layer]] | None = None,
) -> tuple[keras.Model, Report | None]:
    """The network of a config, and what became of the weights that it is filled with; fresh without any.

    Args:
        config: What to build.
        weights: What to fill it with.
        auxiliary: As for `build`, as are the others.
        partial: Whether the weights may lack tensors of the network.
        dtype: Keras dtype policy.
        seed: Start of the initial weights and of dropout.
        exact: Whether it has to compute what the file's network does, as for `ception.weights.loading.load`.
        layers: As for `build_network`.

    Raises:
        InputError: the network cannot be built so, or the weights do not fit it.
    """
    made = Layers(dtype=dtype, classes=layers or {}, random=Random(seed))
    network, whole = build_with_whole(config, auxiliary=auxiliary, layers=made)
    if weights is None:
        return network, None
    return network, load(network, weights, partial=partial, whole=whole, exact=exact)
