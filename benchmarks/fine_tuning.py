"""Time to accuracy on a folder of photos: `ception train --weights` against the loop of Keras's guide, in one go.

    python benchmarks/fine_tuning.py                      # TrashNet and the partial Inception V3 beside the checkout
    python benchmarks/fine_tuning.py --head-only --guide-epochs 0 0     # a solved head alone
    python benchmarks/fine_tuning.py DATA WEIGHTS --model xception --image-size 299 --seeds 0
    python benchmarks/fine_tuning.py --head-only --head-image-size 160  # of smaller pictures, the guide's as ever
    ONEDNN_MAX_CPU_ISA=AVX2 python benchmarks/fine_tuning.py --dtype float32 --seeds 0 --guide-epochs 0 0

The guide is https://keras.io/guides/transfer_learning: a frozen base, `image_dataset_from_directory`, random flips and
rotations, dropout, Adam, 2 epochs; then all of it at 1e-5 with batch norm in inference mode, 1 epoch. It trains on the
same pictures of the same split, with the same weights, and is scored on the same test pictures after each epoch; that
time does not count. Ours counts from nothing, with an empty cache folder, to the scored and saved model.

Every training of ours and every epoch of the guide appends a row to results/fine_tuning.csv. A row of
results/time_to_accuracy.csv says when ours, with the first seed, whole or with its head alone, first had a model that
reaches the guide's best test accuracy: the best weights after each epoch are scored afterwards, as the guide's are. The
guide's 2 epochs are made 8 here, for its accuracy still rises. The seed decides initial weights, dropout, order; the
split follows from the pictures. Where oneDNN is held to what an older processor has, all else is, too; there name
float32, which such a processor would get.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import results
from ception.reporting import Reporter

SHARED = Path(__file__).parents[2] / "shared" / "data"


def main() -> None:
    """Train with each seed, then follow the guide, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", default=str(SHARED / "trashnet"))
    parser.add_argument("weights", nargs="?", default=str(SHARED / "weights" / "inception_v3_to_mixed8.h5"))
    parser.add_argument("--model", default="inception_v3")
    parser.add_argument("--final-endpoint")
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--from", dest="from_")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--dtype", help="of ours")
    parser.add_argument("--time-budget", type=float, help="of ours, in minutes")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--guide-epochs", type=int, nargs=2, default=[8, 1], help="0 0 leaves the guide out")
    parser.add_argument("--head-only", action="store_true", help="leaves out all of ours but the heads")
    parser.add_argument("--head-image-size", type=int, help="of the pictures on which ours has a head alone")
    options = parser.parse_args()
    if not Path(options.data).exists() or not Path(options.weights).exists():
        raise SystemExit(f"{options.data} and {options.weights} are not both here: name a folder and a weight file")
    if options.weights == parser.get_default("weights"):
        options.final_endpoint = options.final_endpoint or "mixed8"
    os.environ.update(results.holding(installed=False))
    with tempfile.TemporaryDirectory() as folder:
        kept = {}
        if not options.head_only:
            for seed in options.seeds:
                kept["whole", seed] = _ours(options, seed, Path(folder) / f"whole{seed}", head_only=False)
        if options.head_only or any(options.guide_epochs):
            kept["head", options.seeds[0]] = _ours(options, options.seeds[0], Path(folder) / "head", head_only=True)
        if any(options.guide_epochs):
            best = max(_guide(options), key=lambda row: row["test_accuracy"])
            for what in ("head", "whole") if not options.head_only else ("head",):
                _compare(options, what, kept[what, options.seeds[0]], best)


def _compare(options: argparse.Namespace, what: str, ours: tuple[dict[str, Any], Snapshots], guide: Any) -> None:
    import ception

    row, snapshots = ours
    seconds, accuracy = None, 0.0
    for moment, path in snapshots.taken:
        with tempfile.TemporaryDirectory() as folder:
            accuracy = ception.evaluate(path, options.data, out=Path(folder) / "e").accuracy
        print(f"{what}: {accuracy:.4f} after {moment:.0f} s", flush=True)
        if accuracy >= guide["test_accuracy"]:
            seconds = moment
            break
    comparison = {
        "data": Path(options.data).name, "network": options.model, "final_endpoint": options.final_endpoint,
        "size": guide["size"], "guide_epochs": "+".join(map(str, options.guide_epochs)), "guide_best": guide["code"],
        "guide_test_accuracy": guide["test_accuracy"], "guide_seconds": guide["seconds"], "ours": row["code"],
        "reached_test_accuracy": round(accuracy, 4), "reached_seconds": seconds and round(seconds),
        "times_faster": seconds and round(guide["seconds"] / seconds, 1),
        "final_test_accuracy": row["test_accuracy"], "final_seconds": row["seconds"],
    }  # fmt: skip
    print(comparison, flush=True)
    results.append("time_to_accuracy", comparison)


class Snapshots(Reporter):
    """Keeps the best model after each epoch that has a better one, with the seconds since the start."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.start, self.wall = time.perf_counter(), time.time()
        self.taken: list[tuple[float, Path]] = []
        self.solved = False

    def note(self, text: str) -> None:
        """After an epoch's line its weights are on the disk, and those of a solved head when the next thing is told."""
        solved, self.solved = self.solved, text.startswith("head solved")
        if " epoch " in text or solved:
            self._keep()

    def _keep(self) -> None:
        best = max(self.folder.glob("runs/*/checkpoints/best-*.keras"), key=lambda path: path.stat().st_mtime_ns)
        copy = self.folder / f"{best.stat().st_mtime_ns}.keras"
        if not copy.exists():
            shutil.copyfile(best, copy)
            self.taken.append((best.stat().st_mtime - self.wall, copy))


def _row(options: argparse.Namespace, **values: Any) -> dict[str, Any]:
    import keras

    row = {
        "data": Path(options.data).name, "code": values["code"], "network": options.model,
        "final_endpoint": options.final_endpoint, "size": values["size"], "backend": keras.backend.backend(),
        "seed": values["seed"], "epochs": values["epochs"], "val_accuracy": round(values["val_accuracy"], 4),
        "test_accuracy": round(values["test_accuracy"], 4), "seconds": round(values["seconds"]),
    }  # fmt: skip
    print(row, flush=True)
    results.append("fine_tuning", row)
    return row


def _ours(options: argparse.Namespace, seed: int, folder: Path, *, head_only: bool) -> tuple[dict[str, Any], Snapshots]:
    import ception

    os.environ["CEPTION_CACHE"] = str(folder / "cache")
    snapshots = Snapshots(folder)
    run = ception.train(
        options.data, model=options.model, weights=options.weights, final_endpoint=options.final_endpoint,
        image_size=(head_only and options.head_image_size) or options.image_size,
        from_=None if head_only else options.from_, head_only=head_only, epochs=None if head_only else options.epochs,
        dtype=options.dtype, time_budget=options.time_budget, seed=seed, runs=folder / "runs", reporter=snapshots,
    )  # fmt: skip
    seconds = time.perf_counter() - snapshots.start
    shutil.rmtree(folder / "cache")
    kind = " --head-only" if head_only else f" --from {options.from_}" if options.from_ else ""
    kind += f" --image-size {options.head_image_size}" if head_only and options.head_image_size else ""
    kind += f" --time-budget {options.time_budget:g}" if options.time_budget else ""
    row = _row(
        options, code=f"ception train{kind}, {run.classifier.record['precision']}", size=run.classifier.image.height,
        seed=seed, epochs=sum(row["epoch"] > 0 for row in run.history),
        val_accuracy=min(run.history, key=lambda row: row["val_loss"])["val_accuracy"],
        test_accuracy=run.scores.accuracy, seconds=seconds,
    )  # fmt: skip
    return row, snapshots


def _folders(options: argparse.Namespace, folder: Path, size: int) -> list[str]:
    """The pictures as links in a folder for each part of our split and each class; returns the names of the classes."""
    from ception.data import sources
    from ception.settings import TrainSettings
    from ception.training import preparation

    os.environ["CEPTION_CACHE"] = str(folder / "cache")
    settings, reporter = TrainSettings(model=options.model, image_size=size), Reporter()
    listed = preparation.read(sources.load(options.data), options.data, settings, reporter)
    prepared = preparation.decode(listed, settings, reporter)
    dataset = prepared.dataset
    for part, number in {"train": sources.TRAIN, "val": sources.VAL, "test": sources.TEST}.items():
        for index in prepared.indices(number):
            picture = Path(dataset.pictures.name(int(index))).resolve()
            place = folder / part / dataset.class_names[dataset.labels[index]]
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{index}{picture.suffix}").symlink_to(picture)
    return list(dataset.class_names)


def _datasets(folder: Path, size: int) -> list[Any]:
    """Training, validation and test part as the guide reads them."""
    import keras

    train, val, test = (
        keras.utils.image_dataset_from_directory(
            folder / part, image_size=(size, size), batch_size=32, shuffle=part == "train", verbose=False
        )
        for part in ("train", "val", "test")
    )
    changes = [keras.layers.RandomFlip("horizontal"), keras.layers.RandomRotation(0.1)]

    def changed(pictures: Any, labels: Any) -> Any:
        for change in changes:
            pictures = change(pictures, training=True)
        return pictures, labels

    return [part.prefetch(2) for part in (train.map(changed), val, test)]


def _base_and_model(options: argparse.Namespace, classes: int, size: int) -> tuple[Any, Any]:
    """The pretrained network, frozen, and the guide's model around it."""
    import keras

    import ception

    base = ception.build(  # stock Keras layers that scale inside
        options.model, classes=None, weights=options.weights, final_endpoint=options.final_endpoint or "pool",
        image_size=size,
    )  # fmt: skip
    base.trainable = False
    inputs = keras.Input((size, size, 3))
    x = base(inputs, training=False)
    if len(x.shape) == 4:
        x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dropout(0.2)(x)
    return base, keras.Model(inputs, keras.layers.Dense(classes)(x))


def _guide(options: argparse.Namespace) -> Any:
    """The guide's loop in plain Keras; a row for each epoch."""
    import keras

    from ception.models.catalog import find

    size = options.image_size or find(options.model).image_size[0]
    with tempfile.TemporaryDirectory() as folder:
        class_names = _folders(options, Path(folder), size)
        start = time.perf_counter()
        keras.utils.set_random_seed(0)
        train, val, test = _datasets(Path(folder), size)
        base, model = _base_and_model(options, len(class_names), size)
        seconds = time.perf_counter() - start
        for name, epochs, rate in (("head", options.guide_epochs[0], 1e-3), ("all", options.guide_epochs[1], 1e-5)):
            base.trainable = name == "all"
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"], jit_compile=False)
            for epoch in range(1, epochs + 1):
                start = time.perf_counter()
                history = model.fit(train, validation_data=val, verbose=0).history
                seconds += time.perf_counter() - start
                yield _row(
                    options, code=f"Keras's guide, {name}, epoch {epoch}", size=size, seed=0, epochs=epoch,
                    val_accuracy=history["val_accuracy"][0], test_accuracy=model.evaluate(test, verbose=0)[1],
                    seconds=seconds,
                )  # fmt: skip


if __name__ == "__main__":
    main()
