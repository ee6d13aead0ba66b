"""Time of `ception check` on photos: with an empty cache and again, beside a busy process and alone.

    python benchmarks/checking.py FOLDER

Each case is the median of three whole commands and appends a row to results/checking.csv. `same_in_two_classes` counts
the groups of equal pictures in two classes, and `near_groups` the groups of pictures that show nearly the same.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import results


def run(data: Path, folder: Path) -> tuple[float, dict[str, Any]]:
    """Seconds of a command, and what it found."""
    command = [sys.executable, "-m", "ception", "check", str(data), "--json", "--quiet"]
    start = time.monotonic()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - start
    if done.returncode not in (0, 1) or not done.stdout:
        raise SystemExit(done.stderr)
    return seconds, json.loads(done.stdout)


def measure(data: Path, case: str) -> None:
    """Run a case three times and append its median."""
    times = []
    for _ in range(3):
        with tempfile.TemporaryDirectory() as folder:
            os.environ["CEPTION_CACHE"] = str(Path(folder) / "cache")
            if case == "again":
                run(data, Path(folder))
            seconds, found = run(data, Path(folder))
            times.append(seconds)
    counts = {finding["kind"]: finding["count"] for finding in found["findings"]}
    row = {
        "data": found["name"], "pictures": found["pictures"], "case": case,
        "seconds": round(float(np.median(times)), 2), "slowest_seconds": round(max(times), 2),
        "same_in_two_classes": counts.get("two_classes", 0),
        "near_groups": sum(counts.get(kind, 0) for kind in ("near_two_classes", "near_two_splits", "near_copies")),
    }  # fmt: skip
    results.append("checking", row)
    print(row, flush=True)


def main() -> None:
    """Measure the folder that the command line names."""
    data = Path(sys.argv[1]).resolve()
    measure(data, "empty cache")
    measure(data, "again")
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        measure(data, "empty cache, one core busy")
    finally:
        busy.terminate()


if __name__ == "__main__":
    main()
