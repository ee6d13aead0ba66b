"""Can the networks learn at all? Thin ones have to know 200 photos by heart.

    python benchmarks/overfit.py path/to/trashnet
    python benchmarks/overfit.py path/to/trashnet --networks xception inception_v3 inception_v3+auxiliary

Takes the first 200 photos of a folder per class in turn, validates on the next 30, and writes down after how many
epochs every training picture of an epoch was named right. Each network appends a row to results/overfit.csv.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import tempfile
import time
from pathlib import Path

import results

LEARNING_RATES = {  # of plain SGD; without batch normalisation it has to be smaller
    "xception": 0.1, "inception_v3": 0.1, "inception_v3+auxiliary": 0.1, "inception_v1": 0.1,
    "xception_chained_shortcut": 0.1, "xception_41": 0.1, "xception_65": 0.1, "xception_71": 0.1,
    "xception_light_norm": 0.01, "separable_cnn": 0.01,
}  # fmt: skip


def write_table(photos: Path, table: Path, *, training: int = 200, others: int = 30) -> None:
    """A CSV of the photos, each class in turn: the first for training, the next ones for validation and test."""
    folders = [sorted(folder.glob("*.jpg")) for folder in sorted(photos.iterdir()) if folder.is_dir()]
    turns = itertools.chain.from_iterable(zip(*folders, strict=False))
    splits = ["train"] * training + ["val"] * others + ["test"] * others
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split"])
        writer.writerows([path.resolve(), path.parent.name, split] for path, split in zip(turns, splits, strict=False))


def main() -> None:
    """Train the networks and append their rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="folder per class")
    parser.add_argument("--networks", nargs="+", default=list(LEARNING_RATES))
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--depth-multiplier", type=float, default=0.25)
    options = parser.parse_args()
    import ception

    for name in options.networks:
        network, _, auxiliary = name.partition("+")
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            write_table(options.photos, Path(folder) / "photos.csv")
            run = ception.train(
                Path(folder) / "photos.csv", model=network, auxiliary=bool(auxiliary), runs=Path(folder) / "runs",
                image_size=options.image_size, depth_multiplier=options.depth_multiplier, epochs=options.epochs,
                patience=options.epochs, learning_rate=LEARNING_RATES[name], batch_size=20, dropout=0.0, flip=False,
            )  # fmt: skip
        import keras

        reached = [row["epoch"] for row in run.history if row["accuracy"] == 1]
        row = {
            "network": name, "image_size": options.image_size, "depth_multiplier": options.depth_multiplier,
            "learning_rate": LEARNING_RATES[name], "backend": keras.backend.backend(),
            "parameters": run.classifier.network.count_params(),
            "best_train_accuracy": max(row["accuracy"] for row in run.history),
            "epochs_to_100_percent": int(reached[0]) if reached else "", "seconds": round(time.monotonic() - start, 1),
        }  # fmt: skip
        print(row, flush=True)
        results.append("overfit", row)


if __name__ == "__main__":
    main()
