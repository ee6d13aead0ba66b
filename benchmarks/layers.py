"""What the layers are worth that training makes instead of Keras's: a training step with each, in turn.

    python benchmarks/layers.py                                       # Xception and separable_cnn on KERAS_BACKEND
    python benchmarks/layers.py --networks separable_cnn --rounds 5

`stock` are Keras's own, `python` those without a compiler, `compiled` those of ception-kernels where it is installed,
with the best instructions, or those that --instructions names: then the backend's libraries are held to such, too.
Each runs in a process of its own, in turn, several rounds. What counts is the processor time of a step, the least of
all: other work on the machine changes it less than the time on the clock. Rows go to results/layers.csv.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from typing import Any

import results

CASES = {"xception": (299, 3, 4, 2), "inception_v3": (299, 3, 4, 2), "separable_cnn": (28, 1, 32, 40)}
LAYERS = ("stock", "python", "compiled")
INSTRUCTIONS = {"avx512": (), "avx2": ("AVX2", "avx2", "AVX2"), "portable": ("AVX", "default", "AVX")}
_HELD_BY = ("ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY", "MKL_ENABLE_INSTRUCTIONS")  # oneDNN, PyTorch's own, MKL


def measured(name: str, layers_of: str, dtype: str) -> dict[str, Any]:
    """Seconds of a step in this process, and what it took in memory."""
    from ception import backends

    backends.start()
    import keras
    import numpy as np

    from ception import layers
    from ception.layers.compiled import are_used
    from ception.models import NetworkConfig
    from ception.models.building import build_network

    if layers_of == "compiled" and not are_used(keras.backend.backend()):
        return {}
    size, channels, batch, steps = CASES[name]
    classes = {} if layers_of == "stock" else layers.quicker("cpu")
    network = build_network(
        NetworkConfig.of(name, classes=10, image_size=size, channels=channels), seed=0, layers=classes, dtype=dtype
    )
    network.compile(
        keras.optimizers.SGD(0.01),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=keras.backend.backend() == "jax",
    )
    random = np.random.default_rng(0)
    x = random.integers(0, 256, (batch, size, size, channels)).astype("float32")
    y = random.integers(0, 10, batch)
    network.train_on_batch(x, y)
    network.train_on_batch(x, y)
    times = []
    for _ in range(steps):
        start = time.process_time()
        network.train_on_batch(x, y)
        times.append(time.process_time() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {"seconds": min(times), "peak_mb": peak, "backend": keras.backend.backend()}


def main() -> None:
    """Run every kind of layers in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["xception", "separable_cnn"], choices=list(CASES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", default="1", help="of the backend and of the kernels")
    parser.add_argument("--dtype", default="float32", choices=("float32", "mixed_bfloat16"))
    parser.add_argument("--instructions", default="avx512", choices=list(INSTRUCTIONS), help="the best ones used")
    parser.add_argument("--here", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        print(json.dumps(measured(*options.here)))
        return
    threads = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), options.threads)
    held = dict(zip(_HELD_BY, INSTRUCTIONS[options.instructions], strict=False))
    for name in options.networks:
        found: dict[str, list[dict[str, Any]]] = {one: [] for one in LAYERS}
        for _ in range(options.rounds):
            for one in LAYERS:
                named = {"CEPTION_KERNELS": "none" if one == "python" else options.instructions}
                command = [sys.executable, __file__, "--here", name, one, options.dtype]
                environment = os.environ | threads | named | held
                told = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
                if answer := json.loads(told.splitlines()[-1]):
                    found[one].append(answer)
        stock = min(answer["seconds"] for answer in found["stock"])
        for one, answers in found.items():
            if not answers:
                continue
            seconds, batch = min(answer["seconds"] for answer in answers), CASES[name][2]
            made_of = f"{one} {options.instructions}" if held else one
            row = {"network": name, "size": CASES[name][0], "batch": batch, "backend": answers[0]["backend"],
                   "layers": made_of, "dtype": options.dtype, "threads": options.threads,
                   "processor_s": round(seconds, 4), "images_per_processor_s": round(batch / seconds, 2),
                   "times_stock": round(stock / seconds, 2),
                   "peak_mb": min(answer["peak_mb"] for answer in answers)}  # fmt: skip
            results.append("layers", row)
            print(row, flush=True)


if __name__ == "__main__":
    main()
