"""Weights in zip archives: Keras's `.keras`, this package's own, and PyTorch's."""

from __future__ import annotations

import json
import struct
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from ception.errors import InputError
from ception.model_file import MEMBER, MOST_JSON
from ception.weights.checkpoints.checkpoint import DOWNLOAD_AGAIN, READABLE, Checkpoint, one_line
from ception.weights.checkpoints.keras_files import from_hdf5
from ception.weights.checkpoints.torch_files import read_torch
from ception.weights.tensors import MOST_NAMES, Allowance, RefusedError

_WEIGHTS = "model.weights.h5"


def read_zip(path: Path) -> Checkpoint:
    """The weights in an archive, whichever of its writers it is from."""
    _check_directory(path)
    with zipfile.ZipFile(path) as archive:
        members = {member.filename: member for member in archive.infolist()}
        Allowance(path.stat().st_size).take([sum(member.file_size for member in members.values())], 1)
        if any(name.endswith("/constants.pkl") for name in members):
            raise InputError(f"{path} is a TorchScript program: save its state_dict() with torch.save instead")
        if any(name.endswith("data.pkl") for name in members):
            # PyTorch itself looks at no checksum; they are all 0 where it was told to write none
            if any(member.CRC for member in members.values()) and (damaged := archive.testzip()):
                raise InputError(f"{path} is damaged (the checksum of {one_line(damaged)} is wrong): {DOWNLOAD_AGAIN}")
            return read_torch(path, mapped=all(member.compress_type == 0 for member in members.values()))
        if _WEIGHTS not in members:
            raise InputError(f"{path} is an archive without {_WEIGHTS}: {READABLE} load")
        return _read_keras(path, archive, members)


def _read_keras(path: Path, archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo]) -> Checkpoint:
    texts = {name: _json_object(archive, members.get(name)) for name in (MEMBER, "config.json")}
    with tempfile.TemporaryFile() as weights, archive.open(_WEIGHTS) as member:
        while piece := member.read(1 << 20):  # to a file: its checksum is verified, and it is in memory only once
            weights.write(piece)
        tensors = from_hdf5([weights], texts["config.json"])
    if MEMBER in members:
        return Checkpoint(path, "ception", tensors, texts[MEMBER])
    return Checkpoint(path, "keras", tensors, configuration=texts["config.json"])


def _check_directory(path: Path) -> None:
    """Refuse a zip file with absurdly many members before `zipfile` makes an object of each."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - (1 << 16) - 98))
        tail = file.read()
    end = tail.rfind(b"PK\x05\x06")
    if end < 0:
        raise ValueError("its table of contents is missing")
    (size,) = struct.unpack_from("<L", tail, end + 12)
    if end >= 76 and tail[end - 76 :].startswith(b"PK\x06\x06"):  # the same numbers in 64 bits, as PyTorch writes them
        (size,) = struct.unpack_from("<Q", tail, end - 36)
    if size > 46 * MOST_NAMES:  # 46 bytes is the least that a member takes
        raise RefusedError("it holds absurdly many members")


def _json_object(archive: zipfile.ZipFile, member: zipfile.ZipInfo | None) -> dict[str, Any]:
    if member is None:
        return {}
    if member.file_size > MOST_JSON:
        raise RefusedError(f"its {member.filename} is implausibly large")
    value = json.loads(archive.read(member))
    if not isinstance(value, dict):
        raise ValueError(f"its {member.filename} is no JSON object")
    return value
