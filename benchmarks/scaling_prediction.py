"""How much faster two workers of a Ray cluster predict than one process, each with one thread.

    python benchmarks/scaling_prediction.py PHOTOS                       # Xception at 299 pixels with random weights
    python benchmarks/scaling_prediction.py PHOTOS --model MODEL --count 400 --rounds 2

`ception predict --out` in one process and with `--on ray` take turns, in files of 20 answers. The start does not count:
time runs from when as many files are written as there are workers, by the files' own times. Medians of the rounds are
appended to results/scaling_prediction.csv.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import results

_PART = 20


def main() -> None:
    """Measure, and append the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = options.model or _with_random_weights(Path(folder) / "xception.keras")
        photos = sorted(str(path) for path in options.photos.rglob("*.jpg"))[: options.count]
        found: dict[int, list[float]] = {1: [], 2: []}
        for turn in range(options.rounds):
            for workers, rates in found.items():
                rates.append(_rate(model, photos, Path(folder) / f"{turn}-{workers}", workers))
    alone = statistics.median(found[1])
    for workers, rates in found.items():
        rate = statistics.median(rates)
        row = {
            "network": "xception" if options.model is None else options.model.name, "photos": len(photos),
            "workers": workers, "by": "ray" if workers > 1 else "one process", "images_s": round(rate, 2),
            "faster": round(rate / alone, 2), "rounds": options.rounds,
        }  # fmt: skip
        print(row, flush=True)
        results.append("scaling_prediction", row)


def _with_random_weights(path: Path) -> Path:
    """A model file of Xception."""
    import ception

    ception.Classifier.build("xception", [f"class{number}" for number in range(10)]).save(path)
    return path


def _rate(model: Path, photos: list[str], out: Path, workers: int) -> float:
    """Pictures in a second, once all workers are at work."""
    command = [
        sys.executable,
        "-m",
        "ception",
        "predict",
        str(model),
        *photos,
        "--out",
        str(out),
        "--part-size",
        str(_PART),
    ]
    subprocess.run(
        [*command, *(["--on", "ray"] if workers > 1 else []), "--quiet"],
        env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    written = sorted(path.stat().st_mtime for path in out.glob("part-*"))
    return (len(written) - workers) * _PART / (written[-1] - written[workers - 1])


if __name__ == "__main__":
    main()
