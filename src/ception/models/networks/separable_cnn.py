"""The small self-normalising network of depthwise separable convolutions for Fashion-MNIST."""

from __future__ import annotations

import keras

from ception.models.blocks import Layers, conv_selu, separable_conv_selu
from ception.models.tables.separable_cnn import Spec


def separable_cnn(
    image: keras.KerasTensor, spec: Spec, *, classes: int, dropout: float, layers: Layers
) -> keras.KerasTensor:
    """The network from a standardised image to logits.

    Args:
        image: (batch, height, width, channels), mean 0 and deviation 1 over the training data.
        spec: The table.
        classes: Number of classes.
        dropout: Share of the hidden units that alpha dropout hides in training; the source has none.
        layers: How layers are made; the logits are float32 always.

    Returns:
        Logits (batch, classes), float32.

    Source: the tutorial "Depthwise separable convolution networks: theory and practice (TF 2.0)", whose layer
        table (184,234 parameters at 28 x 28 x 1 with 10 classes) the tests compare row by row. Its initial
        weights are not Keras's, with which it hardly learns in its first epoch: see `initializers.lecun_normal`.
    """
    x = image  # 28 x 28 x 1
    for number, row in enumerate(spec.rows, 1):
        first = conv_selu if row.plain_first else separable_conv_selu
        x = first(x, row.filters, name=f"block{number}_conv1", layers=layers)
        x = separable_conv_selu(x, row.filters, name=f"block{number}_conv2", layers=layers)
        x = layers.make("MaxPooling2D", 2, name=f"block{number}")(x)
        # 14 x 14 x 32, 7 x 7 x 64, 3 x 3 x 128
    x = layers.make("Flatten", name="head_flatten")(x)
    x = layers.make(
        "Dense", spec.hidden, activation="selu", kernel_initializer=layers.lecun_normal(x.shape[-1]), name="head_dense"
    )(x)
    if dropout:
        x = layers.make("AlphaDropout", dropout, seed=layers.seed(), name="head_dropout")(x)
    return layers.make(
        "Dense", classes, kernel_initializer=layers.lecun_normal(spec.hidden), name="logits", dtype="float32"
    )(x)
