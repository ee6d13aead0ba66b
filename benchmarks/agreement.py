"""Whether training on cached activations is training on pictures: the same activations, the same accuracy.

    python benchmarks/agreement.py               # TrashNet and the partial Inception V3 beside the checkout

Activations of 64 photos at the boundary and after the pooling, from the cache, against those that Keras's network
computes directly in float32, as the largest difference over the largest value and in the mean; for each precision.
Then a head trained with the cache, on the fastest engine, against one trained with Keras's network in float32
in its place, which is what training on the pictures would see. Rows go to results/agreement.csv.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

import results

SHARED = Path(__file__).parents[2] / "shared" / "data"


def main() -> None:
    """Compare activations, then accuracies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", default=str(SHARED / "trashnet"))
    parser.add_argument("weights", nargs="?", default=str(SHARED / "weights" / "inception_v3_to_mixed8.h5"))
    parser.add_argument("--image-size", type=int, default=224)
    options = parser.parse_args()
    if not Path(options.data).exists() or not Path(options.weights).exists():
        raise SystemExit(f"{options.data} and {options.weights} are not both here: name a folder and a weight file")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CEPTION_CACHE"] = str(Path(folder) / "cache")
        _activations(options)
        _accuracies(options, Path(folder))


def _activations(options: argparse.Namespace) -> None:
    from ception import backends

    backends.start()
    import numpy as np

    from ception import build
    from ception.data import sources
    from ception.data.augmentation import Augmentation
    from ception.engines.choosing import fastest
    from ception.models import NetworkConfig
    from ception.reporting import Reporter
    from ception.settings import TrainSettings
    from ception.training import activations, preparation

    settings = TrainSettings(model="inception_v3", image_size=options.image_size)
    listed = preparation.read(sources.load(options.data), options.data, settings, Reporter())
    prepared = preparation.decode(listed, settings, Reporter())
    config = NetworkConfig.of("inception_v3", classes=6, final_endpoint="mixed8", image_size=options.image_size)
    network = build(
        "inception_v3", classes=6, weights=options.weights, final_endpoint="mixed8", image_size=options.image_size
    )
    chosen = np.random.default_rng(0).choice(len(prepared.splits), 64, replace=False)
    for precision in ("float32", "bfloat16", None):
        activations.fastest = lambda body, p=precision, **_: fastest(body, precision=p)
        for place in ("mixed7", "pool"):
            views = activations.Views(prepared, Augmentation(flip=0.5))
            kept = activations.activations(network, place, views, chosen, config, cache_limit=10, reporter=Reporter())[
                chosen
            ]
            pictures = np.asarray(prepared.pixels[chosen], np.float32)
            direct = np.asarray(activations.part(network, None, place).predict(pictures, batch_size=16, verbose=0))
            apart = np.abs(kept - direct)
            _row("activations", str(fastest(activations.part(network, None, place), precision=precision)), place,
                 largest=apart.max() / np.abs(direct).max(), mean=apart.mean() / np.abs(direct).mean())  # fmt: skip
    activations.fastest = fastest


def _accuracies(options: argparse.Namespace, folder: Path) -> None:
    import ception
    from ception.engines.choosing import fastest
    from ception.engines.keras_backend import KerasEngine
    from ception.training import activations

    def keras(body: Any, **_: Any) -> KerasEngine:
        return KerasEngine(body)

    for name, engine in (("fastest", fastest), ("keras", keras)):
        activations.fastest = engine
        try:
            run = ception.train(
                options.data, model="inception_v3", weights=options.weights, final_endpoint="mixed8", head_only=True,
                image_size=options.image_size, runs=folder / name, dtype="float32", flip=False,
            )  # fmt: skip
        finally:
            activations.fastest = fastest
        low, high = run.scores.accuracy_interval
        _row("head", name, "pool", accuracy=run.scores.accuracy, low=low, high=high)


def _row(what: str, engine: str, place: str, **values: float) -> None:
    row: dict[str, Any] = {"what": what, "engine": engine, "place": place}
    row |= {key: f"{values[key]:.3g}" if key in values else "" for key in ("largest", "mean")}
    row |= {key: f"{values[key]:.4f}" if key in values else "" for key in ("accuracy", "low", "high")}
    print(row, flush=True)
    results.append("agreement", row)


if __name__ == "__main__":
    main()
