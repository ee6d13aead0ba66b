"""Published weights: one record each, and how any weight file gets into a network, telling what matched."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from ception import downloads
from ception.errors import InputError, RunError, nearest
from ception.files import cache_folder
from ception.models.names import IN_KERAS, IN_TIMM, Pair, Scheme, pairs, scheme_of, variables
from ception.reporting import Reporter
from ception.weights.checkpoints import Checkpoint, read

if TYPE_CHECKING:
    from numpy.typing import NDArray

_IMAGENET_MEAN = (123.675, 116.28, 103.53)  # 255 x (0.485, 0.456, 0.406)
_IMAGENET_DEVIATION = (58.395, 57.12, 57.375)  # 255 x (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A published checkpoint.

    Attributes:
        network: The network it is for, a key of `MODELS`.
        url: Where it lies; `hf:<repository>` for a model.safetensors on the Hugging Face hub.
        digest: Its hash or the hash's beginning, `md5:` or `sha256:`; "" where the hub vouches for it. TF-Slim's
            archives have none and are not downloaded.
        megabytes: Its size.
        scheme: Whose names its tensors have, by which `ception.models.names.pairs` maps them.
        head: Whether it has ImageNet's 1,000 logits, named by `imagenet_classes`.
        port: Whose rules the network has to follow: a key of the network's `PORTS`; None means its own.
        mean: What is subtracted from pixels 0..255, one number or one per channel.
        deviation: What they are divided by after that.
        crop: Share of the shorter side that the central crop keeps, as it was evaluated.
        accuracy: Published top-1 accuracy on ImageNet.
        licence: Its licence.
        paper: Where the training is described.
    """

    network: str
    url: str
    digest: str = ""
    megabytes: int
    scheme: Scheme
    head: bool = True
    port: str | None = None
    mean: float | tuple[float, ...] = 127.5
    deviation: float | tuple[float, ...] = 127.5
    crop: float = 0.875
    accuracy: float | None = None
    licence: str = "Apache-2.0"
    paper: str


_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications"
_XCEPTION_FILE = f"{_KERAS}/xception/xception_weights_tf_dim_ordering_tf_kernels"
_INCEPTION_FILE = f"{_KERAS}/inception_v3/inception_v3_weights_tf_dim_ordering_tf_kernels"
_RELEASES = "https://github.com/rwightman/pytorch-image-models/releases/download"
_SLIM = "http://download.tensorflow.org/models"
_XCEPTION, _INCEPTION, _DEEPLAB = "arXiv:1610.02357", "arXiv:1512.00567", "arXiv:1802.02611"

_WITH_BACKGROUND = 1001  # logits of Slim's published checkpoints; what is fine-tuned with Slim has no such class
_HEADS = ("logits", "auxiliary")
_AUXILIARY = re.compile(r"(^|/)(AuxLogits|auxiliary)")  # what only training needs

# For each network, the first one is what "imagenet" means
WEIGHTS = {
    "xception.keras_in1k": Weights(
        network="xception", scheme="keras",
        url=f"{_XCEPTION_FILE}.h5", digest="md5:0a58e3b7378bc2990ea3b43d5981f1f6", megabytes=92,
        accuracy=0.790, licence="MIT", paper=_XCEPTION,
    ),
    "xception.keras_in1k_notop": Weights(
        network="xception", scheme="keras",
        url=f"{_XCEPTION_FILE}_notop.h5", digest="md5:b0042744bf5b25fce3cb969f33bebb97",
        megabytes=84, head=False, licence="MIT", paper=_XCEPTION,
    ),
    "legacy_xception.tf_in1k": Weights(
        network="xception", scheme="timm_legacy",
        url=f"{_RELEASES}/v0.1-cadene/xception-43020ad28.pth", digest="sha256:43020ad28",
        megabytes=92, port="timm_legacy", crop=0.8975, accuracy=0.790, paper=_XCEPTION,
    ),
    "xception41.tf_in1k": Weights(
        network="xception_41", scheme="timm",
        url="hf:timm/xception41.tf_in1k", megabytes=108, crop=0.903, accuracy=0.785,
        paper=_DEEPLAB,
    ),
    "xception65.ra3_in1k": Weights(
        network="xception_65", scheme="timm",
        url="hf:timm/xception65.ra3_in1k", megabytes=160, crop=0.94, accuracy=0.8319,
        paper="arXiv:2110.00476",
    ),
    "xception65.tf_in1k": Weights(
        network="xception_65", scheme="timm",
        url="hf:timm/xception65.tf_in1k", megabytes=160, crop=0.903, accuracy=0.7956,
        paper=_DEEPLAB,
    ),
    "xception71.tf_in1k": Weights(
        network="xception_71", scheme="timm",
        url="hf:timm/xception71.tf_in1k", megabytes=170, crop=0.903, accuracy=0.799,
        paper=_DEEPLAB,
    ),
    "inception_v3.keras_in1k": Weights(
        network="inception_v3", scheme="keras",
        url=f"{_INCEPTION_FILE}.h5", digest="md5:9a0d58056eeedaa3f26cb7ebd46da564",
        megabytes=96, accuracy=0.779, licence="MIT", paper=_INCEPTION,
    ),
    "inception_v3.keras_in1k_notop": Weights(
        network="inception_v3", scheme="keras",
        url=f"{_INCEPTION_FILE}_notop.h5", digest="md5:bcbd6486424b2319ff4ef7d526e38f63",
        megabytes=88, head=False, licence="MIT", paper=_INCEPTION,
    ),
    "inception_v3.tf_in1k": Weights(
        network="inception_v3", scheme="torchvision",
        url="hf:timm/inception_v3.tf_in1k", megabytes=95, port="torchvision", accuracy=0.7787,
        paper=_INCEPTION,
    ),
    "inception_v3.gluon_in1k": Weights(
        network="inception_v3", scheme="torchvision",
        url="hf:timm/inception_v3.gluon_in1k", megabytes=95, port="torchvision",
        mean=_IMAGENET_MEAN, deviation=_IMAGENET_DEVIATION, accuracy=0.7881, paper=_INCEPTION,
    ),
    "inception_v3.tv_in1k": Weights(
        network="inception_v3", scheme="torchvision",
        url="hf:timm/inception_v3.tv_in1k", megabytes=109, port="torchvision",
        accuracy=0.7747, paper=_INCEPTION,
    ),
    "inception_v3.tf_adv_in1k": Weights(
        network="inception_v3", scheme="torchvision",
        url="hf:timm/inception_v3.tf_adv_in1k", megabytes=95, port="torchvision",
        paper="arXiv:1611.01236",
    ),
    "inception_v3.torchvision_in1k": Weights(
        network="inception_v3", scheme="torchvision",
        url="https://download.pytorch.org/models/inception_v3_google-0cc3c7bd.pth",
        digest="sha256:0cc3c7bd", megabytes=109, port="torchvision", accuracy=0.7729, licence="BSD-3-Clause",
        paper=_INCEPTION,
    ),
    "inception_v3.slim_in1k": Weights(
        network="inception_v3", scheme="slim",
        url=f"{_SLIM}/inception_v3_2016_08_28.tar.gz", megabytes=101, accuracy=0.780,
        paper=_INCEPTION,
    ),
    "inception_v1.slim_in1k": Weights(
        network="inception_v1", scheme="slim",
        url=f"{_SLIM}/inception_v1_2016_08_28.tar.gz", megabytes=25, accuracy=0.698,
        paper="arXiv:1409.4842",
    ),
}  # fmt: skip


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
        parts += [f"{len(found)} {what}" for what, found in (("missing", self.missing), ("unused", self.unused),
                  ("of another shape", self.misshaped), ("fresh for other classes", self.fresh)) if found]  # fmt: skip
        return ", ".join(parts + list(dict.fromkeys(self.adapted.values())))


@cache
def imagenet_classes() -> tuple[str, ...]:
    """The names of ImageNet's 1,000 classes in the order of the logits."""
    lines = files("ception.models").joinpath("imagenet.txt").read_text().splitlines()
    return tuple(line.split(" ", 1)[1] for line in lines)


def record_of(network: str, weights: str) -> Weights | None:
    """The record that a name means for a network; None where it is none, but maybe a path.

    Raises:
        InputError: the record is another network's, or the network has none.
    """
    own = {name: record for name, record in WEIGHTS.items() if record.network == network}
    if weights == "imagenet":
        if not own:
            having = ", ".join(dict.fromkeys(record.network for record in WEIGHTS.values()))
            raise InputError(f"no weights of {network} for ImageNet are published (known: those of {having})")
        return next(iter(own.values()))
    record = WEIGHTS.get(weights)
    if record and record.network != network:
        raise InputError(f"{weights} are weights of {record.network}, not of {network}: {nearest(weights, own)}")
    return record


def open_weights(
    network: str, weights: str | Path, *, reporter: Reporter | None = None
) -> tuple[Checkpoint, Weights | None]:
    """The checkpoint that a name or path means, downloaded if need be, and its record if it has one.

    Raises:
        InputError: there is no such record or file, or it cannot be read.
        RunError: it cannot be downloaded.
    """
    record = record_of(network, str(weights))
    if record is None:
        if not (Path(weights).exists() or Path(f"{weights}.index").exists()):  # TensorFlow's name one and mean several
            own = [name for name, one in WEIGHTS.items() if one.network == network]
            raise InputError(f"{weights} is neither a file nor published weights: {nearest(str(weights), own)}")
        return read(weights), None
    if record.url.startswith("hf:"):
        return read(_from_hub(record.url.removeprefix("hf:"), reporter=reporter)), record
    if not record.digest:
        raise InputError(
            f"{record.url} has no published hash, so it is not downloaded: fetch and unpack it, then name its .ckpt"
        )
    return read(downloads.fetch(record.url, record.digest, megabytes=record.megabytes, reporter=reporter)), record


def _from_hub(repository: str, *, reporter: Reporter | None = None) -> Path:
    """A repository's model.safetensors: put into our cache by hand, or from the hub and its own cache.

    Raises:
        RunError: the hub cannot be reached, or has no such file.
    """
    from huggingface_hub import hf_hub_download

    by_hand = cache_folder() / f"weights-{repository.rpartition('/')[2]}.safetensors"
    if by_hand.is_file():
        return by_hand
    logging.getLogger("huggingface_hub").setLevel(logging.CRITICAL)  # our message says what its retries say
    (reporter or Reporter()).note(f"Looking for {repository} on the Hugging Face hub")
    try:
        return Path(hf_hub_download(repository, "model.safetensors"))
    except Exception as error:  # the library lets through whatever its transport raises
        address = f"https://huggingface.co/{repository}/resolve/main/model.safetensors"
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise RunError(
            f"{address} cannot be downloaded ({why}): check the connection and the proxy (https_proxy), or download it "
            f"by hand to {by_hand}"
        ) from None


def port_of(network: str, checkpoint: Checkpoint) -> str | None:
    """Whose rules a network has to follow to compute what the checkpoint's original computes."""
    scheme = scheme_of(checkpoint.layout, checkpoint.tensors)
    if scheme == "ception":
        port = _own_arguments(checkpoint).get("port")
        return port if isinstance(port, str) else None
    theirs = IN_TIMM.get(network)
    return theirs.port if theirs and theirs.scheme == scheme else None


def own_scaling(checkpoint: Checkpoint) -> Sequence[Any] | None:
    """What a model file of this package says its network's pixels are scaled by; None for any other file."""
    scaling = _own_arguments(checkpoint).get("scaling")
    return scaling if isinstance(scaling, list) else None


def _own_arguments(checkpoint: Checkpoint) -> dict[str, Any]:
    """What a model file of this package says its network was built with; nothing for any other file."""
    arguments = checkpoint.described.get("network")
    return arguments if isinstance(arguments, dict) else {}


def origin(network: str, weights: str | Path) -> tuple[Weights | None, list[Any], str | None]:
    """The record of some weights, if they have one, and the scaling and port of a network that takes them.

    Raises:
        InputError: as for `open_weights`.
        RunError: likewise.
    """
    checkpoint, record = open_weights(network, weights)
    scaling: Sequence[Any] = (record.mean, record.deviation) if record else own_scaling(checkpoint) or (127.5, 127.5)
    plain = [list(value) if isinstance(value, tuple) else value for value in scaling]
    return record, plain, record.port if record else port_of(network, checkpoint)


def classes_in(network: str, checkpoint: Checkpoint) -> int | None:
    """The number of classes of the checkpoint's head, a background class left out; None where it has none."""
    from ception.models import MODELS, build

    thin = build(network, image_size=MODELS[network].smallest, depth_multiplier=1e-6, min_depth=1)
    scheme = scheme_of(checkpoint.layout, checkpoint.tensors)
    for pair in pairs(thin, scheme, list(checkpoint.tensors)):
        if pair.ours == "logits/bias" and pair.theirs in checkpoint.tensors:
            count = len(checkpoint.tensors[pair.theirs])
            return count - (scheme == "slim" and count == _WITH_BACKGROUND)
    return None


def load(
    network: keras.Model, checkpoint: Checkpoint, *, partial: bool = False, whole: keras.Model | None = None
) -> Report:
    """Fill the network with a checkpoint's tensors; all of them or, where something is wrong, none.

    Another number of classes leaves the head as it is. Where the network takes one channel, the first kernel's
    channels are summed; for others they are repeated in turn and scaled by 3 / channels.

    Args:
        network: A network of `ception.build`.
        checkpoint: What `read` gave.
        partial: Whether tensors may be missing.
        whole: The whole network, where `network` ends earlier: what only that has is left out.

    Raises:
        InputError: tensors are missing or have another shape, none fits, or some have no place in the network: without
            them it would compute something else.
    """
    own = variables(network)
    report, filled = _fitted(network, checkpoint, whole or network)
    if report.scheme == "keras" and (report.missing or report.misshaped or report.unused):
        renamed = _in_published_order(network.name, checkpoint)
        report, filled = _fitted(network, renamed, whole or network) if renamed else (report, filled)
    _refuse(network, checkpoint, report, partial=partial)
    for ours, tensor in filled.items():
        own[ours].assign(tensor)
    return report


def _fitted(
    network: keras.Model, checkpoint: Checkpoint, whole: keras.Model
) -> tuple[Report, dict[str, NDArray[np.float32]]]:
    """What becomes of every tensor, and those that fit by our names."""
    scheme, keys, own = scheme_of(checkpoint.layout, checkpoint.tensors), list(checkpoint.tensors), variables(network)
    known = [pair for pair in pairs(whole, scheme, keys) if pair.ours in own]
    placed = {pair.theirs for pair in pairs(whole, scheme, keys)}
    report = Report(scheme, unused=sorted(set(keys) - placed))
    filled: dict[str, NDArray[np.float32]] = {}
    for pair in known:
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
        found = stored.pop(kind, [])
        if len(found) != len(layers) and not (not found and layers == ["predictions"]):
            return None
        for name, other in zip(layers, found, strict=False):
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
    found = pair.to_ours(tensor)
    is_head = pair.ours.split("/")[0] in _HEADS
    if is_head and report.scheme == "slim" and found.shape[-1] == _WITH_BACKGROUND:
        found = found[..., 1:]
        report.adapted[pair.ours] = "background class left out"
    elif len(shape) == len(found.shape) == 4 and _only_channels_differ(found.shape, shape):
        found = _other_channels(found, shape[2])
        report.adapted[pair.ours] = f"first kernel adapted to {shape[2]} channel{'s' if shape[2] > 1 else ''}"
    if found.shape == shape:
        filled[pair.ours] = found
        report.matched.append(pair.ours)
    elif is_head and found.shape[:-1] == shape[:-1]:
        report.fresh.append(pair.ours)
    else:
        report.misshaped[pair.ours] = tuple(found.shape)


def _only_channels_differ(found: Sequence[int], shape: Sequence[int]) -> bool:
    return found[2] == 3 != shape[2] and (*found[:2], found[3]) == (*shape[:2], shape[3])


def _other_channels(kernel: NDArray[np.float32], channels: int) -> NDArray[np.float32]:
    """A first kernel (height, width, 3, filters) for another number of input channels."""
    if channels == 1:
        return np.asarray(kernel.sum(2, keepdims=True))
    return np.asarray(kernel[:, :, np.arange(channels) % 3] * (3 / channels), np.float32)


def _refuse(network: keras.Model, checkpoint: Checkpoint, report: Report, *, partial: bool) -> None:
    """Raise an InputError where a report says that the checkpoint must not be loaded."""
    lacks_head = all(name.split("/")[0] in _HEADS for name in report.missing)
    headless = lacks_head and not any(checkpoint.tensors[key].ndim == 2 for key in report.unused)
    strange = [key for key in report.unused if not _AUXILIARY.search(key)]
    if report.matched and not report.misshaped and not strange and (partial or not report.missing or headless):
        return
    nearly = len(report.matched) > 0.5 * len(checkpoint.tensors) and not report.misshaped
    like = [] if nearly else looks_like(checkpoint)
    if like and network.name not in like:
        raise InputError(f"{checkpoint.path} does not fit {network.name}: it looks like weights of {' or '.join(like)}")
    first = [f"{name} is {shape}" for name, shape in report.misshaped.items()] + [
        f"{key} has no place" for key in strange] + [f"{name} is missing" for name in report.missing]  # fmt: skip
    hint = ""
    if report.matched and not report.misshaped:
        hint = "; accept that with --partial" if not strange else "; without them it would compute something else"
    raise InputError(f"{checkpoint.path} does not fit {network.name}: {report}; the first: {first[0]}{hint}")


def looks_like(checkpoint: Checkpoint) -> list[str]:
    """The networks that nearly all of the checkpoint's tensors have a place in, by name and rank of shape."""
    from ception.models import MODELS, build

    scheme = scheme_of(checkpoint.layout, checkpoint.tensors)
    keys = list(checkpoint.tensors)
    scores = {}
    for name, entry in MODELS.items():
        network = build(name, image_size=entry.smallest, auxiliary=entry.auxiliary, depth_multiplier=1e-6, min_depth=1)
        kernels = {ours: tuple(variable.shape) for ours, variable in variables(network).items()}
        fitting = [
            pair for pair in pairs(network, scheme, keys)
            if pair.theirs in checkpoint.tensors
            and pair.to_ours(checkpoint.tensors[pair.theirs]).shape[:2][: len(kernels[pair.ours]) // 4 * 2]
            == kernels[pair.ours][:2][: len(kernels[pair.ours]) // 4 * 2]
        ]  # fmt: skip
        scores[name] = len(fitting) / max(len(keys), len(kernels))
    best = max(scores.values())
    return [name for name, score in scores.items() if score == best] if best > 0.5 else []
