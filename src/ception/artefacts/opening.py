"""An artefact in the runtime that it was made for."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

import numpy as np

from ception import backends
from ception.artefacts import Artefact, FormatName
from ception.engines import Engine, Precision
from ception.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

RUNTIMES: dict[FormatName, tuple[str, str]] = {
    "onnx": ("onnxruntime", "onnx"),
    "openvino": ("openvino", "openvino"),
    "litert": ("ai_edge_litert", "litert"),
    "saved-model": ("tensorflow", "tensorflow"),
    "torch": ("torch", "torch"),
}  # the package that has to be there, and the extra that brings it
_LEAST = np.finfo(np.float32).tiny  # what a probability of 0 counts as


class LogitsEngine:
    """An artefact's runtime, with logits for its calibrated probabilities.

    They are the network's own but for what all classes of a picture share, which no probability depends on.

    Args:
        engine: What runs the artefact.
        temperature: What the logits were divided by.
    """

    def __init__(self, engine: Engine, temperature: float) -> None:
        self._engine, self._temperature = engine, np.float32(temperature)

    @property
    def name(self) -> str:
        """What runs it, with its version."""
        return self._engine.name

    @property
    def precision(self) -> Precision:
        """Numbers that it computes with."""
        return self._engine.precision

    @property
    def any_thread(self) -> bool:
        """Whether it computes alike in whichever thread."""
        return self._engine.any_thread

    def run(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """As `Engine.run`."""
        return np.log(np.maximum(self._engine.run(batch), _LEAST)) * self._temperature

    def close(self) -> None:
        """As `Engine.close`."""
        self._engine.close()


def require_runtime(kind: FormatName, path: Path | None = None) -> None:
    """Raise an InputError unless what runs a format, or the artefact at a path, is installed."""
    package, extra = RUNTIMES[kind]
    if importlib.util.find_spec(package) is None:
        raise InputError(f"{path or kind} needs {package}: pip install 'ception[{extra}]'")


def engine_of(artefact: Artefact) -> Engine:
    """The artefact, ready to run in the precision that it was exported in: uint8 pictures in, probabilities out.

    Raises:
        InputError: its runtime is not installed, or refuses it.
    """
    require_runtime(artefact.format, artefact.path)
    try:
        return _opened(artefact)
    except InputError:
        raise
    except Exception as error:  # each runtime has errors of its own
        raise InputError(f"{artefact.path} cannot be run: {' '.join(str(error).split())}") from None


def fitting_engine(artefact: Artefact, shape: tuple[int, ...], classes: int) -> Engine:
    """As `engine_of`, of an artefact whose network takes pictures (height, width, channels) and knows so many classes.

    Raises:
        InputError: it does not, or as for `engine_of`.
    """
    engine = engine_of(artefact)
    try:
        answers = engine.run(np.zeros((2, *shape), np.uint8))
    except Exception as error:  # each runtime has errors of its own
        engine.close()
        said = " ".join(str(error).split())
        raise InputError(f"{artefact.path} cannot be run on two pictures of {shape[1]} x {shape[0]}: {said}") from None
    if answers.shape != (2, classes):
        engine.close()
        raise InputError(
            f"{artefact.path} is broken: it names {classes} classes, and its network answers with numbers of shape "
            f"{answers.shape} for two pictures"
        )
    return engine


def _opened(artefact: Artefact) -> Engine:
    path, precision = artefact.path, artefact.precision
    match artefact.format:
        case "onnx":
            from ception.engines.onnxruntime import OnnxRuntimeEngine

            return OnnxRuntimeEngine(path, precision)
        case "openvino":
            from ception.engines.openvino import OpenVinoEngine, read

            return OpenVinoEngine(read(path), precision)
        case "torch":
            from ception.engines.torch_program import TorchEngine

            return TorchEngine(path, precision)
        case "litert":
            from ception.engines.litert import LiteRtEngine

            return LiteRtEngine(path, precision)
        case "saved-model":
            backends.import_tensorflow()
            from ception.engines.saved_model import SavedModelEngine

            return SavedModelEngine(path)
        case _:
            raise InputError(f"{artefact.format} is not known here")
