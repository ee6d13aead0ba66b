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
from ception.data.images import from_array, to_pixels
from ception.errors import InputError
from ception.files import whole, write_json
from ception.models.checkpoints import Checkpoint
from ception.models.endpoints import endpoints, features
from ception.models.names import IN_KERAS, IN_TIMM, Scheme, Theirs, numbered, pairs, variables
from ception.models.weights import Report
from ception.reporting import Reporter

if TYPE_CHECKING:
    from numpy.typing import NDArray

Outputs = Callable[["NDArray[np.float32]", list[str]], dict[str, "NDArray[Any]"]]
_SUFFIXES = {"keras-applications": ".weights.h5", "timm": ".safetensors"}


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
    if out.exists() and Path(source).exists() and out.samefile(source):
        raise InputError(f"{out} is the source itself: name another file with --out")
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
        original = _original(model, report, checkpoint, classifier)
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
        `out`, `to`, `tensors`, their number, `use`, the line of Python that loads them there, and `scaling`: the
        `scale` that pixels 0..255 are multiplied by before and the `offset` added then, for it is not inside there.

    Raises:
        InputError: the network does not exist there, computes something else, or has parts without weights.
        RunError: the file cannot be written.
    """
    model = model_file(model)
    target = Path(out or model.with_suffix(_SUFFIXES[to]))
    if not target.name.endswith(_SUFFIXES[to]):
        raise InputError(f"weights for {to} must be named {_SUFFIXES[to]}, got '{target}'")
    classifier = Classifier.load(model)
    classifier.require_weights()
    theirs = _counterpart(classifier, model, to)
    values = {name: keras.ops.convert_to_numpy(tensor) for name, tensor in variables(classifier.network).items()}
    classes = len(classifier.class_names)
    if to == "keras-applications":
        _write_for_keras(classifier, theirs.model, values, target)
        shape = "" if classifier.image.shape == (299, 299, 3) else f", input_shape={classifier.image.shape}"
        use = f"keras.applications.{theirs.model}(weights={str(target)!r}, classes={classes}{shape})"
    else:
        _write_for_timm(classifier, theirs.scheme, values, target)
        channels = "" if classifier.image.channels == 3 else f", in_chans={classifier.image.channels}"
        use = f"timm.create_model({theirs.model!r}, num_classes={classes}, checkpoint_path={str(target)!r}{channels})"
    scaling = classifier.network.get_layer("input_scaling")
    return {"out": str(target), "to": to, "tensors": len(values), "use": use,
            "scaling": {"scale": scaling.scale, "offset": scaling.offset}}  # fmt: skip


def _counterpart(classifier: Classifier, model: Path, to: str) -> Theirs:
    """The classifier's network as the other library has it.

    Raises:
        InputError: it has none, or computes something else there.
    """
    name, arguments = classifier.network.name, classifier.arguments
    there = IN_KERAS if to == "keras-applications" else IN_TIMM
    if any(arguments.get(option) for option in ("every", "min_depth", "final_endpoint")) or (
        arguments.get("depth_multiplier", 1) != 1
    ):
        raise InputError(f"{model} is not the published {name}, so no other library has it")
    if name not in there:
        raise InputError(f"{name} does not exist in {to} (known there: {', '.join(there)})")
    port = arguments.get("port")
    if port != there[name].port:
        raise InputError(f"{model} follows the rules of {port or 'the publication'}: {to} would compute something else")
    return there[name]


def _write_for_keras(classifier: Classifier, name: str, values: dict[str, NDArray[np.float32]], target: Path) -> None:
    theirs = getattr(keras.applications, name)(
        weights=None, input_shape=classifier.image.shape, classes=len(classifier.class_names)
    )
    places = variables(theirs)
    for pair in pairs(classifier.network, "keras", list(places)):
        places[pair.theirs].assign(values[pair.ours])
    with tempfile.TemporaryDirectory() as folder, whole(target) as unfinished:
        theirs.save_weights(Path(folder) / "w.weights.h5")
        unfinished.write_bytes((Path(folder) / "w.weights.h5").read_bytes())


def _write_for_timm(
    classifier: Classifier, scheme: Scheme, values: dict[str, NDArray[np.float32]], target: Path
) -> None:
    from safetensors.numpy import save_file

    own = pairs(classifier.network, scheme)
    with whole(target) as unfinished:
        save_file({pair.theirs: np.ascontiguousarray(pair.to_theirs(values[pair.ours])) for pair in own}, unfinished)


def _compared(classifier: Classifier, original: _Original, report: Report) -> dict[str, Any]:
    """The largest relative differences at every endpoint that all weights lead to."""
    names, last = [], _last_filled(classifier.network, report)
    for name, tensor in endpoints(classifier.network).items():
        if (len(tensor.shape) == 4 and name not in ("pool", "prelogits")) or name == "logits":
            names.append(name)
        if name == last:
            break
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
    return np.stack([to_pixels(image, classifier.image) for image in images]).astype(np.float32)


def _original(model: str, report: Report, checkpoint: Checkpoint, classifier: Classifier) -> _Original:
    """The network by its own code, with the checkpoint's weights.

    Raises:
        _NotHereError: it is not installed, or there is none.
    """
    scheme = report.scheme
    if classifier.image.channels != 3:
        raise _NotHereError(f"originals take three channels, not {classifier.image.channels}")
    if scheme == "keras" and model in IN_KERAS:
        return _in_keras(model, checkpoint, classifier, report)
    if scheme in ("timm", "timm_legacy", "torchvision"):
        return _in_torch(IN_TIMM[model].model, checkpoint, classifier)
    raise _NotHereError(f"no code of {model} with the names of '{scheme}' is known")


def _in_keras(model: str, checkpoint: Checkpoint, classifier: Classifier, report: Report) -> _Original:
    network = getattr(keras.applications, IN_KERAS[model].model)(
        weights=None, input_shape=classifier.image.shape, classes=len(classifier.class_names),
        classifier_activation=None,
    )  # fmt: skip
    places = {layer.name: layer.output for layer in network.layers}
    sums = [layer.output for layer in network.layers if isinstance(layer, keras.layers.Add)]
    places |= {f"block{number}": output for number, output in enumerate(sums, 2)}
    called = {"block1_conv2_act": "block1", "block14_sepconv2_act": "block14", "predictions": "logits"}
    places |= {ours: places[theirs] for theirs, ours in called.items() if theirs in places}
    last = _last_filled(classifier.network, report)
    part = keras.Model(network.input, places["avg_pool" if last in ("pool", "prelogits") else last])

    def outputs(scaled: NDArray[np.float32], names: list[str]) -> dict[str, NDArray[Any]]:
        found = keras.Model(network.input, {name: places[name] for name in names if name in places})(
            scaled, training=False
        )
        return {name: keras.ops.convert_to_numpy(tensor) for name, tensor in found.items()}

    name = f"keras.applications.{IN_KERAS[model].model} {keras.__version__}"
    try:
        _own_reader(part, checkpoint.path)
        return _Original(name, "its own reader", outputs)
    except Exception as error:  # Keras refuses files in many ways, all those whose layers stand in another order
        if report.missing and _fill_by_number(network, checkpoint):
            return _Original(name, "the numbers that Keras gives its layers", outputs)
        why = " ".join(str(error).split())[:100] or type(error).__name__
        raise _NotHereError(f"the reader of keras.applications refuses the file ({why})") from None


def _fill_by_number(network: keras.Model, checkpoint: Checkpoint) -> bool:
    """Fill Keras's network with a part of its layers, by the numbers that both have; whether all had a place."""
    own = variables(network)
    theirs = numbered(dict.fromkeys(key.split("/")[0] for key in checkpoint.tensors))
    places = numbered(layer.name for layer in network.layers)
    renamed = {name: place for kind in theirs for name, place in zip(theirs[kind], places.get(kind, []), strict=False)}
    for key, tensor in checkpoint.tensors.items():
        layer, _, variable = key.partition("/")
        place = own.get(f"{renamed.get(layer, layer)}/{variable}")
        if place is None or tuple(place.shape) != tensor.shape:
            return False
        place.assign(tensor)
    return True


def _last_filled(network: keras.Model, report: Report) -> str:
    """The last endpoint that weights lead to."""
    lacking = {name.split("/")[0].split("_")[0] for name in report.missing}
    names = list(endpoints(network))
    filled = names[: next((place for place, name in enumerate(names) if name in lacking), len(names))]
    return filled[-1]


def _own_reader(network: keras.Model, path: Path) -> None:
    """Let Keras itself load a weight file, or the weights in a whole model file."""
    if not zipfile.is_zipfile(path):
        network.load_weights(path)
        return
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(path) as archive:
        network.load_weights(archive.extract("model.weights.h5", folder))


def _in_torch(name: str, checkpoint: Checkpoint, classifier: Classifier) -> _Original:
    """The network by timm's code or, for a file with torchvision's auxiliary head, by torchvision's."""
    classes = len(classifier.class_names)
    library = "torchvision" if any(key.startswith("AuxLogits.") for key in checkpoint.tensors) else "timm"
    torch, code = _imported("torch"), _imported(library)
    if library == "torchvision":
        network = code.models.inception_v3(weights=None, num_classes=classes, init_weights=False).eval()
    else:
        network = code.create_model(name, pretrained=False, num_classes=classes).eval()
    state = {key: torch.from_numpy(np.array(tensor)) for key, tensor in checkpoint.tensors.items()}
    try:
        lacking = network.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise _NotHereError(f"{library} refuses the file ({' '.join(str(error).split())[:100]})") from None
    missing = [key for key in lacking.missing_keys if not key.endswith("num_batches_tracked")]
    filled_by = "its own load_state_dict" + (f", {len(missing)} tensors missing" if missing else "")
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

    return _Original(f"{library} {name} {version(library)}", filled_by, outputs)


def _imported(library: str) -> Any:
    try:
        return importlib.import_module(library)
    except ImportError as error:
        raise _NotHereError(f"{library} is not installed ({error})") from None
    except Exception as error:  # such as torchvision, which timm imports, for another PyTorch
        raise _NotHereError(f"{library} cannot be imported ({' '.join(str(error).split())[:100]})") from None


def _hash(path: Path) -> str:
    file = path if path.is_file() else path.with_name(f"{path.name}.index")
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
