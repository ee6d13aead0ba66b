"""What kind of layer a layer is, by which all that treats layers differently tells them apart."""

from __future__ import annotations

import keras


def kind(layer: keras.Layer) -> str:
    """The name of the stock Keras class that a layer is, or derives from."""
    return next(cls.__name__ for cls in type(layer).__mro__ if cls.__module__.partition(".")[0] == "keras")
