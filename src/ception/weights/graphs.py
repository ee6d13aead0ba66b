"""The graph of a network as a Keras configuration describes it, followed as data: nothing in it is deserialised or run.

Models within models are laid open, what does nothing outside of training is left out, and an activation inside a layer
becomes a node of its own, so that two graphs that compute the same have the same nodes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_MODELS = ("Functional", "Model", "Sequential")
_MOST_DEPTH = 20  # models within models
# What leaves its input alone when a network predicts
_INACTIVE = (
    "Dropout", "SpatialDropout2D", "AlphaDropout", "GaussianDropout", "GaussianNoise", "ActivityRegularization",
    "Identity",
    "RandomFlip", "RandomRotation", "RandomZoom", "RandomTranslation", "RandomContrast", "RandomBrightness",
    "RandomColorJitter", "RandomHue", "RandomSaturation", "RandomSharpness", "RandomGaussianBlur", "RandomShear",
    "RandomErasing", "RandomPerspective", "RandomInvert", "RandomPosterization", "RandomGrayscale", "RandAugment",
    "AugMix", "RandomColorDegeneration",
)  # fmt: skip
_HIDES = ("Dropout", "SpatialDropout2D", "AlphaDropout", "GaussianDropout", "GaussianNoise")
_CONVOLUTION = {"kernel_size": None, "strides": (1, 1), "padding": "valid", "dilation_rate": (1, 1), "use_bias": True}
# Of each kind that is followed, the options that decide what it computes, with Keras's defaults
_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "Conv2D": {"filters": None, "groups": 1, **_CONVOLUTION},
    "SeparableConv2D": {"filters": None, "depth_multiplier": 1, **_CONVOLUTION},
    "DepthwiseConv2D": {"depth_multiplier": 1, **_CONVOLUTION},
    "Dense": {"units": None, "use_bias": True},
    "BatchNormalization": {"axis": -1, "epsilon": 1e-3, "center": True, "scale": True},
    "MaxPooling2D": {"pool_size": (2, 2), "strides": None, "padding": "valid"},
    "AveragePooling2D": {"pool_size": (2, 2), "strides": None, "padding": "valid"},
    "GlobalAveragePooling2D": {}, "GlobalMaxPooling2D": {}, "Add": {}, "Flatten": {},
    "ZeroPadding2D": {"padding": (1, 1)}, "Cropping2D": {"cropping": (0, 0)}, "Concatenate": {"axis": -1},
}  # fmt: skip
_LAST_AXIS = (-1, 3, (3,), (-1,))
_ARITHMETIC = {
    "TrueDivide": "divide", "Divide": "divide", "Subtract": "subtract", "Multiply": "multiply", "Add": "add",
    "math.truediv": "divide", "math.divide": "divide", "math.subtract": "subtract", "math.multiply": "multiply",
    "math.add": "add", "__operators__.add": "add",
}  # fmt: skip


class UnfollowedError(ValueError):
    """A configuration that is not followed; the message names what in it, and follows the words `the file's`."""


@dataclass(frozen=True)
class Node:
    """A layer or operation.

    Attributes:
        name: The layer's name.
        kind: The name of its Keras class; `Activation` also for an activation inside a layer, `arithmetic` for an
            operation with a constant, `InputLayer` for the pixels.
        inputs: Indices of the nodes it takes.
        options: What decides its result.
        followed: Whether it is known what it computes.
    """

    name: str
    kind: str
    inputs: tuple[int, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    followed: bool = True


class _Reader:
    """Lays open a configuration."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []

    def add(self, *arguments: Any, **options: Any) -> int:
        self.nodes.append(Node(*arguments, **options))
        return len(self.nodes) - 1

    def model(self, described: Mapping[str, Any], given: Sequence[int] | None, depth: int = 0) -> list[int]:
        """Add a model's nodes; the nodes of its outputs.

        Args:
            described: Its class and configuration.
            given: Nodes that it is called with; None for the outermost.
            depth: Number of models around it.
        """
        config = described.get("config")
        if depth > _MOST_DEPTH:
            raise UnfollowedError("configuration has models within models without end")
        if described.get("class_name") == "Sequential":
            return self._sequential(config, given, depth)
        if not isinstance(config, Mapping) or "layers" not in config:
            raise UnfollowedError(f"model {_called(described)} is of a class of its own")
        return self._functional(config, given, depth)

    def _sequential(self, config: Any, given: Sequence[int] | None, depth: int) -> list[int]:
        layers = config.get("layers", []) if isinstance(config, Mapping) else config
        current = list(given) if given is not None else []
        for layer in layers:
            if layer["class_name"] == "InputLayer" and current:
                continue
            if not current and layer["class_name"] != "InputLayer" and layer["class_name"] not in _MODELS:
                current = [self._input(layer)]
            current = self._layer(layer, current if current else None, {}, depth)
        return current

    def _functional(self, config: Mapping[str, Any], given: Sequence[int] | None, depth: int) -> list[int]:
        known: dict[str, list[int]] = {}
        inputs = [str(entry[0]) for entry in _entries(config["input_layers"])]
        if given is not None:
            known.update({name: [node] for name, node in zip(inputs, given, strict=True)})
        pending = [layer for layer in config["layers"] if layer.get("name", layer["config"].get("name")) not in known]
        while pending:
            later = []
            for layer in pending:
                name = str(layer.get("name", layer["config"].get("name")))
                calls = list(_calls(layer.get("inbound_nodes", [])))
                if len(calls) > 1:
                    raise UnfollowedError(f"layer '{name}' is used {len(calls)} times")
                wanted, constants = calls[0] if calls else ([], {})
                if any(other not in known for other, _ in wanted):
                    later.append(layer)
                    continue
                taken = [known[other][index] for other, index in wanted]
                known[name] = self._layer(layer, taken or None, constants, depth)
            if len(later) == len(pending):
                raise UnfollowedError(f"layer {_called(later[0])} has no input")
            pending = later
        return [known[str(name)][int(index)] for name, _, index in _entries(config["output_layers"])]

    def _input(self, layer: Mapping[str, Any]) -> int:
        config = layer["config"]
        shape = config.get("batch_shape") or config.get("batch_input_shape") or layer.get("batch_input_shape") or ()
        return self.add(str(config.get("name")), "InputLayer", options={"shape": tuple(shape)[1:]})

    def _layer(
        self, layer: Mapping[str, Any], inputs: Sequence[int] | None, constants: Mapping[str, Any], depth: int
    ) -> list[int]:
        kind, config = str(layer["class_name"]), layer["config"]
        if kind in _MODELS:
            if constants.get("training") is True and constants.get("legacy"):
                raise UnfollowedError(f"model {_called(layer)} is called with training=True")
            return self.model(layer, inputs, depth + 1)
        if kind == "InputLayer":
            return [self._input(layer)]
        name, taken = str(config.get("name", layer.get("name"))), tuple(inputs or ())
        if not taken:
            raise UnfollowedError(f"layer {_called(layer)} has no input")
        legacy_training = constants.get("training") is True and constants.get("legacy")
        if kind in _INACTIVE and len(taken) == 1 and not (legacy_training and kind in _HIDES):
            return [taken[0]]
        if kind != "TFOpLambda" and _is_keras(layer.get("module", "keras.layers")) and not legacy_training:
            return [self._stock(name, kind, config, taken)]
        return [self._operation(name, kind, config, taken, constants)]

    def _stock(self, name: str, kind: str, config: Mapping[str, Any], taken: tuple[int, ...]) -> int:
        if kind in ("Rescaling", "Normalization"):
            return self.add(name, kind, taken, config)
        if config.get("data_format") == "channels_first":
            return self.add(name, kind, taken, {}, followed=False)
        if kind in ("Activation", "ReLU", "Softmax"):
            return self._activation(name, _function(kind, config), taken)
        if kind not in _OPTIONS:
            return self.add(name, kind, taken, {}, followed=False)
        if kind == "Flatten" and self.nodes[taken[0]].kind.startswith("Global"):  # of one place alone
            return taken[0]
        if kind.startswith("Global"):
            return self.add(name, kind, taken)
        options = {option: _plain(config.get(option, default)) for option, default in _OPTIONS[kind].items()}
        if options.get("axis") in _LAST_AXIS:
            options["axis"] = -1
        if "pool_size" in options and options["strides"] is None:
            options["strides"] = options["pool_size"]
        node = self.add(name, kind, taken, options)
        return self._activation(name, _named(config.get("activation")), (node,))

    def _activation(self, name: str, function: str | None, taken: tuple[int, ...]) -> int:
        """The node of an activation; none of its own where it changes nothing."""
        if function == "linear":
            return taken[0]
        return self.add(name, "Activation", taken, {"function": function}, followed=function is not None)

    def _operation(
        self, name: str, kind: str, config: Mapping[str, Any], taken: tuple[int, ...], constants: Mapping[str, Any]
    ) -> int:
        function = _ARITHMETIC.get(str(config.get("function")) if kind == "TFOpLambda" else kind)
        constant = constants.get("constant", constants.get("y"))
        if function is None or constant is None or len(taken) != 1:
            shown = str(config.get("function")) if kind == "TFOpLambda" else kind
            return self.add(name, shown, taken, {}, followed=False)
        return self.add(name, "arithmetic", taken, {"function": function, "constant": constant})


def nodes_of(configuration: Mapping[str, Any]) -> tuple[list[Node], int]:
    """The nodes of a model's configuration, each after those it takes, and the index of its output.

    Args:
        configuration: `class_name` and `config`, as `config.json` in a `.keras` file has them, or `model_config` in an
            `.h5`.

    Raises:
        UnfollowedError: it has several inputs or outputs, or uses a layer twice.
    """
    reader = _Reader()
    try:
        outputs = reader.model(configuration, None)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        if isinstance(error, UnfollowedError):
            raise
        raise UnfollowedError("configuration is not written as Keras writes it") from None
    inputs = [node for node in reader.nodes if node.kind == "InputLayer"]
    for what, found in (("input", inputs), ("output", outputs)):
        if len(found) != 1:
            raise UnfollowedError(f"network has {len(found)} {what}s, not one")
    return reader.nodes, outputs[0]


def marks(nodes: Sequence[Node]) -> list[str]:
    """For each node a mark of all that is computed up to it: equal marks, equal computation but for the weights."""
    found: list[str] = []
    for node in nodes:
        inputs = [found[index] for index in node.inputs]
        options = None if node.kind == "InputLayer" else sorted(node.options.items())
        found.append(_digest(node.kind, options, sorted(inputs) if node.kind == "Add" else inputs))
    return found


def marks_behind(nodes: Sequence[Node]) -> list[str]:
    """For each node a mark of all that is made of it, which tells apart layers that are equal up to there."""
    uses: list[list[str]] = [[] for _ in nodes]
    found = [""] * len(nodes)
    for number in range(len(nodes) - 1, -1, -1):
        node = nodes[number]
        found[number] = _digest(node.kind, sorted(node.options.items()), sorted(uses[number]))
        for place, index in enumerate(node.inputs):
            uses[index].append(f"{0 if node.kind == 'Add' else place} {found[number]}")
    return found


def reaching(nodes: Sequence[Node], end: int) -> list[int]:
    """The indices of the nodes that a node is computed from, and its own, in order."""
    wanted, pending = set(), [end]
    while pending:
        index = pending.pop()
        if index not in wanted:
            wanted.add(index)
            pending += nodes[index].inputs
    return sorted(wanted)


def _digest(*parts: Any) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _called(layer: Mapping[str, Any]) -> str:
    config = layer.get("config")
    name = config.get("name") if isinstance(config, Mapping) else layer.get("name")
    return f"'{name}' ({layer.get('class_name')})"


def _is_keras(module: Any) -> bool:
    return module == "keras.layers" or str(module).startswith(("keras.src.layers.", "tensorflow.keras.layers"))


def _plain(value: Any) -> Any:
    return tuple(_plain(one) for one in value) if isinstance(value, list) else value


def _named(function: Any) -> str | None:
    """The name of an activation; None where it is none of Keras's plain ones."""
    if isinstance(function, Mapping) and function.get("class_name") == "function":
        function = function.get("config")
    if function is None:
        return "linear"
    return function if isinstance(function, str) else None


def _function(kind: str, config: Mapping[str, Any]) -> str | None:
    """What a layer that only activates applies; None where it is nothing plain."""
    if kind == "ReLU":
        plain = config.get("max_value") is None and not config.get("negative_slope") and not config.get("threshold")
        return "relu" if plain else None
    if kind == "Softmax":
        return "softmax" if config.get("axis", -1) in (-1, 1) else None
    return _named(config.get("activation"))


def _entries(entries: Any) -> list[Any]:
    """Inputs or outputs of a model: one, or a list of them."""
    return [entries] if entries and isinstance(entries[0], str) else list(entries)


def _calls(inbound: Any) -> Iterator[tuple[list[tuple[str, int]], Mapping[str, Any]]]:
    """Of each call of a layer the names and output numbers of those it takes, and the constants beside them.

    Source: the layouts that Keras 3 and Keras 2 give `inbound_nodes`.
    """
    for call in inbound:
        if isinstance(call, Mapping):
            taken = list(_tensors([call["args"], call["kwargs"]]))
            behind = [value for value in call["args"][1:] if _is_constant(value)]  # x / 255, not 255 / x
            yield taken, dict(call["kwargs"]) | ({"constant": behind[0]} if len(call["args"]) == 2 and behind else {})
            continue
        entries = [call] if isinstance(call[0], str) else call
        kwargs = {key: value for entry in entries if len(entry) > 3 for key, value in entry[3].items()}
        more = [(str(value[0]), int(value[2])) for value in kwargs.values() if _is_reference(value)]
        yield [(str(entry[0]), int(entry[2])) for entry in entries] + more, kwargs | {"legacy": True}


def _is_reference(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and isinstance(value[0], str)


def _is_constant(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(_is_constant(one) for one in value)
    return isinstance(value, int | float) or (isinstance(value, Mapping) and value.get("class_name") == "__numpy__")


def _tensors(value: Any) -> Iterator[tuple[str, int]]:
    """The tensors in the arguments of a call of Keras 3."""
    if isinstance(value, Mapping):
        if value.get("class_name") == "__keras_tensor__":
            name, _, index = value["config"]["keras_history"]
            yield str(name), int(index)
            return
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from _tensors(one)
