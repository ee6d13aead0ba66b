"""Conversion of weights: certificates for every original, and what loading takes.

    python benchmarks/weights.py keras
    KERAS_BACKEND=torch python benchmarks/weights.py torch
    python benchmarks/weights.py loading

Originals get random weights and batch-norm statistics and are saved in their own format. `keras` and `torch` append a
row per original to results/certificates.csv: the largest difference of the logits and of any endpoint, relative to
the largest value there, on two photographs. `loading` appends seconds and memory to results/loading.csv; the memory
needs Linux's /proc.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import results

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # for originals with random weights


def write_keras(name: str, folder: Path) -> Path:
    """A network of keras.applications in the layout of the published files."""
    import keras

    from support.originals import write_legacy
    from support.parity import fill

    network = getattr(keras.applications, {"xception": "Xception", "inception_v3": "InceptionV3"}[name])(weights=None)
    fill(network, seed=4)
    return write_legacy(network, folder / f"{name}.h5")


def write_torch(name: str, folder: Path) -> Path:
    """A network of timm or torchvision as safetensors."""
    from safetensors.torch import save_file

    from support.originals import in_torch

    save_file(in_torch(name).state_dict(), folder / f"{name}.safetensors")
    return folder / f"{name}.safetensors"


def certify(kind: str, folder: Path) -> None:
    """A certificate for every original of a kind."""
    import keras

    import ception
    from ception.weights.names import IN_KERAS, IN_TIMM

    theirs = {ours: ours for ours in IN_KERAS}
    if kind == "torch":
        theirs = {there.model: ours for ours, there in IN_TIMM.items()} | {"torchvision": "inception_v3"}
    for name, ours in theirs.items():
        path = write_keras(name, folder) if kind == "keras" else write_torch(name, folder)
        certificate = ception.convert(path, ours, out=folder / "ours.keras")
        row = {"original": certificate.original, "filled_by": certificate.filled_by, "network": ours,
               "tensors": certificate.matched, "endpoints": len(certificate.endpoints),
               "worst_endpoint": f"{max(certificate.endpoints.values()):.1e}", "logits": f"{certificate.logits:.1e}",
               "backend": keras.backend.backend()}  # fmt: skip
        print(row, flush=True)
        results.append("certificates", row)


def measure_loading(folder: Path) -> None:
    """Seconds and memory beyond a built network."""
    import ception
    from ception import backends

    backends.start()
    import keras

    from ception.weights.checkpoints import read
    from ception.weights.loading import load
    from ception.weights.opening import OpenedWeights
    from memory import memory

    path = write_keras("xception", folder)
    network = ception.build("xception")
    read(write_keras("inception_v3", folder))  # what is imported and compiled once
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    start = time.perf_counter()
    load(network, OpenedWeights("xception", read(path)))
    seconds = time.perf_counter() - start
    size, peak = path.stat().st_size, memory("VmHWM") - before
    row = {"file": "xception, Keras .h5", "file_mb": round(size / 1e6, 1), "seconds": round(seconds, 2),
           "peak_over_file": round(peak / size, 2), "backend": keras.backend.backend()}  # fmt: skip
    print(row)
    results.append("loading", row)


def main() -> None:
    """Run one of the three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("keras", "torch", "loading"))
    what = parser.parse_args().what
    with tempfile.TemporaryDirectory() as folder:
        measure_loading(Path(folder)) if what == "loading" else certify(what, Path(folder))


if __name__ == "__main__":
    main()
