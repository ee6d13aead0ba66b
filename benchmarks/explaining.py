"""What an explanation takes beside the answer that it explains, and whether every backend draws the same.

    KERAS_BACKEND=jax python benchmarks/explaining.py
    KERAS_BACKEND=jax python benchmarks/explaining.py --weights inception_v3_to_mixed8.h5 --photos FOLDER --maps FOLDER

For Xception and Inception V3 at 299 pixels, one picture at a time: the medians of Grad-CAM and of a forward pass in the
same backend (as `predict` runs it), taken in turn. Appends a row for each to results/explaining.csv; `passes` is the
ratio.

With --weights, Inception V3 up to `mixed8` with these weights and a head of random ones explains eight photos, and the
maps are kept in --maps. Run it with each backend: from the second one on, a row of results/explaining_maps.csv says how
far the maps are from those of each backend before, max |a - b| / max |b| of the photo where it is largest.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import keras
import numpy as np

import ception
import results
from ception.data.images import read, to_pixels
from ception.engines.keras_backend import KerasEngine
from ception.explaining import methods


def times_s(*functions, rounds: int) -> list[float]:
    """The median time of each function, run in turn, after a call of each that is not counted."""
    taken: list[list[float]] = [[] for _ in functions]
    for number in range(rounds + 2):
        for one, function in zip(taken, functions, strict=True):
            began = time.perf_counter()
            function()
            if number > 1:
                one.append(time.perf_counter() - began)
    return [statistics.median(one) for one in taken]


def costs(name: str, rounds: int) -> None:
    """Measure a network."""
    network = ception.build(name, classes=1000)
    parts, engine = methods.parts_of(network), KerasEngine(network)
    pixels = np.random.default_rng(0).integers(0, 256, engine_shape(network), np.uint8)
    began = time.perf_counter()
    methods.heat_map(parts, pixels, 7, "gradcam")
    first = time.perf_counter() - began
    forward, map_s = times_s(
        lambda: engine.run(pixels[None]), lambda: methods.heat_map(parts, pixels, 7, "gradcam"), rounds=rounds
    )
    row = {
        "network": name, "engine": engine.name, "layer": parts.layer, "forward_ms": round(forward * 1e3, 1),
        "gradcam_ms": round(map_s * 1e3, 1), "passes": round(map_s / forward, 2), "first_map_s": round(first, 2),
    }  # fmt: skip
    results.append("explaining", row)
    print(row, flush=True)


def engine_shape(network: keras.Model) -> tuple[int, ...]:
    """(height, width, channels) of a picture."""
    return tuple(network.input.shape[1:])


def maps(weights: Path, photos: Path, place: Path) -> None:
    """Draw maps, and compare them with those of other backends."""
    classifier = ception.Classifier.build(
        "inception_v3", ["a", "b", "c"], weights=str(weights), final_endpoint="mixed8"
    )
    (head,) = (layer for layer in classifier.network.layers if isinstance(layer, keras.layers.Dense))
    head.set_weights([np.random.default_rng(0).normal(size=weight.shape) for weight in head.get_weights()])
    parts = methods.parts_of(classifier.network)
    drawn = np.stack([
        methods.heat_map(parts, to_pixels(read(photo), classifier.image), 1, "gradcam").values
        for photo in sorted(photos.rglob("*.jpg"))[::300][:8]
    ])  # fmt: skip
    place.mkdir(exist_ok=True)
    own = keras.backend.backend()
    np.save(place / f"{own}.npy", drawn)
    for other in sorted(place.glob("*.npy")):
        if other.stem == own:
            continue
        before = np.load(other)
        apart = np.abs(drawn - before).max((1, 2)) / np.abs(before).max((1, 2))
        row = {"backend": own, "other": other.stem, "photos": len(drawn), "relative_difference": f"{apart.max():.2e}"}
        results.append("explaining_maps", row)
        print(row, flush=True)


def main() -> None:
    """Measure, or draw."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--maps", type=Path)
    options = parser.parse_args()
    if options.weights:
        maps(options.weights, options.photos, options.maps)
        return
    for name in ("xception", "inception_v3"):
        costs(name, options.rounds)


if __name__ == "__main__":
    main()
