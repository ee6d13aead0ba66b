"""Where int8 costs more than it may: which layers it is, and the same network with these in float32."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ception.artefacts import FormatName
from ception.exporting import noise, writing
from ception.results import ExportReport

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ception.engines.operations import Operations

MOST_LOST = 0.005  # of the accuracy, 0..1
_SHARES = (0.1, 0.3)  # of the layers that stay in float32, one try after another
_COMPARED = 16  # pictures
_NAMED = 5  # layers


def costs_too_much(report: ExportReport) -> bool:
    """Whether more labels are other ones than are allowed, or the accuracy is lower by more than half a point."""
    lost = (report.accuracy_in_keras or 0.0) - (report.accuracy or 0.0)
    return report.disagreement > report.allowed or round(lost, 6) > MOST_LOST


def costly_layers(network: Operations, to: FormatName, path: Path, samples: NDArray[np.uint8]) -> list[str]:
    """The convolutions and dense layers of an artefact in int8, those that lose most first.

    Args:
        network: What it was written from.
        to: Its format.
        path: The artefact.
        samples: The pictures that it was calibrated on.
    """
    with tempfile.TemporaryDirectory(prefix="ception-") as folder:
        plain = Path(folder) / path.name
        writing.write(network, to, plain, "float32", None)
        return list(noise.added(network, plain, path, samples[:_COMPARED]))


def tried(first: ExportReport, layers: Sequence[str], attempt: Callable[[Sequence[str]], ExportReport]) -> ExportReport:
    """The report of the first mixed version that costs no more than it may, or of the last one.

    Args:
        first: Of the version with all layers in int8.
        layers: Those that can stay in float32, those that lose most first.
        attempt: Writes the artefact anew with such layers, and compares it with the model.
    """
    report, kept = first, layers[:0]
    for share in _SHARES:
        kept = layers[: max(1, round(share * len(layers)))]
        report = attempt(kept)
        if not costs_too_much(report):
            break
    found = f"{first.disagreement:.1%} of the labels would be other ones"
    if first.accuracy is not None and first.accuracy_in_keras is not None:
        found += f" and the accuracy {first.accuracy:.4f} for {first.accuracy_in_keras:.4f}"
    notes = (
        f"With all layers in int8 {found}. Most is lost in {', '.join(layers[:_NAMED])}",
        f"{len(kept)} of {len(layers)} layers stay in float32: {', '.join(kept)}",
    )
    return replace(report, notes=(*report.notes, *notes))
