"""The networks that ours claim to be, by the code of those who published them, and how far ours are from them."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from support import articles
from support.networks import common
from support.parity import copy_weights, difference, fill, logits, pixels

PUBLISHED_IN_KERAS = {"xception": keras.applications.Xception, "inception_v3": keras.applications.InceptionV3}
SIZES = (299, 200)
PUBLISHED_IN_TIMM = ("xception_41", "xception_65", "xception_71")


def standardised(batch: np.ndarray) -> np.ndarray:
    """What the networks scale pixels to by themselves."""
    return batch / 127.5 - 1


def from_keras(name: str, size: int) -> float:
    """Relative difference from a network of keras.applications."""
    ours = common(name, image_size=size)
    fill(ours, seed=1)
    theirs = PUBLISHED_IN_KERAS[name](weights=None, input_shape=(size, size, 3), classifier_activation=None)
    copy_weights(ours, theirs, turn_sums=True)
    batch = pixels(2, (size, size, 3))
    return difference(logits(ours, batch), logits(theirs, standardised(batch)))


def light_norm(size: int) -> keras.Model:
    """The network of article 000 by its own code."""
    code = articles.functions("000", "def conv_block", "if __name__")
    return code["xception"]([size, size, 3], 1000)


def chained_shortcut(size: int) -> keras.Model:
    """The network of article 004 by its own code, up to its logits."""
    code = articles.functions("004", "def conv_bn", "# model code")
    image = keras.Input((size, size, 3))
    network = keras.Model(image, code["exit_flow"](code["middle_flow"](code["entry_flow"](image))))
    network.layers[-1].activation = keras.activations.linear
    return network


PUBLISHED_IN_ARTICLES = {"xception_light_norm": light_norm, "xception_chained_shortcut": chained_shortcut}


def from_article(name: str, theirs: keras.Model, size: int) -> float:
    """Relative difference from a network of an article."""
    ours = common(name, image_size=size)
    fill(ours, seed=2)
    copy_weights(ours, theirs)
    batch = pixels(2, (size, size, 3))
    return difference(logits(ours, batch), logits(theirs, standardised(batch)))


def timm() -> types.ModuleType:
    """The timm package, for whose import torchvision's operators need only be declared."""
    import torch

    for operator in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, operator):
            torch.library.define(f"torchvision::{operator}", "(Tensor dets, Tensor scores, float threshold) -> Tensor")
    return pytest.importorskip("timm", reason="timm is not installed")


def from_timm(name: str, size: int) -> float:
    """Relative difference from timm's network."""
    import torch

    ours = common(name, image_size=size)
    fill(ours, seed=3)
    theirs = timm().create_model(name.replace("_", ""), pretrained=False).eval()
    theirs.load_state_dict({key: torch.from_numpy(value) for key, value in _in_timm(ours, theirs).items()})
    batch = pixels(2, (size, size, 3))
    return difference(logits(ours, batch), logits_in_torch(theirs, batch))


def _in_timm(ours: keras.Model, theirs: Any) -> dict[str, np.ndarray]:
    """Our weights under timm's names, in PyTorch's order of axes."""
    found = {"head.fc.weight": ours.get_layer("logits").get_weights()[0].T,
             "head.fc.bias": ours.get_layer("logits").get_weights()[1]}  # fmt: skip
    for key, value in theirs.state_dict().items():
        if key.endswith("num_batches_tracked"):
            found[key] = value.numpy()
        elif key not in found:
            found[key] = _tensor_for(key.split("."), ours)
    return found


def _tensor_for(path: list[str], ours: keras.Model) -> np.ndarray:
    """Our tensor that timm keeps under the key made of these parts."""
    kind = path[-2]
    if path[0] == "stem":
        layer = f"block1_conv{int(path[1]) + 1}"
    elif path[2] == "shortcut":
        layer = f"block{int(path[1]) + 2}_shortcut"
    else:
        layer = f"block{int(path[1]) + 2}_sepconv{path[3][-1]}"
        layer += {"conv_dw": "_dw", "bn_dw": "_dw", "conv_pw": "_pw", "bn_pw": ""}[kind]
    if not kind.startswith("bn"):
        kernel = ours.get_layer(layer).get_weights()[0]
        return kernel.transpose((2, 3, 0, 1) if kind == "conv_dw" else (3, 2, 0, 1)).copy()
    here = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
    weights = {weight.name: weight for weight in ours.get_layer(f"{layer}_bn").weights}
    return keras.ops.convert_to_numpy(weights[here[path[-1]]])


def in_torch(name: str) -> Any:
    """timm's network of that name, or "torchvision" for its Inception V3, with random weights and statistics."""
    import torch

    library = timm()
    if name == "torchvision":
        import torchvision

        network = torchvision.models.inception_v3(weights=None, init_weights=False)
    else:
        network = library.create_model(name, pretrained=False)
    random = torch.Generator().manual_seed(0)
    for key, value in network.state_dict().items():
        if value.dtype != torch.float32:
            continue
        drawn = torch.rand(value.shape, generator=random) * 2 - 1
        if key.endswith("running_var"):
            value.copy_(1 + 0.5 * drawn)
        elif value.ndim == 1:
            value.copy_((1 if key.endswith("weight") else 0) + 0.3 * drawn)
        else:
            value.copy_(drawn * (6 / value[0].numel()) ** 0.5)
    return network.eval()


def logits_in_torch(network: Any, batch: np.ndarray) -> np.ndarray:
    """The output of a PyTorch network for pixels in 0..255."""
    import torch

    with torch.no_grad():
        return network(torch.from_numpy(standardised(batch).transpose(0, 3, 1, 2).copy())).numpy()


def write_legacy(network: keras.Model, path: Path) -> Path:
    """The network's weights in the layout of Keras's published files."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in network.layers]
        for layer in network.layers:
            group = file.create_group(layer.name)
            names = [f"{layer.name}/{weight.name}:0" for weight in layer.weights]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, weight in zip(names, layer.weights, strict=True):
                group[name] = keras.ops.convert_to_numpy(weight)
    return path
