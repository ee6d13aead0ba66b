"""How much faster two processes train than one, each with one thread, with the same batches of pictures in all.

    python benchmarks/scaling.py                         # with the backend of KERAS_BACKEND, torch or jax
    python benchmarks/scaling.py --network inception_v1 --image-size 128 --batch-size 16 --rounds 3

Trainings with one process and with two take turns. The pictures are noise: what they show makes no step longer. Of each
training the quickest epoch after the first counts, which compiles: in seconds by the clock, and in seconds that the
first process had a processor, which other work on the machine makes no longer; it waits for the other process without
one. A row of results/scaling.csv is a number of processes, with the medians over the rounds and what they make of those
of one process. `2 apart` are two trainings that know nothing of each other, each of half the pictures in half batches:
what the machine's memory and smaller batches leave of twice the speed before anything is exchanged.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import results
from ception.reporting import Reporter

APART = "2 apart"
_EPOCHS, _CLASSES = 4, 4


class _Clock(Reporter):
    """Remembers how long each epoch took."""

    def __init__(self) -> None:
        self.epochs: list[tuple[float, float]] = []
        self._begun = time.monotonic(), time.process_time()

    def note(self, text: str) -> None:
        """An epoch is over where its line comes."""
        now = time.monotonic(), time.process_time()
        if text.startswith("epoch "):
            self.epochs.append((now[0] - self._begun[0], now[1] - self._begun[1]))
        self._begun = now

    def warn(self, text: str) -> None:
        """Nothing: noise cannot be learnt."""


def main() -> None:
    """Measure, and append the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="inception_v1")
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--pictures", type=int, default=160)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)  # the data, for a process of a training
    options = parser.parse_args()
    if options.one:
        _train(options)
        return
    measured: dict[str, list[tuple[float, float]]] = {"1": [], "2": [], APART: []}
    with tempfile.TemporaryDirectory() as folder:
        _write_noise(Path(folder) / "whole", options.pictures, options.image_size)
        _write_noise(Path(folder) / "half", options.pictures // 2, options.image_size)
        for _ in range(options.rounds):
            for processes, found in measured.items():
                found.append(_measure(Path(folder), processes, options.batch_size))
    alone = _medians(measured["1"])
    for processes, found in measured.items():
        seconds, processor = _medians(found)
        row: dict[str, Any] = {
            "network": options.network, "image_size": options.image_size, "batch": options.batch_size,
            "pictures": options.pictures, "backend": os.environ["KERAS_BACKEND"], "processes": processes,
            "epoch_s": round(seconds, 2), "processor_s": round(processor, 2), "faster": round(alone[0] / seconds, 2),
            "faster_by_processor": round(alone[1] / processor, 2), "rounds": options.rounds,
        }  # fmt: skip
        print(row)
        results.append("scaling", row)


def _write_noise(folder: Path, count: int, side: int) -> None:
    random = np.random.default_rng(0)
    for index in range(count):
        place = folder / f"class{index % _CLASSES}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (side, side, 3), np.uint8)).save(place / f"{index:05d}.png")


def _medians(found: list[tuple[float, float]]) -> tuple[float, float]:
    return statistics.median(one[0] for one in found), statistics.median(one[1] for one in found)


def _measure(folder: Path, processes: str, batch: int) -> tuple[float, float]:
    """The quickest epoch of a training in so many processes: seconds by the clock, and of the first one's processor."""
    apart = processes == APART
    count = 1 if processes == "1" else 2
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    threads = {"OMP_NUM_THREADS": "1", "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"}
    where = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    part = ["--one", str(folder / ("half" if apart else "whole")), "--batch-size", str(batch // 2 if apart else batch)]
    running = [
        subprocess.Popen(
            [sys.executable, __file__, *sys.argv[1:], *part], stdout=subprocess.PIPE, text=True,
            env=os.environ | threads | {"CEPTION_CACHE": str(folder / "cache")}
            | ({} if apart else where | {"RANK": str(index)}),
        )
        for index in range(count)
    ]  # fmt: skip
    told = [process.communicate()[0] for process in running]
    epochs = json.loads(told[0].splitlines()[-1])[1:]
    return min(seconds for seconds, _ in epochs), min(processor for _, processor in epochs)


def _train(options: argparse.Namespace) -> None:
    import ception

    clock = _Clock()
    ception.train(
        options.one, reporter=clock, model=options.network, image_size=options.image_size, epochs=_EPOCHS,
        batch_size=options.batch_size, patience=_EPOCHS, neighbours=False, runs=options.one.parent / "runs",
    )  # fmt: skip
    print(json.dumps(clock.epochs))


if __name__ == "__main__":
    main()
