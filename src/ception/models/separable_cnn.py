"""The small self-normalising network of depthwise separable convolutions for Fashion-MNIST."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import keras

from ception.models.blocks import conv_selu, lecun_normal, scaled, separable_conv_selu


@dataclass(frozen=True)
class Row:
    """One block: two convolutions, then a 2x2 max pool that halves the size and drops an odd last row.

    Attributes:
        filters: Output channels.
        plain_first: Whether the first convolution is a plain one, as it should be on an image.
    """

    filters: int
    plain_first: bool = False


@dataclass(frozen=True, kw_only=True)
class Spec:
    """The network as a table.

    Attributes:
        rows: The blocks.
        hidden: Units of the dense layer before the logits.
    """

    rows: tuple[Row, ...]
    hidden: int

    def scaled(self, multiplier: float, least: int) -> Spec:
        """The spec with every number of filters and units multiplied, but none below `least`."""

        def scale(count: int) -> int:
            return scaled(count, multiplier, least)

        rows = tuple(replace(row, filters=scale(row.filters)) for row in self.rows)
        return Spec(rows=rows, hidden=scale(self.hidden))


SEPARABLE_CNN = Spec(rows=(Row(32, plain_first=True), Row(64), Row(128)), hidden=128)


def separable_cnn(
    image: keras.KerasTensor, spec: Spec, *, classes: int, dropout: float, dtype: Any
) -> keras.KerasTensor:
    """The network from a standardised image to logits.

    Args:
        image: (batch, height, width, channels), mean 0 and deviation 1 over the training data.
        spec: The table.
        classes: Number of classes.
        dropout: Share of the hidden units that alpha dropout hides in training; the source has none.
        dtype: Keras dtype policy of all layers but the logits, which are float32.

    Returns:
        Logits (batch, classes), float32.

    Source: the tutorial "Depthwise separable convolution networks: theory and practice (TF 2.0)", whose layer
        table (184,234 parameters at 28 x 28 x 1 with 10 classes) the tests compare row by row. Its initial
        weights are not Keras's, with which it hardly learns in its first epoch: see `lecun_normal`.
    """
    x = image  # 28 x 28 x 1
    for number, row in enumerate(spec.rows, 1):
        first = conv_selu if row.plain_first else separable_conv_selu
        x = first(x, row.filters, name=f"block{number}_conv1", dtype=dtype)
        x = separable_conv_selu(x, row.filters, name=f"block{number}_conv2", dtype=dtype)
        x = keras.layers.MaxPooling2D(2, name=f"block{number}", dtype=dtype)(x)
        # 14 x 14 x 32, 7 x 7 x 64, 3 x 3 x 128
    x = keras.layers.Flatten(name="head_flatten", dtype=dtype)(x)
    x = keras.layers.Dense(
        spec.hidden, activation="selu", kernel_initializer=lecun_normal(x.shape[-1]), name="head_dense", dtype=dtype
    )(x)
    if dropout:
        x = keras.layers.AlphaDropout(dropout, name="head_dropout", dtype=dtype)(x)
    return keras.layers.Dense(classes, kernel_initializer=lecun_normal(spec.hidden), name="logits", dtype="float32")(x)
