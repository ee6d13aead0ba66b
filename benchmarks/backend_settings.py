"""What settings for CPUs are worth: TensorFlow's oneDNN and its allocator, and for PyTorch the C library's.

    python benchmarks/backend_settings.py                # Xception at 299 px, and a step of separable_cnn
    python benchmarks/backend_settings.py --backend torch --rounds 5
    python benchmarks/backend_settings.py --backend torch --processor     # where other work disturbs wall times

Each setting runs in a process of its own, all of them in turn, several rounds; the median of each appends a row to
results/backend_settings.csv. `none` is TensorFlow as it is installed, which on some processors has oneDNN on, and
PyTorch with a C library that is left alone, as it is wherever the user has set it up. With --processor the rows are
those of results/backend_memory.csv: what a training step takes of the processor, in the program and in the system, and
how many pages the system clears for it.
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

_OURS = {"LAYERS": "ours"}  # as in training, with the compiled kernels
_KEPT = "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=1099511627776"
IN_TORCH = {
    "torch: none": {"GLIBC_TUNABLES": "glibc.malloc.check=0"},
    "torch: kept heap": {},
    "torch: kept heap, huge pages": {"GLIBC_TUNABLES": f"{_KEPT}:glibc.malloc.hugetlb=1"},
    "torch: kept heap, OpenMP as it is": {"GOMP_SPINCOUNT": "300000"},
    "torch: kept heap, OpenMP as it is, our layers": _OURS | {"GOMP_SPINCOUNT": "300000"},
    "torch: kept heap, our layers": _OURS,
}
_BOTH = {"TF_ENABLE_ONEDNN_OPTS": "1", "TF_CPU_ALLOCATOR_USE_BFC": "true"}
SETTINGS = {
    "none": {},
    "oneDNN": {"TF_ENABLE_ONEDNN_OPTS": "1"},
    "oneDNN off": {"TF_ENABLE_ONEDNN_OPTS": "0"},
    "caching allocator": {"TF_CPU_ALLOCATOR_USE_BFC": "true"},
    "both": _BOTH,
    "both, our layers": _OURS | _BOTH,
    "both, one operation at a time": _BOTH | {"TF_NUM_INTEROP_THREADS": "1"},
    "both, one operation at a time, our layers": _OURS | _BOTH | {"TF_NUM_INTEROP_THREADS": "1"},
}
CASES = {  # size, channels, batch, steps
    "xception": (299, 3, 8, 4),
    "inception_v3": (299, 3, 8, 4),
    "separable_cnn": (28, 1, 32, 200),
}


def measured(name: str, batch_size: int | None) -> dict[str, float]:
    """Pictures a second in inference and in training, and what a step takes of the processor."""
    import resource
    import time

    from ception import backends

    backends.start()  # which makes its settings before Keras is there
    import keras
    import numpy as np

    from ception import layers
    from ception.models import NetworkConfig
    from ception.models.building import build_network

    size, channels, batch, steps = CASES[name]
    batch = batch_size or batch
    config = NetworkConfig.of(name, classes=10, image_size=size, channels=channels)
    network = build_network(config, seed=0, layers=layers.quicker("cpu") if "LAYERS" in os.environ else {})
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

    inference = rate(lambda: network.predict_on_batch(x))
    network.train_on_batch(x, y)
    before = resource.getrusage(resource.RUSAGE_SELF)
    training = rate(lambda: network.train_on_batch(x, y))
    after = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "inference": inference, "training": training, "program_s": (after.ru_utime - before.ru_utime) / (steps + 1),
        "system_s": (after.ru_stime - before.ru_stime) / (steps + 1),
        "cleared_pages": (after.ru_minflt - before.ru_minflt) / (steps + 1), "peak_gb": after.ru_maxrss / 1e6,
    }  # fmt: skip


def main() -> None:
    """Run every setting in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--settings", nargs="+", default=[], metavar="SETTING", help="those alone")
    parser.add_argument("--backend", default="tensorflow", choices=["tensorflow", "torch"])
    parser.add_argument("--batch", type=int, help="other than 8 of xception and 32 of separable_cnn")
    parser.add_argument("--processor", action="store_true", help="tell processor time, not pictures a second")
    parser.add_argument("--here", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        print(json.dumps(measured(options.here, options.batch)))
        return
    for name in options.networks:
        settings = SETTINGS if options.backend == "tensorflow" else IN_TORCH
        settings = {setting: made for setting, made in settings.items() if setting in (options.settings or settings)}
        rates: dict[str, list[dict[str, float]]] = {setting: [] for setting in settings}
        for _ in range(options.rounds):
            for setting, variables in settings.items():
                # an empty value is no setting of the user's, and keeps the library from making its own
                blank = dict.fromkeys((*_BOTH, "TF_NUM_INTEROP_THREADS"), "")
                environment = os.environ | {"KERAS_BACKEND": options.backend} | blank | variables
                command = [sys.executable, __file__, "--here", name]
                command += ["--batch", str(options.batch)] if options.batch else []
                told = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
                rates[setting].append(json.loads(told.splitlines()[-1]))
        for setting, rounds in rates.items():
            row = {
                "network": name,
                "size": CASES[name][0],
                "batch": options.batch or CASES[name][2],
                "setting": setting,
            }
            median = {what: round(statistics.median(one[what] for one in rounds), 4) for what in rounds[0]}
            if options.processor:
                keys = ("program_s", "system_s", "cleared_pages", "peak_gb")
                results.append("backend_memory", row | {f"training_{key}": median[key] for key in keys})
            else:
                keys = ("inference", "training")
                row |= {f"{key}_images_per_s": round(median[key], 2) for key in keys}
                results.append("backend_settings", row)
            print(row, median, flush=True)


if __name__ == "__main__":
    main()
