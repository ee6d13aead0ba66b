"""Test accuracy of `separable_cnn` on Fashion-MNIST over several seeds, against the tutorial's code as printed.

    python benchmarks/fashion_mnist.py fashion-mnist
    python benchmarks/fashion_mnist.py path/to/fashion_mnist.npz --seeds 0 1 2
    python benchmarks/fashion_mnist.py path/to/fashion_mnist.npz --code tutorial --seeds 0
    python benchmarks/fashion_mnist.py fashion-mnist-sample --seeds 0 1 2 3 4

Each seed appends a row to results/fashion_mnist.csv.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from typing import Any

import results


def ours(data: str, recipe: str, seed: int, backend: str | None) -> dict[str, Any]:
    """Scores of `ception.train` with its best weights."""
    import ception

    with tempfile.TemporaryDirectory() as folder:
        run = ception.train(data, model="separable_cnn", recipe=recipe, seed=seed, runs=_path(folder), backend=backend)
    return {
        "epochs": len(run.history),
        "best_epoch": run.scores.best_epoch,
        "first_epoch_train_accuracy": round(run.history[0]["accuracy"], 4),
        "best_val_accuracy": round(max(row["val_accuracy"] for row in run.history), 4),
        "test_accuracy": round(run.scores.accuracy, 4),
    }


def tutorial(data: str, seed: int) -> dict[str, Any]:
    """Scores of the tutorial's own lines in Keras 3: its initial weights, its split, its callbacks; best weights."""
    import os

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras
    import numpy as np

    keras.utils.set_random_seed(seed)
    with np.load(data) as arrays:
        x_all, y_all = arrays["x_train"].astype("float32")[..., None], arrays["y_train"]
        x_test, y_test = arrays["x_test"].astype("float32")[..., None], arrays["y_test"]
    x_valid, x_train, y_valid, y_train = x_all[:5000], x_all[5000:], y_all[:5000], y_all[5000:]
    mean, deviation = x_train.mean(), x_train.std()
    x_train, x_valid, x_test = ((x - mean) / deviation for x in (x_train, x_valid, x_test))
    layers = keras.layers
    same = {"kernel_size": 3, "padding": "same", "activation": "selu"}
    model = keras.Sequential([
        keras.Input((28, 28, 1)),
        layers.Conv2D(32, **same), layers.SeparableConv2D(32, **same), layers.MaxPool2D(2),
        layers.SeparableConv2D(64, **same), layers.SeparableConv2D(64, **same), layers.MaxPool2D(2),
        layers.SeparableConv2D(128, **same), layers.SeparableConv2D(128, **same), layers.MaxPool2D(2),
        layers.Flatten(), layers.Dense(128, activation="selu"), layers.Dense(10, activation="softmax"),
    ])  # fmt: skip
    model.compile(loss="sparse_categorical_crossentropy", optimizer="sgd", metrics=["accuracy"], jit_compile=False)
    with tempfile.TemporaryDirectory() as folder:
        best = _path(folder) / "best.weights.h5"
        history = model.fit(
            x_train, y_train, epochs=10, validation_data=(x_valid, y_valid), verbose=0,
            callbacks=[
                keras.callbacks.ModelCheckpoint(best, save_best_only=True, save_weights_only=True),
                keras.callbacks.EarlyStopping(patience=5, min_delta=1e-3),
            ],
        ).history  # fmt: skip
        model.load_weights(best)
    return {
        "epochs": len(history["loss"]),
        "best_epoch": int(np.argmin(history["val_loss"])) + 1,
        "first_epoch_train_accuracy": round(history["accuracy"][0], 4),
        "best_val_accuracy": round(max(history["val_accuracy"]), 4),
        "test_accuracy": round(float(model.evaluate(x_test, y_test, verbose=0)[1]), 4),
    }


def _path(folder: str) -> Any:
    from pathlib import Path

    return Path(folder)


def main() -> None:
    """Run the seeds and append their rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="data set, as for `ception train`; for --code tutorial an .npz")
    parser.add_argument("--recipe", default="article")
    parser.add_argument("--code", choices=("ception", "tutorial"), default="ception")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--backend", default=None)
    options = parser.parse_args()
    accuracies = []
    for seed in options.seeds:
        start = time.monotonic()
        if options.code == "tutorial":
            row = tutorial(options.data, seed)
        else:
            row = ours(options.data, options.recipe, seed, options.backend)
        import keras

        from_where = options.data.replace("\\", "/").split("/")[-1].removesuffix(".npz").replace("_", "-")
        row = {"data": from_where, "code": options.code, "recipe": options.recipe, "backend": keras.backend.backend(),
               "seed": seed, **row, "seconds": round(time.monotonic() - start, 1)}  # fmt: skip
        results.append("fashion_mnist", row)
        print(row, flush=True)
        accuracies.append(row["test_accuracy"])
    print(f"mean test accuracy {sum(accuracies) / len(accuracies):.4f}, "
          f"from {min(accuracies):.4f} to {max(accuracies):.4f}")  # fmt: skip


if __name__ == "__main__":
    main()
