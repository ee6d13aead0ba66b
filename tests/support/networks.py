"""Networks that tests only look at, or fill anew: built once for all of them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import keras

from ception import MODELS, build
from support.parity import fill


def common(name: str, *, image_size: int | None = None, **options: Any) -> keras.Model:
    """The network as `build` gives it, with weights that another test may have changed."""
    size = (image_size, image_size) if image_size else MODELS[name].image_size
    return _built(name, image_size=size, **options)


_built = lru_cache(maxsize=12)(build)


def thin(name: str, **options: Any) -> keras.Model:
    """A network of its own with few filters on small pictures."""
    return build(name, **few(name) | options)


def few(name: str) -> dict[str, Any]:
    """What `build` takes for few filters on small pictures."""
    return {"image_size": MODELS[name].smallest, "classes": 5, "depth_multiplier": 0.1, "min_depth": 8}


def of_rare_layers() -> keras.Model:
    """A network of the kinds of layers and options that are rare, with unlike sides."""
    maps = x = keras.Input((11, 9, 4))
    for layer in (
        keras.layers.Rescaling(1 / 32, -4),
        keras.layers.ZeroPadding2D(((1, 0), (0, 2))),
        keras.layers.Cropping2D(((0, 1), (1, 0))),
        keras.layers.DepthwiseConv2D(3, depth_multiplier=2, dilation_rate=2, activation="elu"),
        keras.layers.Conv2D(8, 3, groups=4, padding="same", strides=2),
        keras.layers.BatchNormalization(scale=False),
        keras.layers.AveragePooling2D(3, 1, padding="same"),
        keras.layers.Activation("selu"),
        lambda x: keras.layers.Concatenate()([x, keras.layers.ReLU()(x)]),
        lambda x: keras.layers.Add()([x, x, x]),
        keras.layers.MaxPooling2D(2, 1, padding="same"),
        keras.layers.Flatten(),
        keras.layers.Dense(5, activation="softmax"),
    ):
        x = layer(x)
    network = keras.Model(maps, x)
    fill(network, seed=1)
    return network
