"""What bfloat16 gains in training: steps of networks and of their last blocks, in float32 and bfloat16 by turns.

    python benchmarks/precision.py [--backend torch]

Appends rows to results/precision.csv; `ratio` above 1 says that bfloat16 is quicker.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import results

CASES = (
    ("inception_v3", "mixed8", 299, 32), ("inception_v3", None, 299, 8), ("xception", "block12", 299, 32),
    ("xception", None, 299, 8), ("separable_cnn", None, 28, 64),
)  # fmt: skip
TURNS, STEPS = 3, 3


def main() -> None:
    """Measure every case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend")
    options = parser.parse_args()
    from ception import backends

    backend = backends.choose(options.backend)
    for name, after, size, batch_size in CASES:
        steps = {precision: _step(name, after, size, batch_size, precision) for precision in ("float32", "bfloat16")}
        seconds: dict[str, list[float]] = {precision: [] for precision in steps}
        for _ in range(TURNS):
            for precision, step in steps.items():
                start = time.perf_counter()
                for _ in range(STEPS):
                    step()
                seconds[precision].append((time.perf_counter() - start) / STEPS)
        plain, short = (min(seconds[precision]) for precision in steps)
        row = {
            "network": name, "after": after or "", "size": size, "batch_size": batch_size, "backend": backend,
            "float32_ms": round(1000 * plain), "bfloat16_ms": round(1000 * short), "ratio": round(plain / short, 2),
        }  # fmt: skip
        print(row, flush=True)
        results.append("precision", row)


def _step(name: str, after: str | None, size: int, batch_size: int, precision: str) -> Any:
    """One training step with fixed batch norm, after it was compiled."""
    import keras
    import numpy as np

    from ception.models import build

    dtype = {"bfloat16": "mixed_bfloat16"}.get(precision, precision)
    network = build(name, classes=6, image_size=size, dtype=dtype, seed=0)
    made = network if after is None else keras.Model(network.get_layer(after).output, network.output)
    for layer in made.layers:
        layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    jit = False if keras.backend.backend() == "tensorflow" else "auto"
    made.compile(keras.optimizers.AdamW(1e-4), loss, jit_compile=jit)
    x = np.random.default_rng(0).normal(size=(batch_size, *made.input.shape[1:])).astype("float32")
    y = np.arange(batch_size) % 6
    made.train_on_batch(x, y)
    return lambda: made.train_on_batch(x, y)


if __name__ == "__main__":
    main()
