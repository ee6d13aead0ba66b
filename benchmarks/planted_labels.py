"""How many planted label errors `ception check --weights` finds, and how many pictures it doubts beside them.

    python benchmarks/planted_labels.py FOLDER --model inception_v3 --weights half.h5 --final-endpoint mixed8

5 % of the labels are changed: at random, or each to the class that the probe most often takes its own for (`similar`);
`none` leaves them as they are. Each appends a row for each seed to results/planted_labels.csv. `by_ratio`,
`by_difference` and `by_own` are the precision at which half of the errors are found, by three orders of all pictures:
the ratio of the probabilities of what is said and of the label, their difference, and the label's own. `listed`,
`precision` and `recall` are of what `check` lists. Errors that the data had before count as wrongly doubted.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

import results

SHARE = 0.05


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--model", required=True)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--final-endpoint")
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--pictures", type=int, help="a random part of the data; all when not given")
    parser.add_argument("--seeds", type=int, default=3)
    return parser.parse_args()


def planted(labels: np.ndarray, next_to: np.ndarray | None, random: np.random.Generator) -> np.ndarray:
    """The labels, some of them changed: to the class that is next to their own, or to any other."""
    changed, classes = labels.copy(), int(labels.max()) + 1
    chosen = random.choice(len(labels), round(SHARE * len(labels)), replace=False)
    others = (labels[chosen] + random.integers(1, classes, len(chosen))) % classes
    changed[chosen] = others if next_to is None else next_to[labels[chosen]]
    return changed


def at_half(scores: np.ndarray, wrong: np.ndarray) -> float:
    """The share of wrong ones among the first by their scores, half of all wrong ones."""
    found = np.cumsum(wrong[np.argsort(-scores, kind="stable")])
    needed = -(-int(wrong.sum()) // 2)
    return needed / (int(np.searchsorted(found, needed)) + 1)


def row_of(labels: np.ndarray, wrong: np.ndarray, found: np.ndarray) -> dict[str, Any]:
    """The figures of one run, from what the probe says of each picture."""
    from ception.checking import labels as checking

    own, most = found[np.arange(len(labels)), labels], found.max(axis=1)
    listed = [doubt.place for doubt in checking.doubtful(found, labels)]
    orders = {"by_ratio": np.log(most + 1e-9) - np.log(own + 1e-9), "by_difference": most - own, "by_own": -own}
    some = bool(wrong.any())
    return {
        "planted_errors": int(wrong.sum()),
        **{name: round(at_half(scores, wrong), 3) if some else "" for name, scores in orders.items()},
        "listed": len(listed),
        "precision": round(float(wrong[listed].mean()), 3) if some and listed else "",
        "recall": round(float(wrong[listed].sum() / wrong.sum()), 3) if some else "",
    }


def main() -> None:
    """Compute the features once, then probe with changed labels."""
    options = arguments()
    from ception.checking import copies, features, scan
    from ception.checking import labels as checking
    from ception.data import sources
    from ception.reporting import Reporter
    from ception.settings import CheckSettings

    reporter = Reporter()
    settings = CheckSettings(
        model=options.model, weights=options.weights, final_endpoint=options.final_endpoint,
        image_size=options.image_size,
    )  # fmt: skip
    dataset = sources.load(options.data)
    with scan.room(len(dataset.pictures)) as grey:
        facts, _ = scan.scan(dataset.pictures, options.data, grey, cache_limit=10, reporter=reporter)
        equal, near = copies.find(dataset.pictures, facts, grey, reporter)
    chosen = np.flatnonzero(facts["width"] > 0)
    if options.pictures:
        chosen = np.sort(np.random.default_rng(0).choice(chosen, options.pictures, replace=False))
    began = time.monotonic()
    seen = features.features(dataset, facts["digest"], chosen, settings, reporter)
    seconds_features = time.monotonic() - began
    groups = checking.together(len(dataset.labels), [*equal, *near], None)[seen.indices]
    true = dataset.labels[seen.indices]
    told, clean = checking.out_of_fold(seen, true, groups, reporter)
    taken = np.zeros((clean.shape[1], clean.shape[1]))
    np.add.at(taken, (true[told], clean.argmax(axis=1)), 1)
    np.fill_diagonal(taken, 0)
    for kind in ("none", "random", "similar"):
        for seed in range(1 if kind == "none" else options.seeds):
            next_to = taken.argmax(axis=1) if kind == "similar" else None
            labels = true if kind == "none" else planted(true, next_to, np.random.default_rng(seed))
            began = time.monotonic()
            places, found = checking.out_of_fold(seen, labels, groups, reporter)
            row = {
                "data": Path(options.data).stem, "pictures": len(labels), "weights": Path(options.weights).name,
                "image_size": options.image_size or "", "planted": kind, "seed": seed,
                "clean_accuracy": round(float((clean.argmax(axis=1) == true[told]).mean()), 4),
                **row_of(labels[places], (labels != true)[places], found),
                "seconds_features": round(seconds_features, 1), "seconds_probe": round(time.monotonic() - began, 1),
            }  # fmt: skip
            print(row, flush=True)
            results.append("planted_labels", row)


if __name__ == "__main__":
    main()
