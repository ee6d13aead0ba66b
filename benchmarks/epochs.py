"""What an epoch of separable_cnn costs beside its steps: Keras's fit with Keras's layers, and ours.

    python benchmarks/epochs.py
    python benchmarks/epochs.py --all-cores                      # and by the clock, on a quiet machine
    ONEDNN_MAX_CPU_ISA=AVX2 python benchmarks/epochs.py          # held to what an older processor has

6,400 random pictures of 28 x 28 in batches of 32, on one core unless told otherwise, TensorFlow. `as installed` has
none of this package's settings; `at once` is how many steps are made without Python between them. Each case runs in a
process of its own; what counts is the least processor time of an epoch after the first, or the least time by the clock.
Rows go to results/epochs.csv.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from itertools import pairwise

import results

PICTURES, BATCH, EPOCHS = 6400, 32, 4
CASES = (("as installed", 1), ("stock", 1), ("ours", 1), ("ours", 10))


def measured(kind: str, at_once: int) -> list[float]:
    """Processor seconds and seconds by the clock of a step, each in the cheapest epoch."""
    if kind != "as installed":
        from ception import backends

        backends.start("tensorflow")
    import keras
    import numpy as np

    from ception import layers
    from ception.data.batches import Batches
    from ception.models import NetworkConfig
    from ception.models.building import build_network

    random = np.random.default_rng(0)
    x = random.integers(0, 256, (PICTURES, 28, 28, 1), dtype=np.uint8)
    y = random.integers(0, 10, PICTURES).astype("int32")
    config = NetworkConfig.of("separable_cnn", classes=10, image_size=28, channels=1)
    network = build_network(config, seed=0, layers=layers.quicker("cpu") if kind == "ours" else {})
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(
        keras.optimizers.SGD(0.01), loss, metrics=["accuracy"], jit_compile=False, steps_per_execution=at_once
    )
    times: list[tuple[float, float]] = []
    clock = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: times.append((time.process_time(), time.perf_counter()))
    )
    if kind == "ours":
        network.fit(Batches(x, y, np.arange(PICTURES), BATCH, seed=0), epochs=EPOCHS, verbose=0, callbacks=[clock])
    else:
        network.fit(x.astype("float32"), y, batch_size=BATCH, epochs=EPOCHS, verbose=0, callbacks=[clock])
    taken = [(after[0] - before[0], after[1] - before[1]) for before, after in pairwise(times)]
    return [min(one) * BATCH / PICTURES for one in zip(*taken, strict=True)]


def main() -> None:
    """Run all cases in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all-cores", action="store_true", help="as many threads as there are, timed by the clock")
    parser.add_argument("--here", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        print(json.dumps(measured(options.here[0], int(options.here[1]))))
        return
    threads = (
        {}
        if options.all_cores
        else dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1")
    )
    first = None
    for kind, at_once in CASES:
        command = [sys.executable, __file__, "--here", kind, str(at_once)]
        environment = os.environ | threads | results.holding(installed=kind == "as installed")
        told = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
        processor, clock = json.loads(told.splitlines()[-1])
        seconds = clock if options.all_cores else processor
        first = first or seconds
        row = {"case": kind, "at_once": at_once, "cores": "all" if options.all_cores else "1",
               "processor_ms_per_step": round(1000 * processor, 2), "ms_per_step": round(1000 * clock, 2),
               "times_installed": round(first / seconds, 2)}  # fmt: skip
        results.append("epochs", row)
        print(row, flush=True)


if __name__ == "__main__":
    main()
