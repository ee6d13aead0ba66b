"""Short timings, remembered in the cache folder: by machine, and by whatever the caller says they depend on."""

from __future__ import annotations

import hashlib
import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from ception.backends import cores
from ception.errors import RunError
from ception.files import cache_folder, write_json

_NAME = "timings.json"
_REPEATS, _ENOUGH_S = 3, 2.0


def measured(key: Mapping[str, Any], function: Callable[[], Any]) -> float:
    """Seconds that a function takes: the median of up to three calls after one that does not count; remembered.

    Args:
        key: Plain values that the time depends on, beside the machine.
        function: What is timed.
    """
    seconds = timed(function, most=_REPEATS)
    with suppress(RunError):  # where the cache cannot be written it is measured again
        remember(key, seconds)
    return seconds


def timed(function: Callable[[], Any], *, most: int | None = None, enough_s: float = _ENOUGH_S) -> float:
    """Seconds that a function takes: the median of some calls after one that does not count.

    Args:
        function: What is timed.
        most: Calls that count, at most; None for as many as there is time for.
        enough_s: Seconds after which no further call begins.
    """
    function()
    times: list[float] = []
    while not times or (len(times) != most and sum(times) < enough_s):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def remember(key: Mapping[str, Any], seconds: float) -> None:
    """Keep a time under a key, as `remembered` finds it on this machine.

    Raises:
        RunError: the cache cannot be written.
    """
    write_json(cache_folder() / _NAME, _timings() | {_digest(key): seconds})


def remembered(key: Mapping[str, Any]) -> float | None:
    """Seconds that were measured under a key on this machine; None where nothing was."""
    seconds = _timings().get(_digest(key))
    return float(seconds) if isinstance(seconds, int | float) and seconds > 0 else None


def _timings() -> dict[str, Any]:
    """All timings; none where the file is not there or damaged."""
    try:
        timings = json.loads((cache_folder() / _NAME).read_bytes())
    except (OSError, ValueError):
        return {}
    return timings if isinstance(timings, dict) else {}


def _digest(key: Mapping[str, Any]) -> str:
    text = json.dumps({"machine": machine(), **key}, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


@cache
def machine() -> str:
    """The processor and how many cores of it this process may use."""
    processor = platform.processor() or platform.machine()
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("model name", "Hardware")):
                processor = line.partition(":")[2].strip()
                break
    return f"{processor}, {cores()} cores"
