"""Heat maps: how much each part of a picture speaks for a class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import keras
import numpy as np

from ception.errors import InputError
from ception.explaining.gradients import output_and_gradient
from ception.models.endpoints import stages, truncate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

Method = Literal["gradcam", "integrated-gradients", "occlusion"]
METHODS: tuple[Method, ...] = get_args(Method)
GROUND = 127.5  # the grey that stands for nothing
_STEPS, _AT_ONCE = 32, 8  # of integrated gradients: places between nothing and the picture, computed in batches
_FEW = 4  # places along a side, below which a map hardly tells parts of a picture
_PATCHES = 8  # of occlusion along a side; they overlap by half


@dataclass(frozen=True)
class HeatMap:
    """How much each part of a picture speaks for a class, float32 of shape (rows, columns); below 0 it speaks against.

    Attributes:
        values: The map, coarser than the picture or as fine.
        completeness: Of integrated gradients, how far their sum is from the change of the logit between nothing and the
            picture, as a share of that change; None for other methods.
    """

    values: NDArray[np.float32]
    completeness: float | None = None


@dataclass(frozen=True)
class Parts:
    """A network in two: up to the layer that is looked at, and behind it.

    Attributes:
        whole: From float32 pictures 0..255 to logits.
        body: From pictures to the layer's feature maps.
        head: From these to logits.
        layer: The layer's name.
    """

    whole: keras.Model
    body: keras.Model
    head: keras.Model
    layer: str


def parts_of(network: keras.Model, layer: str | None = None) -> Parts:
    """A network cut at a layer; at its last endpoint with more than one place when none is named.

    Raises:
        InputError: there is no such layer, it has no places, or what follows cannot be cut off there.
    """
    if layer is None:
        layer = last_map(network)
        if layer is None:
            raise InputError(f"{network.name} has no endpoint with more than one place: take --method occlusion")
    body = truncate(network, layer)
    if len(body.output.shape) != 4 or body.output.shape[1] * body.output.shape[2] == 1:
        raise InputError(f"{layer} has no places to look at, but the shape {tuple(body.output.shape[1:])}")
    try:
        head = keras.Model(body.output, network.output, name="head")
    except ValueError:
        near = list(stages(network))[-1]
        raise InputError(f"{network.name} cannot be cut at {layer}: name an endpoint, such as {near}") from None
    return Parts(network, body, head, layer)


def told_coarse(network: keras.Model, layer: str) -> str:
    """What to know of a map that has few places, in words; empty where it has enough."""
    sizes = {name: tensor.shape[1:3] for name, tensor in stages(network).items()}
    size = sizes.get(layer)
    if size is None or min(size) >= _FEW:
        return ""
    finer = next((f": --layer {name} has {_times(of)}" for name, of in reversed(sizes.items()) if min(of) >= _FEW), "")
    return f"A heat map of {layer} has {_times(size)} places{finer}"


def _times(size: Sequence[int]) -> str:
    return " x ".join(map(str, size))


def last_map(network: keras.Model) -> str | None:
    """The last endpoint with more than one place; None where there is none."""
    spatial = [name for name, tensor in stages(network).items() if tensor.shape[1] * tensor.shape[2] > 1]
    return spatial[-1] if spatial else None


def heat_map(parts: Parts, pixels: NDArray[np.uint8], index: int, method: Method) -> HeatMap:
    """How much each part of a picture speaks for a class.

    Args:
        parts: The network.
        pixels: A picture as the network takes it, (height, width, channels).
        index: The class.
        method: How to find out.
    """
    return _METHODS[method](parts, pixels[None].astype(np.float32), index)


def _gradcam(parts: Parts, picture: NDArray[np.float32], index: int) -> HeatMap:
    """Feature maps, each weighted by how the logit grows with it, where they speak for the class.

    Source: Selvaraju et al., arXiv:1610.02391, section 3.
    """
    # compiled once for each network: layer by layer, Inception V3 takes six times as long in TensorFlow
    maps = np.asarray(parts.body.predict_on_batch(picture), np.float32)
    _, gradient = output_and_gradient(parts.head, maps, index)
    weights = gradient.mean((1, 2), keepdims=True)
    return HeatMap(np.maximum((maps * weights).sum(-1)[0], 0))


def _integrated_gradients(parts: Parts, picture: NDArray[np.float32], index: int) -> HeatMap:
    """Each pixel's share of the change of the logit on the way from grey to the picture.

    Source: Sundararajan et al., arXiv:1703.01365, section 3, with the midpoint rule.
    """
    ground = np.full_like(picture, GROUND)
    places = ((np.arange(_STEPS) + 0.5) / _STEPS).astype(np.float32)
    total = np.zeros_like(picture[0], dtype=np.float64)
    for start in range(0, _STEPS, _AT_ONCE):
        between = ground + places[start : start + _AT_ONCE, None, None, None] * (picture - ground)
        total += output_and_gradient(parts.whole, between, index)[1].sum(0, dtype=np.float64)
    shares = total / _STEPS * (picture - ground)[0]
    ends = parts.whole(np.concatenate([ground, picture]), training=False)
    change = np.diff(keras.ops.convert_to_numpy(ends)[:, index])[0]
    return HeatMap(shares.sum(-1).astype(np.float32), float(abs(shares.sum() - change) / max(abs(change), 1e-6)))


def _occlusion(parts: Parts, picture: NDArray[np.float32], index: int) -> HeatMap:
    """How far the logit falls when a part of the picture is grey, on average over all grey squares that cover a part.

    Source: Zeiler and Fergus, arXiv:1311.2901, section 4.2.
    """
    sides = picture.shape[1:3]
    size = [max(1, 2 * (side // (_PATCHES + 1))) for side in sides]
    corners = [(top, left) for top in _starts(sides[0], size[0]) for left in _starts(sides[1], size[1])]
    whole = float(keras.ops.convert_to_numpy(parts.whole(picture, training=False))[0, index])
    fallen, covered = np.zeros(sides, np.float32), np.zeros(sides, np.float32)
    for start in range(0, len(corners), _AT_ONCE):
        some = corners[start : start + _AT_ONCE]
        hidden = np.repeat(picture, len(some), 0)
        for row, (top, left) in enumerate(some):
            hidden[row, top : top + size[0], left : left + size[1]] = GROUND
        logits = keras.ops.convert_to_numpy(parts.whole(hidden, training=False))[:, index]
        for (top, left), logit in zip(some, logits.tolist(), strict=True):
            fallen[top : top + size[0], left : left + size[1]] += whole - logit
            covered[top : top + size[0], left : left + size[1]] += 1
    return HeatMap(np.asarray(fallen / np.maximum(covered, 1), np.float32))


def _starts(side: int, size: int) -> list[int]:
    """Where squares of that size begin along a side: by half of it, the last one at the end."""
    return sorted({*range(0, max(1, side - size + 1), max(1, size // 2)), max(0, side - size)})


_METHODS: dict[Method, Callable[[Parts, NDArray[np.float32], int], HeatMap]] = {
    "gradcam": _gradcam,
    "integrated-gradients": _integrated_gradients,
    "occlusion": _occlusion,
}


def resized(values: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """A map in another size (rows, columns), bilinear."""
    from PIL import Image

    image = Image.fromarray(np.asarray(values, np.float32))
    return np.asarray(image.resize(size[::-1], Image.Resampling.BILINEAR), np.float32)
