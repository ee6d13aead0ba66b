"""From a config to a network with fresh weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from random import Random
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from ception.errors import InputError
from ception.models.blocks import Layers, head
from ception.models.catalog import find, require_auxiliary
from ception.models.config import NetworkConfig
from ception.models.endpoints import truncate
from ception.models.networks.inception import inception
from ception.models.networks.separable_cnn import separable_cnn
from ception.models.networks.xception import xception
from ception.models.tables import inception as inception_table
from ception.models.tables import separable_cnn as separable_cnn_table
from ception.models.tables import xception as xception_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

# What builds each kind of table: from a scaled image tensor, the table, and options to logits
_BUILDERS: dict[type, Callable[..., Any]] = {
    xception_table.Spec: xception,
    inception_table.Spec: inception,
    separable_cnn_table.Spec: separable_cnn,
}


def build_network(
    config: NetworkConfig,
    *,
    auxiliary: bool = False,
    dtype: str = "float32",
    seed: int | None = None,
    layers: Mapping[str, type[keras.layers.Layer]] | None = None,
) -> keras.Model:
    """The network of a config, with fresh weights.

    Args:
        config: What to build.
        auxiliary: Whether the auxiliary head is a second output.
        dtype: Keras dtype policy, such as `float32` or `mixed_bfloat16`; scaling and logits are always float32.
        seed: Start of the initial weights and of dropout; None draws another one each time.
        layers: By kind, such as `SeparableConv2D`, the class to make instead of Keras's own; it derives from that.

    Returns:
        As `ception.build`.

    Raises:
        InputError: the network cannot be built so.
    """
    return build_with_whole(
        config, auxiliary=auxiliary, layers=Layers(dtype=dtype, classes=layers or {}, random=Random(seed))
    )[0]


def build_with_whole(
    config: NetworkConfig, *, auxiliary: bool = False, layers: Layers
) -> tuple[keras.Model, keras.Model]:
    """The network of a config, and the whole one that it is a part of: itself unless it ends early.

    Raises:
        InputError: as for `build_network`.
    """
    if auxiliary:
        require_auxiliary(config.name)
        if config.final_endpoint is not None:
            raise InputError(
                f"the auxiliary head belongs to the whole network, not to one that ends at {config.final_endpoint}"
            )
    try:
        whole = _whole(config, layers, auxiliary=auxiliary)
        return (whole if config.final_endpoint is None else _ended(config, whole, layers)), whole
    except InputError:
        raise
    except (TypeError, ValueError) as error:
        changed = dict(config.every) or config.as_dict()
        raise InputError(f"{config.name} cannot be built with {changed}: {error}") from None


def _whole(config: NetworkConfig, layers: Layers, *, auxiliary: bool) -> keras.Model:
    """The network from the pictures to all its logits."""
    mean, std = config.mean_and_std()
    table = config.table()
    image = keras.Input((*config.image_size, config.channels), name="input_image", dtype="float32")
    scale, offset = (_along_channels(values) for values in (1 / std, -mean / std))
    x = layers.make("Rescaling", scale, offset, name="input_scaling", dtype="float32")(image)
    options: dict[str, Any] = {"classes": config.classes or find(config.name).classes, "dropout": config.dropout}
    if auxiliary:
        options["auxiliary"] = True
    logits = _BUILDERS[type(table)](x, table, layers=layers, **options)
    return keras.Model(image, logits, name=config.name)


def _along_channels(values: NDArray[np.float64]) -> Any:
    """A number as it is; one for each channel in the shape (1, 1, channels).

    Keras takes a plain list for channels that come first where it is configured so.
    """
    return (values.reshape(1, 1, -1) if values.ndim else values).tolist()


def _ended(config: NetworkConfig, whole: keras.Model, layers: Layers) -> keras.Model:
    """The network up to its final endpoint, with a head of its own where it has classes."""
    network = truncate(whole, str(config.final_endpoint))
    if config.classes is None:
        return network
    if len(network.output.shape) != 4:
        raise InputError(f"a head goes on feature maps, which {config.final_endpoint} of {config.name} are not")
    end = head(network.output, classes=config.classes, dropout=config.dropout, layers=layers)
    return keras.Model(whole.input, end, name=config.name)


@cache
def thin(name: str, *, auxiliary: bool = False) -> keras.Model:
    """The network with one filter everywhere, at its smallest size: made once, with the same layers."""
    size = find(name).smallest
    return build_network(
        NetworkConfig.of(name, image_size=size, depth_multiplier=1e-6, min_depth=1), auxiliary=auxiliary
    )
