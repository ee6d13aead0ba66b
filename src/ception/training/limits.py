"""What memory and time allow: into how many parts a batch is cut, how many epochs there are, how many steps at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import keras

from ception.distributed import Team
from ception.inspection.layers import macs, training_memory
from ception.training.state import EpochRow

_SHARE = 0.8  # of the free memory that a step may take
_SURPLUS = {"tensorflow": 1.0, "torch": 2.0, "jax": 2.5}  # over what TensorFlow takes; benchmarks/results/memory.csv
_AT_ONCE = 10  # steps
_OPERATIONS_AT_ONCE = 1e10  # which take about a tenth of a second


def free_bytes() -> int | None:
    """Memory that a training may take on its device; None where that cannot be told."""
    device = _gpu()
    if device is not None:
        return device
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        return None
    for folder, most, used in (
        ("/sys/fs/cgroup", "memory.max", "memory.current"),
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        try:
            left = int(Path(folder, most).read_text()) - int(Path(folder, used).read_text())
            kept = dict(line.split() for line in Path(folder, "memory.stat").read_text().splitlines())
            left += int(kept.get("inactive_file", 0))  # of files, which the system takes back at will
        except (OSError, ValueError):  # no such limit, or "max"
            continue
        free = min(free, left)
    return free


def _gpu() -> int | None:
    """Free memory of the GPU that PyTorch would use; the other backends claim theirs whole and do not tell."""
    if keras.backend.backend() != "torch":
        return None
    import torch

    return int(torch.cuda.mem_get_info()[0]) if torch.cuda.is_available() else None


def parts_that_fit(network: keras.Model, batch_size: int, free: int | None) -> int:
    """Into how many parts a batch must be cut for a training step to fit, by estimate.

    Args:
        network: What is trained.
        batch_size: Pictures in a step.
        free: Bytes that there are; None means that nobody knows: one part.
    """
    parts = 1
    factor = _SURPLUS[keras.backend.backend()]
    while free is not None and parts < batch_size:
        if factor * training_memory(network, -(-batch_size // parts)) <= _SHARE * free:
            break
        parts = more(parts, batch_size)
    return parts


def parts_for_team(network: keras.Model, batch_size: int, team: Team) -> int:
    """As `parts_that_fit`, for processes of which each computes its share of a batch in what is free for it."""
    free = free_bytes()
    known = [one for one in team.everyone(None if free is None else free // team.neighbours) if one is not None]
    return parts_that_fit(network, -(-batch_size // team.count), min(known, default=None))


def more(parts: int, batch_size: int) -> int:
    """The number of parts, none of them empty, that are half as large."""
    return -(-batch_size // max(1, -(-batch_size // parts) // 2))


_ROOM_FOR_A_SECOND = 4  # epochs that must fit, as long as the first took


def epochs_that_fit(rows: Sequence[EpochRow], wanted: int, seconds: float) -> int | None:
    """How many epochs of a phase there is time for, the ones that are done among them; None as long as nobody can tell.

    Args:
        rows: Of the phase's epochs so far.
        wanted: Epochs of its recipe.
        seconds: Time that is left.
    """
    if not rows:
        return None
    quickest = min(row["seconds"] for row in rows)
    if len(rows) + seconds // quickest < wanted:  # a schedule that is cut is compiled once more
        seconds -= rows[0]["seconds"] - quickest
    fitting = len(rows) + int(max(0, seconds) // quickest)
    # the first epoch, which compiles, is no measure of the others where there is time for a second one
    if fitting < wanted and len(rows) == 1 and fitting >= _ROOM_FOR_A_SECOND:
        return None
    return max(1, len(rows), min(wanted, fitting))


def steps_at_once(made: keras.Model, batch_size: int) -> int:
    """Steps that TensorFlow makes without Python between them: several where each is short.

    Beside a step of `separable_cnn` Keras takes a seventh of its time; see docs/kernels.md.
    """
    if keras.backend.backend() != "tensorflow":
        return 1
    operations = 6 * batch_size * sum(macs(layer) for layer in made.layers if layer.built)
    return int(min(_AT_ONCE, max(1, _OPERATIONS_AT_ONCE // max(1, operations))))
