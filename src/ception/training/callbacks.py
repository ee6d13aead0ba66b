"""What happens beside the steps of a training: progress, logs, the best weights, the state to resume from."""

from __future__ import annotations

import csv
import math
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from ception.distributed import LostError
from ception.errors import RunError
from ception.files import whole
from ception.reporting import Reporter, Task
from ception.training.state import EpochRow


class NotFiniteError(RunError):
    """A loss that is no number any more."""


def best_epoch(rows: Sequence[EpochRow]) -> int:
    """The number, from 1 on, of the epoch with the lowest validation loss; 0 for a head that was solved before."""
    return int(min(rows, key=lambda row: row["val_loss"])["epoch"])


def patience_is_over(rows: Sequence[EpochRow], patience: int, min_delta: float) -> bool:
    """Whether the last `patience` epochs brought no validation loss better by `min_delta` than the best before them.

    The rule is that of `keras.callbacks.EarlyStopping`, computed from the rows alone so that it survives a kill.
    """
    best, waited = math.inf, 0
    for row in rows:
        waited += 1
        if row["val_loss"] + min_delta < best:
            best, waited = row["val_loss"], 0
    return waited >= patience


class Order(keras.callbacks.Callback):
    """Tells the batches which epoch begins, from which their order follows."""

    def __init__(self, batches: Any) -> None:
        super().__init__()
        self.batches = batches

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.batches.epoch = epoch


class Whole(keras.callbacks.Callback):
    """Tells a network that is spread over several processes which batches each of them has whole.

    Args:
        training: Batches to train on.
        validation: Batches to validate on.
    """

    def __init__(self, training: Any, validation: Any) -> None:
        super().__init__()
        self.training = training
        self.validation = validation

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.model.whole = self.training.is_whole(batch)

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.model.whole = self.validation.is_whole(batch)


class Interruptible(keras.callbacks.Callback):
    """A context in which Ctrl-C ends the training after the current step.

    Python raises KeyboardInterrupt wherever it happens to be; in a finaliser, which TensorFlow has many of, it is
    swallowed. A second Ctrl-C raises at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.asked = False

    def __enter__(self) -> Interruptible:
        self.before = None
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) not in (
            signal.SIG_IGN,
            None,
        ):
            self.before = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self.before is not None:
            signal.signal(signal.SIGINT, self.before)
        if self.asked and (kind is None or issubclass(kind, LostError)):  # another process was quicker to end
            raise KeyboardInterrupt

    def _ask(self, *_: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self.asked:
            raise KeyboardInterrupt

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        self.on_train_batch_end(batch)


class StepProgress(keras.callbacks.Callback):
    """Reports each step, and stops a training whose loss is no number any more."""

    def __init__(self, task: Task, epochs: int) -> None:
        super().__init__()
        self.task = task
        self.epochs = epochs
        self.epoch = self.begun = 0
        self.told = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch = epoch

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.begun = batch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        loss, step = float(logs["loss"]), min(batch + 1, self.params["steps"])  # of several at once, the last one's
        if not math.isfinite(loss):
            raise NotFiniteError(
                f"the loss became {loss} in step {step} of epoch {self.epoch + 1}: lower --learning-rate"
            )
        now = time.monotonic()
        detail = ""
        if now - self.told > 0.2:
            self.told = now
            detail = f"epoch {self.epoch + 1}/{self.epochs}  loss {loss:.3f}  accuracy {float(logs['accuracy']):.3f}"
        self.task.advance(step - self.begun, detail)


class EpochEnd(keras.callbacks.Callback):
    """Makes the row of each epoch, and stops where what is done with it says so.

    Args:
        earlier: Number of the epochs before.
        phase: Number of the phase, from 1 on.
        after: Called with the row; whether the training shall stop.
    """

    def __init__(self, earlier: int, phase: int, after: Callable[[EpochRow], bool]) -> None:
        super().__init__()
        self.done = earlier
        self.phase = phase
        self.after = after

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.begun = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if not math.isfinite(logs["val_loss"]):
            raise NotFiniteError(
                f"the validation loss became {logs['val_loss']} in epoch {epoch + 1}: lower --learning-rate"
            )
        self.done += 1
        row: EpochRow = {"epoch": self.done, "phase": self.phase}
        row |= {key: float(logs[key]) for key in ("loss", "accuracy", "val_loss", "val_accuracy")}
        row["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        row["seconds"] = round(time.monotonic() - self.begun, 3)
        if self.after(row):
            self.model.stop_training = True


_COLUMNS = ("epoch", "phase", "loss", "accuracy", "val_loss", "val_accuracy", "penalty", "learning_rate", "seconds")


def write_log(path: Path, rows: Sequence[EpochRow]) -> None:
    """Save the rows as CSV; what a row has not stays empty, what none has is left out."""
    columns = [name for name in _COLUMNS if any(name in row for row in rows)]
    with whole(path) as unfinished, unfinished.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


class TensorBoard(keras.callbacks.Callback):
    """Writes each epoch's numbers for TensorBoard under the names that Keras's own callback gives them.

    Keras's callback needs TensorFlow; this one needs `tensorboard` alone and works on every backend. A head that was
    solved has names of its own, and a step for each penalty.

    Args:
        folder: Where the events lie; those of an interrupted training are replaced.
        rows: Gives the rows of all epochs, the last one's among them when this callback is called.
        reporter: Warned where `tensorboard` cannot be imported, without which nothing else is.
    """

    def __init__(self, folder: Path, rows: Callable[[], Sequence[EpochRow]], reporter: Reporter) -> None:
        super().__init__()
        self.folder = folder
        self.rows = rows
        self.reporter = reporter
        self.writers: Mapping[str, Any] = {}

    def on_train_begin(self, logs: Any = None) -> None:
        try:
            from tensorboard.summary import Writer
        except Exception as error:  # whatever the packages raise that it needs, in versions that do not fit it
            told = " ".join(str(error).split())[:200] or type(error).__name__
            self.reporter.warn(f"nothing is written for TensorBoard, which cannot be imported here: {told}")
            return
        for old in self.folder.glob("*/events.*"):
            old.unlink()
        self.writers = {part: Writer(str(self.folder / part)) for part in ("train", "validation")}
        for step, row in enumerate(self.rows()):
            self._write(row, step)

    def write_all(self) -> None:
        """Write the rows that there are, of a phase that has no epochs."""
        self.on_train_begin()
        self.on_train_end()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._write(self.rows()[-1], epoch)

    def on_train_end(self, logs: Any = None) -> None:
        for writer in self.writers.values():
            writer.close()

    def _write(self, row: EpochRow, place: int) -> None:
        if not self.writers:
            return
        solved = not row["epoch"]
        what, step = ("head", place) if solved else ("epoch", int(row["epoch"]) - 1)
        for key in ("loss", "accuracy", "penalty" if solved else "learning_rate"):
            self.writers["train"].add_scalar(f"{what}_{key}", row[key], step)
        for key in ("loss", "accuracy"):
            self.writers["validation"].add_scalar(f"{what}_{key}", row[f"val_{key}"], step)
        for writer in self.writers.values():
            writer.flush()
