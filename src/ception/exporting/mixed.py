"""Where int8 costs more than it may: which layers it is, and the same network with these in float32."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ception.artefacts import FormatName
from ception.exporting import noise, quantising, writing
from ception.exporting.gate import Agreement

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ception.engines.operations import Operations

MOST_LOST = 0.005  # of the accuracy, 0..1
_SHARES = (0.1, 0.3)  # of the layers that stay in float32, one try after another
_COMPARED = 16  # pictures
_NAMED = 5  # layers


def costs_too_much(found: Agreement, allowed: float) -> bool:
    """Whether more labels are other ones than are allowed, or the accuracy is lower by more than half a point."""
    ours, theirs = found.accuracy or (0.0, 0.0)
    return found.disagreement > allowed or round(theirs - ours, 6) > MOST_LOST


def costly_layers(network: Operations, to: FormatName, path: Path, samples: NDArray[np.uint8]) -> list[str]:
    """The convolutions and dense layers of an artefact that are in int8, those that lose most first.

    Args:
        network: What it was written from.
        to: Its format.
        path: The artefact.
        samples: The pictures that it was calibrated on.
    """
    with tempfile.TemporaryDirectory(prefix="ception-") as folder:
        plain = Path(folder) / path.name
        writing.write(network, to, plain, "float32", None)
        spared = quantising.spared(network, to)
        return [name for name in noise.added(network, plain, path, samples[:_COMPARED]) if name not in spared]


def in_turn(network: Operations, to: FormatName, layers: Sequence[str]) -> list[str]:
    """Costly layers, those that are to stay in float32 first: as they are, but in LiteRT those nearest the pictures.

    There what a layer gives is rounded wherever one in int8 takes it. Only layers in a row pass floats to each other.
    """
    return [step.name for step in network.steps if step.name in layers] if to == "litert" else list(layers)


def tried(
    first: Agreement,
    layers: Sequence[str],
    attempt: Callable[[Sequence[str]], Agreement],
    *,
    allowed: float,
    order: Sequence[str],
) -> tuple[Agreement, tuple[str, ...]]:
    """The comparison of the first mixed version that costs no more than it may, and what it is.

    Where all cost more, that of the version that costs least, be it the one with all layers in int8. The artefact is
    that version, unless more labels are other ones than may be.

    Args:
        first: Of the version with all layers in int8.
        layers: Those that can stay in float32, those that lose most first.
        attempt: Writes the artefact anew with such layers, and compares it with the model.
        allowed: Share of the pictures that may get another label.
        order: The same, as `in_turn` gives them.
    """
    found, kept = first, order[:0]
    for share in _SHARES:
        last = order[: max(1, round(share * len(order)))]
        another = attempt(last)
        enough = not costs_too_much(another, allowed)
        if enough or _cost(another) < _cost(found):
            found, kept = another, last
        if enough:
            break
    if kept != last and found.disagreement <= allowed:
        found = attempt(kept)
    lost = f"{first.disagreement:.1%} of the labels would be other ones"
    if first.accuracy is not None:
        lost += f" and the accuracy {first.accuracy[0]:.4f} for {first.accuracy[1]:.4f}"
    stay = f"{len(kept)} of {len(layers)} layers stay in float32: {', '.join(kept)}"
    return found, (
        f"With {len(layers)} layers in int8 {lost}. Most is lost in {', '.join(layers[:_NAMED])}",
        stay if kept else f"With up to {len(last)} of them in float32 it is no nearer",
    )


def _cost(found: Agreement) -> tuple[float, float]:
    """What two versions are told apart by: the share of other labels, then the accuracy that is lost."""
    ours, theirs = found.accuracy or (0.0, 0.0)
    return found.disagreement, theirs - ours
