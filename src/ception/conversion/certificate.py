"""What a conversion did, and how far the network is from the original on two photographs."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np

from ception import backends
from ception.classifier import Classifier
from ception.conversion.originals import NoOriginalError, Original, original_of
from ception.data.images import from_array, to_pixels
from ception.models.endpoints import endpoints, features
from ception.results import Certificate
from ception.weights.loading import Report, last_filled
from ception.weights.opening import OpenedWeights

if TYPE_CHECKING:
    from numpy.typing import NDArray


@backends.standard_settings()  # for the original, where it is one of Keras
def certify(
    classifier: Classifier, report: Report, opened: OpenedWeights, *, source: str, out: str
) -> Certificate:  # fmt: skip
    """The certificate of a classifier that weights filled.

    Args:
        classifier: The classifier.
        report: What became of the tensors.
        opened: The weights.
        source: What they were asked for by.
        out: Where the model file will lie.
    """
    checkpoint = opened.checkpoint
    certificate = Certificate(
        source=source, sha256=_digest(checkpoint.path), model=classifier.network.name, scheme=report.scheme,
        matched=len(report.matched), missing=tuple(report.missing + report.fresh), unused=tuple(report.unused),
        adapted=report.adapted, taken=classifier.record["taken"], out=out,
    )  # fmt: skip
    try:
        original = original_of(classifier, report, opened)
    except NoOriginalError as error:
        return replace(certificate, note=f"{error}: only the mapping of the tensors is certified")
    differences = _differences(classifier, original, report)
    logits = differences.pop("logits", None)
    return replace(
        certificate, original=original.name, filled_by=original.filled_by, endpoints=differences, logits=logits
    )


def _differences(classifier: Classifier, original: Original, report: Report) -> dict[str, float]:
    """The largest difference relative to the largest value, at every endpoint that all weights lead to."""
    names, last = [], last_filled(classifier.network, report)
    for name, tensor in endpoints(classifier.network).items():
        if (len(tensor.shape) == 4 and name not in ("pool", "prelogits")) or name == "logits":
            names.append(name)
        if name == last:
            break
    pictures = _photographs(classifier)
    scaled = keras.ops.convert_to_numpy(features(classifier.network, ["input_scaling"])(pictures)["input_scaling"])
    ours = features(classifier.network, names)(pictures, training=False)
    theirs = original.outputs(scaled, names)
    differences = {}
    for name in names:
        if name in theirs:
            own = keras.ops.convert_to_numpy(ours[name])
            differences[name] = float(np.abs(own - theirs[name]).max() / np.abs(theirs[name]).max())
    return differences


def _photographs(classifier: Classifier) -> NDArray[np.float32]:
    """scikit-learn's two sample photographs as the network expects pictures."""
    from sklearn.datasets import load_sample_images

    images = [from_array(np.asarray(image)) for image in load_sample_images().images]
    return np.stack([to_pixels(image, classifier.image) for image in images]).astype(np.float32)


def _digest(path: Path) -> str:
    """SHA-256 of a checkpoint; of one in several files, that of its index."""
    file = path if path.is_file() else path.with_name(f"{path.name}.index")
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
