"""Weights from one format to another, with a certificate: what matched, and how far the original's outputs are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

from ception.conversion.targets import model_target
from ception.files import write_json
from ception.models.config import NetworkOptions, require_options
from ception.reporting import Reporter, or_default
from ception.results import Certificate


def convert(
    source: str | Path, model: str, *, out: str | Path | None = None, partial: bool = False,
    class_names: Sequence[str] | None = None, reporter: Reporter | None = None, **options: Unpack[NetworkOptions],
) -> Certificate:  # fmt: skip
    """Turn a weight file of any origin into a model file, and certify what it computes.

    Where the original's code is installed (Keras always is; timm for PyTorch's files), it is run with the same
    weights on two photographs, and the largest difference of every endpoint and of the logits is written down.

    Args:
        source: A weight file, or the name of published weights.
        model: The network it is for.
        out: The model file; `<model>.keras` when None. The certificate lies beside it, as `.certificate.json`.
        partial: Whether tensors may be missing.
        class_names: Names of the classes, in the order of the logits; what the file says, or numbers, when None.
        reporter: Receives progress; None for what `ception.reporting.default` gives.
        options: What is known by hand of the file's network: `image_size`, `scaling`, `final_endpoint`; it wins over
            what the file says.

    Returns:
        The certificate.

    Raises:
        InputError: the file does not fit the network.
        RunError: a file cannot be written, or weights not be downloaded.
    """
    require_options(options, ("out", "partial", "class_names", "reporter"))
    out = model_target(source, model, out)
    from ception.classifier import Classifier
    from ception.conversion.certificate import certify
    from ception.weights.opening import OpenedWeights

    classifier, report, checkpoint = Classifier.pretrained(
        model, source, partial=partial, class_names=class_names, reporter=or_default(reporter), **options
    )
    opened = OpenedWeights(model, checkpoint)
    certificate = certify(classifier, report, opened, source=str(source), out=str(out))
    classifier.save(out)
    write_json(out.with_suffix(".certificate.json"), certificate.as_dict())
    return certificate
