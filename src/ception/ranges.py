"""Which numbers an option may have, by its name: the same for every task."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ception.errors import InputError

_LOWEST: dict[str, float] = {
    "epochs": 1, "head_epochs": 1, "batch_size": 1, "patience": 1, "image_size": 1, "seed": 0,
    "cache_limit": 0, "top": 1, "mixup": 0, "cutmix": 0, "randaugment": 0, "views": 1,
    "port": 0, "max_pictures": 1, "max_requests": 1,
    "part_size": 1, "worker_cores": 1, "trials": 1,
}  # fmt: skip
_RANGES: tuple[tuple[tuple[str, ...], Callable[[float], bool], str], ...] = (
    (("target_precision", "min_confidence", "max_disagreement"), lambda share: 0 <= share <= 1, "from 0 to 1,"),
    (("port",), lambda port: port < 1 << 16, "below 65536,"),
    (("seed",), lambda seed: seed < 2**32, f"below {2**32},"),
    (("crop", "colour", "dropout"), lambda share: 0 <= share < 1, "at least 0 and below 1,"),
    (("randaugment",), lambda magnitude: magnitude <= 30, "at most 30,"),
    (("learning_rate", "depth_multiplier", "time_budget", "timeout", "max_bytes", "max_pixels", "max_memory",
      "shard_size", "minutes"),
     lambda factor: 0 < factor < math.inf,
     "above 0, and no infinity;"),
)  # fmt: skip


def require_in_range(name: str, called: str, value: Any) -> None:
    """Refuse a number that is out of its option's range.

    Args:
        name: The option.
        called: What a person calls it.
        value: A value of its type; what is None, or belongs to an option without a range, passes.

    Raises:
        InputError: it is too small or too large.
    """
    if value is None:
        return
    if name in _LOWEST and not value >= _LOWEST[name]:
        raise InputError(f"{called} must be at least {_LOWEST[name]}, got {value}")
    for names, allows, allowed in _RANGES:
        if name in names and not allows(value):
            raise InputError(f"{called} must be {allowed} got {value}")
