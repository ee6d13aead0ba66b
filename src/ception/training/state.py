"""Where a training stands after an epoch: all that the next epoch depends on, and what was decided on the way."""

from __future__ import annotations

import json
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ception.errors import RunError
from ception.files import whole, write_json

if TYPE_CHECKING:
    import keras

    from ception.training.callbacks import Row


@dataclass
class Decisions:
    """What follows from the machine and the moment, kept so that a resumed training keeps to it.

    Attributes:
        precision: What the network computes with: `float32` or `bfloat16`.
        epochs: By the number of a phase, its epochs, where a time budget cuts them.
        parts: By the number of a phase, into how many parts each batch is cut for want of memory.
    """

    precision: str = "float32"
    epochs: dict[int, int] = field(default_factory=dict)
    parts: dict[int, int] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write them as JSON."""
        write_json(path, asdict(self))

    @classmethod
    def load(cls, path: Path) -> Decisions:
        """What `save` wrote; the defaults where there is no such file.

        Raises:
            RunError: the file is broken.
        """
        try:
            found = json.loads(path.read_bytes())
            counts = {name: {int(phase): int(count) for phase, count in found[name].items()}
                      for name in ("epochs", "parts")}  # fmt: skip
            return cls(str(found["precision"]), **counts)
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(f"{path} is broken ({error}): start the training anew") from None


def save(path: Path, network: keras.Model, rows: list[Row]) -> None:
    """Write the weights, batch-norm statistics, random states, the optimiser's variables and the rows."""
    import keras

    variables, partial = _variables(network)
    arrays: dict[str, Any] = {f"{n:05d}": keras.ops.convert_to_numpy(v) for n, v in enumerate(variables)}
    arrays |= {f"partial{n:05d}": keras.ops.convert_to_numpy(v) for n, v in enumerate(partial)}
    arrays["parts"] = np.array(network.optimizer.gradient_accumulation_steps or 1)
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


def restore(path: Path, network: keras.Model, *, steps: int) -> None:
    """Read what `save` wrote into a compiled network, whose batches may be cut into another number of parts by now.

    Args:
        path: The file.
        network: Compiled.
        steps: Batches, or parts of them, that an uninterrupted training would have made.

    Raises:
        RunError: the file is broken or of another network.
    """
    network.optimizer.build(network.trainable_variables)
    variables, partial = _variables(network)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if int(arrays["parts"]) == (network.optimizer.gradient_accumulation_steps or 1):
                variables += partial
            stored = [arrays[name] for name in sorted(arrays.files) if name.removeprefix("partial").isdigit()]
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise RunError(f"{path} is broken ({error}): start the training anew") from None
    stored = stored[: len(variables)]
    if [array.shape for array in stored] != [tuple(variable.shape) for variable in variables]:
        raise RunError(f"{path} belongs to another network: start the training anew")
    for variable, array in zip(variables, stored, strict=True):
        variable.assign(array)
    network.optimizer._iterations.assign(steps)


def _variables(network: keras.Model) -> tuple[list[Any], list[Any]]:
    """All variables of a network and its optimiser, and those that hold gradients of parts of a batch."""
    optimizer = network.optimizer
    partial = [variable for variable in getattr(optimizer, "_accumulated_gradients", []) if variable is not None]
    held = {id(variable) for variable in partial}
    return [*network.variables, *(v for v in optimizer.variables if id(v) not in held)], partial
