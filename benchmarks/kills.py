"""A training in two processes of which one is killed at ten moments of chance, and goes on to the same end.

    KERAS_BACKEND=torch python benchmarks/kills.py
    KERAS_BACKEND=torch python benchmarks/kills.py --kills 3 --seed 7

Each time kill -9 hits either process somewhere between the start and the end of a training that takes as long as one
that nobody disturbed. What is left goes on by --resume in two processes, or begins again where no epoch was done. A row
of results/kills.csv is a kill: when, how many epochs had been done, what the other process said last and after how many
seconds, and whether weights and losses are those of the undisturbed training to the last bit.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

import results

_FLAGS = ["--model=separable_cnn", "--epochs=30", "--patience=30", "--batch-size=16", "--image-size=16",
          "--no-neighbours"]  # fmt: skip
_COLOURS = {"red": (200, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 200)}


def main() -> None:
    """Kill, and append the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = _write(folder / "colours")
        whole, moments = folder / "whole", []
        _ended(_started(whole, ["train", str(data), *_FLAGS], moments))
        for number in range(options.kills):
            place, killed = folder / str(number), chance.randrange(2)
            processes = _started(place, ["train", str(data), *_FLAGS])
            moment = chance.uniform(0.0, moments[0])
            time.sleep(moment)
            done = _epochs(place)
            processes[killed].send_signal(signal.SIGKILL)
            began = time.monotonic()
            said = processes[1 - killed].communicate()[1]
            told_s = time.monotonic() - began
            processes[killed].communicate()
            left = _run(place)
            resumed = left is not None and _epochs(place) > 0
            again = ["--resume", str(left)] if resumed else [str(data), *_FLAGS]
            other = place if resumed else folder / f"{number}-again"
            _ended(_started(other, ["train", *again]))
            row = {
                "processes": 2, "backend": os.environ["KERAS_BACKEND"], "killed": killed + 1,
                "after_s": round(moment, 2), "epochs_done": done,
                "told": (said.strip().splitlines() or ["nothing"])[-1][:60], "told_after_s": round(told_s, 1),
                "resumed": resumed, "same": _same(_run(whole), _run(other)),
            }  # fmt: skip
            print(row, flush=True)
            results.append("kills", row)


def _write(folder: Path) -> Path:
    """Pictures of three colours."""
    chance = np.random.default_rng(0)
    for name, colour in _COLOURS.items():
        (folder / name).mkdir(parents=True)
        for number in range(40):
            pixels = np.clip(np.array(colour) + chance.integers(-40, 40, (16, 16, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def _started(place: Path, words: list[str], moments: list[float] | None = None) -> list[subprocess.Popen[str]]:
    """Two processes of a training; how long they take is appended to `moments`, where it is given."""
    place.mkdir(exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    began = time.monotonic()
    own = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1",
           "CEPTION_GATHERING_S": "60",  # or who is killed before they meet is waited for five minutes
           "CEPTION_CACHE": str(place.parent / "cache")}  # fmt: skip
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "ception", *words], cwd=place, env=os.environ | own | {"RANK": str(index)},
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )
        for index in range(2)
    ]  # fmt: skip
    if moments is not None:
        for process in processes:
            process.wait()
        moments.append(time.monotonic() - began)
    return processes


def _ended(processes: list[subprocess.Popen[str]]) -> None:
    for process in processes:
        said = process.communicate()[1]
        if process.returncode:
            raise SystemExit(said)


def _run(place: Path) -> Path | None:
    return next(iter(sorted((place / "runs").glob("*-*"))), None)


def _epochs(place: Path) -> int:
    """Epochs in the log so far."""
    run = _run(place)
    log = None if run is None else run / "log.csv"
    return len(log.read_text().splitlines()) - 1 if log and log.exists() else 0


def _same(one: Path | None, other: Path | None) -> bool:
    """Whether two runs have the same weights and losses to the last bit."""
    import ception
    from ception.evaluation import read_log

    if one is None or other is None:
        return False
    models = [ception.Classifier.load(run / "model.keras").network.get_weights() for run in (one, other)]
    logs = [[(row["loss"], row["val_loss"]) for row in read_log(run / "log.csv")] for run in (one, other)]
    return logs[0] == logs[1] and all(np.array_equal(*pair) for pair in zip(*models, strict=True))


if __name__ == "__main__":
    main()
