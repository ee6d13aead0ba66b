"""Where a training step goes on TensorFlow: the time of each kind of operation, against a matrix product's rate.

    python benchmarks/steps.py                              # Xception at 299 pixels, batches of 4
    python benchmarks/steps.py xception --batch 8 --layers stock --dtype mixed_bfloat16

TensorFlow's profiler tells of each operation; a product of matrices of 2048 in the same process says what the core can
do. The arithmetic's share is what three times the forward pass's multiplications would take at that rate, of the step.
Rows go to results/steps.csv.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import results

_SHOWN = 16
_SIZES = {"xception": (299, 3), "inception_v3": (299, 3), "separable_cnn": (28, 1)}


def product_rate(dtype: str) -> float:
    """Operations a second of a matrix product, in GFLOP: the best of five."""
    import tensorflow as tf

    size, rates = 2048, []
    a = tf.cast(tf.random.normal((size, size)), "bfloat16" if "bfloat16" in dtype else "float32")
    product = tf.function(tf.matmul)
    for _ in range(6):
        start = time.process_time()
        product(a, a).numpy()
        rates.append(2e-9 * size**3 / (time.process_time() - start))
    return max(rates)


def operations_of(folder: Path) -> Counter[str]:
    """Seconds of each kind of operation in a trace of the profiler."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    seconds: Counter[str] = Counter()
    for file in folder.rglob("*.xplane.pb"):
        space = xplane_pb2.XSpace.FromString(file.read_bytes())
        for plane in space.planes:
            for line in plane.lines:
                for event in line.events:
                    name = plane.event_metadata[event.metadata_id].name
                    if "/" in name and ":" in name and "::" not in name:  # name of the operation:its kind
                        seconds[name.rpartition(":")[2]] += event.duration_ps * 1e-12
    return seconds


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """The kinds of operations of a step, and the whole."""
    from ception import backends

    backends.start("tensorflow")
    import keras
    import numpy as np
    import tensorflow as tf

    from ception import layers
    from ception.inspection.layers import costs
    from ception.layers.compiled import kernels
    from ception.models import NetworkConfig
    from ception.models.building import build_network

    size, channels = _SIZES[options.network]
    classes = {} if options.layers == "stock" else layers.quicker("cpu")
    config = NetworkConfig.of(options.network, classes=10, image_size=size, channels=channels)
    network = build_network(config, seed=0, layers=classes, dtype=options.dtype)
    network.compile(
        keras.optimizers.SGD(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False
    )
    random = np.random.default_rng(0)
    x = random.integers(0, 256, (options.batch, size, size, channels)).astype("float32")
    y = random.integers(0, 10, options.batch)
    for _ in range(2):
        network.train_on_batch(x, y)
    times = []
    for _ in range(options.steps):
        start = time.process_time()
        network.train_on_batch(x, y)
        times.append(time.process_time() - start)
    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        network.train_on_batch(x, y)
        tf.profiler.experimental.stop()
        kinds = operations_of(Path(folder))
    used = kernels() if options.layers == "ours" else None
    macs = sum(cost.macs for cost in costs(network))
    return {
        "step": min(times),
        "kinds": kinds,
        "kernels": used.instructions() if used else "none",
        "gflop": 6e-9 * macs * options.batch,
        "rate": product_rate(options.dtype),
    }


def main() -> None:
    """Measure a step and print what it consists of."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", nargs="?", default="xception", choices=list(_SIZES))
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--layers", default="ours", choices=("ours", "stock"))
    parser.add_argument("--dtype", default="float32", choices=("float32", "mixed_bfloat16"))
    options = parser.parse_args()
    for variable in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.setdefault(variable, "1")
    found = measured(options)
    share = found["gflop"] / found["rate"] / found["step"]
    row = {
        "network": options.network, "batch": options.batch, "dtype": options.dtype, "layers": options.layers,
        "kernels": found["kernels"], "step_s": round(found["step"], 5),
        "gflop": round(found["gflop"], 1), "product_gflop_per_s": round(found["rate"], 1),
        "arithmetic_share": round(share, 3),
        "operations": "; ".join(f"{kind} {1000 * taken:.1f} ms" for kind, taken in found["kinds"].most_common(_SHOWN)),
    }  # fmt: skip
    results.append("steps", row)
    for name, value in row.items():
        print(f"{name:20} {value}")


if __name__ == "__main__":
    main()
