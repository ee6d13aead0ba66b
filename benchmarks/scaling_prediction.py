"""How much faster two workers of a Ray cluster predict than one process, each with one thread.

    python benchmarks/scaling_prediction.py PHOTOS                       # Xception at 299 pixels with random weights
    python benchmarks/scaling_prediction.py PHOTOS --model MODEL --count 400 --rounds 2

`ception predict --out` in one process and with `--on ray` take turns, in files of 32 answers. The one process is kept
to one core, for it would decode on the other while its thread computes. The start does not count: time runs from when
as many files are written as there are workers. Medians of the rounds are appended to results/scaling_prediction.csv:
pictures in a second by the clock, which other work on the machine makes fewer; the processor time of a picture, in the
process or the workers; the share of a core that all other processes of Ray take, the driver among them, by the clock,
however many pictures are done; and what both make two workers faster where they have two cores to themselves.
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
        found: dict[int, list[tuple[float, float, float]]] = {1: [], 2: []}
        for turn in range(options.rounds):
            for workers, rates in found.items():
                rates.append(_rates(model, photos, Path(folder) / f"{turn}-{workers}", workers))
    medians = {workers: tuple(map(statistics.median, zip(*rates, strict=True))) for workers, rates in found.items()}
    for workers, (rate, processor_s, standing) in medians.items():
        row = {
            "network": "xception" if options.model is None else options.model.name, "photos": len(photos),
            "workers": workers, "by": "ray" if workers > 1 else "one process on one core", "images_s": round(rate, 2),
            "faster": round(rate / medians[1][0], 2), "processor_s_each": round(processor_s, 4),
            "standing_cores": round(standing, 3),
            "faster_by_processor": round((workers - standing) * medians[1][1] / processor_s, 2),
            "rounds": options.rounds,
        }  # fmt: skip
        print(row, flush=True)
        results.append("scaling_prediction", row)


def _with_random_weights(path: Path) -> Path:
    """A model file of Xception."""
    import ception

    ception.Classifier.build("xception", [f"class{number}" for number in range(10)]).save(path)
    return path


def _rates(model: Path, photos: list[str], out: Path, workers: int) -> tuple[float, float, float]:
    """Once all workers are at work: pictures in a second, processor time for one, and cores that all else takes."""
    command = [sys.executable, "-m", "ception", "predict", str(model), *photos, "--out", str(out), "--part-size",
               str(_PART), *(["--on", "ray"] if workers > 1 else []), "--quiet"]  # fmt: skip
    core = min(os.sched_getaffinity(0))
    process = subprocess.Popen(
        command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL,
        preexec_fn=(lambda: os.sched_setaffinity(0, {core})) if workers == 1 else None,
    )  # fmt: skip
    seen = [(0, 0.0, 0.0, 0.0)]  # files, and when there were first so many: by the clock, and processor time
    while process.poll() is None:
        count = len(list(out.glob("part-*")))
        if count > seen[-1][0]:
            seen.append((count, time.monotonic(), *_processor_s(process.pid, workers > 1)))
        time.sleep(0.02)
    if process.returncode:
        raise SystemExit("a prediction failed")
    first = next(one for one in seen if one[0] >= workers)
    pictures = min(len(photos), seen[-1][0] * _PART) - first[0] * _PART
    _, seconds, working_s, standing_s = (last - begun for last, begun in zip(seen[-1], first, strict=True))
    return pictures / seconds, working_s / pictures, standing_s / seconds


def _processor_s(process: int, on_ray: bool) -> tuple[float, float]:
    """Seconds that those that predict had a processor, of a process and all that it began, and that the others had."""
    parents, taken, predict = {}, {}, {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = status.read_text().rpartition(")")[2].split()
            number = int(status.parent.name)
            parents[number], taken[number] = int(fields[1]), sum(map(int, fields[11:15])) / _TICKS
            predict[number] = not on_ray or b"MapWorker" in (status.parent / "cmdline").read_bytes()
    found = [process]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    working = sum(taken[one] for one in found if predict.get(one))
    return working, sum(taken.get(one, 0) for one in found) - working


if __name__ == "__main__":
    main()
