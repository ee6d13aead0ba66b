"""What can be exported, checked before Keras is imported: formats, their precisions and packages, and where it goes."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from ception.artefacts import SUFFIXES, FormatName, format_of
from ception.artefacts.metadata import read
from ception.artefacts.opening import require_runtime
from ception.engines import Precision
from ception.errors import InputError

BUDGETS: dict[Precision, float] = {"float32": 0.0, "float16": 0.005, "bfloat16": 0.005, "int8": 0.01}


@dataclass(frozen=True)
class Target:
    """What a format can be written as.

    Attributes:
        precisions: Numbers that it computes with, the usual ones first.
        needs: Packages that write it, with the extra that brings each.
        quantised_by: The package that int8 needs besides, with its extra.
    """

    precisions: tuple[Precision, ...]
    needs: dict[str, str]
    quantised_by: tuple[str, str] | None = None


TARGETS: dict[FormatName, Target] = {
    "onnx": Target(("float32", "float16", "int8"), {"onnx": "onnx"}, ("nncf", "nncf")),
    "openvino": Target(("float32", "bfloat16", "float16", "int8"), {"openvino": "openvino"}, ("nncf", "nncf")),
    "litert": Target(("float32", "float16", "int8"), {"tensorflow": "tensorflow"}),
    "saved-model": Target(("float32",), {"tensorflow": "tensorflow"}),
    "torch": Target(("float32", "bfloat16"), {"torch": "torch"}),
}


def target_of(to: FormatName, precision: Precision) -> Target:
    """The target for a format in a precision.

    Raises:
        InputError: the format has no such precision, or a package is missing that writes or runs it.
    """
    target = TARGETS[to]
    if precision not in target.precisions:
        raise InputError(f"{to} has no {precision}: choose one of {', '.join(target.precisions)} with --dtype")
    needs = [*target.needs.items(), *([target.quantised_by] if precision == "int8" and target.quantised_by else [])]
    for package, extra in needs:
        if importlib.util.find_spec(package) is None:
            raise InputError(f"{to} in {precision} needs {package}: pip install 'ception[{extra}]'")
    require_runtime(to)
    return target


def out_of(model: Path, to: FormatName, precision: Precision, out: Path | None) -> Path:
    """Where the artefact goes: what was asked for, else beside the model, named after the network or run.

    Raises:
        InputError: the name does not fit the format, or something else than an artefact lies there.
    """
    if out is None:
        name = model.parent.name if model.name == "model.keras" and model.parent.name else model.stem
        out = Path(name + ("" if precision == "float32" else f"-{precision}") + SUFFIXES[to])
    if out.suffix != SUFFIXES[to]:
        raise InputError(f"--out {out} must end in {SUFFIXES[to]} for {to}")
    if out.exists() or out.is_symlink():
        try:
            if format_of(out) != to:
                raise InputError("it is something else")
            read(out)
        except InputError:
            raise InputError(f"{out} is there already and no export of ception: name another --out") from None
    return out
