"""How the tensors of any checkpoint get into a network, telling what matched."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from ception.errors import InputError
from ception.models.building import thin
from ception.models.catalog import MODELS
from ception.weights.checkpoints import Checkpoint
from ception.weights.names import IN_KERAS, Pair, Scheme, pairs, variables
from ception.weights.opening import OpenedWeights

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WITH_BACKGROUND = 1001  # logits of Slim's published checkpoints; what is fine-tuned with Slim has no such class
_HEADS = ("logits", "auxiliary")
_AUXILIARY = re.compile(r"(^|/)(AuxLogits|auxiliary)")  # what only training needs


@dataclass(frozen=True)
class Report:
    """What became of the tensors of a checkpoint, ours as `<layer>/<variable>`, theirs by their keys.

    Attributes:
        scheme: Whose names it had.
        matched: Ours that were filled.
        missing: Ours that it does not have.
        unused: Theirs that the network has no place for.
        misshaped: Ours whose shape differs, with their shape.
        fresh: Ours that keep their initial values on purpose: the head of another number of classes.
        adapted: Ours that were changed to fit, with how.
    """

    scheme: Scheme
    matched: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    misshaped: dict[str, tuple[int, ...]] = field(default_factory=dict)
    fresh: list[str] = field(default_factory=list)
    adapted: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        parts = [f"{len(self.matched)} tensors loaded"]
        parts += [f"{len(names)} {what}" for what, names in (("missing", self.missing), ("unused", self.unused),
                  ("of another shape", self.misshaped), ("fresh for other classes", self.fresh)) if names]  # fmt: skip
        return ", ".join(parts + list(dict.fromkeys(self.adapted.values())))


def classes_in(weights: OpenedWeights) -> int | None:
    """The number of classes of the weights' head, a background class left out; None where they have none."""
    tensors = weights.checkpoint.tensors
    for pair in pairs(thin(weights.network), weights.scheme, list(tensors)):
        if pair.ours == "logits/bias" and pair.theirs in tensors:
            count = len(tensors[pair.theirs])
            return count - (weights.scheme == "slim" and count == _WITH_BACKGROUND)
    return None


def load(
    network: keras.Model, weights: OpenedWeights, *, partial: bool = False, whole: keras.Model | None = None
) -> Report:
    """Fill the network with the tensors of weights; all of them or, where something is wrong, none.

    Another number of classes leaves the head as it is. Where the network takes one channel, the first kernel's
    channels are summed; for others they are repeated in turn and scaled by 3 / channels.

    Args:
        network: A network of `ception.build`.
        weights: What `open_weights` gave.
        partial: Whether tensors may be missing.
        whole: The whole network, where `network` ends earlier: what only that has is left out.

    Raises:
        InputError: tensors are missing or have another shape, none fits, or some have no place in the network: without
            them it would compute something else.
    """
    own = variables(network)
    checkpoint, scheme = weights.checkpoint, weights.scheme
    report, filled = _fitted(network, checkpoint, scheme, whole or network)
    if scheme == "keras" and (report.missing or report.misshaped or report.unused):
        renamed = _in_published_order(network.name, checkpoint)
        report, filled = _fitted(network, renamed, scheme, whole or network) if renamed else (report, filled)
    _refuse(network, weights, report, partial=partial)
    for ours, tensor in filled.items():
        own[ours].assign(tensor)
    return report


def _fitted(
    network: keras.Model, checkpoint: Checkpoint, scheme: Scheme, whole: keras.Model
) -> tuple[Report, dict[str, NDArray[np.float32]]]:
    """What becomes of every tensor, and those that fit by our names."""
    keys, own = list(checkpoint.tensors), variables(network)
    of_whole = pairs(whole, scheme, keys)
    report = Report(scheme, unused=sorted(set(keys) - {pair.theirs for pair in of_whole}))
    filled: dict[str, NDArray[np.float32]] = {}
    for pair in (pair for pair in of_whole if pair.ours in own):
        if pair.theirs in checkpoint.tensors:
            _match(pair, checkpoint.tensors[pair.theirs], tuple(own[pair.ours].shape), report, filled)
        else:
            report.missing.append(pair.ours)
    if "logits/kernel" in report.misshaped and network is not whole:  # of a head on other features
        for name in [name for name in own if name.startswith("logits/")]:
            report.misshaped.pop(name, None)
            filled.pop(name, None)
            report.fresh.append(name)
        report.matched[:] = list(filled)
    return report, filled


def _in_published_order(network: str, checkpoint: Checkpoint) -> Checkpoint | None:
    """The checkpoint with its layers renamed as keras.applications names them, where they only have other names.

    Layers of the same kind, told by their variables, have to stand in the order of keras.applications, each of its
    shape; a head may be missing and may have other classes, and the first kernel other channels.
    """
    if network not in IN_KERAS:
        return None
    theirs = getattr(keras.applications, IN_KERAS[network].model)(weights=None)
    published, stored = (_by_kind(tensors) for tensors in (variables(theirs), checkpoint.tensors))
    renamed: dict[str, NDArray[np.float32]] = {}
    for kind, layers in published.items():
        own = stored.pop(kind, [])
        if len(own) != len(layers) and not (not own and layers == ["predictions"]):
            return None
        for name, other in zip(layers, own, strict=False):
            for variable in kind:
                tensor = checkpoint.tensors[f"{other}/{variable}"]
                shape = tuple(theirs.get_layer(name).weights[list(kind).index(variable)].shape)
                loose = name == "predictions" or (len(shape) == 4 and shape[2] == 3)
                if len(tensor.shape) != len(shape) or (tensor.shape != shape and not loose):
                    return None
                renamed[f"{name}/{variable}"] = tensor
    return None if stored else replace(checkpoint, tensors=renamed)


def _by_kind(tensors: Iterable[str]) -> dict[tuple[str, ...], list[str]]:
    """The layers of each kind in order, a kind being the names of a layer's variables."""
    layers: dict[str, tuple[str, ...]] = {}
    for key in tensors:
        layer, _, variable = key.rpartition("/")
        layers[layer] = (*layers.get(layer, ()), variable)
    kinds: dict[tuple[str, ...], list[str]] = {}
    for layer, kind in layers.items():
        kinds.setdefault(kind, []).append(layer)
    return kinds


def _match(
    pair: Pair, tensor: NDArray[np.float32], shape: tuple[int, ...], report: Report, filled: dict[str, Any]
) -> None:
    """Fit a tensor to our shape and file it in the report."""
    turned = pair.to_ours(tensor)
    is_head = pair.ours.split("/")[0] in _HEADS
    if is_head and report.scheme == "slim" and turned.shape[-1] == _WITH_BACKGROUND:
        turned = turned[..., 1:]
        report.adapted[pair.ours] = "background class left out"
    elif len(shape) == len(turned.shape) == 4 and _only_channels_differ(turned.shape, shape):
        turned = _other_channels(turned, shape[2])
        report.adapted[pair.ours] = f"first kernel adapted to {shape[2]} channel{'s' if shape[2] > 1 else ''}"
    if turned.shape == shape:
        filled[pair.ours] = turned
        report.matched.append(pair.ours)
    elif is_head and turned.shape[:-1] == shape[:-1]:
        report.fresh.append(pair.ours)
    else:
        report.misshaped[pair.ours] = tuple(turned.shape)


def _only_channels_differ(turned: Sequence[int], shape: Sequence[int]) -> bool:
    return turned[2] == 3 != shape[2] and (*turned[:2], turned[3]) == (*shape[:2], shape[3])


def _other_channels(kernel: NDArray[np.float32], channels: int) -> NDArray[np.float32]:
    """A first kernel (height, width, 3, filters) for another number of input channels."""
    if channels == 1:
        return np.asarray(kernel.sum(2, keepdims=True))
    return np.asarray(kernel[:, :, np.arange(channels) % 3] * (3 / channels), np.float32)


def _refuse(network: keras.Model, weights: OpenedWeights, report: Report, *, partial: bool) -> None:
    """Raise an InputError where a report says that the weights must not be loaded."""
    checkpoint = weights.checkpoint
    lacks_head = all(name.split("/")[0] in _HEADS for name in report.missing)
    headless = lacks_head and not any(checkpoint.tensors[key].ndim == 2 for key in report.unused)
    strange = [key for key in report.unused if not _AUXILIARY.search(key)]
    if report.matched and not report.misshaped and not strange and (partial or not report.missing or headless):
        return
    nearly = len(report.matched) > 0.5 * len(checkpoint.tensors) and not report.misshaped
    like = [] if nearly else looks_like(weights)
    if like and network.name not in like:
        raise InputError(f"{checkpoint.path} does not fit {network.name}: it looks like weights of {' or '.join(like)}")
    first = [f"{name} is {shape}" for name, shape in report.misshaped.items()] + [
        f"{key} has no place" for key in strange] + [f"{name} is missing" for name in report.missing]  # fmt: skip
    hint = ""
    if report.matched and not report.misshaped:
        hint = "; accept that with --partial" if not strange else "; without them it would compute something else"
    raise InputError(f"{checkpoint.path} does not fit {network.name}: {report}; the first: {first[0]}{hint}")


def looks_like(weights: OpenedWeights) -> list[str]:
    """The networks that nearly all of the weights' tensors have a place in, by name and rank of shape."""
    tensors, keys = weights.checkpoint.tensors, list(weights.checkpoint.tensors)
    scores = {}
    for name, entry in MODELS.items():
        network = thin(name, auxiliary=entry.auxiliary)
        kernels = {ours: tuple(variable.shape) for ours, variable in variables(network).items()}
        fitting = [
            pair for pair in pairs(network, weights.scheme, keys)
            if pair.theirs in tensors
            and pair.to_ours(tensors[pair.theirs]).shape[:2][: len(kernels[pair.ours]) // 4 * 2]
            == kernels[pair.ours][:2][: len(kernels[pair.ours]) // 4 * 2]
        ]  # fmt: skip
        scores[name] = len(fitting) / max(len(keys), len(kernels))
    best = max(scores.values())
    return [name for name, score in scores.items() if score == best] if best > 0.5 else []
