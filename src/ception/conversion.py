"""Weights from one format to another, with a certificate: what matched, and how far the original's outputs are."""

from __future__ import annotations

import hashlib
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

from ception.classifier import Classifier, model_file
from ception.data.images import fit, from_array
from ception.errors import InputError
from ception.files import whole, write_json
from ception.models.checkpoints import Checkpoint
from ception.models.endpoints import endpoints, features
from ception.models.names import Scheme, pairs, variables
from ception.models.weights import Report
from ception.reporting import Reporter

if TYPE_CHECKING:
    from numpy.typing import NDArray

Outputs = Callable[["NDArray[np.float32]", list[str]], dict[str, "NDArray[Any]"]]
_TIMM = {"xception": "legacy_xception", "xception_41": "xception41", "xception_65": "xception65",
         "xception_71": "xception71", "inception_v3": "inception_v3"}  # fmt: skip
_IN_KERAS = {"xception": "Xception", "inception_v3": "InceptionV3"}


class _NotHereError(Exception):
    """The original is not installed, or there is none; the message says which."""


@dataclass(frozen=True)
class _Original:
    """A network by its own code with the weights that are converted.

    Attributes:
        name: What it is, with its version.
        filled_by: Who put the weights in.
        outputs: From scaled pictures and our names of endpoints to what comes out there, channels last.
    """

    name: str
    filled_by: str
    outputs: Outputs


def convert(
    source: str | Path, model: str, *, out: str | Path | None = None, partial: bool = False,
    reporter: Reporter | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Turn a weight file of any origin into a model file, and certify what it computes.

    Where the original's code is installed (Keras always is; timm for PyTorch's files), it is run with the same
    weights on two photographs, and the largest difference of every endpoint and of the logits is written down.

    Args:
        source: A weight file, or the name of published weights.
        model: The network it is for.
        out: The model file; `<model>.keras` when None. The certificate lies beside it, as `.certificate.json`.
        partial: Whether tensors may be missing.
        reporter: Receives progress.

    Returns:
        The certificate: `source`, `sha256`, `model`, `scheme`, `matched`, `missing`, `unused`, `adapted`, `original`,
        `filled_by`, `endpoints` (largest difference relative to the largest value, by name), `logits` (the same, or
        None), `note` and `out`.

    Raises:
        InputError: the file does not fit the network.
        RunError: a file cannot be written, or weights not be downloaded.
    """
    out = Path(out or f"{model}.keras")
    if out.suffix != ".keras":
        raise InputError(f"the model file must be named .keras, got '{out}'")
    classifier, report, checkpoint = Classifier.pretrained(
        model, source, partial=partial, reporter=reporter or Reporter()
    )
    certificate: dict[str, Any] = {
        "source": str(source),
        "sha256": _hash(checkpoint.path),
        "model": model,
        "scheme": report.scheme,
        "matched": len(report.matched),
        "missing": report.missing,
        "unused": report.unused,
        "adapted": report.adapted,
        "original": None,
        "filled_by": None,
        "endpoints": {},
        "logits": None,
    }
    try:
        original = _original(model, report.scheme, checkpoint, classifier)
        certificate |= _compared(classifier, original, report)
    except _NotHereError as error:
        certificate["note"] = f"{error}: only the mapping of the tensors is certified"
    classifier.save(out)
    certificate["out"] = str(out)
    write_json(out.with_suffix(".certificate.json"), certificate)
    return certificate


def export_weights(model: str | Path, to: str, *, out: str | Path | None = None) -> dict[str, Any]:
    """Write a model file's weights as another library loads them.

    Args:
        model: A model file.
        to: `keras-applications` (a `.weights.h5` for `weights=`) or `timm` (a safetensors state dict).
        out: The file; None names it after the model file.

    Returns:
        `out`, `to`, `tensors`, their number, and `use`, the line of Python that loads them there.

    Raises:
        InputError: the network does not exist there, computes something else, or has parts without weights.
        RunError: the file cannot be written.
    """
    model = model_file(model)
    classifier = Classifier.load(model)
    classifier.require_weights()
    network, name, port = classifier.network, classifier.network.name, classifier.arguments.get("port")
    if classifier.arguments.get("depth_multiplier", 1) != 1 or classifier.arguments.get("every"):
        raise InputError(f"{model} is not the published {name}, so no other library has it")
    wanted = {"keras-applications": None, "timm": {"xception": "timm_legacy", "inception_v3": "torchvision"}.get(name)}
    there = _IN_KERAS if to == "keras-applications" else _TIMM
    if to not in wanted or name not in there:
        raise InputError(f"{name} does not exist in {to} (known there: {', '.join(there)})")
    if port != wanted[to]:
        raise InputError(f"{model} follows the rules of {port or 'the publication'}: {to} would compute something else")
    values = {name: keras.ops.convert_to_numpy(tensor) for name, tensor in variables(network).items()}
    target = Path(out or Path(model).with_suffix(".weights.h5" if to == "keras-applications" else ".safetensors"))
    if to == "keras-applications":
        theirs = getattr(keras.applications, _IN_KERAS[name])(
            weights=None, input_shape=classifier.image.shape, classes=len(classifier.class_names)
        )
        places = variables(theirs)
        for pair in pairs(network, "keras", list(places)):
            places[pair.theirs].assign(values[pair.ours])
        with tempfile.TemporaryDirectory() as folder, whole(target) as unfinished:
            theirs.save_weights(Path(folder) / "w.weights.h5")
            unfinished.write_bytes((Path(folder) / "w.weights.h5").read_bytes())
    else:
        from safetensors.numpy import save_file

        scheme: Scheme = {"xception": "timm_legacy", "inception_v3": "torchvision"}.get(name, "timm")  # type: ignore[assignment]
        state = {
            pair.theirs: np.ascontiguousarray(pair.to_theirs(values[pair.ours])) for pair in pairs(network, scheme)
        }
        with whole(target) as unfinished:
            save_file(state, unfinished)
    classes = len(classifier.class_names)
    if to == "keras-applications":
        use = f"keras.applications.{_IN_KERAS[name]}(weights={str(target)!r}, classes={classes})"
    else:
        use = f"timm.create_model({_TIMM[name]!r}, num_classes={classes}, checkpoint_path={str(target)!r})"
    return {"out": str(target), "to": to, "tensors": len(values), "use": use}


def _compared(classifier: Classifier, original: _Original, report: Report) -> dict[str, Any]:
    """The largest relative differences at every endpoint that all weights lead to."""
    lacking = {name.split("/")[0].split("_")[0] for name in report.missing}
    names = []
    for name, tensor in endpoints(classifier.network).items():
        if name in lacking:
            break
        if (len(tensor.shape) == 4 and name not in ("pool", "prelogits")) or name == "logits":
            names.append(name)
    pictures = _photographs(classifier)
    scaled = keras.ops.convert_to_numpy(features(classifier.network, ["input_scaling"])(pictures)["input_scaling"])
    ours = features(classifier.network, names)(pictures, training=False)
    theirs = original.outputs(scaled, names)
    found = {}
    for name in names:
        if name in theirs:
            mine = keras.ops.convert_to_numpy(ours[name])
            found[name] = float(np.abs(mine - theirs[name]).max() / np.abs(theirs[name]).max())
    logits = found.pop("logits", None)
    return {"original": original.name, "filled_by": original.filled_by, "endpoints": found, "logits": logits}


def _photographs(classifier: Classifier) -> NDArray[np.float32]:
    """scikit-learn's two sample photographs as the network expects pictures."""
    from sklearn.datasets import load_sample_images

    images = [from_array(np.asarray(image)) for image in load_sample_images().images]
    return np.stack([fit(image, classifier.image) for image in images]).astype(np.float32)


def _original(model: str, scheme: Scheme, checkpoint: Checkpoint, classifier: Classifier) -> _Original:
    """The network by its own code, with the checkpoint's weights.

    Raises:
        _NotHereError: it is not installed, or there is none.
    """
    if classifier.image.channels != 3:
        raise _NotHereError(f"originals take three channels, not {classifier.image.channels}")
    if scheme == "keras" and model in _IN_KERAS:
        return _in_keras(model, checkpoint, classifier)
    if scheme in ("timm", "timm_legacy", "torchvision"):
        return _in_timm(_TIMM[model], checkpoint, classifier)
    raise _NotHereError(f"no code of {model} with the names of '{scheme}' is known")


def _in_keras(model: str, checkpoint: Checkpoint, classifier: Classifier) -> _Original:
    network = getattr(keras.applications, _IN_KERAS[model])(
        weights=None, input_shape=classifier.image.shape, classes=len(classifier.class_names),
        classifier_activation=None,
    )  # fmt: skip
    places = {layer.name: layer for layer in network.layers}
    sums = [layer for layer in network.layers if isinstance(layer, keras.layers.Add)]
    places |= {f"block{number}": layer for number, layer in enumerate(sums, 2)}
    for theirs, ours in (
        ("block1_conv2_act", "block1"),
        ("block14_sepconv2_act", "block14"),
        ("predictions", "logits"),
    ):
        if theirs in places:
            places[ours] = places[theirs]

    def outputs(scaled: NDArray[np.float32], names: list[str]) -> dict[str, NDArray[Any]]:
        at = {name: places[name].output for name in names if name in places}
        found = keras.Model(network.input, at)(scaled, training=False)
        return {name: keras.ops.convert_to_numpy(tensor) for name, tensor in found.items()}

    name = f"keras.applications.{_IN_KERAS[model]} {keras.__version__}"
    try:
        _own_reader(network, checkpoint.path)
        return _Original(name, "its own reader", outputs)
    except Exception:  # a partial or reordered file, which Keras refuses in many ways
        own = variables(network)
        by_ours = {pair.ours: pair.theirs for pair in pairs(classifier.network, "keras", list(own))}
        for pair in pairs(classifier.network, "keras", list(checkpoint.tensors)):
            tensor = checkpoint.tensors.get(pair.theirs)
            if tensor is not None and tensor.shape == own[by_ours[pair.ours]].shape:
                own[by_ours[pair.ours]].assign(tensor)
        return _Original(name, "our mapping, for its own reader refuses the file", outputs)


def _own_reader(network: keras.Model, path: Path) -> None:
    """Let Keras itself load a weight file, or the weights in a whole model file."""
    if not zipfile.is_zipfile(path):
        network.load_weights(path)
        return
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(path) as archive:
        network.load_weights(archive.extract("model.weights.h5", folder))


def _in_timm(name: str, checkpoint: Checkpoint, classifier: Classifier) -> _Original:
    try:
        torch: Any = importlib.import_module("torch")
        timm: Any = importlib.import_module("timm")
    except Exception as error:  # also where torchvision, which timm imports, is of another build
        raise _NotHereError(f"timm is not installed or cannot be imported ({type(error).__name__})") from None
    network = timm.create_model(name, pretrained=False, num_classes=len(classifier.class_names)).eval()
    state = {key: torch.from_numpy(np.array(tensor)) for key, tensor in checkpoint.tensors.items()}
    try:
        network.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise _NotHereError(f"timm refuses the file ({' '.join(str(error).split())[:100]})") from None
    modules = dict(network.named_modules())
    from ception.models import MODELS

    def module_of(endpoint: str) -> str | None:
        if endpoint == "logits":
            return ""
        if name == "legacy_xception":
            return f"block{int(endpoint.removeprefix('block')) - 1}" if endpoint.startswith("block") else None
        published = [alias for alias, ours in MODELS[classifier.network.name].aliases.items() if ours == endpoint]
        return next((alias for alias in published if alias in modules), None)

    def outputs(scaled: NDArray[np.float32], names: list[str]) -> dict[str, NDArray[Any]]:
        found: dict[str, NDArray[Any]] = {}

        def keep(endpoint: str) -> Callable[..., None]:
            def hook(module: Any, inputs: Any, output: Any) -> None:
                tensor = output.detach().numpy().copy()  # the next layer may write into it
                found[endpoint] = tensor.transpose(0, 2, 3, 1) if tensor.ndim == 4 else tensor

            return hook

        for endpoint in names:
            module = module_of(endpoint)
            if module is not None and module in modules:
                modules[module].register_forward_hook(keep(endpoint))
        with torch.no_grad():
            network(torch.from_numpy(np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))))
        return found

    return _Original(f"timm {name} {version('timm')}", "its own load_state_dict", outputs)


def _hash(path: Path) -> str:
    file = path if path.is_file() else path.with_name(f"{path.name}.index")
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
