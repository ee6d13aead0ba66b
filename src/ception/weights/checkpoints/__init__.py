"""Weight files that others wrote, read as named tensors: Keras, PyTorch, safetensors, TF-Slim, and this package's own.

Nothing in a file is run, no graph is deserialised, no link out of a file is followed, and what a file claims to hold
is checked before memory is set aside for it. HDF5 is read in Python, as far as Keras writes it, because the C library
crashes and hangs on broken files. `read` is all that others need.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from ception.artefacts import format_of
from ception.artefacts.containers import CONTAINERS
from ception.errors import InputError, reason
from ception.weights.checkpoints.archives import read_zip
from ception.weights.checkpoints.checkpoint import DOWNLOAD_AGAIN, READABLE, Checkpoint, one_line
from ception.weights.checkpoints.keras_files import read_h5, read_shards
from ception.weights.checkpoints.slim_files import END_OF_TABLE, read_slim
from ception.weights.checkpoints.torch_files import read_safetensors, read_torch
from ception.weights.hdf5 import SIGNATURE
from ception.weights.tensors import RefusedError, is_finite

__all__ = ["Checkpoint", "read", "require_finite"]

_FORMATS = {
    ".h5": "HDF5", ".hdf5": "HDF5", ".keras": "Keras", ".safetensors": "safetensors", ".pth": "PyTorch",
    ".pt": "PyTorch", ".bin": "PyTorch", ".ckpt": "TensorFlow", ".index": "TensorFlow", ".json": "Keras",
}  # fmt: skip


def read(path: Path | str) -> Checkpoint:
    """The tensors of a weight file, whose format is told by its content rather than by its name.

    Args:
        path: A file of Keras (legacy `.h5`, `.weights.h5`, its index `.weights.json` of several, or `.keras`), of
            safetensors, of PyTorch or of this package; or a TF-Slim checkpoint: its file, `.index` or prefix, or a
            folder with just one.

    Returns:
        All floating-point tensors. Of a training's state in PyTorch the largest set of named ones, not the moving
        average beside it, and the other sets as `others`; without what wrappers put before every name (`module.`,
        `_orig_mod.`, `model.`).

    Raises:
        InputError: there is no such file, it is broken or no weight file, it holds no weights or such as are not
            finite, claims an implausible size, holds more than tensors, or needs a package that is not installed.
    """
    path = Path(path)
    try:
        path = _located(path)
        format_name, reader = _reader(path)
    except OSError as error:
        raise InputError(f"{path} cannot be opened: {reason(error)}") from None
    try:
        checkpoint = reader(path)
    except InputError:
        raise
    except RefusedError as error:
        way_out = "" if ": " in str(error) else f": {DOWNLOAD_AGAIN}"
        raise InputError(f"{path} is refused: {one_line(error)}{way_out}") from None
    except Exception as error:  # what a parser raises at a hostile file is not limited to what it documents
        raise InputError(
            f"{path} is no whole {format_name} file (truncated, or another format): {one_line(error)}; {DOWNLOAD_AGAIN}"
        ) from None
    if not checkpoint.tensors:
        raise InputError(
            f"{path} holds no weights, only a {format_name} file's frame: save the weights, not the configuration"
        )
    require_finite(checkpoint)
    return checkpoint


def require_finite(checkpoint: Checkpoint) -> None:
    """Raise an InputError if a tensor of a checkpoint has values that are not finite."""
    for name, tensor in checkpoint.tensors.items():
        if not is_finite(tensor):
            raise InputError(
                f"{checkpoint.path} is refused: {one_line(name)} has values that are not finite: the training that "
                "wrote it had diverged, or the file is damaged"
            )


def _located(path: Path) -> Path:
    """The file that a path means: itself, or for a TF-Slim checkpoint its index or single file."""
    if format_of(path) == "saved-model" and CONTAINERS["saved-model"].text(path) is not None:
        raise _exported(path, "TensorFlow")
    if path.is_dir() and (path / "saved_model.pb").is_file():
        raise InputError(
            f"{path} is a SavedModel of TensorFlow, a program that is not run: load it in its own Keras and "
            "save model.keras with model.save(), or the weights with model.save_weights('some.weights.h5')"
        )
    if path.is_dir():
        inside = sorted(file for file in path.iterdir() if file.suffix in (".index", ".ckpt") and file.is_file())
        if len(inside) != 1:
            listed = f" ({', '.join(file.name for file in inside[:5])})" if inside else ""
            raise InputError(f"{path} is a folder with {len(inside)} TF-Slim checkpoints{listed}: name the weight file")
        return inside[0]
    prefix = Path(re.sub(r"\.data-\d{5}-of-\d{5}$", "", str(path)))
    index = prefix.with_name(f"{prefix.name}.index")
    if index.is_file() and (prefix != path or not path.exists()):
        return index
    if not path.exists():
        raise InputError(f"there is no file {path}")
    if not path.is_file():
        raise InputError(f"{path} is no regular file")
    return path


def _refuse_failed_download(path: Path, head: bytes, text: bytes) -> None:
    """Refuse what came instead of a weight file; `text` is its beginning in small letters, without blanks before it."""
    if not head:
        raise InputError(f"{path} is empty (a failed download?): {DOWNLOAD_AGAIN}")
    if head.startswith(b"version https://git-lfs"):
        raise InputError(f"{path} is a git-lfs pointer, not the weights: fetch them with 'git lfs pull'")
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<?xml")):
        raise InputError(
            f"{path} is a web page, not weights (a failed download): {DOWNLOAD_AGAIN}, from the file's own address"
        )


def _exported(path: Path, name: str) -> InputError:
    """The error that a network was exported for another program, in a form that training does not read back."""
    return InputError(
        f"{path} is a network exported for {name}, not a weight file: take the model that it was exported from; "
        f"{READABLE} load"
    )


def _refuse_exported(path: Path, head: bytes) -> None:
    """Refuse a network that was exported for another program to run it."""
    suffix = path.suffix.lower()
    name = "LiteRT (TensorFlow Lite)" if head[4:8] == b"TFL3" or suffix == ".tflite" else {
        ".onnx": "ONNX", ".pb": "TensorFlow", ".mlmodel": "Core ML", ".pdmodel": "Paddle",
    }.get(suffix)  # fmt: skip
    if name:
        raise _exported(path, name)


def _reader(path: Path) -> tuple[str, Callable[[Path], Checkpoint]]:
    """What a file's content says it is, in words, and what reads it."""
    with path.open("rb") as file:
        head = file.read(512)
        file.seek(-min(8, len(head)), 2)
        tail = file.read()
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<net " in text and path.suffix.lower() == ".xml":
        raise _exported(path, "OpenVINO")
    _refuse_failed_download(path, head, text)
    if head.startswith(b"PK\x03\x04") and path.suffix.lower() == ".pt2":
        raise _exported(path, "PyTorch (torch.export)")
    if head.startswith(SIGNATURE):
        return "HDF5", read_h5
    if head.startswith(b"PK\x03\x04"):
        return _FORMATS.get(path.suffix.lower(), "zip"), read_zip
    if head[8:9] == b"{":
        return "safetensors", read_safetensors
    if tail == END_OF_TABLE:
        return "TensorFlow", read_slim
    if head.startswith(b"\x80") and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "PyTorch", read_torch
    if text.startswith(b"{") and path.name.endswith(".weights.json"):
        return "Keras", read_shards
    _refuse_exported(path, head)
    if format_name := _FORMATS.get(path.suffix.lower()):
        raise InputError(f"{path} is no whole {format_name} file (truncated, or another format): {DOWNLOAD_AGAIN}")
    raise InputError(f"{path} is no weight file, or a broken one: {READABLE} load")
