"""Where a training stands after an epoch: all that the next epoch depends on, in one file."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ception.errors import RunError
from ception.files import whole

if TYPE_CHECKING:
    import keras

    from ception.training.callbacks import Row


def save(path: Path, network: keras.Model, rows: list[Row]) -> None:
    """Write the weights, batch-norm statistics, random states, the optimiser's variables and the rows."""
    import keras

    variables = [*network.variables, *network.optimizer.variables]
    arrays: dict[str, Any] = {f"{n:05d}": keras.ops.convert_to_numpy(v) for n, v in enumerate(variables)}
    with whole(path) as unfinished, unfinished.open("wb") as file:
        np.savez(file, rows=np.frombuffer(json.dumps(rows).encode(), np.uint8), **arrays)


def rows(path: Path) -> list[Row]:
    """The rows of the epochs so far in what `save` wrote.

    Raises:
        RunError: the file is broken.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found: list[Row] = json.loads(arrays["rows"].tobytes())
            return found
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise RunError(f"{path} is broken ({error}): start the training anew") from None


def restore(path: Path, network: keras.Model) -> None:
    """Read what `save` wrote into a compiled network.

    Raises:
        RunError: the file is broken or of another network.
    """
    network.optimizer.build(network.trainable_variables)
    variables = [*network.variables, *network.optimizer.variables]
    try:
        with np.load(path, allow_pickle=False) as arrays:
            stored = [arrays[f"{n:05d}"] for n in range(len(arrays.files) - 1)]
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise RunError(f"{path} is broken ({error}): start the training anew") from None
    shapes = [tuple(variable.shape) for variable in variables]
    if [array.shape for array in stored] != shapes:
        raise RunError(f"{path} belongs to another network: start the training anew")
    for variable, array in zip(variables, stored, strict=True):
        variable.assign(array)
