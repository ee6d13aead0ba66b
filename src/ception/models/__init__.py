"""What a network is: `MODELS` lists them, `build` makes one."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras

from ception.errors import InputError, nearest
from ception.models.separable_cnn import SMALLEST, separable_cnn


@dataclass(frozen=True, kw_only=True)
class Model:
    """A network and what is published about it.

    Attributes:
        builder: From an image tensor to logits.
        image_size: Its own (height, width) in pixels.
        channels: Its own number of input channels.
        smallest: Least height and width it works on, in pixels.
        classes: Its own number of classes.
        parameters: Published number of weights with its own size, channels and classes.
        dropout: Its own dropout rate.
        source: Where it is published.
    """

    builder: Callable[..., keras.KerasTensor]
    image_size: tuple[int, int]
    channels: int
    smallest: int
    classes: int
    parameters: int
    dropout: float
    source: str


MODELS = {
    "separable_cnn": Model(
        builder=separable_cnn,
        image_size=(28, 28),
        channels=1,
        smallest=SMALLEST,
        classes=10,
        parameters=184_234,
        dropout=0.0,
        source="Depthwise separable convolution networks: theory and practice (TF 2.0), a tutorial",
    ),
}


def find(name: str) -> Model:
    """The entry of `MODELS`.

    Raises:
        InputError: there is none of that name.
    """
    if name not in MODELS:
        raise InputError(f"unknown model '{name}': {nearest(name, MODELS)}")
    return MODELS[name]


def build(
    name: str,
    *,
    classes: int | None = None,
    image_size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    dropout: float | None = None,
    scaling: Sequence[float] | None = None,
    dtype: str = "float32",
    seed: int | None = None,
) -> keras.Model:
    """A network with fresh weights.

    Args:
        name: A key of `MODELS`.
        classes: Number of classes; None means the network's own.
        image_size: Side of the square, or (height, width), in pixels; None means the network's own.
        channels: Input channels; None means the network's own.
        dropout: Share of hidden units that dropout hides in training, 0 <= rate < 1; None means the network's own.
        scaling: (mean, deviation) of the pixels 0..255; the network computes with (pixel - mean) / deviation.
            None means (127.5, 127.5): -1..1.
        dtype: Keras dtype policy, such as `float32` or `mixed_bfloat16`; scaling and logits are always float32.
        seed: Start of the initial weights and of dropout; None draws another one each time.

    Returns:
        A `keras.Model` from float32 pictures (batch, height, width, channels) with values 0..255 to float32
        logits (batch, classes). A layer that ends a block has the block's name, such as `block1`; all other
        names contain an underscore.

    Raises:
        InputError: an unknown name, or an option that the network cannot have.
    """
    model = find(name)
    classes = model.classes if classes is None else classes
    channels = model.channels if channels is None else channels
    dropout = model.dropout if dropout is None else dropout
    size = model.image_size if image_size is None else image_size
    height, width = (size, size) if isinstance(size, int) else size
    mean, deviation = (127.5, 127.5) if scaling is None else scaling
    if min(height, width) < model.smallest:
        raise InputError(f"{name} needs at least {model.smallest} x {model.smallest} pixels, got {height} x {width}")
    if classes < 1 or channels < 1:
        raise InputError(f"{name} needs at least one class and one channel, got {classes} and {channels}")
    if not 0 <= dropout < 1:
        raise InputError(f"dropout must be at least 0 and below 1, got {dropout}")
    if not deviation > 0:
        raise InputError(f"the deviation of the scaling must be above 0, got {deviation}")
    state = random.getstate()
    random.seed(seed)  # Keras seeds its initialisers and dropout layers from Python's generator
    try:
        image = keras.Input((height, width, channels), name="input_image", dtype="float32")
        x = keras.layers.Rescaling(1 / deviation, -mean / deviation, name="input_scaling", dtype="float32")(image)
        logits = model.builder(x, classes=classes, dropout=dropout, dtype=dtype)
        return keras.Model(image, logits, name=name)
    finally:
        random.setstate(state)
