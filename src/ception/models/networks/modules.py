"""The walk from Inception to Xception, each step a module to build, draw and cost.

Every module takes `channels` channels and gives `filters`, but the naive one, whose pool passes its input on. There is
no bias and no batch normalisation, so that parameters are the weights of the convolutions alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

import keras

from ception.errors import InputError, nearest
from ception.models.blocks import Layers, Step, activation, block, conv, parallel, separable_conv, spatial, step
from ception.models.sizes import count, height_and_width
from ception.models.tables.modules import MODULES

Branches = list[list[Step]]


def _conv(number: int, filters: int, kernel_size: int, *, groups: int = 1) -> list[Step]:
    return [*conv(f"conv{number}", filters, kernel_size, groups=groups), activation(f"conv{number}_act")]


def _pool() -> Step:
    return step("pool1", "MaxPooling2D", 3, strides=1, padding="same")


def _naive(filters: int, segments: int) -> Branches:
    return [_conv(1, filters // 4, 1), _conv(1, filters // 2, 3), _conv(1, filters // 8, 5), [_pool()]]


def _bottleneck(filters: int, segments: int) -> Branches:
    return [
        _conv(1, filters // 4, 1),
        [*_conv(1, 3 * filters // 8, 1), *_conv(2, filters // 2, 3)],
        [*_conv(1, filters // 16, 1), *_conv(2, filters // 8, 5)],
        [_pool(), *_conv(2, filters // 8, 1)],
    ]


def _factorised(filters: int, segments: int) -> Branches:
    one, three, _, pooled = _bottleneck(filters, segments)
    twice_three = [*_conv(1, filters // 16, 1), *_conv(2, filters // 16, 3), *_conv(3, filters // 8, 3)]
    return [one, three, twice_three, pooled]


def _simplified(filters: int, segments: int) -> Branches:
    width = filters // segments
    return [[*_conv(1, width, 1), *_conv(2, width, 3)] for _ in range(segments)]


def _segmented(filters: int, segments: int) -> Branches:
    return [[*_conv(1, filters, 1), *_conv(2, filters, 3, groups=segments)]]


def _extreme(filters: int, segments: int) -> Branches:
    return [[*_conv(1, filters, 1), ("conv2", spatial()), activation("conv2_act")]]


def _separable(filters: int, segments: int) -> Branches:
    return [[*separable_conv("conv1", filters), activation("conv1_act")]]


_BRANCHES: dict[str, Callable[[int, int], Branches]] = {  # from filters and segments to branches in parallel
    "naive_inception": _naive,
    "bottleneck_inception": _bottleneck,
    "factorised_inception": _factorised,
    "simplified_inception": _simplified,
    "segmented_inception": _segmented,
    "extreme_inception": _extreme,
    "separable_convolution": _separable,
    "plain_convolution": lambda filters, segments: [_conv(1, filters, 3)],
}


def build(
    name: str,
    *,
    image_size: int | Sequence[int] | None = None,
    channels: int = 192,
    filters: int = 256,
    segments: int = 4,
    dtype: str = "float32",
    seed: int | None = None,
) -> keras.Model:
    """A module as a network of its own, with the sizes of GoogLeNet's first module unless others are given.

    Args:
        name: A key of `MODULES`.
        image_size: Side, or (height, width), of the feature maps; None means 28.
        channels: Input channels.
        filters: Output channels.
        segments: Towers of `simplified_inception` and segments of `segmented_inception`; the two compute the same.
        dtype: Keras dtype policy, as for `ception.build`.
        seed: Start of the initial weights; None draws another one each time.

    Returns:
        A `keras.Model` from (batch, height, width, channels) to the module's output; its last layer is `module`.

    Raises:
        InputError: an unknown name, or numbers of channels that the module cannot have.
    """
    if name not in MODULES:
        raise InputError(f"unknown module '{name}': {nearest(name, MODULES)}")
    channels, filters, segments = (
        count(what, value) for what, value in (("channels", channels), ("filters", filters), ("segments", segments))
    )
    if filters % segments:
        raise InputError(f"segments must divide the filters, got {segments} and {filters}")
    if name in ("naive_inception", "bottleneck_inception", "factorised_inception") and filters % 16:
        raise InputError(f"{name} needs a multiple of 16 filters, got {filters}")
    height, width = height_and_width(28 if image_size is None else image_size)
    layers = Layers(dtype=dtype, random=Random(seed))
    maps = keras.Input((height, width, channels), name="input_maps", dtype="float32")
    branches = _BRANCHES[name](filters, segments)
    if len(branches) == 1:
        end = block(maps, branches[0], name="module", layers=layers)
    else:
        end = parallel(maps, branches, name="module", layers=layers)
    return keras.Model(maps, end, name=name)
