"""What a Keras file says of its network in its own configuration: size, scaling, head, and which layer is which."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ception.models.config import Scaling
from ception.weights.graphs import Node, UnfollowedError, marks, marks_behind, nodes_of, reaching

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

    from ception.weights.tensors import Tensors

_SCALES = ("Rescaling", "Normalization", "arithmetic")
_BODY = ("Conv2D", "SeparableConv2D", "DepthwiseConv2D", "Dense", "ZeroPadding2D", "BatchNormalization")
_LEAST_STD = 1e-7  # Keras's epsilon


@dataclass(frozen=True)
class Head:
    """What a network ends in.

    Attributes:
        layer: Name of its dense layer.
        units: Number of outputs.
        activation: What is applied to them.
        bias: Whether it has one.
        node: Index of the node of the dense layer.
    """

    layer: str
    units: int
    activation: str
    bias: bool
    node: int


class FollowedNetwork:
    """A network as its configuration has it.

    Args:
        configuration: `class_name` and `config`, as a file has them.
        tensors: The file's tensors, among which are the statistics of a normalisation of the pixels.

    Raises:
        UnfollowedError: it has several inputs or outputs, or uses a layer twice.
    """

    def __init__(self, configuration: Mapping[str, Any], tensors: Tensors) -> None:
        self.nodes, self.output = nodes_of(configuration)
        self._tensors = tensors
        self._pixels = next(index for index, node in enumerate(self.nodes) if node.kind == "InputLayer")
        self.front = self._front()

    def _front(self) -> list[int]:
        """The nodes between the pixels and the first layer of the network itself, one after another."""
        front: list[int] = []
        at = self._pixels
        while True:
            users = [index for index, node in enumerate(self.nodes) if at in node.inputs]
            if len(users) != 1 or self.nodes[users[0]].kind in _BODY or len(self.nodes[users[0]].inputs) != 1:
                return front
            at = users[0]
            front.append(at)

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Height, width and channels of its pictures; None for what it leaves open."""
        shape = self.nodes[self._pixels].options["shape"]
        return tuple(shape) if len(shape) == 3 else (None, None, None)

    @cached_property
    def scaling(self) -> Scaling | None:
        """(mean, std) of its pixels; None where nothing in it scales them.

        Raises:
            UnfollowedError: pixels are changed in another way.
        """
        if not self.front:
            return None
        scale, offset = np.ones(1), np.zeros(1)
        with np.errstate(all="ignore"):  # what is not finite is refused
            for index in self.front:
                node = self.nodes[index]
                if node.kind not in _SCALES:
                    raise UnfollowedError(f"layer '{node.name}' ({node.kind}) does to the pixels what is not followed")
                times, plus = _affine(node, self._tensors)
                scale, offset = scale * times, offset * times + plus
        if not ((scale > 0).all() and np.isfinite(scale).all() and np.isfinite(offset).all()):
            raise UnfollowedError(f"layer '{self.nodes[self.front[-1]].name}' turns the pixels around")
        scale, offset = np.broadcast_arrays(scale, offset)
        mean, std = -offset / scale, 1 / scale
        if len(set(mean)) == len(set(std)) == 1:
            return _round(mean[0]), _round(std[0])
        return tuple(map(_round, mean)), tuple(map(_round, std))

    @cached_property
    def head(self) -> Head | None:
        """What it ends in; None where it ends without a dense layer.

        Raises:
            UnfollowedError: what is applied to its outputs is not known.
        """
        end, activation = self.output, "linear"
        while self.nodes[end].kind == "Activation" and self.nodes[end].followed and activation == "linear":
            before = self.nodes[end].inputs[0]
            if self.nodes[before].kind != "Dense":
                break
            activation, end = str(self.nodes[end].options["function"]), before
        node = self.nodes[end]
        if node.kind == "Dense":
            return Head(node.name, int(node.options["units"]), activation, bool(node.options["use_bias"]), end)
        if not node.followed:
            raise UnfollowedError(f"layer '{node.name}' ({node.kind}), with which it ends, is not followed")
        return None

    @property
    def body_end(self) -> int:
        """The node before the head."""
        return self.nodes[self.head.node].inputs[0] if self.head else self.output

    @cached_property
    def body(self) -> list[Node]:
        """The nodes from the scaled pixels to what comes before the head."""
        start = self.front[-1] if self.front else self._pixels
        nodes = [Node("pixels", "InputLayer") if index == start else node for index, node in enumerate(self.nodes)]
        return _part(nodes, self.body_end)


def counterparts(theirs: FollowedNetwork, ours: FollowedNetwork) -> dict[str, str]:
    """Their layers with weights, and which of ours each is.

    Args:
        theirs: The network in a file.
        ours: The network that is to compute the same.

    Raises:
        UnfollowedError: theirs computes something else.
    """
    one, other = theirs.body, ours.body
    marks_of_one, marks_of_other = marks(one), marks(other)
    known = set(marks_of_other)
    for node, mark in zip(one, marks_of_one, strict=True):
        if mark not in known:
            raise UnfollowedError(_unlike(node))
    if theirs.head and ours.head and marks_of_one[-1] != marks_of_other[-1]:
        raise UnfollowedError(f"head is on '{one[-1].name}' ({one[-1].kind}), not at the network's end")
    end = marks_of_other.index(marks_of_one[-1])  # theirs may end earlier
    matched = _matched(one, _part(other, end))
    if theirs.head and ours.head:
        matched[theirs.head.layer] = ours.head.layer
    return matched


def _part(nodes: Sequence[Node], end: int) -> list[Node]:
    """The nodes that one is computed from."""
    kept = reaching(nodes, end)
    places = {index: place for place, index in enumerate(kept)}
    return [replace(nodes[index], inputs=tuple(places[one] for one in nodes[index].inputs)) for index in kept]


def _matched(one: Sequence[Node], other: Sequence[Node]) -> dict[str, str]:
    """Layers of equal marks; those of what lies behind tell apart what is equal up to there."""
    places: dict[tuple[str, str], list[str]] = {}
    for node, *mark in zip(other, marks(other), marks_behind(other), strict=True):
        places.setdefault((mark[0], mark[1]), []).append(node.name)
    matched = {}
    for node, *mark in zip(one, marks(one), marks_behind(one), strict=True):
        if node.kind not in ("InputLayer", "Activation") and (names := places.get((mark[0], mark[1]))):
            matched[node.name] = names.pop(0)
    return matched


def of_network(network: keras.Model) -> FollowedNetwork:
    """One of our networks, followed the same way."""
    return FollowedNetwork(json.loads(network.to_json()), {})


def _unlike(node: Node) -> str:
    """What of a network is unlike ours, in words."""
    if node.kind == "GlobalMaxPooling2D":
        return f"layer '{node.name}' pools by maximum, not by average"
    if not node.followed:
        return f"layer '{node.name}' ({node.kind}) is not followed"
    what = node.options.get("function") if node.kind == "Activation" else node.kind
    return f"layer '{node.name}' ({what}) is not where that network has one, or has other options"


def _round(value: Any) -> float:
    """A number without the rounding of its inverse: 255.0, not 254.99999999999997."""
    return float(f"{value:.12g}") + 0.0  # no -0.0


def _affine(node: Node, tensors: Tensors) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What a node multiplies the pixels with, and adds then: one number, or one for each channel.

    Raises:
        UnfollowedError: it does something else.
    """
    try:
        if node.kind == "Rescaling":
            return _numbers(node.options["scale"]), _numbers(node.options.get("offset", 0.0))
        if node.kind == "Normalization":
            return _normalised(node, tensors)
        constant = _numbers(node.options["constant"])
    except (KeyError, TypeError, ValueError, IndexError):
        raise UnfollowedError(f"layer '{node.name}' ({node.kind}) has no plain numbers") from None
    match node.options["function"]:
        case "divide":
            return 1 / constant, np.zeros(1)
        case "multiply":
            return constant, np.zeros(1)
        case "add":
            return np.ones(1), constant
    return np.ones(1), -constant


def _normalised(node: Node, tensors: Tensors) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    mean, variance = node.options.get("mean"), node.options.get("variance")
    if mean is None or variance is None:
        stored = [tensor for key, tensor in tensors.items() if key.rpartition("/")[0] == node.name]
        mean, variance = stored[0].tolist(), stored[1].tolist()
    if node.options.get("invert") or node.options.get("axis", -1) not in (-1, [-1], 3, [3]):
        raise ValueError("it normalises otherwise")
    std = np.maximum(np.sqrt(_numbers(variance)), _LEAST_STD)
    return 1 / std, -_numbers(mean) / std


def _numbers(value: Any) -> NDArray[np.float64]:
    """One number, or one for each channel, whatever other axes of length 1 there are."""
    if isinstance(value, Mapping):
        value = value["config"]["value"]
    numbers = np.asarray(value, np.float64)
    if numbers.size != 1 and numbers.shape[-1] != numbers.size:
        raise ValueError("they differ from place to place")
    return numbers.reshape(-1)
