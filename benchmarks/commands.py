"""Time and peak memory of whole commands: --help, demo, prediction of many pictures, scanning of many files.

    python benchmarks/commands.py help demo predict scan

Each appends a row to results/commands.csv. Pictures are made for the purpose.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

import results


def run(command: list[str], folder: Path) -> tuple[float, float]:
    """Seconds and peak memory in MB of a command, which must succeed."""
    start = time.monotonic()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - start
        if os.waitstatus_to_exitcode(status) != 0:
            said.seek(0)
            raise SystemExit(said.read().decode())
    return seconds, usage.ru_maxrss / 1000


def write_pictures(folder: Path, classes: int, count: int, side: int = 32) -> Path:
    """A folder per class of noise."""
    random = np.random.default_rng(0)
    for label in range(classes):
        (folder / f"class{label}").mkdir(parents=True)
        for number in range(count):
            pixels = random.integers(0, 256, (side, side, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"class{label}" / f"{number:05d}.png", compress_level=1)
    return folder


def measure(name: str, folder: Path) -> None:
    """Run a measurement five times (the demo once) and append the median."""
    ception = [sys.executable, "-m", "ception"]
    cases = {"help": [*ception, "--help"], "demo": [*ception, "demo", "--quiet"]}
    what = name
    if name == "predict":
        pictures = write_pictures(folder / "many", 1, 10_000)
        train = write_pictures(folder / "few", 2, 60)
        run([*ception, "train", str(train), "--epochs", "1", "--quiet"], folder)
        model = next(folder.glob("runs/*/model.keras"))
        one = next(pictures.rglob("*.png"))
        cases["predict"] = [*ception, "predict", str(model), str(pictures), "--quiet"]
        alone = [*ception, "predict", str(model), str(one), "--quiet"]
        _append("predict 1 picture", [run(alone, folder)])  # translates the model and measures the engines
        _append("predict 1 picture again", [run(alone, folder) for _ in range(5)])
        what = "predict 10,000 pictures"
    if name == "scan":
        data = write_pictures(folder / "scan", 20, 1000)
        code = (
            "import sys; from ception.data import sources, splitting; d = sources.load(sys.argv[1]);"
            "splitting.split(d, sources.digests(d.pictures)[0]); assert len(d.labels) == 20000"
        )
        cases["scan"] = [sys.executable, "-c", code, str(data)]
        what = "scan and split 20,000 files"
    runs = [run(cases[name], folder) for _ in range(1 if name == "demo" else 5)]
    _append(what, runs)


def _append(what: str, runs: list[tuple[float, float]]) -> None:
    """A row of the medians."""
    seconds, memory = (float(np.median(column)) for column in zip(*runs, strict=True))
    row = {"command": what, "seconds": round(seconds, 2), "peak_mb": round(memory)}
    results.append("commands", row)
    print(row, flush=True)


def main() -> None:
    """Measure what is named on the command line, or everything."""
    for name in sys.argv[1:] or ["help", "demo", "predict", "scan"]:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["CEPTION_CACHE"] = str(Path(folder) / "cache")
            measure(name, Path(folder))


if __name__ == "__main__":
    main()
