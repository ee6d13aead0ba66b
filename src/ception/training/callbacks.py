"""What happens beside the steps of a training: progress, logs, the best weights."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from ception.errors import RunError
from ception.files import whole
from ception.reporting import Task

Row = dict[str, float]


class Order(keras.callbacks.Callback):
    """Tells the batches which epoch begins, from which their order follows."""

    def __init__(self, batches: Any) -> None:
        super().__init__()
        self.batches = batches

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.batches.epoch = epoch


class Progress(keras.callbacks.Callback):
    """Reports each step, and stops a training whose loss is no number any more."""

    def __init__(self, task: Task, epochs: int) -> None:
        super().__init__()
        self.task = task
        self.epochs = epochs
        self.epoch = 0
        self.told = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        loss = float(logs["loss"])
        if not math.isfinite(loss):
            raise RunError(
                f"the loss became {loss} in step {batch + 1} of epoch {self.epoch + 1}: lower --learning-rate"
            )
        now = time.monotonic()
        detail = ""
        if now - self.told > 0.2:
            self.told = now
            detail = f"epoch {self.epoch + 1}/{self.epochs}  loss {loss:.3f}  accuracy {float(logs['accuracy']):.3f}"
        self.task.advance(1, detail)


class History(keras.callbacks.Callback):
    """Keeps one row of numbers for each epoch, in memory and in log.csv, and passes each on.

    Args:
        path: The CSV: `epoch` from 1 on, `loss`, `accuracy`, `val_loss`, `val_accuracy`, `learning_rate`, `seconds`.
        tell: Called with the rows after each epoch.
    """

    def __init__(self, path: Path, tell: Callable[[list[Row]], None]) -> None:
        super().__init__()
        self.path = path
        self.tell = tell
        self.rows: list[Row] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.begun = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        row: Row = {"epoch": epoch + 1}
        row |= {key: float(logs[key]) for key in ("loss", "accuracy", "val_loss", "val_accuracy")}
        row["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        row["seconds"] = round(time.monotonic() - self.begun, 3)
        self.rows.append(row)
        with whole(self.path) as unfinished, unfinished.open("w", newline="") as file:
            writer = csv.DictWriter(file, row.keys())
            writer.writeheader()
            writer.writerows(self.rows)
        self.tell(self.rows)

    def best_epoch(self) -> int:
        """The number, from 1 on, of the epoch with the lowest validation loss."""
        return int(min(self.rows, key=lambda row: row["val_loss"])["epoch"])


class Best(keras.callbacks.Callback):
    """Calls `save` after each epoch whose validation loss is the lowest so far; stops where it is no number."""

    def __init__(self, save: Callable[[], None]) -> None:
        super().__init__()
        self.save = save
        self.lowest = math.inf

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if not math.isfinite(logs["val_loss"]):
            raise RunError(f"the validation loss became {logs['val_loss']} in epoch {epoch + 1}: lower --learning-rate")
        if logs["val_loss"] < self.lowest:
            self.lowest = logs["val_loss"]
            self.save()


class TensorBoard(keras.callbacks.Callback):
    """Writes each epoch's numbers for TensorBoard under the names that Keras's own callback gives them.

    Keras's callback needs TensorFlow; this one needs `tensorboard` alone and works on every backend.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def on_train_begin(self, logs: Any = None) -> None:
        from tensorboard.summary import Writer

        self.writers = {part: Writer(str(self.folder / part)) for part in ("train", "validation")}

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        for key, value in logs.items():
            part = "validation" if key.startswith("val_") else "train"
            self.writers[part].add_scalar(f"epoch_{key.removeprefix('val_')}", float(value), epoch)
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        self.writers["train"].add_scalar("epoch_learning_rate", rate, epoch)
        for writer in self.writers.values():
            writer.flush()

    def on_train_end(self, logs: Any = None) -> None:
        for writer in self.writers.values():
            writer.close()
