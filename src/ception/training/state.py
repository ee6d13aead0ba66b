"""Where a training stands after an epoch: all that the next epoch depends on, and what was decided on the way."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ception.distributed import Team
from ception.errors import RunError
from ception.files import whole, write_json

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

    from ception.training.recipes import Recipe

EpochRow = dict[str, float]  # of the log: one epoch, or one penalty that a head was solved with, of epoch 0


@dataclass(frozen=True)
class Decisions:
    """What follows from the machine and the moment, kept so that a resumed training keeps to it.

    Attributes:
        dtype: What the network computes with: `float32` or `bfloat16`.
        epochs: By the number of a phase, its epochs, where a time budget cuts them.
        parts: By the number of a phase, into how many parts each batch is cut for want of memory.
    """

    dtype: str = "float32"
    epochs: Mapping[int, int] = field(default_factory=dict)
    parts: Mapping[int, int] = field(default_factory=dict)

    def with_epochs(self, number: int, epochs: int) -> Decisions:
        """These, with the epochs of a phase."""
        return replace(self, epochs={**self.epochs, number: epochs})

    def with_parts(self, number: int, parts: int) -> Decisions:
        """These, with the parts of a phase's batches."""
        return replace(self, parts={**self.parts, number: parts})

    def in_float32(self, number: int) -> Decisions:
        """These for a phase that begins again in float32, in which its batches take more memory."""
        parts = {phase: count for phase, count in self.parts.items() if phase != number}
        return replace(self, dtype="float32", parts=parts)

    def as_dict(self) -> Mapping[str, Any]:
        """Plain values, as JSON has them."""
        values = asdict(self)
        return {"precision": values.pop("dtype"), **values}

    @classmethod
    def of(cls, saved: Mapping[str, Any]) -> Decisions:
        """What `as_dict` gave, before or after JSON."""
        counts = {name: {int(phase): int(count) for phase, count in saved[name].items()}
                  for name in ("epochs", "parts")}  # fmt: skip
        return cls(str(saved["precision"]), **counts)

    def save(self, path: Path) -> None:
        """Write them as JSON."""
        write_json(path, dict(self.as_dict()))

    @classmethod
    def load(cls, path: Path) -> Decisions:
        """What `save` wrote; the defaults where there is no such file.

        Raises:
            RunError: the file is broken.
        """
        try:
            return cls.of(json.loads(path.read_bytes()))
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(f"{path} is broken ({error}): start the training anew") from None


@dataclass(frozen=True)
class Progress:
    """How far a training has come.

    Attributes:
        rows: Of all epochs so far, after those of a head that was solved.
        decisions: What follows from this machine.
    """

    rows: tuple[EpochRow, ...] = ()
    decisions: Decisions = field(default_factory=Decisions)

    @property
    def epochs(self) -> int:
        """Epochs so far."""
        return sum(row["epoch"] > 0 for row in self.rows)

    def of_phase(self, number: int) -> tuple[EpochRow, ...]:
        """The rows of a phase."""
        return tuple(row for row in self.rows if row["phase"] == number)

    def is_past(self, number: int) -> bool:
        """Whether a later phase has begun, in whose state a phase's weights are."""
        return any(row["phase"] > number for row in self.rows)

    def batch_size(self, number: int, recipe: Recipe) -> int:
        """Pictures of a phase that are computed at a time."""
        return -(-recipe.batch_size // self.decisions.parts[number])

    def with_row(self, row: EpochRow) -> Progress:
        """One epoch further."""
        return replace(self, rows=(*self.rows, row))


def save(path: Path, network: keras.Model, rows: tuple[EpochRow, ...]) -> None:
    """Write the weights, batch-norm statistics, random states, the optimiser's variables if any, and the rows."""
    import keras

    variables, partial = _variables(network)
    arrays: dict[str, Any] = {f"{n:05d}": keras.ops.convert_to_numpy(v) for n, v in enumerate(variables)}
    arrays |= {f"partial{n:05d}": keras.ops.convert_to_numpy(v) for n, v in enumerate(partial)}
    arrays["parts"] = np.array(_parts(network))
    with whole(path) as unfinished, unfinished.open("wb") as file:
        np.savez(file, rows=np.frombuffer(json.dumps(rows).encode(), np.uint8), **arrays)


def rows(path: Path) -> tuple[EpochRow, ...]:
    """The rows of the epochs so far in what `save` wrote; none where there is no such file.

    Raises:
        RunError: the file is broken.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:  # np.load leaves a broken one open
            return tuple(json.loads(arrays["rows"].tobytes()))
    except FileNotFoundError:
        return ()
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise RunError(f"{path} is broken ({error}): start the training anew") from None


def restore(path: Path, network: keras.Model, *, steps: int = 0) -> None:
    """Read what `save` wrote into a compiled network, whose batches may be cut into another number of parts by now.

    Args:
        path: The file.
        network: Compiled, if its phase is trained in steps.
        steps: Batches, or parts of them, that an uninterrupted training would have made.

    Raises:
        RunError: the file is broken or of another network.
    """
    from ception.keras_internals import set_steps

    if network.compiled:
        network.optimizer.build(network.trainable_variables)
    variables, partial = _variables(network)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:  # np.load leaves a broken one open
            if int(arrays["parts"]) == _parts(network):
                variables += partial
            stored = [arrays[name] for name in sorted(arrays.files) if name.removeprefix("partial").isdigit()]
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise RunError(f"{path} is broken ({error}): start the training anew") from None
    stored = stored[: len(variables)]
    if [array.shape for array in stored] != [tuple(variable.shape) for variable in variables]:
        raise RunError(f"{path} belongs to another network: start the training anew")
    for variable, array in zip(variables, stored, strict=True):
        variable.assign(array)
    if network.compiled:
        set_steps(network.optimizer, steps)


def equalise(layer: keras.layers.Layer, team: Team) -> None:
    """Give a layer or network the values that the first process has of its variables."""
    import keras

    if team.count > 1:
        own = [keras.ops.convert_to_numpy(variable) for variable in layer.variables]
        for variable, value in zip(layer.variables, team.arrays(own), strict=True):
            variable.assign(value)


def require_equal(network: keras.Model, team: Team) -> None:
    """Raise a RunError unless weights, random states and the optimiser's variables are the same in all processes."""
    import keras

    if team.count > 1:
        digest = hashlib.blake2b(digest_size=16)
        for variable in [*network.variables, *network.optimizer.variables]:
            digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(variable)).reshape(-1).view(np.uint8).data)
        if len(set(team.everyone(digest.hexdigest()))) > 1:
            raise RunError("the processes have come to different weights: please report this")


def _parts(network: keras.Model) -> int:
    """Parts of a batch whose gradients the optimiser adds up."""
    return network.optimizer.gradient_accumulation_steps or 1 if network.compiled else 1


def _variables(network: keras.Model) -> tuple[list[Any], list[Any]]:
    """All variables of a network and its optimiser, and those that hold gradients of parts of a batch."""
    from ception.keras_internals import partial_gradients

    if not network.compiled:  # of a head that is solved
        return list(network.variables), []
    partial = partial_gradients(network.optimizer)
    held = {id(variable) for variable in partial}
    return [*network.variables, *(v for v in network.optimizer.variables if id(v) not in held)], partial


def values(variables: Sequence[Any]) -> list[NDArray[Any]]:
    """What Keras's variables hold, copied."""
    import keras

    return [keras.ops.convert_to_numpy(variable).copy() for variable in variables]


def assign(variables: Sequence[Any], beginning: Sequence[NDArray[Any]]) -> None:
    """Give Keras's variables what `values` copied."""
    for variable, value in zip(variables, beginning, strict=True):
        variable.assign(value)
