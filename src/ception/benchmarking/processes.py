"""A case measured in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ception.benchmarking.cases import Case
from ception.results import Measurement

_PROCESS = "ception.benchmarking.measuring_process"


@dataclass(frozen=True)
class Outcome:
    """What a process has measured.

    Attributes:
        measurements: One for each batch size, or one that says why there are none.
        macs: Multiply-accumulates of the network; 0 where the process failed.
        ceilings: GFLOP/s of a matrix product, by the numbers that it computes with.
    """

    measurements: tuple[Measurement, ...]
    macs: int
    ceilings: Mapping[str, float]

    def __str__(self) -> str:
        return ", ".join(
            one.error or f"{one.images_per_s:.1f} images/s in batches of {one.batch_size}" for one in self.measurements
        )


def carried_out(case: Case, seconds: float, most: float) -> Outcome | None:
    """Measure a case in a new process, as far as it gets; None where it measures nothing in time.

    Args:
        case: What to measure.
        seconds: Time that is meant for it.
        most: Seconds after which it is ended.
    """
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(path or os.curdir for path in sys.path), "KERAS_BACKEND": case.backend,
    }  # fmt: skip
    command = [sys.executable, "-m", _PROCESS, f"{seconds:.1f}"]
    try:
        done = subprocess.run(
            command, input=case.text(), env=environment, capture_output=True, text=True, check=False, timeout=most
        )
        printed = done.stdout
    except subprocess.TimeoutExpired as late:  # whose output is bytes
        done, printed = None, late.stdout.decode() if isinstance(late.stdout, bytes) else late.stdout or ""
    lines = [line for line in printed.splitlines(keepends=True) if line.startswith("{") and line.endswith("\n")]
    told: Mapping[str, Any] = json.loads(lines[-1]) if lines else {"steps": [], "macs": 0, "ceilings": {}}
    measured = [_measurement(case, **step) for step in told["steps"]]
    if done is None and not measured:
        return None
    if done is not None and done.returncode:
        why = (done.stderr.strip() or f"its process ended with {done.returncode}").splitlines()[-1]
        at_work = case.batch_sizes[min(len(measured), len(case.batch_sizes) - 1)]
        measured.append(_measurement(case, at_work, error=why[:200]))
    return Outcome(tuple(measured), told["macs"], told["ceilings"])


def _measurement(
    case: Case, batch_size: int, *, seconds: float | None = None, peak_bytes: int | None = None,
    error: str | None = None,
) -> Measurement:  # fmt: skip
    return Measurement(
        task=case.task, runner=case.runner, dtype=case.dtype, layers=case.layers, batch_size=batch_size,
        ms=None if seconds is None else round(1000 * seconds, 2),
        images_per_s=None if seconds is None else round(batch_size / seconds, 2), peak_bytes=peak_bytes, error=error,
    )  # fmt: skip
