"""A model file's weights as another library loads them: keras.applications or timm."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np

from ception import backends
from ception.classifier import Classifier
from ception.conversion.targets import export_target
from ception.errors import InputError
from ception.files import whole
from ception.model_file import keras_file
from ception.results import ExportedWeights, PixelScaling
from ception.weights.names import IN_KERAS, IN_TIMM, Scheme, Theirs, pairs, variables

if TYPE_CHECKING:
    from numpy.typing import NDArray


def export_weights(model: str | Path, to: str, *, out: str | Path | None = None) -> ExportedWeights:
    """Write a model file's weights as another library loads them.

    Args:
        model: A model file.
        to: `keras-applications` (a `.weights.h5` for `weights=`) or `timm` (a safetensors state dict).
        out: The file; None names it after the model file.

    Returns:
        What was written, and how it is loaded there.

    Raises:
        InputError: the network does not exist there, computes something else, or has parts without weights.
        RunError: the file cannot be written.
    """
    model = keras_file(model)
    target = export_target(model, to, out)
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
    layer = classifier.network.get_layer("input_scaling")
    scale, offset = (np.ravel(values).tolist() for values in (layer.scale, layer.offset))
    scaling = PixelScaling(scale=scale, offset=offset)
    return ExportedWeights(out=str(target), to=to, tensors=len(values), use=use, scaling=scaling)


def _counterpart(classifier: Classifier, model: Path, to: str) -> Theirs:
    """The classifier's network as the other library has it.

    Raises:
        InputError: it has none, or computes something else there.
    """
    name, config = classifier.network.name, classifier.config
    there = IN_KERAS if to == "keras-applications" else IN_TIMM
    if config.every or config.min_depth or config.final_endpoint or config.depth_multiplier != 1:
        raise InputError(f"{model} is not the published {name}, so no other library has it")
    if name not in there:
        raise InputError(f"{name} does not exist in {to} (known there: {', '.join(there)})")
    port = config.port
    if port != there[name].port:
        raise InputError(f"{model} follows the rules of {port or 'the publication'}: {to} would compute something else")
    return there[name]


@backends.standard_settings()
def _write_for_keras(classifier: Classifier, name: str, values: dict[str, NDArray[np.float32]], target: Path) -> None:
    theirs = getattr(keras.applications, name)(
        weights=None, input_shape=classifier.image.shape, classes=len(classifier.class_names)
    )
    tensors = variables(theirs)
    for pair in pairs(classifier.network, "keras", list(tensors)):
        tensors[pair.theirs].assign(values[pair.ours])
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
