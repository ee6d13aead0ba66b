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
from ception.models.endpoints import endpoints
from ception.weights.checkpoints import Checkpoint
from ception.weights.followed import counterparts, of_network
from ception.weights.graphs import UnfollowedError
from ception.weights.names import IN_KERAS, Pair, Scheme, pairs, variables
from ception.weights.opening import OpenedWeights
from ception.weights.other_networks import other_network

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WITH_BACKGROUND = 1001  # logits of Slim's published checkpoints; what is fine-tuned with Slim has no such class
ONE_OUTPUT = "its one output is the logit of the second of two classes, that of the first is 0"
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
        fresh: Ours that keep their initial values on purpose: a head of other classes, or where theirs is of several
            layers.
        left_out: Theirs of such a head.
        adapted: Ours that were changed to fit, with how.
    """

    scheme: Scheme
    matched: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    misshaped: dict[str, tuple[int, ...]] = field(default_factory=dict)
    fresh: list[str] = field(default_factory=list)
    adapted: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def of_another_head(self) -> str:
        """What to tell of weights whose head was left out; "" where it was not."""
        if not self.fresh:
            return ""
        left = f", and {', '.join(dict.fromkeys(map(_layer_of, self.left_out)))} are left out" if self.left_out else ""
        return f"the body is loaded, {len(self.matched)} tensors; the head is fresh{left}"

    def __str__(self) -> str:
        parts = [f"{len(self.matched)} tensors loaded"]
        parts += [f"{len(names)} {what}" for what, names in (("missing", self.missing), ("unused", self.unused),
                  ("of another shape", self.misshaped), ("fresh for other classes", self.fresh),
                  ("of its head left out", self.left_out)) if names]  # fmt: skip
        return ", ".join(parts + list(dict.fromkeys(self.adapted.values())))


def classes_in(weights: OpenedWeights) -> int | None:
    """The number of classes of the weights' head, a background class left out; None where they have none.

    One output, a number before or after a sigmoid, is of two classes.
    """
    tensors = weights.checkpoint.tensors
    for pair in pairs(thin(weights.network), weights.scheme, list(tensors)):
        if pair.ours == "logits/bias" and pair.theirs in tensors:
            count = len(tensors[pair.theirs])
            return 2 if count == 1 else count - (weights.scheme == "slim" and count == _WITH_BACKGROUND)
    return None


def load(
    network: keras.Model, weights: OpenedWeights, *, partial: bool = False, whole: keras.Model | None = None,
    exact: bool = False,
) -> Report:  # fmt: skip
    """Fill the network with the tensors of weights; all of them or, where something is wrong, none.

    Another number of classes leaves the head as it is, and so does a head of several layers unless the network has to
    compute what the file's does; two classes take one output, as its number and zero. Where the network takes one
    channel, the first kernel's channels are summed; for others they are repeated in turn and scaled by 3 / channels.

    Args:
        network: A network of `ception.build`.
        weights: What `open_weights` gave.
        partial: Whether tensors may be missing.
        whole: The whole network, where `network` ends earlier: what only that has is left out.
        exact: Whether the network has to compute what the file's does: what its configuration says is followed, if it
            has one, and nothing but what only training needs is left out.

    Raises:
        InputError: tensors are missing or have another shape, none fits, or some have no place in the network: without
            them it would compute something else.
    """
    own = variables(network)
    require_family(weights)
    report, filled = _by_structure(network, weights, whole or network) if exact else (None, {})
    if report is None:
        report, filled = _by_name(network, weights, whole or network)
    if not exact:
        _leave_out_head(network, weights, report, filled)
    _refuse(network, weights, report, partial=partial)
    for ours, tensor in filled.items():
        own[ours].assign(tensor)
    return report


def require_family(weights: OpenedWeights) -> None:
    """Raise an InputError if weights are those of a network of another family."""
    if other := other_network(weights.checkpoint.tensors):
        path = weights.checkpoint.path
        made = "was made by Teachable Machine: it " if path.with_name("labels.txt").is_file() else ""
        raise InputError(
            f"{path} {made}holds another network ({other}), not {weights.network}; others are not read: train on the "
            f"same pictures instead, with ception train DATA --model {weights.network}"
        )


def _by_name(
    network: keras.Model, weights: OpenedWeights, whole: keras.Model
) -> tuple[Report, dict[str, NDArray[np.float32]]]:
    """What becomes of every tensor by its name, or by its place where layers only have other names."""
    checkpoint, scheme = weights.checkpoint, weights.scheme
    report, filled = _fitted(network, checkpoint, scheme, whole)
    if scheme == "keras" and (report.missing or report.misshaped or report.unused):
        renamed = _in_published_order(network.name, checkpoint)
        report, filled = _fitted(network, renamed, scheme, whole) if renamed else (report, filled)
    return report, filled


def _by_structure(
    network: keras.Model, weights: OpenedWeights, whole: keras.Model
) -> tuple[Report | None, dict[str, NDArray[np.float32]]]:
    """What becomes of every tensor by the place of its layer in the file's own configuration; None where it has none.

    Raises:
        InputError: the file's network computes something else.
    """
    theirs, checkpoint = weights.followed, weights.checkpoint
    if theirs is None:
        return None, {}
    try:
        layers = counterparts(theirs, of_network(network))
    except UnfollowedError as error:
        if network is not whole:  # that ends earlier than theirs
            return None, {}
        raise weights.unfollowed(error) from None
    stored = {key.rpartition("/")[0] for key in checkpoint.tensors}
    if not stored & set(layers):  # Keras's first files of this format have no names of layers
        return None, {}
    front = {theirs.nodes[index].name for index in theirs.front}
    tensors: dict[str, NDArray[np.float32]] = {}
    for key, tensor in checkpoint.tensors.items():
        layer, _, variable = key.rpartition("/")
        if layer not in front:
            tensors[f"{layers[layer]}/{variable}" if layer in layers else f"?{key}"] = tensor
    if theirs.head and not theirs.head.bias:
        tensors["logits/bias"] = np.zeros(theirs.head.units, np.float32)
    report, filled = _fitted(network, replace(checkpoint, tensors=tensors), "ception", network)
    return replace(report, scheme=weights.scheme), filled


def _leave_out_head(
    network: keras.Model, weights: OpenedWeights, report: Report, filled: dict[str, NDArray[np.float32]]
) -> None:
    """Where all but the head is there, leave out a head of several layers, and keep ours fresh."""
    if any(name.split("/")[0] not in _HEADS for name in (*report.missing, *report.misshaped)):
        return
    tensors = weights.checkpoint.tensors
    used = {_layer_of(key) for key in tensors if key not in report.unused}
    beside = [key for key in report.unused if not _AUXILIARY.search(key)]
    if any(_layer_of(key) in used or tensors[key].ndim > 2 for key in beside):
        return
    if beside or any(name.startswith("logits/") for name in report.misshaped):
        report.left_out.extend(beside)
        report.unused[:] = [key for key in report.unused if key not in beside]
        report.fresh[:] = [name for name in variables(network) if name.startswith("logits/")]
        for name in report.fresh:
            report.misshaped.pop(name, None)
            filled.pop(name, None)
        report.missing[:] = [name for name in report.missing if name not in report.fresh]
        report.matched[:] = list(filled)


def _layer_of(key: str) -> str:
    """The layer or module of a tensor."""
    return key.rpartition("/")[0] or key.rpartition(".")[0]


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
    beyond = any(pair.ours not in own and pair.theirs in checkpoint.tensors and not _AUXILIARY.match(pair.ours)
                 for pair in of_whole)  # fmt: skip
    if network is not whole and ("logits/kernel" in report.misshaped or beyond):  # of a head on other features
        for name in [name for name in own if name.startswith("logits/")]:
            report.misshaped.pop(name, None)
            filled.pop(name, None)
            if name not in report.fresh:
                report.fresh.append(name)
        report.missing[:] = [name for name in report.missing if name not in report.fresh]
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
    elif is_head and turned.shape[-1:] == (1,) and shape[-1:] == (2,):
        turned = np.concatenate([np.zeros_like(turned), turned], -1)
        report.adapted[pair.ours] = ONE_OUTPUT
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
        names = " or ".join(like)
        raise InputError(f"{checkpoint.path} does not fit {network.name}: it looks like weights of {names} (--model)")
    first = [f"{name} is {shape}" for name, shape in report.misshaped.items()] + [
        f"{key} has no place" for key in strange] + [f"{name} is missing" for name in report.missing]  # fmt: skip
    hint = ""
    if report.matched and not report.misshaped:
        hint = _way_out(network, weights, report, strange)
    raise InputError(f"{checkpoint.path} does not fit {network.name}: {report}; the first: {first[0]}{hint}")


def _way_out(network: keras.Model, weights: OpenedWeights, report: Report, strange: Sequence[str]) -> str:
    """What to do where tensors are missing, or have no place."""
    path = weights.checkpoint.path
    if strange:
        train = f"; ception train DATA --model {network.name} --weights {path} takes its body, with a fresh head"
        body = not any(name.split("/")[0] not in _HEADS for name in report.missing)
        return "; without them it would compute something else" + (train if body else "")
    last = last_filled(network, report)
    last = "" if last in ("pool", "prelogits") else last
    ends = list(endpoints(network))
    lacking = {name.split("/")[0].split("_")[0] for name in report.missing}
    of_weights = {layer.name.split("_")[0] for layer in network.layers if layer.weights}
    if last and all(name in lacking for name in ends[ends.index(last) + 1 :] if name in of_weights):
        return f"; it ends at {last}: end the network there with --final-endpoint {last}, or accept that with --partial"
    return "; accept that with --partial"


def last_filled(network: keras.Model, report: Report) -> str:
    """The last endpoint that weights lead to; "" where they lead to none."""
    lacking = {name.split("/")[0].split("_")[0] for name in report.missing}
    names = list(endpoints(network))
    filled = names[: next((index for index, name in enumerate(names) if name in lacking), len(names))]
    return filled[-1] if filled else ""


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
