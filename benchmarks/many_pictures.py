"""Time, memory and open files by the number of pictures, in shards: loading, predicting, sharding and checking them.

    python benchmarks/many_pictures.py --counts 10000 100000 1000000 --tasks load predict answers shard check

The pictures are noise of 32 x 32 in one of three colours, made for the purpose. Each task runs in a process of its own
and appends a row to results/many_pictures.csv: seconds by the clock and of processors, the most memory that it had, the
most files that were open when it was looked at, every tenth of a second, and processor time for a picture beyond what a
task for 300 takes, which is its start; and what it has left in the cache folder, which was empty before. `answers` is
`predict` with --out.
"""

from __future__ import annotations

import argparse
import io
import os
import shlex
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image

import results
from ception.data.dataset import TEST, TRAIN, VAL, Dataset
from ception.data.pictures import Files, digest_of
from ception.data.shard_writing import Picture, ShardWriter
from commands import run

SIDE, FEW = 32, 300
CLASSES = ("blue", "green", "red")
LOAD = (
    "import sys; from ception.data import sources, splitting; d = sources.load(sys.argv[1]);"
    "splitting.split(d, sources.digests(d.pictures)[0])"
)


def write(folder: Path, count: int) -> Path:
    """Shards of so many pictures."""
    folder.mkdir()
    random = np.random.default_rng(0)
    with ShardWriter(folder, 256_000_000) as writer:
        for split, share in ((TRAIN, 0.7), (VAL, 0.1), (TEST, 0.2)):
            for number in range(round(count * share)):
                label = number % 3
                pixels = random.integers(0, 120, (SIDE, SIDE, 3), np.uint8)
                pixels[..., 2 - label] += 120
                buffer = io.BytesIO()
                Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
                data = buffer.getvalue()
                writer.write(Picture(
                    name=f"{number}.jpg", suffix=".jpg", data=data, digest=np.void(digest_of(data)), label=label,
                    split=split, grey=False, side=SIDE,
                ))  # fmt: skip
        nothing = np.zeros(0, np.int32)
        writer.finish(Dataset(name="noise", class_names=CLASSES, pictures=Files([]), labels=nothing,
                              stated_splits=np.zeros(0, np.int8), ignored={}))  # fmt: skip
    return folder


def written(folder: Path, count: int) -> Path:
    """Shards of so many pictures, which may be there already."""
    if not folder.exists():
        folder.parent.mkdir(exist_ok=True)
        write(folder.with_suffix(".part"), count).rename(folder)
    return folder


def commands(shards: Path, model: Path, folder: Path) -> dict[str, list[str]]:
    """What is measured, by its name."""
    ception = [sys.executable, "-m", "ception"]
    return {
        "load": [sys.executable, "-c", LOAD, str(shards)],
        "predict": [*ception, "predict", str(model), str(shards), "--quiet"],
        "answers": [*ception, "predict", str(model), str(shards), "--out", str(folder / "answers"), "--quiet"],
        "shard": [*ception, "shard", str(shards), str(folder / "again"), "--quiet"],
        "check": [*ception, "check", str(shards), "--out", str(folder / "check.html"), "--quiet"],
    }


def measured(command: list[str], folder: Path) -> dict[str, float]:
    """What a command, which must succeed, takes: columns of the rows."""
    began, files = time.monotonic(), 0
    cache = folder / f"cache-{began}"  # of another task nothing is known
    where = os.environ | {"CEPTION_CACHE": str(cache)}
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, cwd=folder, env=where, stdout=subprocess.DEVNULL, stderr=said)
        while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
            with suppress(FileNotFoundError):
                files = max(files, len(os.listdir(f"/proc/{process.pid}/fd")))
            time.sleep(0.1)
        _, status, usage = ended
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise SystemExit(said.read().decode())
    return {
        "seconds": round(time.monotonic() - began, 2), "processor_s": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_mb": round(usage.ru_maxrss / 1000), "open_files": files,
        "cache_mb": round(sum(path.stat().st_size for path in cache.rglob("*") if path.is_file()) / 1e6, 1),
    }  # fmt: skip


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--tasks", nargs="+", default=["load", "predict", "answers", "shard", "check"])
    parser.add_argument("--keep", type=Path, help="where the pictures are kept, and those of an earlier run lie")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        kept = (asked.keep or folder / "kept").absolute()
        few = written(kept / str(FEW), FEW)
        ception = [sys.executable, "-m", "ception"]
        run([*ception, "train", str(few), "--model", "separable_cnn", "--epochs", "1", "--quiet"], folder)
        model = next(folder.glob("runs/*/model.keras"))
        (folder / "start").mkdir()
        starts = {
            task: measured(commands(few, model, folder / "start")[task], folder)["processor_s"] for task in asked.tasks
        }
        for count in asked.counts:
            inside = folder / str(count)
            inside.mkdir()
            shards = written(kept / str(count), count)
            for task in asked.tasks:
                command = commands(shards, model, inside)[task]
                print(shlex.join(command), flush=True)
                found = measured(command, inside)
                each = (found["processor_s"] - starts[task]) / (count - FEW)
                row = {"task": task, "pictures": count, **found, "microseconds_each": round(each * 1e6, 1)}
                results.append("many_pictures", row)
                print(row, flush=True)


if __name__ == "__main__":
    main()
