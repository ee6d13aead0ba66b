"""How much faster two processes train than one, each with one thread, with the same batches of pictures in all.

    python benchmarks/scaling.py                         # with the backend of KERAS_BACKEND, torch or jax
    python benchmarks/scaling.py --network inception_v1 --image-size 128 --batch-size 16 --rounds 3
    python benchmarks/scaling.py --batch-norm frozen     # all layers fine-tuned, from a file of weights

Trainings with one process and with two take turns. The pictures are noise: what they show makes no step longer. All
splits are stated, so that half the pictures are just half the work (in rows before 2026-11-28 the pictures were split
by their bytes, and those of all splits are counted). Of each training the quickest epoch after the first counts, which
compiles: in seconds by the clock, and in seconds that the first process had a processor, which other work on the
machine makes no longer; it waits for the other process without one. A row of results/scaling.csv is a number of
processes, with the medians over the rounds and what they make of those of one process. `2 apart` are two trainings that
know nothing of each other, each of half the pictures in half batches: what the machine's memory and smaller batches
leave of twice the speed before anything is exchanged. Where batch norm is trained, each of its layers exchanges its
statistics twice; where it is frozen, the gradients alone are exchanged.
"""

from __future__ import annotations

import argparse
import json
import os
import re
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
_TO_VALIDATION = 8  # training pictures to one of validation
_ALONE = {"OMP_NUM_THREADS": "1", "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"}


class _Clock(Reporter):
    """Remembers how long each epoch took."""

    def __init__(self) -> None:
        self.epochs: list[tuple[float, float]] = []
        self._begun = time.monotonic(), time.process_time()

    def note(self, text: str) -> None:
        """An epoch is over where its line comes."""
        now = time.monotonic(), time.process_time()
        if re.search(r"\bepoch \d", text):
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
    parser.add_argument("--pictures", type=int, default=160, help="to train with; an eighth more to validate")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-norm", choices=("train", "frozen"), default="train")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)  # the data, for a process of a training
    parser.add_argument("--weights-only", action="store_true", help=argparse.SUPPRESS)  # of one that makes the weights
    options = parser.parse_args()
    if options.one:
        _train(options)
        return
    measured: dict[str, list[tuple[float, float]]] = {"1": [], "2": [], APART: []}
    with tempfile.TemporaryDirectory() as folder:
        _write_noise(Path(folder) / "whole", options.pictures, options.image_size)
        _write_noise(Path(folder) / "half", options.pictures // 2, options.image_size)
        if options.batch_norm == "frozen":
            _run([_command(Path(folder) / "half", options.batch_size, "--weights-only")], [_ALONE])
        for _ in range(options.rounds):
            for processes, found in measured.items():
                found.append(_measure(Path(folder), processes, options.batch_size))
    alone = _medians(measured["1"])
    for processes, found in measured.items():
        seconds, processor = _medians(found)
        row: dict[str, Any] = {
            "network": options.network, "batch_norm": options.batch_norm, "image_size": options.image_size,
            "batch": options.batch_size,
            "pictures": options.pictures, "backend": os.environ["KERAS_BACKEND"], "processes": processes,
            "epoch_s": round(seconds, 2), "processor_s": round(processor, 2), "faster": round(alone[0] / seconds, 2),
            "faster_by_processor": round(alone[1] / processor, 2), "rounds": options.rounds,
        }  # fmt: skip
        print(row)
        results.append("scaling", row)


def _write_noise(folder: Path, count: int, side: int) -> None:
    random = np.random.default_rng(0)
    for split, pictures in {"train": count, "val": count // _TO_VALIDATION, "test": _CLASSES}.items():
        for index in range(pictures):
            place = folder / split / f"class{index % _CLASSES}"
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
    where = _ALONE | {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    data, size = (folder / "half", batch // 2) if apart else (folder / "whole", batch)
    places = [_ALONE if apart else where | {"RANK": str(index)} for index in range(count)]
    told = _run([_command(data, size)] * count, places)
    epochs = json.loads(told[0].splitlines()[-1])[1:]
    return min(seconds for seconds, _ in epochs), min(processor for _, processor in epochs)


def _command(data: Path, batch: int, *further: str) -> list[str]:
    return [sys.executable, __file__, *sys.argv[1:], "--one", str(data), "--batch-size", str(batch), *further]


def _run(commands: list[list[str]], places: list[dict[str, str]]) -> list[str]:
    """What commands print that run at the same time."""
    cache = {"CEPTION_CACHE": str(Path(commands[0][commands[0].index("--one") + 1]).parent / "cache")}
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | place | cache)
        for command, place in zip(commands, places, strict=True)
    ]
    told = [process.communicate()[0] for process in running]
    if any(process.returncode for process in running):
        sys.exit("a training failed")
    return told


def _train(options: argparse.Namespace) -> None:
    import ception

    clock, folder = _Clock(), options.one.parent
    weights = next(folder.glob("weights/*/model.keras"), None)
    if options.batch_norm == "frozen" and not weights and not options.weights_only:
        sys.exit("there are no weights to be fine-tuned")
    fine_tuned = {"weights": str(weights), "from_": "input", "batch_norm": "frozen", "head_epochs": 1}
    ception.train(
        options.one, reporter=clock, model=options.network, image_size=options.image_size, neighbours=False,
        batch_size=options.batch_size, patience=_EPOCHS, epochs=1 if options.weights_only else _EPOCHS,
        runs=folder / ("weights" if options.weights_only else "runs"), **fine_tuned if weights else {},
    )  # fmt: skip
    print(json.dumps(clock.epochs[-_EPOCHS:]))


if __name__ == "__main__":
    main()
