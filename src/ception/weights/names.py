"""What others call the tensors of our networks: Keras, timm, torchvision and TF-Slim."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ception.models import kinds
from ception.models.tables.inception import INCEPTION_V1, INCEPTION_V3, Branch, Conv, Split

if TYPE_CHECKING:
    import keras
    import numpy as np
    from numpy.typing import NDArray

Scheme = Literal["ception", "keras", "timm", "timm_legacy", "torchvision", "slim"]
Axes = Literal["same", "conv", "depthwise", "dense", "conv_dense"]

# theirs -> ours; each is undone by what stands beside it
_TURNS: dict[Axes, tuple[Callable[[NDArray[np.float32]], NDArray[np.float32]], ...]] = {
    "same": (lambda x: x, lambda x: x),
    "conv": (lambda x: x.transpose(2, 3, 1, 0), lambda x: x.transpose(3, 2, 0, 1)),
    "depthwise": (lambda x: x.transpose(2, 3, 0, 1), lambda x: x.transpose(2, 3, 0, 1)),
    "dense": (lambda x: x.T, lambda x: x.T),
    "conv_dense": (lambda x: x[0, 0], lambda x: x[None, None]),
}
_RANKS: dict[Axes, int] = {"conv": 4, "depthwise": 4, "dense": 2, "conv_dense": 4}


@dataclass(frozen=True)
class Pair:
    """A tensor of ours and the same one of theirs.

    Attributes:
        ours: `<layer>/<variable>`.
        theirs: Its key in the checkpoint.
        axes: How theirs lie.
    """

    ours: str
    theirs: str
    axes: Axes = "same"

    def to_ours(self, tensor: NDArray[np.float32]) -> NDArray[np.float32]:
        """Their tensor in our order of axes; unchanged where it has another rank."""
        return _TURNS[self.axes][0](tensor) if tensor.ndim == _RANKS.get(self.axes, tensor.ndim) else tensor

    def to_theirs(self, tensor: NDArray[np.float32]) -> NDArray[np.float32]:
        """Our tensor in their order of axes."""
        return _TURNS[self.axes][1](tensor)


@dataclass(frozen=True)
class Theirs:
    """A network as another library has it.

    Attributes:
        scheme: What its tensors are called there.
        model: Its name there.
        port: Whose rules it follows, a key of `PORTS`; None means the publication's.
    """

    scheme: Scheme
    model: str
    port: str | None = None


# Network -> the same one by the code of others
IN_KERAS = {"xception": Theirs("keras", "Xception"), "inception_v3": Theirs("keras", "InceptionV3")}
IN_TIMM = {
    "xception": Theirs("timm_legacy", "legacy_xception", "timm_legacy"),
    "xception_41": Theirs("timm", "xception41"),
    "xception_65": Theirs("timm", "xception65"),
    "xception_71": Theirs("timm", "xception71"),
    "inception_v3": Theirs("torchvision", "inception_v3", "torchvision"),
}


def variables(network: keras.Model) -> dict[str, Any]:
    """Every tensor of a network by `<layer>/<variable>`."""
    return {f"{layer.name}/{weight.name}": weight for layer in network.layers for weight in layer.weights}


def scheme_of(layout: str, keys: Iterable[str]) -> Scheme:
    """Whose names a checkpoint has.

    Args:
        layout: `keras`, `torch`, `slim` or `ception`.
        keys: The names.
    """
    keys = list(keys)
    if layout in ("slim", "ception"):
        return "slim" if layout == "slim" else "ception"
    if layout == "keras":
        layers = {key.split("/")[0] for key in keys}
        ours = any(re.fullmatch(r"conv1a_conv|block\d+_shortcut|mixed\w+_branch0_conv1", layer) for layer in layers)
        return "ception" if ours or ("logits" in layers and not numbered(layers)) else "keras"
    if any(key.startswith("Mixed_5b.") for key in keys):
        return "torchvision"
    return "timm_legacy" if any(".rep." in key for key in keys) else "timm"


def pairs(network: keras.Model, scheme: Scheme, keys: Sequence[str] = ()) -> list[Pair]:
    """Every tensor of the network with what a scheme calls it; a key with a question mark where it has no name.

    Args:
        network: A network of `ception.build`.
        scheme: Whose names.
        keys: Keys of the checkpoint; Keras numbers the layers of a process, so that they follow from the order.
    """
    layers = in_creation_order(network)
    if scheme in ("ception", "keras"):
        known = _keras_layers(layers, keys) if scheme == "keras" else {}
        return [Pair(f"{layer.name}/{weight.name}", f"{known.get(layer.name, layer.name)}/{weight.name}")
                for layer in layers for weight in layer.weights]  # fmt: skip
    if scheme == "slim":
        scopes = _slim_scopes(network)
        return [_slim_pair(layer, weight.name, scopes) for layer in layers for weight in layer.weights]
    if scheme == "torchvision":
        third = network.name == "inception_v3"
        modules = _torchvision_modules(layers) if third else {layer.name: f"?{layer.name}" for layer in layers}
    else:
        modules = {layer.name: (_legacy if scheme == "timm_legacy" else _timm)(layer.name) for layer in layers}
    return [_torch_pair(layer, weight.name, modules[layer.name]) for layer in layers for weight in layer.weights]


def in_creation_order(network: keras.Model) -> list[keras.Layer]:
    """The layers with weights in the order in which the published code makes them: shortcuts first in each block."""
    blocks = [layer.name for layer in network.layers if "_" not in layer.name]

    def rank(layer: keras.Layer) -> tuple[int, bool, list[tuple[int, str]]]:
        block = layer.name.split("_")[0]
        parts = re.findall(r"\d+|\D+", layer.name)
        natural = [(int(part), "") if part.isdigit() else (0, part) for part in parts]
        return blocks.index(block) if block in blocks else len(blocks), "shortcut" not in layer.name, natural

    return sorted((layer for layer in network.layers if layer.weights), key=rank)


_NUMBERED = {
    "Conv2D": "conv2d", "SeparableConv2D": "separable_conv2d", "DepthwiseConv2D": "depthwise_conv2d",
    "BatchNormalization": "batch_normalization", "Dense": "dense",
}  # fmt: skip


def _keras_layers(layers: list[keras.Layer], keys: Sequence[str]) -> dict[str, str]:
    """Our layer -> theirs: by name, else the next one of its class that has a number for a name."""
    theirs = list(dict.fromkeys(key.split("/")[0] for key in keys))
    unused = numbered(theirs)
    known = {}
    for layer in layers:
        name = "predictions" if layer.name == "logits" else layer.name
        kind = _NUMBERED.get(kinds.kind(layer), "")
        if name not in theirs and unused.get(kind):
            name = unused[kind].pop(-1 if layer.name == "logits" else 0)
        known[layer.name] = name
    return known


def numbered(names: Iterable[str]) -> dict[str, list[str]]:
    """Keras's names of layers that nobody named, such as `conv2d_3`, by kind in the order of their numbers."""
    by_kind: dict[str, list[str]] = {}
    for name in names:
        kind = re.sub(r"_\d+$", "", name)
        if kind in _NUMBERED.values():
            by_kind.setdefault(kind, []).append(name)
    for kind, own in by_kind.items():
        own.sort(key=lambda name, kind=kind: int(name.removeprefix(kind)[1:] or 0))  # type: ignore[misc]
    return by_kind


def _slim_pair(layer: keras.Layer, variable: str, scopes: dict[str, str]) -> Pair:
    ours, convolution = f"{layer.name}/{variable}", layer.name.removesuffix("_bn")
    if convolution not in scopes:
        return Pair(ours, f"?{ours}")
    scope = scopes[convolution]
    if layer.name.endswith("_bn"):
        return Pair(ours, f"{scope}/BatchNorm/{variable}")
    axes: Axes = "conv_dense" if kinds.kind(layer) == "Dense" and variable == "kernel" else "same"
    return Pair(ours, f"{scope}/{ {'kernel': 'weights', 'bias': 'biases'}[variable] }", axes)


# What Slim's code and checkpoints call otherwise than the rest of them
_SLIM_ODD = {
    "Mixed_5c/Branch_1/Conv2d_0a_1x1": "Mixed_5c/Branch_1/Conv2d_0b_1x1",
    "Mixed_5c/Branch_1/Conv2d_0b_5x5": "Mixed_5c/Branch_1/Conv_1_0c_5x5",
    "Mixed_6a/Branch_0/Conv2d_1a_3x3": "Mixed_6a/Branch_0/Conv2d_1a_1x1",
    "Mixed_6a/Branch_1/Conv2d_1a_3x3": "Mixed_6a/Branch_1/Conv2d_1a_1x1",
    "Mixed_7b/Branch_1/Conv2d_0c_3x1": "Mixed_7b/Branch_1/Conv2d_0b_3x1",
}
_SLIM_ODD_V1 = {"Mixed_5b/Branch_2/Conv2d_0b_3x3": "Mixed_5b/Branch_2/Conv2d_0a_3x3"}


def _slim_scopes(network: keras.Model) -> dict[str, str]:
    """Our convolution or dense layer -> Slim's scope."""
    if network.name not in ("inception_v1", "inception_v3"):
        return {}
    third = network.name == "inception_v3"
    spec = INCEPTION_V3 if third else INCEPTION_V1
    odd = _SLIM_ODD if third else _SLIM_ODD_V1
    scopes = {}
    for row in spec.rows:
        if isinstance(row.content, Conv):
            scopes[f"{row.name}_conv"] = row.slim
        for number, branch in enumerate(row.content if isinstance(row.content, tuple) else ()):
            for layer, leaf in _slim_leaves(branch):
                scope = f"{row.slim}/Branch_{number}/{leaf}"
                scopes[f"{row.name}_branch{number}_{layer}"] = odd.get(scope, scope)
    heads = {"logits": "Logits/Conv2d_1c_1x1" if third else "Logits/Conv2d_0c_1x1",
             "auxiliary_conv1": "AuxLogits/Conv2d_1b_1x1", "auxiliary_conv2": "AuxLogits/Conv2d_2a_5x5",
             "auxiliary": "AuxLogits/Conv2d_2b_1x1"}  # fmt: skip
    prefix = "InceptionV3" if third else "InceptionV1"
    return {layer: f"{prefix}/{scope}" for layer, scope in (scopes | heads).items()}


def _slim_leaves(branch: Branch) -> Iterable[tuple[str, str]]:
    """Our layers of a branch, without its name, with Slim's names of them."""
    for index, part in enumerate(branch):
        if isinstance(part, Conv):
            height, width = (part.kernel, part.kernel) if isinstance(part.kernel, int) else part.kernel
            # a strided one begins anew
            step = "1a" if part.strides > 1 else f"0{'abcdefg'[index]}"
            yield f"conv{index + 1}", f"Conv2d_{step}_{height}x{width}"
        elif isinstance(part, Split):
            for number, (only,) in enumerate(part.branches):
                height, width = only.kernel if isinstance(only.kernel, tuple) else (only.kernel, only.kernel)
                leaf = f"Conv2d_0{'abcdefg'[index + number]}_{height}x{width}"
                yield f"split{index + 1}_branch{number}_conv1", leaf


_TORCHVISION = {
    "5": "branch1x1 branch5x5_1 branch5x5_2 branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3 branch_pool",
    "6a": "branch3x3 branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3",
    "6": "branch1x1 branch7x7_1 branch7x7_2 branch7x7_3 branch7x7dbl_1 branch7x7dbl_2 branch7x7dbl_3 branch7x7dbl_4 "
    "branch7x7dbl_5 branch_pool",
    "7a": "branch3x3_1 branch3x3_2 branch7x7x3_1 branch7x7x3_2 branch7x7x3_3 branch7x7x3_4",
    "7": "branch1x1 branch3x3_1 branch3x3_2a branch3x3_2b branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3a "
    "branch3x3dbl_3b branch_pool",
}


def _torchvision_modules(layers: list[keras.Layer]) -> dict[str, str]:
    """Our layer -> torchvision's and timm's module of Inception V3."""
    modules = {"logits": "fc", "auxiliary": "AuxLogits.fc"}
    convolutions = [layer.name for layer in layers if kinds.kind(layer) == "Conv2D"]
    for row in INCEPTION_V3.rows:
        if isinstance(row.content, tuple):
            suffix = row.slim.removeprefix("Mixed_")
            branches = (_TORCHVISION.get(suffix) or _TORCHVISION[suffix[0]]).split()
            own = [name for name in convolutions if name.startswith(f"{row.name}_")]
            named = dict(zip(own, (f"{row.slim}.{branch}" for branch in branches), strict=True))
        else:
            named = {f"{row.name}_conv": row.slim}
        for convolution, module in named.items():
            modules |= {convolution: f"{module}.conv", f"{convolution}_bn": f"{module}.bn"}
    for number in (1, 2):
        modules |= {f"auxiliary_conv{number}": f"AuxLogits.conv{number - 1}.conv",
                    f"auxiliary_conv{number}_bn": f"AuxLogits.conv{number - 1}.bn"}  # fmt: skip
    return {layer.name: modules.get(layer.name, f"?{layer.name}") for layer in layers}


def _timm(name: str) -> str:
    """Our layer of an aligned Xception -> timm's module."""
    if name == "logits":
        return "head.fc"
    if match := re.fullmatch(r"block1_conv([12])(_bn)?", name):
        return f"stem.{int(match[1]) - 1}.{'bn' if match[2] else 'conv'}"
    if match := re.fullmatch(r"block(\d+)_shortcut(_bn)?", name):
        return f"blocks.{int(match[1]) - 2}.shortcut.{'bn' if match[2] else 'conv'}"
    if match := re.fullmatch(r"block(\d+)_sepconv(\d)(_dw|_pw|_dw_bn|_bn)", name):
        part = {"_dw": "conv_dw", "_pw": "conv_pw", "_dw_bn": "bn_dw", "_bn": "bn_pw"}[match[3]]
        return f"blocks.{int(match[1]) - 2}.stack.conv{match[2]}.{part}"
    return f"?{name}"


def _legacy(name: str) -> str:
    """Our layer of `xception` -> the module of timm's `legacy_xception`."""
    if name == "logits":
        return "fc"
    if match := re.fullmatch(r"block1_conv([12])(_bn)?", name):
        return f"{'bn' if match[2] else 'conv'}{match[1]}"
    if match := re.fullmatch(r"block(\d+)_shortcut(_bn)?", name):
        return f"block{int(match[1]) - 1}.skip{'bn' if match[2] else ''}"
    if match := re.fullmatch(r"block14_sepconv(\d)(_bn)?", name):
        return f"{'bn' if match[2] else 'conv'}{int(match[1]) + 2}"
    if match := re.fullmatch(r"block(\d+)_sepconv(\d)(_bn)?", name):
        index = 3 * int(match[2]) - 2 - (match[1] == "2")  # activation, convolution, norm; none before the first
        return f"block{int(match[1]) - 1}.rep.{index + bool(match[3])}"
    return f"?{name}"


_TORCH_NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


def _torch_pair(layer: keras.Layer, variable: str, module: str) -> Pair:
    ours = f"{layer.name}/{variable}"
    if kinds.kind(layer) == "BatchNormalization":
        return Pair(ours, f"{module}.{_TORCH_NORM[variable]}")
    if kinds.kind(layer) == "SeparableConv2D":
        part, axes = ("conv1", "depthwise") if variable == "depthwise_kernel" else ("pointwise", "conv")
        return Pair(ours, f"{module}.{part}.weight", axes)  # type: ignore[arg-type]
    if variable == "bias":
        return Pair(ours, f"{module}.bias")
    if kinds.kind(layer) == "Dense":
        return Pair(ours, f"{module}.weight", "dense")
    depthwise = kinds.kind(layer) == "DepthwiseConv2D"
    return Pair(ours, f"{module}.weight", "depthwise" if depthwise else "conv")
