"""The learning rate that `ception train --find-lr` gives, against the best of a grid of rates a factor of 3 apart.

    python benchmarks/find_lr.py                       # Fashion-MNIST, TrashNet, traffic lights beside the checkout
    python benchmarks/find_lr.py --only lights --runs folder          # a finished training there is not repeated
    python benchmarks/find_lr.py --grid                # the trainings of the grid alone, without rows
    python benchmarks/find_lr.py --only trash --seeds 0 1 2

Seven combinations of data, network, recipe and size, small enough for one or two minutes each. A row of
results/find_lr.csv is a training: at each rate of the grid, then at the rate found, or where the search refuses to name
one, at the recipe's, which is what it says to keep. The difference is its test accuracy minus that of the best training
of the grid, with the interval of `ception compare` (paired, 95 %): it is as good as the best where that holds 0. Chance
flatters the best of a grid, chosen by test accuracy, not the rate found.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import results

if TYPE_CHECKING:
    import ception

SHARED = Path(__file__).parents[2] / "shared" / "data"
TRASH, LIGHTS = SHARED / "trashnet", SHARED / "traffic_lights" / "traffic_light_images"
PHOTOS = {"model": "inception_v3", "weights": str(SHARED / "weights" / "inception_v3_to_mixed8.h5"),
          "final_endpoint": "mixed8", "image_size": 128}  # fmt: skip


@dataclass(frozen=True)
class Combination:
    """Something to train: data, options of `ception.train`, and the grid's rates."""

    data: Path
    options: dict[str, Any]
    rates: tuple[float, ...]


def combinations(folder: Path) -> dict[str, Combination]:
    """By name; a subset of Fashion-MNIST is written to the folder."""
    low, middle = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1), (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
    small = {"model": "separable_cnn", "recipe": "best"}
    thin = {"model": "inception_v1", "image_size": 71, "depth_multiplier": 0.5, "recipe": "xception", "epochs": 4}
    two_phases = {"image_size": 96, "from_": "mixed7", "epochs": 4, "head_epochs": 5}
    return {
        "fashion": Combination(_fashion(folder), {"model": "separable_cnn", "epochs": 6}, middle),
        "lights": Combination(LIGHTS, small | {"epochs": 3}, low),
        "trash": Combination(TRASH, small | {"image_size": 64, "epochs": 6}, low[:-1]),
        "inception": Combination(LIGHTS, thin, middle[2:6]),
        "head": Combination(TRASH, PHOTOS | {"recipe": "article", "head_only": True}, (1e-4, *middle[:-1])),
        "fine-tuning": Combination(LIGHTS, PHOTOS | two_phases, low[2:6]),
        "fine-tuning-trash": Combination(TRASH, PHOTOS | two_phases, low[:-1]),
    }  # fmt: skip


def main() -> None:
    """Train with every rate, look for one, train with that."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+")
    parser.add_argument("--runs", type=Path)
    parser.add_argument("--grid", action="store_true")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of trainings and search")
    options = parser.parse_args()
    if not SHARED.exists():
        raise SystemExit(f"{SHARED} is not there: it holds the data")
    with tempfile.TemporaryDirectory() as folder:
        runs = options.runs or Path(folder)
        os.environ["CEPTION_CACHE"] = str(runs / "cache")
        for name, combination in combinations(runs).items():
            for seed in options.seeds if not options.only or name in options.only else ():
                seeded = replace(combination, options=combination.options | {"seed": seed})
                named = f"{name}, seed {seed}" if seed else name
                _measure(named, seeded, runs / named, grid_alone=options.grid)


def _measure(name: str, combination: Combination, runs: Path, *, grid_alone: bool) -> None:
    import ception

    trained = [(rate, *done) for rate in combination.rates if (done := _trained(combination, rate, runs))]
    if grid_alone:
        return
    best = max(trained, key=lambda one: one[1].scores.accuracy)[1].folder
    started = time.perf_counter()
    kind, rate = _found(combination, runs / "found.png")
    searching = time.perf_counter() - started
    done = _trained(combination, rate, runs)
    if done is None:
        raise SystemExit(f"{name}: a training breaks down at the rate that was found, {rate:g}")
    trained.append((rate, *done))
    for number, (rate, run, seconds) in enumerate(trained):
        searched = number == len(trained) - 1
        told = ception.compare(best, run.folder, out=runs / "comparison")
        recipe = run.classifier.record["phases"][-1]["recipe"]
        row = {
            "combination": name, "data": combination.data.stem, "network": combination.options["model"],
            "optimiser": recipe["algorithm"], "schedule": recipe["schedule"], "size": run.classifier.image.height,
            "kind": kind if searched else "grid", "learning_rate": rate, "epochs": len(run.history),
            "val_loss": round(min(row["val_loss"] for row in run.history), 4),
            "test_accuracy": round(run.scores.accuracy, 4), "pictures": told.count,
            "difference": round(told.difference, 4), "difference_low": round(told.difference_interval[0], 4),
            "difference_high": round(told.difference_interval[1], 4), "seconds": round(seconds),
            "search_seconds": round(searching) if searched else None,
        }  # fmt: skip
        print(row, flush=True)
        results.append("find_lr", row)


def _found(combination: Combination, picture: Path) -> tuple[str, float]:
    """`found` and the rate, or `refused` and that of the recipe, which is then to be kept."""
    import ception
    from ception.settings import TrainSettings
    from ception.training.recipes import recipes_of

    try:
        search = ception.find_learning_rate(combination.data, picture=picture, **combination.options)
    except ception.RunError as error:
        print(f"refused: {error}", flush=True)
        return "refused", recipes_of(TrainSettings(**combination.options))[-1].learning_rate
    print(f"{search.suggestion:g}: {search.why}", flush=True)
    return "found", search.suggestion


def _trained(combination: Combination, rate: float, runs: Path) -> tuple[ception.Run, float] | None:
    """A finished training at a rate, and the seconds that its epochs took; None where its loss is no number."""
    import ception

    place = runs / f"{rate:g}"
    made = [path.parent for path in place.glob("*/model.keras")]
    if made:
        run = ception.resume(made[0])
    else:
        try:
            run = ception.train(combination.data, learning_rate=rate, runs=place, **combination.options)
        except ception.RunError as error:
            print(f"{place}: {error}", flush=True)
            return None
    print(f"{place}: {run.scores.accuracy:.4f}", flush=True)
    return run, sum(row["seconds"] for row in run.history)


def _fashion(folder: Path) -> Path:
    """6,000 pictures of Fashion-MNIST to train on, 4,000 to score."""
    path = folder / "fashion-6000.npz"
    folder.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        with np.load(SHARED / "fashion_mnist.npz") as whole:
            sizes = {"train": 6000, "test": 4000}
            np.savez(path, **{key: whole[key][: sizes[key.split("_")[1]]] for key in whole.files})
    return path


if __name__ == "__main__":
    main()
