"""What TensorFlow's settings for CPUs are worth: oneDNN, and an allocator that keeps its memory.

    python benchmarks/backend_settings.py                # Xception at 299 px, and a step of separable_cnn
    python benchmarks/backend_settings.py --rounds 5

Each setting runs in a process of its own, all of them in turn, several rounds; the median of each appends a row to
results/backend_settings.csv. `none` is TensorFlow as it is installed, which on some processors has oneDNN on.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from typing import Any

import results

SETTINGS = {
    "none": {},
    "oneDNN": {"TF_ENABLE_ONEDNN_OPTS": "1"},
    "oneDNN off": {"TF_ENABLE_ONEDNN_OPTS": "0"},
    "caching allocator": {"TF_CPU_ALLOCATOR_USE_BFC": "true"},
    "both": {"TF_ENABLE_ONEDNN_OPTS": "1", "TF_CPU_ALLOCATOR_USE_BFC": "true"},
}
CASES = {"xception": (299, 3, 8, 4), "separable_cnn": (28, 1, 32, 200)}  # size, channels, batch, steps


def measured(name: str) -> dict[str, float]:
    """Pictures a second in inference and in training, in this process."""
    import time

    import keras
    import numpy as np

    import ception

    size, channels, batch, steps = CASES[name]
    network = ception.build(name, classes=10, seed=0)
    network.compile(keras.optimizers.SGD(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                    jit_compile=False)  # fmt: skip
    random = np.random.default_rng(0)
    x = random.integers(0, 256, (batch, size, size, channels)).astype("float32")
    y = random.integers(0, 10, batch)

    def rate(step: Any) -> float:
        step()
        start = time.perf_counter()
        for _ in range(steps):
            step()
        return batch * steps / (time.perf_counter() - start)

    return {"inference": rate(lambda: network.predict_on_batch(x)),
            "training": rate(lambda: network.train_on_batch(x, y))}  # fmt: skip


def main() -> None:
    """Run every setting in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--here", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        print(json.dumps(measured(options.here)))
        return
    for name in options.networks:
        rates: dict[str, list[dict[str, float]]] = {setting: [] for setting in SETTINGS}
        for _ in range(options.rounds):
            for setting, variables in SETTINGS.items():
                # an empty value is no setting of the user's, and keeps the library from making its own
                blank = dict.fromkeys(("TF_ENABLE_ONEDNN_OPTS", "TF_CPU_ALLOCATOR_USE_BFC"), "")
                environment = os.environ | {"KERAS_BACKEND": "tensorflow"} | blank | variables
                told = subprocess.run([sys.executable, __file__, "--here", name], env=environment, check=True,
                                      capture_output=True, text=True).stdout  # fmt: skip
                rates[setting].append(json.loads(told.splitlines()[-1]))
        for setting, rounds in rates.items():
            row = {"network": name, "size": CASES[name][0], "batch": CASES[name][2], "setting": setting}
            row |= {f"{what}_images_per_s": round(statistics.median(one[what] for one in rounds), 2)
                    for what in ("inference", "training")}  # fmt: skip
            results.append("backend_settings", row)
            print(row, flush=True)


if __name__ == "__main__":
    main()
