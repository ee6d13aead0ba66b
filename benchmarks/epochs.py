"""What an epoch of separable_cnn costs beside its steps: Keras's fit with Keras's layers, and ours.

    python benchmarks/epochs.py
    python benchmarks/epochs.py --all-cores                      # and by the clock, on a quiet machine
    ONEDNN_MAX_CPU_ISA=AVX2 python benchmarks/epochs.py          # held to what an older processor has

6,400 random pictures of 28 x 28 in batches of 32, on one core unless told otherwise, TensorFlow. `as installed` has
none of this package's settings; `at once` is how many steps are made without Python between them; `tuned` is ours while
TensorFlow tunes how far it reads ahead, for which an epoch may wait. Each case runs in a process of its own; what
counts is the least processor time of an epoch after the first, or the least time by the clock; the mean by the clock is
told beside it. Rows go to results/epochs.csv.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from itertools import pairwise

import results

PICTURES, BATCH = 6400, 32
OURS = ("tuned", "ours")
CASES = (("as installed", 1), ("stock", 1), ("ours", 1), ("tuned", 10), ("ours", 10))


def measured(kind: str, at_once: int, epochs: int) -> list[float]:
    """Processor seconds and seconds by the clock of a step, each in the cheapest epoch, and the latter in the mean."""
    if kind != "as installed":
        from ception import backends

        backends.start("tensorflow")
    import keras
    import numpy as np

    from ception import layers
    from ception.data.batches import Batches
    from ception.keras_internals import untuned
    from ception.models import NetworkConfig
    from ception.models.building import build_network

    random = np.random.default_rng(0)
    x = random.integers(0, 256, (PICTURES, 28, 28, 1), dtype=np.uint8)
    y = random.integers(0, 10, PICTURES).astype("int32")
    config = NetworkConfig.of("separable_cnn", classes=10, image_size=28, channels=1)
    network = build_network(config, seed=0, layers=layers.quicker("cpu") if kind in OURS else {})
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(
        keras.optimizers.SGD(0.01), loss, metrics=["accuracy"], jit_compile=False, steps_per_execution=at_once
    )
    times: list[tuple[float, float]] = []
    clock = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: times.append((time.process_time(), time.perf_counter()))
    )
    if kind in OURS:
        batches = Batches(x, y, np.arange(PICTURES), BATCH, seed=0)
        given = untuned(batches) if kind == "ours" else batches
        network.fit(given, epochs=epochs, verbose=0, callbacks=[clock])
    else:
        network.fit(x.astype("float32"), y, batch_size=BATCH, epochs=epochs, verbose=0, callbacks=[clock])
    processor, clock_s = zip(
        *[(after[0] - before[0], after[1] - before[1]) for before, after in pairwise(times)], strict=True
    )
    return [value * BATCH / PICTURES for value in (min(processor), min(clock_s), statistics.mean(clock_s))]


def main() -> None:
    """Run all cases in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all-cores", action="store_true", help="as many threads as there are, timed by the clock")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--here", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        print(json.dumps(measured(options.here[0], int(options.here[1]), options.epochs)))
        return
    threads = (
        {}
        if options.all_cores
        else dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1")
    )
    first = None
    for kind, at_once in CASES:
        command = [sys.executable, __file__, "--here", kind, str(at_once), "--epochs", str(options.epochs)]
        environment = os.environ | threads | results.holding(installed=kind == "as installed")
        told = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
        processor, clock, mean = json.loads(told.splitlines()[-1])
        seconds = clock if options.all_cores else processor
        first = first or seconds
        row = {"case": kind, "at_once": at_once, "cores": "all" if options.all_cores else "1",
               "processor_ms_per_step": round(1000 * processor, 2), "ms_per_step": round(1000 * clock, 2),
               "mean_ms_per_step": round(1000 * mean, 2), "times_installed": round(first / seconds, 2)}  # fmt: skip
        results.append("epochs", row)
        print(row, flush=True)


if __name__ == "__main__":
    main()
