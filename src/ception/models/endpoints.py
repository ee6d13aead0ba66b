"""Named places inside a network, by our names and by the published ones."""

from __future__ import annotations

from collections.abc import Iterable

import keras

from ception.errors import InputError, nearest
from ception.keras_internals import producer
from ception.models.catalog import MODELS

_AFTER_THE_MAPS = ("pool", "prelogits")


def endpoints(model: keras.Model) -> dict[str, keras.KerasTensor]:
    """The output of every block by name, in the network's order.

    Args:
        model: A network of `ception.build`, also after saving and loading, or with plain Keras.
    """
    return {layer.name: layer.output for layer in model.layers if "_" not in layer.name}


def stages(model: keras.Model) -> dict[str, keras.KerasTensor]:
    """The last endpoint at each size of the feature maps, from the largest maps to the smallest."""
    last: dict[tuple[int, int], str] = {}
    ends = endpoints(model)
    for name, tensor in ends.items():
        if len(tensor.shape) == 4 and name not in _AFTER_THE_MAPS:
            last[tensor.shape[1], tensor.shape[2]] = name
    return {name: ends[name] for name in last.values()}


def before_head(model: keras.Model) -> str:
    """The layer whose output a network tells the classes by: its pooling, or what comes before the logits without."""
    if "pool" in [layer.name for layer in model.layers]:
        return "pool"
    _, (given,) = producer(model.output)
    return str(producer(given)[0].name)


def features(model: keras.Model, names: str | Iterable[str]) -> keras.Model:
    """A network from pictures to a dict of the tensors at the named places; it shares its weights with `model`.

    Args:
        model: As in `endpoints`.
        names: Endpoints, by our name or a published one (`Mixed_6e`), or names of layers; `Predictions` is the softmax
            of the logits.

    Raises:
        InputError: there is no such endpoint or layer.
    """
    names = [names] if isinstance(names, str) else list(names)
    if not names:
        raise InputError("features needs at least one name")
    softmax = keras.layers.Softmax(name="predictions", dtype="float32")
    return keras.Model(model.input, {name: _tensor(model, name, softmax) for name in names}, name=model.name)


def truncate(model: keras.Model, at: str) -> keras.Model:
    """The network from its pictures to the named endpoint or layer; it shares its weights with `model`.

    Args:
        model: As in `endpoints`.
        at: A name as in `features`.

    Raises:
        InputError: there is no such endpoint or layer.
    """
    softmax = keras.layers.Softmax(name="predictions", dtype="float32")
    return keras.Model(model.input, _tensor(model, at, softmax), name=model.name)


def _tensor(model: keras.Model, name: str, softmax: keras.layers.Softmax) -> keras.KerasTensor:
    aliases = MODELS[model.name].aliases if model.name in MODELS else {}
    layers = {layer.name: layer for layer in model.layers}
    if name in layers:
        return layers[name].output
    ours = aliases.get(name, name)
    if ours == "predictions" and "logits" in layers:
        return softmax(layers["logits"].output)
    if ours == "prelogits" and ours not in layers and "pool" in layers:  # a network without dropout
        return layers["pool"].output
    if ours == "auxiliary" and ours not in layers:
        raise InputError(f"this {model.name} was built without its auxiliary head: build it with auxiliary=True")
    if ours not in layers:
        known = [*endpoints(model), *(alias for alias, end in aliases.items() if end in layers)]
        raise InputError(f"{model.name} has no endpoint '{name}': {nearest(str(name), known)}")
    return layers[ours].output
