"""Where conversions write, checked without Keras."""

from __future__ import annotations

from pathlib import Path

from ception.errors import InputError

_SUFFIXES = {"keras-applications": ".weights.h5", "timm": ".safetensors"}


def class_names_of(text: str) -> tuple[str, ...]:
    """Names of classes from `cat,dog`, or from a text file with one in each line.

    Raises:
        InputError: there are not two at least, one is empty or there twice, or the file cannot be read.
    """
    path = Path(text)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines() if path.is_file() else text.split(",")
    except (OSError, UnicodeError) as error:
        raise InputError(f"--classes {text} cannot be read: {' '.join(str(error).split())}") from None
    names = tuple(name.strip() for name in lines if name.strip())
    if len(names) < 2:
        raise InputError(f"--classes must be names as cat,dog or a text file with one a line, got '{text}'")
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"--classes has {twice[0]} twice")
    return names


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
