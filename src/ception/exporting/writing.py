"""A network as an artefact of each format: uint8 pictures in, calibrated probabilities out."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ception import backends
from ception.artefacts import FormatName
from ception.engines import Precision
from ception.engines.operations import Operation, Operations
from ception.errors import InputError
from ception.exporting import quantising

if TYPE_CHECKING:
    from numpy.typing import NDArray

OUTPUT = "probabilities"
_SOFTMAX = "calibrated_softmax"


def with_probabilities(network: Operations, temperature: float) -> Operations:
    """The network with the softmax of its logits, divided by the temperature, behind it.

    The division goes into the last dense layer's numbers, where there is one.
    """
    last, steps = network.steps[-1], list(network.steps)
    if temperature != 1 and last.kind == "dense":
        arrays = {name: np.asarray(values / temperature, np.float32) for name, values in last.arrays.items()}
        steps[-1] = replace(last, arrays=arrays)
    elif temperature != 1:
        numbers = {"factor": np.array([1 / temperature], np.float32), "shift": np.zeros(1, np.float32)}
        steps.append(Operation("temperature", "affine", (last.name,), last.shape, numbers))
    steps.append(Operation(_SOFTMAX, "activation", (steps[-1].name,), last.shape, {}, {"function": "softmax"}))
    return replace(network, steps=tuple(steps))


def write(
    network: Operations,
    to: FormatName,
    path: Path,
    precision: Precision,
    samples: NDArray[np.uint8] | None,
    kept: Collection[str] = (),
) -> None:
    """Write a network that ends in probabilities.

    Args:
        network: As `with_probabilities` gives it.
        to: The format.
        path: What to write.
        precision: Numbers to compute with.
        samples: Pictures as the network takes them, (pictures, height, width, channels), that int8 is calibrated on.
        kept: Convolutions and dense layers that stay in float32 beside int8; those of `quantising.spared` always do.

    Raises:
        RunError: the network cannot be quantised.
    """
    if precision == "int8" and samples is not None:
        _write_int8(network, to, path, samples, {*kept, *quantising.spared(network, to)})
    else:
        _WRITERS[to](network, path, precision)


def _write_int8(
    network: Operations, to: FormatName, path: Path, samples: NDArray[np.uint8], kept: Collection[str]
) -> None:
    """As `write`, in int8 but for what is kept: LiteRT's by its own converter, else a float32 file by NNCF."""
    if to == "litert":
        backends.import_tensorflow()
        from ception.exporting.litert import model_of

        path.write_bytes(model_of(network, output=OUTPUT, precision="int8", samples=samples, kept=kept))
        return
    with tempfile.TemporaryDirectory(prefix="ception-") as folder:
        plain = Path(folder) / path.name
        write(network, to, plain, "float32", None)
        quantising.quantise(plain, path, samples, kept)


def _onnx(network: Operations, path: Path, precision: Precision) -> None:
    from ception.engines.onnx_graph import model_of

    path.write_bytes(model_of(network, output=OUTPUT, takes="uint8", precision=precision).SerializeToString())


def _openvino(network: Operations, path: Path, precision: Precision) -> None:
    import openvino as ov

    from ception.artefacts.containers import KEY
    from ception.engines.openvino_graph import graph_of

    graph = graph_of(network, takes=np.uint8, output=OUTPUT)
    graph.set_rt_info("", KEY)
    ov.save_model(graph, path, compress_to_fp16=precision == "float16")


def _litert(network: Operations, path: Path, precision: Precision) -> None:
    backends.import_tensorflow()
    from ception.exporting.litert import model_of

    path.write_bytes(model_of(network, output=OUTPUT, precision=precision))


def _saved_model(network: Operations, path: Path, precision: Precision) -> None:
    backends.import_tensorflow()
    from ception.engines.tensorflow_graph import save

    save(network, path, output=OUTPUT)


def _torch(network: Operations, path: Path, precision: Precision) -> None:
    import torch

    from ception.engines.torch_archive import UnsafeError, safe
    from ception.engines.torch_graph import program_of

    torch.export.save(program_of(network, precision=precision, takes="uint8"), path)
    try:
        safe(path)
    except UnsafeError as error:  # up to PyTorch 2.8, weights are a pickle
        raise InputError(
            f"PyTorch {torch.__version__} writes a program that could run code ({error}): pip install --upgrade torch"
        ) from None


_WRITERS: dict[FormatName, Callable[[Operations, Path, Precision], None]] = {
    "onnx": _onnx,
    "openvino": _openvino,
    "litert": _litert,
    "saved-model": _saved_model,
    "torch": _torch,
}
