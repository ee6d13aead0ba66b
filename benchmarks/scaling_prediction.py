"""How much faster two workers of a Ray cluster predict than one process, each with one thread.

    python benchmarks/scaling_prediction.py PHOTOS                       # Xception at 299 pixels with random weights
    python benchmarks/scaling_prediction.py PHOTOS --model MODEL --count 400 --rounds 2

`ception predict --out` in one process and with `--on ray` take turns, in files of 32 answers. The one process is kept
to one core, for it would decode on the other while its thread computes. The start does not count: time runs from when
as many files are written as there are workers. Medians of the rounds are appended to results/scaling_prediction.csv:
pictures in a second by the clock, which other work on the machine makes fewer; the processor time of a picture, of all
processes of Ray together; and what that makes two workers faster where they have two cores to themselves.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import results

_PART = 32
_TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure, and append the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--count", type=int, default=384)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = options.model or _with_random_weights(Path(folder) / "xception.keras")
        photos = sorted(str(path) for path in options.photos.rglob("*.jpg"))[: options.count]
        found: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
        for turn in range(options.rounds):
            for workers, rates in found.items():
                rates.append(_rates(model, photos, Path(folder) / f"{turn}-{workers}", workers))
    medians = {workers: tuple(map(statistics.median, zip(*rates, strict=True))) for workers, rates in found.items()}
    for workers, (rate, processor_s) in medians.items():
        row = {
            "network": "xception" if options.model is None else options.model.name, "photos": len(photos),
            "workers": workers, "by": "ray" if workers > 1 else "one process on one core", "images_s": round(rate, 2),
            "faster": round(rate / medians[1][0], 2), "processor_s_each": round(processor_s, 4),
            "faster_by_processor": round(workers * medians[1][1] / processor_s, 2), "rounds": options.rounds,
        }  # fmt: skip
        print(row, flush=True)
        results.append("scaling_prediction", row)


def _with_random_weights(path: Path) -> Path:
    """A model file of Xception."""
    import ception

    ception.Classifier.build("xception", [f"class{number}" for number in range(10)]).save(path)
    return path


def _rates(model: Path, photos: list[str], out: Path, workers: int) -> tuple[float, float]:
    """Pictures in a second, and processor time for one, once all workers are at work."""
    command = [sys.executable, "-m", "ception", "predict", str(model), *photos, "--out", str(out), "--part-size",
               str(_PART), *(["--on", "ray"] if workers > 1 else []), "--quiet"]  # fmt: skip
    core = min(os.sched_getaffinity(0))
    process = subprocess.Popen(
        command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL,
        preexec_fn=(lambda: os.sched_setaffinity(0, {core})) if workers == 1 else None,
    )  # fmt: skip
    seen = [(0, 0.0, 0.0)]  # files, and when there were first so many: by the clock, and by all processors
    while process.poll() is None:
        count = len(list(out.glob("part-*")))
        if count > seen[-1][0]:
            seen.append((count, time.monotonic(), _processor_s(process.pid)))
        time.sleep(0.02)
    if process.returncode:
        raise SystemExit("a prediction failed")
    first = next(one for one in seen if one[0] >= workers)
    pictures = min(len(photos), seen[-1][0] * _PART) - first[0] * _PART
    return pictures / (seen[-1][1] - first[1]), (seen[-1][2] - first[2]) / pictures


def _processor_s(process: int) -> float:
    """Seconds that a process and all that it began had a processor."""
    parents, taken = {}, {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = status.read_text().rpartition(")")[2].split()
            number = int(status.parent.name)
            parents[number], taken[number] = int(fields[1]), sum(map(int, fields[11:15]))
    found = [process]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return sum(taken.get(one, 0) for one in found) / _TICKS


if __name__ == "__main__":
    main()
