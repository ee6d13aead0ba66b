"""TF-Slim's checkpoints, which TensorFlow reads."""

from __future__ import annotations

import re
from pathlib import Path

from ception.errors import InputError
from ception.weights.checkpoints.checkpoint import Checkpoint, imported
from ception.weights.tensors import Allowance, Tensors, to_float32

END_OF_TABLE = b"\x57\xfb\x80\x8b\x24\x75\x47\xdb"  # of every table of TensorFlow: V1 checkpoints and .index files
_SLOTS = re.compile(r"(^|/)(RMSProp|Momentum|Adam|ExponentialMovingAverage|global_step|beta[12]_power)(_\d+)?(/|$)")


def read_slim(path: Path) -> Checkpoint:
    """The weights of a checkpoint without what only its training needs.

    Args:
        path: The checkpoint in one file, or the `.index` of one in several.
    """
    files, prefix = [path], path
    if path.suffix == ".index":
        prefix = path.with_suffix("")
        files = [file for file in path.parent.iterdir() if file.name.startswith(f"{prefix.name}.data-")]
        if not files:
            raise InputError(f"{path} is only a table of contents: put {prefix.name}.data-00000-of-00001 beside it")
    reader = imported("tensorflow", path, "ception[tensorflow]").train.load_checkpoint(str(prefix))
    shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
    allowance = Allowance(sum(file.stat().st_size for file in files))
    tensors: Tensors = {}
    for name in sorted(shapes):
        if dtypes[name].is_floating and not _SLOTS.search(name):
            allowance.take(shapes[name], dtypes[name].size)
            tensors[name] = to_float32(reader.get_tensor(name))
    return Checkpoint(path, "slim", tensors)
