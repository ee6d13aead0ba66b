"""Time and peak memory by the number of pictures, in shards: loading, predicting, sharding and checking them.

    python benchmarks/many_pictures.py --counts 10000 100000 1000000 --tasks load predict shard

The pictures are noise of 16 x 16 in one of three colours, made for the purpose. Each task runs in a process of its own
and appends a row to results/many_pictures.csv.
"""

from __future__ import annotations

import argparse
import io
import shlex
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import results
from ception.data.dataset import TEST, TRAIN, VAL, Dataset
from ception.data.pictures import Files, digest_of
from ception.data.shard_writing import Picture, ShardWriter
from commands import run

CLASSES = ("blue", "green", "red")
LOAD = (
    "import sys; from ception.data import sources, splitting; d = sources.load(sys.argv[1]);"
    "splitting.split(d, sources.digests(d.pictures)[0])"
)


def write(folder: Path, count: int) -> Path:
    """Shards of so many pictures."""
    folder.mkdir()
    random = np.random.default_rng(0)
    with ShardWriter(folder, 256_000_000, count) as writer:
        for split, share in ((TRAIN, 0.7), (VAL, 0.1), (TEST, 0.2)):
            for number in range(round(count * share)):
                label = number % 3
                pixels = random.integers(0, 120, (16, 16, 3), np.uint8)
                pixels[..., 2 - label] += 120
                buffer = io.BytesIO()
                Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
                data = buffer.getvalue()
                writer.write(Picture(
                    name=f"{number}.jpg", suffix=".jpg", data=data, digest=np.void(digest_of(data)), label=label,
                    split=split, grey=False, side=16,
                ))  # fmt: skip
        nothing = np.zeros(0, np.int32)
        writer.finish(Dataset(name="noise", class_names=CLASSES, pictures=Files([]), labels=nothing,
                              stated_splits=np.zeros(0, np.int8), ignored={}))  # fmt: skip
    return folder


def commands(shards: Path, model: Path, folder: Path) -> dict[str, list[str]]:
    """What is measured, by its name."""
    ception = [sys.executable, "-m", "ception"]
    return {
        "load": [sys.executable, "-c", LOAD, str(shards)],
        "predict": [*ception, "predict", str(model), str(shards), "--quiet"],
        "shard": [*ception, "shard", str(shards), str(folder / "again"), "--quiet"],
        "check": [*ception, "check", str(shards), "--out", str(folder / "check.html"), "--quiet"],
    }


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--tasks", nargs="+", default=["load", "predict", "shard"])
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        few = write(folder / "few", 300)
        ception = [sys.executable, "-m", "ception"]
        run([*ception, "train", str(few), "--model", "separable_cnn", "--epochs", "1", "--quiet"], folder)
        model = next(folder.glob("runs/*/model.keras"))
        run([*ception, "predict", str(model), str(few), "--quiet"], folder)  # translates it
        for count in asked.counts:
            inside = folder / str(count)
            inside.mkdir()
            shards = write(inside / "shards", count)
            for task in asked.tasks:
                command = commands(shards, model, inside)[task]
                print(shlex.join(command), flush=True)
                seconds, peak_mb = run(command, inside)
                row = {"task": task, "pictures": count, "seconds": round(seconds, 2), "peak_mb": round(peak_mb),
                       "microseconds_each": round(seconds / count * 1e6, 1)}  # fmt: skip
                results.append("many_pictures", row)
                print(row, flush=True)


if __name__ == "__main__":
    main()
