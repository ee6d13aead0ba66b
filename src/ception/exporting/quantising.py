"""Networks in int8, their ranges taken from real pictures: NNCF does it, in a process of its own.

NNCF prints, shows bars on standard output and changes what loggers are made from. There it does so for itself alone.

    python -m ception.exporting.quantising FLOAT INT8 PIXELS.npy [LAYER ...]

Source: post-training quantisation, https://openvinotoolkit.github.io/nncf/.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ception.artefacts import SUFFIXES, FormatName
from ception.errors import RunError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FORMATS: tuple[FormatName, ...] = ("onnx", "openvino")


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
        command = [sys.executable, "-m", __name__, str(plain), str(out), str(pixels), *sorted(kept)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path or os.curdir for path in sys.path)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip() or f"it ended with {done.returncode}").splitlines()[-1]
        raise RunError(f"NNCF cannot write {out.name} in int8: {said}")


def main(arguments: Sequence[str]) -> None:
    """What runs in the process. NNCF tells nobody of it, for `ception.engines` has seen to that."""
    import numpy as np

    plain, out, pixels = map(Path, arguments[:3])
    samples = np.load(pixels, mmap_mode="r")
    write = _write_onnx if out.suffix == SUFFIXES["onnx"] else _write_openvino
    write(plain, out, samples, arguments[3:])


def _options(samples: NDArray[np.uint8], kept: Sequence[str]) -> dict[str, Any]:
    """What NNCF is asked for.

    ONNX Runtime has no convolution whose activations have a factor for each channel, so that both formats have one for
    all of them.
    """
    import nncf
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, QuantizationParameters

    return {
        "subset_size": len(samples),
        "ignored_scope": nncf.IgnoredScope(names=list(kept)) if kept else None,
        "advanced_parameters": AdvancedQuantizationParameters(
            activations_quantization_params=QuantizationParameters(per_channel=False)
        ),
    }


def _write_onnx(plain: Path, out: Path, samples: NDArray[np.uint8], kept: Sequence[str]) -> None:
    import nncf
    import onnx

    model = onnx.load(plain)
    name = model.graph.input[0].name
    dataset = nncf.Dataset([{name: samples[i : i + 1]} for i in range(len(samples))])
    onnx.save(nncf.quantize(model, dataset, **_options(samples, kept)), out)


def _write_openvino(plain: Path, out: Path, samples: NDArray[np.uint8], kept: Sequence[str]) -> None:
    import nncf
    import openvino as ov

    dataset = nncf.Dataset([samples[i : i + 1] for i in range(len(samples))])
    graph = nncf.quantize(ov.Core().read_model(plain), dataset, **_options(samples, kept))
    ov.save_model(graph, out, compress_to_fp16=False)


if __name__ == "__main__":
    main(sys.argv[1:])
