"""What a network costs, layer by layer: shapes, parameters, MACs, activations, the memory that training takes."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Never

from ception import hub
from ception.errors import InputError, meant, nearest
from ception.model_file import describe
from ception.models.catalog import MODELS
from ception.models.config import NetworkConfig
from ception.models.sizes import count
from ception.models.tables.modules import MODULES
from ception.results import NetworkSummary, TrainingCost
from ception.run_list import names_beside, path_of
from ception.settings import SummarySettings
from ception.validation import RENAMED, refuse_unknown

if TYPE_CHECKING:
    import keras


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
    own = [one.name for one in inspect.signature(summary).parameters.values() if one.kind is one.KEYWORD_ONLY]
    refuse_unknown(unknown, own, RENAMED[SummarySettings])
    batch_size = count("batch_size", batch_size)
    network = network_of(model, image_size=image_size, every=every, dtype=dtype)
    from ception.inspection.layers import costs, policy, training_memory

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
            batch_size=batch_size, dtype=policy(network), memory_bytes=training_memory(network, batch_size)
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
    if not isinstance(model, str | Path):
        return model
    config = config_of(model, image_size=image_size, every=every)
    if config is None:
        from ception.models.networks import modules

        return modules.build(str(model), image_size=image_size, dtype=dtype)
    from ception.models.building import build_network

    return build_network(config, dtype=dtype)


def config_of(
    model: str | Path, *, image_size: int | tuple[int, int] | None = None, every: Mapping[str, Any] | None = None
) -> NetworkConfig | None:
    """What the network that a name or a model file means is built from; None for a module of the walk.

    Raises:
        InputError: there is no such network, or it cannot have that size.
    """
    name = str(model)
    if name in MODELS:
        return NetworkConfig.of(name, image_size=image_size, every=every)
    if every:
        raise InputError(f"columns can be changed in a network by name, not in {name}")
    if name in MODULES:
        return None
    if not (hub.is_named(name) or path_of(name).exists()):
        way_out = meant(name, names_beside(name)) or f": {nearest(name, [*MODELS, *MODULES])}"
        raise InputError(f"{name} is neither a model file nor a network{way_out}")
    config = describe(name).config
    return config if image_size is None else config.but(image_size=image_size)
