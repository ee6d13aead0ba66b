"""Time of `ception predict` and `ception evaluate` on photos: Keras's backend, the fastest engine, and in bfloat16.

    python benchmarks/prediction.py                       # 500 photos of TrashNet beside the checkout, Xception
    python benchmarks/prediction.py DATA --photos 200 --rounds 3
    python benchmarks/prediction.py --before ../earlier/src      # and what an earlier version takes

Whole commands, each in a process of its own, all of them in turn, several rounds. The model has random weights. The
median of each appends a row to results/prediction.csv, with how many times faster it is than the first row of its
command. The first round of each is not counted: it translates the network and measures the engines once.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import results

SHARED = Path(__file__).parents[2] / "shared" / "data"
WAYS = {
    "keras": ["--engine", "keras"],
    "fastest": [],
    "fastest, bfloat16": ["--dtype", "bfloat16"],
}


def copied(data: Path, folder: Path, count: int) -> Path:
    """A data set of so many photos, taken evenly from each class."""
    classes = sorted(path for path in data.iterdir() if path.is_dir())
    for number, of_class in enumerate(classes):
        photos = sorted(of_class.glob("*.jpg"))[: count // len(classes) + (number < count % len(classes))]
        (folder / of_class.name).mkdir(parents=True)
        for photo in photos:
            shutil.copy(photo, folder / of_class.name)
    return folder


def saved(path: Path, classes: list[str], network: str) -> Path:
    """A model file with random weights."""
    from ception import Classifier

    Classifier.build(network, classes).save(path)
    return path


def seconds(command: list[str], environment: dict[str, str], folder: Path) -> float:
    """How long a command takes, which must succeed."""
    start = time.monotonic()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return time.monotonic() - start


def main() -> None:
    """Time every way of both commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", default=str(SHARED / "trashnet"))
    parser.add_argument("--network", default="xception")
    parser.add_argument("--photos", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--before", help="source folder of an earlier version")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        photos = copied(Path(options.data), folder / "photos", options.photos)
        model = saved(folder / "model.keras", sorted(path.name for path in photos.iterdir()), options.network)
        environment = os.environ | {"CEPTION_CACHE": str(folder / "cache")}
        ways = {way: (flags, environment) for way, flags in WAYS.items()}
        if options.before:
            earlier = environment | {"PYTHONPATH": options.before, "CEPTION_CACHE": str(folder / "cache before")}
            ways = {"before": ([], earlier)} | ways
        tasks = {"predict": ["predict", str(model), str(photos)],
                 "evaluate": ["evaluate", str(model), str(photos), "--split", "all"]}  # fmt: skip
        for task, arguments in tasks.items():
            times: dict[str, list[float]] = {way: [] for way in ways}
            for number in range(options.rounds + 1):
                for way, (flags, variables) in ways.items():
                    command = [sys.executable, "-m", "ception", *arguments, *flags, "--quiet"]
                    took = seconds(command, variables, folder)
                    if number:
                        times[way].append(took)
            medians = {way: statistics.median(took) for way, took in times.items()}
            first = next(iter(medians.values()))
            for way, took in medians.items():
                row = {"command": task, "network": options.network, "photos": options.photos, "engine": way,
                       "seconds": round(took, 2), "times_faster": round(first / took, 2)}  # fmt: skip
                print(json.dumps(row), flush=True)
                results.append("prediction", row)


if __name__ == "__main__":
    main()
