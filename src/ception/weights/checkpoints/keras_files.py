"""Weights in HDF5, as Keras 1, 2 and 3 write them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ception.weights.checkpoints.checkpoint import Checkpoint
from ception.weights.hdf5 import Hdf5, Node
from ception.weights.tensors import Allowance, RefusedError, Tensors, put

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Keras 1's names, which the published files of Xception have, in those of Keras since: `convolution2d_1_W`
_KERAS_1 = re.compile(
    r"(.+)_(W|b|gamma|beta|running_mean|running_std|depthwise_kernel|pointwise_kernel)(?:_\d+)?", re.DOTALL
)
_KERAS_1_VARIABLES = {
    "W": "kernel", "b": "bias", "running_mean": "moving_mean", "running_std": "moving_variance",  # though called std
}  # fmt: skip
_KERAS_1_CLASSES = {
    "convolution2d": "conv2d", "separableconvolution2d": "separable_conv2d",
    "batchnormalization": "batch_normalization",
}  # fmt: skip


def read_h5(path: Path) -> Checkpoint:
    """The weights in one HDF5 file."""
    with path.open("rb") as file:
        return Checkpoint(path, "keras", from_hdf5([file]), configuration=_configuration(file))


def _configuration(file: IO[bytes]) -> Mapping[str, Any]:
    """What a whole model's file says of its graph; nothing for a file of weights alone.

    Raises:
        ValueError: it is no JSON object.
    """
    text = "".join(Hdf5(file).root().attributes.get("model_config", []))
    value = json.loads(text) if text else {}
    if not isinstance(value, dict):
        raise ValueError("its model_config is no JSON object")
    return value


def read_shards(path: Path) -> Checkpoint:
    """Several `.weights.h5` that an index names, as Keras writes them with `max_shard_size`."""
    entries = json.loads(path.read_bytes())["weight_map"].values()
    shards = {name for names in entries for name in ([names] if isinstance(names, str) else names)}
    if any(Path(name).name != name for name in shards):
        raise RefusedError("it names files outside its folder")
    with ExitStack() as stack:
        files: list[IO[bytes]] = [stack.enter_context((path.parent / name).open("rb")) for name in sorted(shards)]
        return Checkpoint(path, "keras", from_hdf5(files))


def from_hdf5(files: list[IO[bytes]], config: Mapping[str, Any] | None = None) -> Tensors:
    """The tensors of a network in one HDF5 file or several.

    Args:
        files: The open files.
        config: The network's configuration, where the file comes with one: it tells normalisations without beta.
    """
    allowance = Allowance(sum(file.seek(0, 2) for file in files))
    roots = [Hdf5(file).root() for file in files]
    legacy = roots[0].within("model_weights") if "model_weights" in roots[0].members else roots[0]
    if "layer_names" in legacy.attributes or "layer_names0" in legacy.attributes:
        return _legacy(legacy, allowance)
    return _numbered(roots, config or {}, allowance)


def _legacy(root: Node, allowance: Allowance) -> Tensors:
    """Layers with the names of their variables in attributes, as Keras 1 and 2 write them and Keras 3 still can."""
    tensors: Tensors = {}
    for layer in _names(root, "layer_names"):
        group = root.within(layer)
        paths = _names(group, "weight_names")
        parents = {path.rpartition("/")[0] for path in paths}
        for path in paths:
            parent, _, variable = path.rpartition("/")
            owner = layer if len(parents) == 1 else parent.rpartition("/")[2]  # several: a whole model as one layer
            name = f"{owner or layer}/{variable.partition(':')[0]}"
            put(tensors, _since_keras_1(path) or name, group.within(path).tensor(allowance))
    return tensors


def _since_keras_1(path: str) -> str:
    """What `<layer>_<variable>` of Keras 1 has been called since; nothing for a name of later Keras."""
    parts = None if "/" in path else _KERAS_1.fullmatch(path.partition(":")[0])
    if not parts:
        return ""
    layer, variable = parts[1], parts[2]
    kind = re.sub(r"_\d+$", "", layer)
    return f"{_KERAS_1_CLASSES.get(kind, kind)}{layer[len(kind) :]}/{_KERAS_1_VARIABLES.get(variable, variable)}"


def _names(node: Node, attribute: str) -> list[str]:
    """The strings of an attribute, which Keras splits into several where it is large."""
    if attribute in node.attributes:
        return node.attributes[attribute]
    names: list[str] = []
    for number in range(len(node.attributes)):
        names += node.attributes.get(f"{attribute}{number}", [])
    return names


def _numbered(roots: list[Node], config: Mapping[str, Any], allowance: Allowance) -> Tensors:
    """Layers by class and counter with numbered variables, as Keras 3 writes them."""
    layers: dict[tuple[str, ...], dict[int, NDArray[np.float32] | None]] = {}
    names: dict[tuple[str, ...], str] = {}
    for root in roots:
        for path, group in _variable_groups(root):
            if given := "".join(group.attributes.get("name", [])):
                names[path] = given
            variables = {int(key): group.within(key).tensor(allowance) for key in group.members if key.isdecimal()}
            layers[path] = layers.get(path, {}) | variables
    tensors: Tensors = {}
    for path in sorted(layers, key=lambda path: [_natural(key) for key in path]):
        name = names.get(path, path[-1])
        uncentred = len(layers[path]) == 3 and name in _uncentred(config)
        known = _variables(path[-1], max(layers[path], default=-1) + 1, uncentred=uncentred)
        for number, tensor in sorted(layers[path].items()):
            put(tensors, f"{name}/{known[number] if number < len(known) else number}", tensor)
    return tensors


def _natural(key: str) -> list[str | int]:
    """Sorts `conv2d_10` after `conv2d_9`."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"([0-9]+)", key)]


def _variable_groups(root: Node) -> Iterator[tuple[tuple[str, ...], Node]]:
    """Every group of a layer's variables with the path of the layer, however deep models lie in models."""
    pending: list[tuple[tuple[str, ...], Node]] = [((), root)]
    seen = set()
    while pending:
        path, group = pending.pop()
        if group.address in seen:
            raise RefusedError(f"its groups are linked in a circle, at {'/'.join(path)[:80]}")
        seen.add(group.address)
        for key in group.members:
            if key in ("optimizer", "metrics", "compile_metrics") and not path:
                continue
            member = group.within(key)
            if key == "vars" and path:
                yield path, member
            elif key != "vars":
                pending.append(((*path, key), member))


def _variables(key: str, count: int, *, uncentred: bool) -> list[str]:
    """Names of the variables of a layer whose group is called `key`, after its class; none for an unknown class."""
    kind = re.sub(r"_[0-9]+$", "", key)
    if kind in ("conv2d", "dense", "depthwise_conv2d"):
        return ["kernel", "bias"]
    if kind == "separable_conv2d":
        return ["depthwise_kernel", "pointwise_kernel", "bias"]
    if kind != "batch_normalization":
        return []
    learnt = {3: ["gamma"] if uncentred else ["beta"], 4: ["gamma", "beta"]}
    return [*learnt.get(count, []), "moving_mean", "moving_variance"]


def _uncentred(config: Any) -> Iterator[str]:
    """Names of the normalisations without beta in a network's configuration."""
    if isinstance(config, dict):
        if config.get("center") is False:
            yield str(config.get("name"))
        config = list(config.values())
    if isinstance(config, list):
        for value in config:
            yield from _uncentred(value)
