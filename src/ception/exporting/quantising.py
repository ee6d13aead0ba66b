"""Networks in int8, their ranges taken from real pictures: NNCF does it, in a process of its own.

NNCF prints, shows bars on standard output and changes what loggers are made from. There it does so for itself alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from ception.artefacts import FormatName
from ception.engines.operations import INPUT
from ception.errors import RunError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ception.engines.operations import Operations

_PROCESS = "ception.exporting.nncf_process"
WEIGHED = ("conv", "dense")  # the kinds of operations that have weights


def first_layers(network: Operations) -> list[str]:
    """The convolutions and dense layers that take pictures, scaled, padded or cropped at most.

    They stay in float32: a filter of them has a few numbers, of which NNCF uses half the range besides, and what is
    lost of pictures at once is lost to all that comes behind.
    """
    pictures, found = {INPUT}, []
    for step in network.steps:
        if pictures.isdisjoint(step.inputs):
            continue
        if step.kind in WEIGHED:
            found.append(step.name)
        elif step.kind in ("affine", "pad", "crop"):
            pictures.add(step.name)
    return found


def spared(network: Operations, to: FormatName) -> list[str]:
    """The layers that stay in float32 at all times: those that take the pictures, and in LiteRT what gives the logits.

    For LiteRT would round the logits too, to 256 values between the largest and the least of them.
    """
    return first_layers(network) + (list(network.steps[-1].inputs) if to == "litert" else [])


def quantise(plain: Path, out: Path, samples: NDArray[np.uint8], kept: Collection[str] = ()) -> None:
    """Write a float32 file of ours in int8: weights with a factor for each channel, activations with one for all.

    Args:
        plain: An ONNX model, or the .xml of OpenVINO's graph.
        out: What to write, in the same format.
        samples: Pictures that the ranges are taken from, uint8 of shape (pictures, height, width, channels).
        kept: Convolutions and dense layers that stay in float32, by the names of their operations.

    Raises:
        RunError: NNCF cannot do it.
    """
    import numpy as np

    with tempfile.TemporaryDirectory(prefix="ception-") as folder:
        pixels = Path(folder) / "pixels.npy"
        np.save(pixels, samples)
        command = [sys.executable, "-m", _PROCESS, str(plain), str(out), str(pixels), *sorted(kept)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path or os.curdir for path in sys.path)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip() or f"it ended with {done.returncode}").splitlines()[-1]
        raise RunError(f"NNCF cannot write {out.name} in int8: {said}")
