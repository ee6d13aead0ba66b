"""Named places inside a network."""

from __future__ import annotations

import keras


def endpoints(model: keras.Model) -> dict[str, keras.KerasTensor]:
    """The output of every block by name, in the network's order, the logits last."""
    return {layer.name: layer.output for layer in model.layers if "_" not in layer.name}
