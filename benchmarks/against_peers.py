"""A training step and inference with our layers, with Keras's own, in keras.applications and in timm.

    python benchmarks/against_peers.py --torch .venv-torch/bin/python --jax .venv-jax/bin/python
    python benchmarks/against_peers.py --network inception_v3 --cases ours-tensorflow timm-torch --dtype mixed_bfloat16
    ONEDNN_MAX_CPU_ISA=AVX2 python benchmarks/against_peers.py          # held to what an older processor has

Each case runs in a process of its own, in turn, several rounds; interpreters are named where a backend is not installed
beside this one. `applications` is what a user gets who imports Keras and nothing else; `stock` and `ours` are this
package's network with its settings of the backend; timm runs eagerly with channels last, once more with jemalloc, which
then never gives memory back, where --jemalloc names its library. What counts is the least processor time. Rows go to
results/against_peers.csv.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import results

SIZE, TASKS = 299, ("training", "inference")
NETWORKS = {
    "xception": ("Xception", "legacy_xception"),
    "inception_v3": ("InceptionV3", "inception_v3"),
}  # Keras's, timm's
CASES = (
    "applications-tensorflow", "stock-tensorflow", "ours-tensorflow", "applications-torch", "ours-torch",
    "timm-torch", "timm_jemalloc-torch", "applications-jax", "ours-jax",
)  # fmt: skip


def least(step: Callable[[], Any], steps: int) -> float:
    """Processor seconds of a step: the least of so many, after two that are not counted."""
    times = []
    for _ in range(steps + 2):
        start = time.process_time()
        step()
        times.append(time.process_time() - start)
    return min(times[2:])


def keras_steps(
    kind: str, backend: str, name: str, batch: int, dtype: str
) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """A training step and an inference of keras.applications, or of our network with or without our layers."""
    if kind != "applications":
        from ception import backends

        backends.start(backend)
    import keras
    import numpy as np

    if kind == "applications":
        keras.config.set_dtype_policy(dtype)
        application = getattr(keras.applications, NETWORKS[name][0])
        network = application(weights=None, classes=10, classifier_activation=None)
    else:
        from ception import layers
        from ception.models import NetworkConfig
        from ception.models.building import build_network

        config = NetworkConfig.of(name, classes=10, image_size=SIZE, channels=3)
        classes = layers.quicker("cpu") if kind == "ours" else {}
        network = build_network(config, seed=0, layers=classes, dtype=dtype)
    network.compile(
        keras.optimizers.SGD(0.01),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=backend == "jax",
    )
    random = np.random.default_rng(0)
    x = random.uniform(-1, 1, (batch, SIZE, SIZE, 3)).astype("float32")
    y = random.integers(0, 10, batch)
    return lambda: network.train_on_batch(x, y), lambda: network.predict_on_batch(x)


def timm_steps(name: str, batch: int, dtype: str) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """A training step and an inference of timm's network, whose layers are those of `keras.applications`."""
    import torch

    for operator in ("nms", "qnms"):  # which timm's import asks for where torchvision has no library that fits
        with suppress(RuntimeError):
            torch.library.define(f"torchvision::{operator}", "(Tensor dets, Tensor scores, float threshold) -> Tensor")
    import timm

    network = timm.create_model(NETWORKS[name][1], num_classes=10).to(memory_format=torch.channels_last)
    x = torch.rand(batch, 3, SIZE, SIZE).to(memory_format=torch.channels_last)
    y = torch.randint(0, 10, (batch,))
    optimizer = torch.optim.SGD(network.parameters(), 0.01)
    precision = torch.autocast("cpu", torch.bfloat16, enabled=dtype != "float32")

    def train() -> None:
        network.train()
        optimizer.zero_grad()
        with precision:
            loss = torch.nn.functional.cross_entropy(network(x).float(), y)
        loss.backward()
        optimizer.step()

    def infer() -> None:
        network.eval()
        with torch.inference_mode(), precision:
            network(x)

    return train, infer


def measured(case: str, options: argparse.Namespace) -> dict[str, float]:
    """Seconds of the tasks in this process, and its peak memory after the first of them."""
    kind, backend = case.split("-")
    asked = options.network, options.batch, options.dtype
    steps = timm_steps(*asked) if "timm" in kind else keras_steps(kind, backend, *asked)
    found = {}
    for task, step in zip(TASKS, steps, strict=True):
        if task in options.tasks:
            found[f"{task}_s"] = least(step, options.steps)
            found.setdefault("peak_mb", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
    return found


def ask(case: str, options: argparse.Namespace) -> dict[str, float]:
    """What a case's process tells."""
    kind, backend = case.split("-")
    threads = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), options.threads)
    environment = os.environ | threads | {"KERAS_BACKEND": backend} | results.holding(installed=kind == "applications")
    if kind == "timm_jemalloc":
        kept = {"LD_PRELOAD": options.jemalloc, "MALLOC_CONF": "dirty_decay_ms:-1,muzzy_decay_ms:-1"}
        environment |= kept
    command = [getattr(options, backend), __file__, "--here", case]
    for name in ("network", "batch", "dtype", "steps"):
        command += [f"--{name}", str(getattr(options, name))]
    command += ["--tasks", *options.tasks]
    told = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    answer: dict[str, float] = json.loads(told.stdout.splitlines()[-1])
    return answer


def main() -> None:
    """Run every case in turn, several rounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="xception", choices=list(NETWORKS))
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=CASES)
    for backend in ("tensorflow", "torch", "jax"):
        parser.add_argument(f"--{backend}", default=sys.executable, help="interpreter that has it")
    parser.add_argument("--jemalloc", help="its library; without, that case is left out")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--dtype", default="float32", choices=("float32", "mixed_bfloat16"))
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument("--steps", type=int, default=3, help="that are counted")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", default="1")
    parser.add_argument("--here", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        print(json.dumps(measured(options.here, options)))
        return
    cases = [case for case in options.cases if options.jemalloc or "jemalloc" not in case]
    found: dict[str, list[dict[str, float]]] = {case: [] for case in cases}
    for _ in range(options.rounds):
        for case in cases:
            found[case].append(ask(case, options))
    for case, answers in found.items():
        least_of = {name: min(answer[name] for answer in answers) for name in answers[0]}
        row = {"network": options.network, "case": case, "dtype": options.dtype, "batch": options.batch,
               "threads": options.threads, "peak_mb": least_of["peak_mb"]}  # fmt: skip
        for task in TASKS:
            seconds = least_of.get(f"{task}_s")  # which was not asked for where there is none
            row[f"{task}_s"] = seconds and round(seconds, 4)
            row[f"{task}_images_per_s"] = seconds and round(options.batch / seconds, 2)
        results.append("against_peers", row)
        print(row, flush=True)


if __name__ == "__main__":
    main()
