"""Where conversions write, checked without Keras."""

from __future__ import annotations

from pathlib import Path

from ception.errors import InputError

_SUFFIXES = {"keras-applications": ".weights.h5", "timm": ".safetensors"}


def model_target(source: str | Path, model: str, out: str | Path | None) -> Path:
    """Where converted weights go.

    Raises:
        InputError: that is no name of a model file, or the source itself.
    """
    out = Path(out or f"{model}.keras")
    if out.suffix != ".keras":
        raise InputError(f"the model file must be named .keras, got '{out}'")
    if out.exists() and Path(source).exists() and out.samefile(source):
        raise InputError(f"{out} is the source itself: name another file with --out")
    return out


def export_target(model: Path, to: str, out: str | Path | None) -> Path:
    """Where the weights of a model file go for another library.

    Raises:
        InputError: that library takes no file of that name.
    """
    target = Path(out or model.with_suffix(_SUFFIXES[to]))
    if not target.name.endswith(_SUFFIXES[to]):
        raise InputError(f"weights for {to} must be named {_SUFFIXES[to]}, got '{target}'")
    return target
