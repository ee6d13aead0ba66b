"""What `quantising` starts: NNCF in a process that prints what it likes.

    python -m ception.exporting.nncf_process FLOAT INT8 PIXELS.npy [LAYER ...]

Source: post-training quantisation, https://openvinotoolkit.github.io/nncf/.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nncf
import numpy as np
from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, QuantizationParameters
from nncf.quantization.range_estimator import RangeEstimatorParametersSet

from ception.artefacts import SUFFIXES

if TYPE_CHECKING:
    from numpy.typing import NDArray


def main(arguments: Sequence[str]) -> None:
    """Quantise a file. NNCF tells nobody of it, for `ception.engines` has seen to that."""
    plain, out, pixels = map(Path, arguments[:3])
    samples = np.load(pixels, mmap_mode="r")
    write = _write_onnx if out.suffix == SUFFIXES["onnx"] else _write_openvino
    write(plain, out, samples, arguments[3:])


def _options(samples: NDArray[np.uint8], kept: Sequence[str]) -> dict[str, Any]:
    """What NNCF is asked for.

    ONNX Runtime has no convolution whose activations have a factor for each channel, so that both formats have one for
    all of them. Its range is that of the least square of what is lost; NNCF's usual one, the mean of the largest values
    of each picture, cuts off too much, and one up to the largest value of all is too coarse.
    """
    return {
        "subset_size": len(samples),
        "ignored_scope": nncf.IgnoredScope(names=list(kept)) if kept else None,
        "advanced_parameters": AdvancedQuantizationParameters(
            activations_quantization_params=QuantizationParameters(per_channel=False),
            activations_range_estimator_params=RangeEstimatorParametersSet.HISTOGRAM,
        ),
    }


def _write_onnx(plain: Path, out: Path, samples: NDArray[np.uint8], kept: Sequence[str]) -> None:
    import onnx

    model = onnx.load(plain)
    name = model.graph.input[0].name
    dataset = nncf.Dataset([{name: samples[i : i + 1]} for i in range(len(samples))])
    onnx.save(nncf.quantize(model, dataset, **_options(samples, kept)), out)


def _write_openvino(plain: Path, out: Path, samples: NDArray[np.uint8], kept: Sequence[str]) -> None:
    import openvino as ov

    dataset = nncf.Dataset([samples[i : i + 1] for i in range(len(samples))])
    graph = nncf.quantize(ov.Core().read_model(plain), dataset, **_options(samples, kept))
    ov.save_model(graph, out, compress_to_fp16=False)


if __name__ == "__main__":
    main(sys.argv[1:])
