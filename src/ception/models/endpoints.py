"""Named places inside a network, by our names and by the published ones."""

from __future__ import annotations

from collections.abc import Iterable

import keras

from ception.errors import InputError, nearest

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
    found = endpoints(model)
    for name, tensor in found.items():
        if len(tensor.shape) == 4 and name not in _AFTER_THE_MAPS:
            last[tensor.shape[1], tensor.shape[2]] = name
    return {name: found[name] for name in last.values()}


def features(model: keras.Model, names: Iterable[str]) -> keras.Model:
    """A network from pictures to a dict of the tensors at the named places; it shares its weights with `model`.

    Args:
        model: As in `endpoints`.
        names: Endpoints, by our name or a published one (`Mixed_6e`), or names of layers; `Predictions` is the softmax
            of the logits.

    Raises:
        InputError: there is no such place.
    """
    return keras.Model(model.input, {name: _tensor(model, name) for name in names}, name=model.name)


def truncate(model: keras.Model, at: str) -> keras.Model:
    """The network from its pictures to the named place; it shares its weights with `model`.

    Args:
        model: As in `endpoints`.
        at: A name as in `features`.

    Raises:
        InputError: there is no such place.
    """
    return keras.Model(model.input, _tensor(model, at), name=model.name)


def _tensor(model: keras.Model, name: str) -> keras.KerasTensor:
    from ception.models import MODELS

    aliases = MODELS[model.name].aliases if model.name in MODELS else {}
    layers = {layer.name: layer for layer in model.layers}
    if name in layers:
        return layers[name].output
    ours = aliases.get(name, name)
    if ours == "predictions" and "logits" in layers:
        return keras.layers.Softmax(name="predictions", dtype="float32")(layers["logits"].output)
    if ours not in layers:
        known = [*endpoints(model), *(alias for alias, end in aliases.items() if end in layers)]
        raise InputError(f"{model.name} has no endpoint '{name}': {nearest(name, known)}")
    return layers[ours].output
