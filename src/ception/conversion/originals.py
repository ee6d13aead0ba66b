"""Published networks by their own code, with the weights that are converted: keras.applications, timm, torchvision."""

from __future__ import annotations

import importlib
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from ception.classifier import Classifier
from ception.models import MODELS
from ception.weights.checkpoints import Checkpoint
from ception.weights.followed import FollowedNetwork, counterparts, of_network
from ception.weights.graphs import UnfollowedError
from ception.weights.loading import Report, last_filled
from ception.weights.names import IN_KERAS, IN_TIMM, numbered, variables
from ception.weights.opening import OpenedWeights

if TYPE_CHECKING:
    from numpy.typing import NDArray

Outputs = Callable[["NDArray[np.float32]", list[str]], dict[str, "NDArray[Any]"]]

# Layers of keras.applications that are called otherwise than our endpoints
_IN_KERAS = {"block1_conv2_act": "block1", "block14_sepconv2_act": "block14", "predictions": "logits"}


class NoOriginalError(Exception):
    """The original is not installed, refuses the file, or there is none; the message says which."""


@dataclass(frozen=True)
class Original:
    """A network by its own code with the weights that are converted.

    Attributes:
        name: What it is, with its version.
        filled_by: Who put the weights in.
        outputs: From scaled pictures and our names of endpoints to what comes out there, channels last.
    """

    name: str
    filled_by: str
    outputs: Outputs


def original_of(classifier: Classifier, report: Report, opened: OpenedWeights) -> Original:
    """A classifier's network by its own code, with the weights that were opened.

    Raises:
        NoOriginalError: it is not installed, refuses the file, or there is none.
    """
    name, scheme = classifier.network.name, report.scheme
    if classifier.image.channels != 3:
        raise NoOriginalError(f"originals take three channels, not {classifier.image.channels}")
    if scheme == "keras" and name in IN_KERAS:
        return _in_keras(IN_KERAS[name].model, opened, classifier, report)
    if scheme in ("timm", "timm_legacy", "torchvision"):
        return _in_torch(IN_TIMM[name].model, opened.checkpoint, classifier)
    raise NoOriginalError(f"no code of {name} with the names of '{scheme}' is known")


# --- Keras


def _in_keras(model: str, opened: OpenedWeights, classifier: Classifier, report: Report) -> Original:
    checkpoint = opened.checkpoint
    network = getattr(keras.applications, model)(
        weights=None, input_shape=classifier.image.shape, classes=len(classifier.class_names),
        classifier_activation=None,
    )  # fmt: skip
    ends = _ends_in_keras(network)
    last = last_filled(classifier.network, report)
    part = keras.Model(network.input, ends["avg_pool" if last in ("pool", "prelogits") else last])

    def outputs(scaled: NDArray[np.float32], names: list[str]) -> dict[str, NDArray[Any]]:
        wanted = keras.Model(network.input, {name: ends[name] for name in names if name in ends})
        return {name: keras.ops.convert_to_numpy(x) for name, x in wanted(scaled, training=False).items()}

    name = f"keras.applications.{model} {keras.__version__}"
    if opened.followed:
        if _fill_as_configured(network, opened.followed, checkpoint):
            return Original(name, "the file's own configuration", outputs)
        raise NoOriginalError(f"keras.applications.{model} has no place for some of the file's tensors")
    try:
        _own_reader(part, checkpoint.path)
        return Original(name, "its own reader", outputs)
    except Exception as error:  # Keras refuses files in many ways, all those whose layers stand in another order
        if report.missing and _fill_by_number(network, checkpoint):
            return Original(name, "the numbers that Keras gives its layers", outputs)
        why = " ".join(str(error).split())[:100] or type(error).__name__
        raise NoOriginalError(f"the reader of keras.applications refuses the file ({why})") from None


def _ends_in_keras(network: keras.Model) -> dict[str, Any]:
    """What every layer of keras.applications gives, by its name and, where it is an endpoint of ours, by that name."""
    own = {layer.name: layer.output for layer in network.layers}
    sums = [layer.output for layer in network.layers if isinstance(layer, keras.layers.Add)]
    blocks = {f"block{number}": output for number, output in enumerate(sums, 2)}
    return own | blocks | {ours: own[theirs] for theirs, ours in _IN_KERAS.items() if theirs in own}


def _own_reader(network: keras.Model, path: Path) -> None:
    """Let Keras itself load a weight file, or the weights in a whole model file."""
    if not zipfile.is_zipfile(path):
        network.load_weights(path)
        return
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(path) as archive:
        network.load_weights(archive.extract("model.weights.h5", folder))


def _fill_by_number(network: keras.Model, checkpoint: Checkpoint) -> bool:
    """Fill Keras's network with a part of its layers, by the numbers that both have; whether the network has them all.

    The tensors before one that it lacks are filled all the same.
    """
    own = variables(network)
    theirs = numbered(dict.fromkeys(key.split("/")[0] for key in checkpoint.tensors))
    ours = numbered(layer.name for layer in network.layers)
    renamed = {name: other for kind in theirs for name, other in zip(theirs[kind], ours.get(kind, []), strict=False)}
    for key, tensor in checkpoint.tensors.items():
        layer, _, variable = key.partition("/")
        target = own.get(f"{renamed.get(layer, layer)}/{variable}")
        if target is None or tuple(target.shape) != tensor.shape:
            return False
        target.assign(tensor)
    return True


def _fill_as_configured(network: keras.Model, theirs: FollowedNetwork, checkpoint: Checkpoint) -> bool:
    """Fill Keras's network by the place that each layer has in the file's configuration; whether all found one."""
    own = variables(network)
    try:
        layers = counterparts(theirs, of_network(network))
    except UnfollowedError:
        return False
    front = {theirs.nodes[index].name for index in theirs.front}
    for key, tensor in checkpoint.tensors.items():
        layer, _, variable = key.rpartition("/")
        if layer in front:
            continue
        target = own.get(f"{layers.get(layer)}/{variable}")
        if target is None:
            return False
        if tensor.shape[-1:] == (1,) and target.shape[-1] == 2:  # one output for two classes
            tensor = np.concatenate([np.zeros_like(tensor), tensor], -1)
        if tuple(target.shape) != tensor.shape:
            return False
        target.assign(tensor)
    return True


# --- PyTorch


def _in_torch(model: str, checkpoint: Checkpoint, classifier: Classifier) -> Original:
    """The network by timm's code or, for a file with torchvision's auxiliary head, by torchvision's."""
    classes = len(classifier.class_names)
    library = "torchvision" if any(key.startswith("AuxLogits.") for key in checkpoint.tensors) else "timm"
    torch, code = _imported("torch"), _imported(library)
    if library == "torchvision":
        network = code.models.inception_v3(weights=None, num_classes=classes, init_weights=False).eval()
    else:
        network = code.create_model(model, pretrained=False, num_classes=classes).eval()
    state = {key: torch.from_numpy(np.array(tensor)) for key, tensor in checkpoint.tensors.items()}
    try:
        lacking = network.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise NoOriginalError(f"{library} refuses the file ({' '.join(str(error).split())[:100]})") from None
    missing = [key for key in lacking.missing_keys if not key.endswith("num_batches_tracked")]
    filled_by = "its own load_state_dict" + (f", {len(missing)} tensors missing" if missing else "")
    modules = dict(network.named_modules())

    def outputs(scaled: NDArray[np.float32], names: list[str]) -> dict[str, NDArray[Any]]:
        named = {name: _module_of(name, model, classifier.network.name, modules) for name in names}
        wanted = {name: modules[module] for name, module in named.items() if module in modules}
        return _run_with_hooks(torch, network, wanted, scaled)

    return Original(f"{library} {model} {version(library)}", filled_by, outputs)


def _module_of(endpoint: str, model: str, ours: str, modules: dict[str, Any]) -> str | None:
    """The name of the module that gives what an endpoint of ours gives; None where there is none."""
    if endpoint == "logits":
        return ""
    if model == "legacy_xception":
        return f"block{int(endpoint.removeprefix('block')) - 1}" if endpoint.startswith("block") else None
    published = [alias for alias, name in MODELS[ours].aliases.items() if name == endpoint]
    return next((alias for alias in published if alias in modules), None)


def _run_with_hooks(
    torch: Any, network: Any, modules: dict[str, Any], scaled: NDArray[np.float32]
) -> dict[str, NDArray[Any]]:
    """What comes out of some modules, by our names of them."""
    outputs: dict[str, NDArray[Any]] = {}

    def keep(endpoint: str) -> Callable[..., None]:
        def hook(module: Any, inputs: Any, output: Any) -> None:
            tensor = output.detach().numpy().copy()  # the next layer may write into it
            outputs[endpoint] = tensor.transpose(0, 2, 3, 1) if tensor.ndim == 4 else tensor

        return hook

    for endpoint, module in modules.items():
        module.register_forward_hook(keep(endpoint))
    with torch.no_grad():
        network(torch.from_numpy(np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))))
    return outputs


def _imported(library: str) -> Any:
    try:
        return importlib.import_module(library)
    except ImportError as error:
        raise NoOriginalError(f"{library} is not installed ({error})") from None
    except Exception as error:  # such as torchvision, which timm imports, for another PyTorch
        raise NoOriginalError(f"{library} cannot be imported ({' '.join(str(error).split())[:100]})") from None
