"""Files that other runtimes run: what they say of themselves, read without these runtimes, and who opens them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from ception.engines import Precision

FormatName = Literal["onnx", "openvino", "litert", "saved-model", "torch"]
FORMATS: tuple[FormatName, ...] = get_args(FormatName)
SUFFIXES: dict[FormatName, str] = {
    "onnx": ".onnx", "openvino": ".xml", "litert": ".tflite", "saved-model": ".saved-model", "torch": ".pt2",
}  # fmt: skip
GRAPH = "saved_model.pb"  # what makes a folder one that TensorFlow loads


@dataclass(frozen=True)
class Artefact:
    """What an artefact says of itself, beside what a model file says.

    Attributes:
        path: The file; of OpenVINO the .xml, beside which its .bin lies; of TensorFlow the folder.
        format: Which one it is.
        precision: Numbers that it computes with.
        described: As `ModelDescription.as_json` gives it.
        min_confidence: Probability, 0..1, below which its answer is `unknown`, as it was exported.
    """

    path: Path
    format: FormatName
    precision: Precision
    described: Mapping[str, Any]
    min_confidence: float


def format_of(path: Path) -> FormatName | None:
    """Which format a path is of, by its name, or of a folder by what it holds; None for anything else."""
    if (path / GRAPH).is_file():
        return "saved-model"
    return next((name for name, suffix in SUFFIXES.items() if path.suffix == suffix), None)


def size_of(path: Path) -> int:
    """How many bytes an artefact takes, all its files together."""
    return sum(file.stat().st_size for file in files_of(path))


def files_of(path: Path) -> list[Path]:
    """All files of an artefact, in a fixed order."""
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file())
    return [path, path.with_suffix(".bin")] if path.suffix == SUFFIXES["openvino"] else [path]
