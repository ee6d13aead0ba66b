"""Accuracy and time of `ception train --weights`, from nothing to the saved and scored model.

    python benchmarks/fine_tuning.py trashnet inception_v3_to_mixed8.h5 --final-endpoint mixed8 --size 224

Every seed starts with an empty cache folder and appends a row to results/fine_tuning.csv. The seed decides the head's
initial weights, dropout and the order of the pictures; the split follows from the pictures alone.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import results


def main() -> None:
    """Train with each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("weights")
    parser.add_argument("--model", default="inception_v3")
    parser.add_argument("--final-endpoint")
    parser.add_argument("--size", type=int)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    import ception

    for seed in options.seeds:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["CEPTION_CACHE"] = str(Path(folder) / "cache")
            start = time.perf_counter()
            run = ception.train(
                options.data, model=options.model, weights=options.weights, final_endpoint=options.final_endpoint,
                image_size=options.size, seed=seed, runs=Path(folder) / "runs",
            )  # fmt: skip
            seconds = time.perf_counter() - start
        record = run.classifier.record
        row = {
            "data": Path(options.data).name, "code": "ception train", "network": options.model,
            "final_endpoint": options.final_endpoint, "size": run.classifier.image.height,
            "backend": record["versions"]["backend"], "seed": seed, "epochs": len(run.history),
            "val_accuracy": round(run.history[run.scores["best_epoch"] - 1]["val_accuracy"], 4),
            "test_accuracy": round(run.scores["accuracy"], 4), "seconds": round(seconds),
        }  # fmt: skip
        print(row, flush=True)
        results.append("fine_tuning", row)


if __name__ == "__main__":
    main()
