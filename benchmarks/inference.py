"""Inference from arrays: ours in each engine and precision, against keras.applications as it is and in OpenVINO.

    python benchmarks/inference.py                       # Xception and Inception V3 at 299 px, batches of 1 and 16
    python benchmarks/inference.py --networks xception --rounds 3
    ONEDNN_MAX_CPU_ISA=AVX2 TF_ENABLE_ONEDNN_OPTS=0 OPENBLAS_CORETYPE=Haswell python benchmarks/inference.py

The weights are random, with statistics far from 0 and 1; int8 is calibrated on noise, which is enough for its speed.
All ways run in one process, in another order each round. Each appends a row to results/inference.csv: median and least
milliseconds for a batch (the least changes least where the machine has other work), pictures a second, how many times
faster than `predict` of keras.applications it is by both, and by the least how much it reaches of the speed of NumPy's
fastest matrix product, in float32, in the same rounds. `stock export` is the model of keras.applications as Keras
writes it for TensorFlow, in OpenVINO.

The last line asks how it would be on an older processor: oneDNN in TensorFlow and in OpenVINO, and NumPy's product,
are held to AVX2, and TensorFlow has oneDNN off, as it is installed there. ONNX Runtime and LiteRT cannot be held.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import results

if TYPE_CHECKING:
    from ception.engines import Precision

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

SIZE = 299
STOCK = {"xception": "Xception", "inception_v3": "InceptionV3"}
PLAIN = ("keras.applications", "float32")
PRECISIONS: tuple[Precision, ...] = ("float32",) if results.held() == "AVX2" else ("float32", "bfloat16")
_SAMPLES = 16  # pictures of noise that int8 is calibrated on
_SMALL = 6  # batches below this size run so often in a round
_SIDE, _PRODUCTS = 2048, 5  # rows of the matrices, and how many products make a time
Way = tuple[str, str]
Run = Callable[[Any], Any]


def stock_ways(name: str, folder: Path) -> dict[Way, Run]:
    """What runs keras.applications's network."""
    import keras
    import openvino as ov

    from ception.engines.openvino import OpenVinoEngine
    from support.parity import fill

    model = getattr(keras.applications, STOCK[name])(weights=None, classifier_activation=None)
    fill(model, seed=0)
    model.export(folder / "stock", verbose=False)
    graph = ov.convert_model(folder / "stock", input=[-1, SIZE, SIZE, 3])
    ways: dict[Way, Run] = {PLAIN: lambda x: model.predict(x.astype("float32"), batch_size=len(x), verbose=0)}
    for precision in PRECISIONS:
        ways["OpenVINO, stock export", precision] = OpenVinoEngine(graph, precision).run
    return ways


def our_ways(name: str, folder: Path) -> dict[Way, Run]:
    """What runs our network."""
    import numpy as np

    import ception
    from ception.artefacts import SUFFIXES, metadata
    from ception.artefacts.opening import engine_of
    from ception.engines import choosing
    from ception.engines.openvino import OpenVinoEngine
    from ception.engines.openvino_graph import graph_of
    from ception.engines.translating import operations
    from ception.exporting import targets, writing
    from support.parity import fill

    network = ception.build(name)
    fill(network, seed=0)
    default = choosing.fastest(network, precision="float32")
    ways: dict[Way, Run] = {(f"default engine, {default.name.split()[0]}", default.precision): default.run}
    steps = operations(network)
    if "bfloat16" in PRECISIONS:
        ways["OpenVINO", "bfloat16"] = OpenVinoEngine(graph_of(steps), "bfloat16").run
    samples = np.random.default_rng(0).integers(0, 256, (_SAMPLES, SIZE, SIZE, 3), np.uint8)
    exports = [("openvino", "int8"), ("onnx", "float32"), ("onnx", "int8"), ("litert", "float32")]
    if results.held():
        exports = exports[:1]
    for to, precision in exports:
        if to not in targets.TARGETS:
            continue
        path = folder / f"{to}-{precision}{SUFFIXES[to]}"
        writing.write(writing.with_probabilities(steps, 1.0), to, path, precision, samples)
        metadata.write(path, to, precision=precision, described={})
        ways[f"export to {to}", precision] = engine_of(metadata.read(path)).run
    return ways


def flops() -> float:
    """Floating-point operations a second of a matrix product."""
    import numpy as np

    one = np.ones((_SIDE, _SIDE), np.float32)
    began = time.perf_counter()
    for _ in range(_PRODUCTS):
        one @ one
    return 2 * _PRODUCTS * _SIDE**3 / (time.perf_counter() - began)


def timed(ways: dict[Way, Run], batches: list[int], rounds: int) -> tuple[dict[tuple[Way, int], list[float]], float]:
    """Seconds of each way and batch, and the matrix product's highest speed."""
    import numpy as np

    pixels = np.random.default_rng(1).integers(0, 256, (max(batches), SIZE, SIZE, 3), np.uint8)
    seconds: dict[tuple[Way, int], list[float]] = {(way, batch): [] for batch in batches for way in ways}
    speeds = []
    for number in range(rounds + 1):
        speeds.append(flops())
        order = list(seconds)
        random.Random(number).shuffle(order)
        for way, batch in order:
            for _ in range(_SMALL if batch < _SMALL else 1):
                began = time.perf_counter()
                ways[way](pixels[:batch])
                if number:  # the first round compiles
                    seconds[way, batch].append(time.perf_counter() - began)
    return seconds, max(speeds)


def main() -> None:
    """Measure every network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(STOCK), choices=list(STOCK))
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    from ception import backends

    backends.start("tensorflow")
    import ception

    for name in options.networks:
        macs = ception.summary(name).macs
        with tempfile.TemporaryDirectory() as folder:
            ways = stock_ways(name, Path(folder)) | our_ways(name, Path(folder))
            seconds, speed = timed(ways, options.batches, options.rounds)
        for (way, batch), all_took in seconds.items():
            plain = seconds[PLAIN, batch]
            took = statistics.median(all_took)
            row = {
                "network": name, "size": SIZE, "batch": batch, "way": way[0], "dtype": way[1],
                "ms": round(took * 1e3, 1), "least_ms": round(min(all_took) * 1e3, 1),
                "images_per_s": round(batch / took, 2), "times_faster": round(statistics.median(plain) / took, 2),
                "times_faster_by_least": round(min(plain) / min(all_took), 2),
                "share_of_matrix_product": round(2 * macs * batch / min(all_took) / speed, 2),
                "matrix_product_gflops": round(speed / 1e9, 1),
            }  # fmt: skip
            print(json.dumps(row), flush=True)
            results.append("inference", row)


if __name__ == "__main__":
    main()
