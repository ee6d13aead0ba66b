"""The kind of a layer: its stock Keras class, whatever class it was made from."""

from __future__ import annotations

import inspect
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras


def stock_class(cls: type) -> type:
    """The first class of Keras among a class and those it derives from.

    Raises:
        ValueError: there is none.
    """
    for one in cls.__mro__:
        if one.__module__.startswith("keras."):
            return one
    raise ValueError(f"{cls.__name__} derives from no class of Keras")


def kind(layer: keras.layers.Layer) -> str:
    """The name of the stock Keras class that a layer is, or derives from, such as `SeparableConv2D`."""
    return stock_class(type(layer)).__name__


def stock_config(config: Any) -> Any:
    """A network's configuration in float32, with every class of this package replaced by the Keras class it is one of.

    What such a class adds to the configuration is left out.

    Source: the layout that `keras.saving.serialize_keras_object` gives.
    """
    import keras

    if isinstance(config, list):
        return [stock_config(value) for value in config]
    if not isinstance(config, dict):
        return config
    config = {key: stock_config(value) for key, value in config.items()}
    if config.get("class_name") == "DTypePolicy":
        config["config"] = {"name": "float32"}
    module = config.get("module")
    if isinstance(module, str) and module.partition(".")[0] not in ("keras", "builtins"):
        stock = stock_class(getattr(import_module(module), config["class_name"]))
        spaces = (keras.layers, keras.initializers, keras.regularizers, keras.constraints)
        public = next(space for space in spaces if getattr(space, stock.__name__, None) is stock)
        config |= {"module": public.__name__, "class_name": stock.__name__, "registered_name": None}
        known = _options(stock)
        config["config"] = {key: value for key, value in config["config"].items() if key in known}
    return config


@cache
def _options(stock: type) -> set[str]:
    """What a class of Keras and those it derives from may be made with."""
    names = {"name", "trainable", "dtype"}
    for one in stock.__mro__:
        if "__init__" in vars(one):
            names |= set(inspect.signature(vars(one)["__init__"]).parameters)
    return names - {"self", "args", "kwargs"}
