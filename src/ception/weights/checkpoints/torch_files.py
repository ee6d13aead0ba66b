"""Weights of PyTorch and in safetensors."""

from __future__ import annotations

import argparse
import json
import math
import re
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from ception.errors import InputError
from ception.weights.checkpoints.checkpoint import Checkpoint, imported, one_line
from ception.weights.checkpoints.state_dicts import shared_prefix, state_dicts
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
    return _checkpoint(path, {"": tensors})


def read_torch(path: Path, *, mapped: bool = False) -> Checkpoint:
    """The weights in a file of PyTorch.

    Args:
        path: The file.
        mapped: Whether its tensors lie there as they are, so that the file can be mapped into memory.
    """
    torch = imported("torch", path, "ception[torch]")
    loaded = _loaded(torch, path, mapped=mapped)
    allowance, found = Allowance(path.stat().st_size), {}

    def is_weight(value: Any) -> bool:
        return isinstance(value, torch.Tensor) and value.is_floating_point()

    for where, state in state_dicts(loaded, is_weight).items():
        tensors: Tensors = {}
        for name, tensor in state.items():
            allowance.take(tensor.shape, tensor.element_size())
            # no copy of a mapped file: its pages are read when they are used, and are this process's own when changed
            tensors[name] = np.ascontiguousarray(tensor.detach().to(torch.float32).numpy()).reshape(tensor.shape)
        found[where] = tensors
    return _checkpoint(path, found)


def _checkpoint(path: Path, found: dict[str, Tensors]) -> Checkpoint:
    """The likeliest set of tensors, and the others beside it; each without what stands before all of its names."""
    unwrapped: dict[str, Tensors] = {}
    for where, tensors in found.items():
        prefix = shared_prefix(tensors)
        said = [f"'{where}' of the file"] * bool(where) + [f"without '{prefix}' before the names"] * bool(prefix)
        unwrapped[", ".join(said)] = {name[len(prefix) :]: tensor for name, tensor in tensors.items()}
    first, *others = unwrapped or {"": {}}
    return Checkpoint(
        path, "torch", unwrapped.get(first, {}), found=first, others={where: unwrapped[where] for where in others}
    )


def _loaded(torch: Any, path: Path, *, mapped: bool) -> dict[Any, Any]:
    """What a file holds: a state dict, alone or beside other states of a training."""
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
    if not isinstance(loaded, dict):
        raise InputError(f"{path} holds a {type(loaded).__name__}, not a state dict: save model.state_dict()")
    return loaded
