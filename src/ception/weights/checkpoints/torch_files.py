"""Weights of PyTorch and in safetensors."""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from ception.errors import InputError
from ception.weights.checkpoints.checkpoint import Checkpoint, imported, one_line
from ception.weights.tensors import Allowance, Tensors, to_float32, widened

_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}  # of safetensors, in NumPy's names


def read_safetensors(path: Path) -> Checkpoint:
    """The weights in a safetensors file."""
    safe_open = imported("safetensors", path, "safetensors").safe_open
    with safe_open(path, framework="np"):
        pass  # that checks the header, and it against the file's length; reading by offset needs half the memory
    allowance, tensors = Allowance(path.stat().st_size), {}
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
            dtype = _DTYPES.get(entry["dtype"])
            if dtype is None:
                continue
            allowance.take(entry["shape"], 4)
            file.seek(8 + length + entry["data_offsets"][0])
            values = np.fromfile(file, dtype, math.prod(entry["shape"])).reshape(entry["shape"])
            tensors[name] = widened(values) if dtype == "<u2" else to_float32(values)
    return Checkpoint(path, "torch", _unwrapped(tensors))


def read_torch(path: Path, *, mapped: bool = False) -> Checkpoint:
    """The weights in a file of PyTorch.

    Args:
        path: The file.
        mapped: Whether its tensors lie there as they are, so that the file can be mapped into memory.
    """
    torch = imported("torch", path, "ception[torch]")
    state = _state(torch, path, mapped=mapped)
    allowance, tensors = Allowance(path.stat().st_size), {}
    for name, tensor in state.items():
        if isinstance(name, str) and isinstance(tensor, torch.Tensor) and tensor.is_floating_point():
            allowance.take(tensor.shape, tensor.element_size())
            # no copy of a mapped file: its pages are read when they are used, and are this process's own when changed
            tensors[name] = np.ascontiguousarray(tensor.detach().to(torch.float32).numpy()).reshape(tensor.shape)
    return Checkpoint(path, "torch", _unwrapped(tensors))


def _state(torch: Any, path: Path, *, mapped: bool) -> dict[Any, Any]:
    """The state dict in a file, alone or beside other states of a training."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            # the options of a training, which timm saves with it: attributes alone, no code of anyone's
            with torch.serialization.safe_globals([argparse.Namespace]):
                loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
        except Exception as error:
            if asked := re.search(r"GLOBAL (\S+)", str(error)):
                raise InputError(
                    f"{path} holds more than tensors (it asks to run {one_line(asked[1])}), so it stays "
                    "unread: have its author save the state_dict alone, or safetensors"
                ) from None
            raise
    for key in ("state_dict", "model"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict):
        raise InputError(f"{path} holds a {type(loaded).__name__}, not a state dict: save model.state_dict()")
    return loaded


def _unwrapped(tensors: Tensors) -> Tensors:
    """Without what DataParallel, torch.compile and training frameworks put before every name."""
    shared = os.path.commonprefix(list(tensors))  # noqa: RUF071 - of names, not of paths
    wrappers = re.match(r"(?:(?:module|_orig_mod|model)\.)*", shared)
    return {name[wrappers.end() if wrappers else 0 :]: tensor for name, tensor in tensors.items()}
