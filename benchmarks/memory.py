"""Memory that training takes, measured, against what `ception summary` estimates.

    python benchmarks/memory.py
    python benchmarks/memory.py --cases xception:299:8:float32 inception_v3:299:8:mixed_bfloat16

Each case runs in a process of its own and appends a row to results/memory.csv. Needs Linux's /proc.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import results

CASES = [
    "xception:299:4:float32", "xception:299:16:float32", "xception:299:8:mixed_bfloat16", "xception:150:32:float32",
    "xception_65:299:8:float32", "inception_v3:299:4:float32", "inception_v3:299:16:float32",
    "inception_v3:150:64:float32", "inception_v1:224:16:float32", "inception_v1:224:64:float32",
    "separable_cnn:28:512:float32",
]  # fmt: skip


def memory(field: str) -> int:
    """A field of this process's memory, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def measure(name: str, size: int, batch: int, precision: str) -> dict[str, float]:
    """Peak of the memory of three training steps over that of the process before, and the estimate, in bytes."""
    import ception  # noqa: F401  # chooses the backend
    from ception import backends

    backends.start()
    import keras
    import numpy as np

    from ception import build
    from ception.inspection.layers import training_memory

    def trained(network: keras.Model, count: int) -> None:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        jit = False if keras.backend.backend() == "tensorflow" else "auto"
        network.compile(keras.optimizers.SGD(0.01, momentum=0.9), loss, metrics=["accuracy"], jit_compile=jit)
        images = np.random.default_rng(0).uniform(0, 255, (count, *network.input.shape[1:])).astype("float32")
        for _ in range(3):
            network.train_on_batch(images, np.zeros(count, "int64"))

    trained(build("separable_cnn"), 2)  # the backend with its libraries and threads
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    network = build(name, image_size=size, dtype=precision)
    begun = time.monotonic()
    trained(network, batch)
    return {"measured": memory("VmHWM") - before, "estimate": training_memory(network, batch),
            "seconds": time.monotonic() - begun}  # fmt: skip


def main() -> None:
    """Measure every case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=CASES, help="network:size:batch:precision")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--dry", action="store_true", help="append no rows")
    options = parser.parse_args()
    if options.one:
        name, size, batch, precision = options.one.split(":")
        print(json.dumps(measure(name, int(size), int(batch), precision)))
        return
    for case in options.cases:
        done = subprocess.run([sys.executable, __file__, "--one", case], capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr)
        found = json.loads(done.stdout.splitlines()[-1])
        import keras

        name, size, batch, precision = case.split(":")
        row = {"network": name, "size": size, "batch": batch, "precision": precision,
               "backend": keras.backend.backend(), "measured_mb": round(found["measured"] / 1e6),
               "estimated_mb": round(found["estimate"] / 1e6),
               "estimate_over_measured": round(found["estimate"] / found["measured"], 3)}  # fmt: skip
        print(row, f"{found['seconds']:.0f} s", flush=True)
        if not options.dry:
            results.append("memory", row)


if __name__ == "__main__":
    main()
