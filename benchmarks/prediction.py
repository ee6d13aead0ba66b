"""Time of `ception predict` and `ception evaluate` on photos: Keras's backend, the fastest engine, and in bfloat16.

    python benchmarks/prediction.py                       # 500 photos of TrashNet beside the checkout, Xception
    python benchmarks/prediction.py DATA --photos 200 --rounds 3
    python benchmarks/prediction.py --before ../earlier/src      # and what an earlier version takes
    python benchmarks/prediction.py --rates --photos 1000        # decoding alone, inference alone, and both at once

Whole commands, each in a process of its own, all of them in turn, several rounds. The model has random weights. The
median of each appends a row to results/prediction.csv, with how many times faster it is than the first row of its
command. The first round of each is not counted: it translates the network and measures the engines once.

`--rates` compares what `predict` does at once with its parts, in one process: a tenth of the photos is decoded, what
came of it goes through the engine, and then the same photos are predicted; then the next tenth, so that whatever else
the machine does meets all three alike. Where both parts use all cores, no more than 1 / (1 / decoding + 1 / inference)
can be had. Processor time is told beside it, and the most memory that a process took, of 200 photos and of all. The
first answer is that of a whole command for one photo, its network in the cache, the least of several. Rows go to
results/prediction_rates.csv.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import results

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ception import Predictor
    from ception.data.pictures import Given

SHARED = Path(__file__).parents[2] / "shared" / "data"
SHARES, ANSWERS = 10, 4  # of the photos, one after another; commands for one photo
WAYS = {
    "keras": ["--engine", "keras"],
    "fastest": [],
    "fastest, bfloat16": ["--dtype", "bfloat16"],
}


def copied(data: Path, folder: Path, count: int) -> Path:
    """A data set of so many photos, taken evenly from each class, as far as it has them."""
    classes = {path.name: sorted(path.glob("*.jpg")) for path in data.iterdir() if path.is_dir()}
    for done, (name, photos) in enumerate(sorted(classes.items(), key=lambda one: len(one[1]))):
        taken = photos[: count // (len(classes) - done)]
        count -= len(taken)
        (folder / name).mkdir(parents=True)
        for photo in taken:
            shutil.copy(photo, folder / name)
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


def rates(model: Path, photos: Path, network: str) -> dict[str, object]:
    """Photos in a second and processor time of decoding, of inference, and of both at once."""
    from ception import Predictor
    from ception.reporting import Reporter

    paths = sorted(map(str, photos.rglob("*.jpg")))
    with Predictor.open(model, pictures=len(paths), measure=False, reporter=Reporter()) as predictor:
        taken, peaks = in_turn(predictor, paths)
        engine = predictor.engine.name
    each = {name: len(paths) / wall for name, (wall, _) in taken.items()}
    shared = 1 / (1 / each["decoding"] + 1 / each["inference"])
    return {
        "network": network, "photos": len(paths), "engine": engine,
        **{f"{name}_per_s": round(value, 2) for name, value in each.items()},
        "share_of_smaller": round(each["predict"] / min(each["decoding"], each["inference"]), 3),
        "share_of_what_can_be": round(each["predict"] / shared, 3),
        **{f"{name}_processor_s": round(float(busy), 2) for name, (_, busy) in taken.items()},
        "peak_mb_of_a_fifth": round(peaks[SHARES // 5 - 1]), "peak_mb": round(peaks[-1]),
    }  # fmt: skip


def in_turn(predictor: Predictor, paths: list[str]) -> tuple[dict[str, NDArray[np.float64]], list[float]]:
    """Seconds and processor time of decoding, inference and both; the most memory so far after each share, in MB."""
    import numpy as np

    from ception.data import loading
    from ception.data.collecting import collected
    from ception.reporting import Reporter

    decoded: list[NDArray[np.uint8]] = []

    def decoding(share: Given) -> None:
        contract, size = predictor.description.image, predictor.batch_size
        stream = loading.stream(share, np.arange(len(share)), contract, size, reporter=Reporter(), label="")
        decoded[:] = [batch.pixels for batch in stream]

    def inference(_: Given) -> None:
        for pixels in decoded:
            predictor.logits(pixels)

    def predict(share: Given) -> None:
        decoded.clear()
        for _ in predictor.predictions(share):
            pass

    shares = [collected([str(path) for path in share]) for share in np.array_split(paths, SHARES)]
    decoding(shares[0])
    inference(shares[0])  # once without a clock
    taken = {name: np.zeros(2) for name in ("decoding", "inference", "predict")}
    peaks: list[float] = []
    for share in shares:
        for work in (decoding, inference, predict):
            began = np.array([time.perf_counter(), time.process_time()])
            work(share)
            taken[work.__name__] += np.array([time.perf_counter(), time.process_time()]) - began
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return taken, peaks


def first_answer(model: Path, photo: Path, environment: dict[str, str], folder: Path) -> dict[str, float]:
    """Seconds and processor time of a command that classifies one photo."""
    command = [sys.executable, "-m", "ception", "predict", str(model), str(photo), "--engine", "openvino", "--quiet"]
    wall, busy = [], []
    for _ in range(ANSWERS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        wall.append(seconds(command, environment, folder))
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        busy.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return {"first_answer_s": round(min(wall), 2), "first_answer_processor_s": round(min(busy), 2)}


def main() -> None:
    """Time every way of both commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", default=str(SHARED / "trashnet"))
    parser.add_argument("--network", default="xception")
    parser.add_argument("--photos", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--before", help="source folder of an earlier version")
    parser.add_argument("--rates", action="store_true", help="the parts of `predict` beside the whole")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        photos = copied(Path(options.data), folder / "photos", options.photos)
        model = saved(folder / "model.keras", sorted(path.name for path in photos.iterdir()), options.network)
        environment = os.environ | {"CEPTION_CACHE": str(folder / "cache")}
        if options.rates:
            os.environ |= environment
            row = rates(model, photos, options.network)
            row |= first_answer(model, next(photos.rglob("*.jpg")), environment, folder)
            print(json.dumps(row), flush=True)
            results.append("prediction_rates", row)
            return
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
