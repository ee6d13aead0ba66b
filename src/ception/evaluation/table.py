"""What a model said of each picture: the one table that every number is computed from."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ception.evaluation.metrics import group_scores, scores
from ception.files import whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ception.results import Scores

_PREDICTED = "predicted"
_SEEN = "seen_in_training"
# any file name comes through, also one that is no Unicode
_CODING: dict[str, Any] = {"newline": "", "encoding": "utf-8", "errors": "surrogateescape"}


@dataclass(frozen=True)
class Table:
    """Pictures with their labels and logits.

    Attributes:
        paths: The pictures' names.
        labels: Index of the true class of each picture, of shape (pictures,).
        logits: float32 of shape (pictures, classes).
        class_names: Names of the classes, in the order of the logits.
        seen: Whether each picture was in the model's training, of shape (pictures,); None where that is not known.
    """

    paths: Sequence[str]
    labels: NDArray[np.integer]
    logits: NDArray[np.float32]
    class_names: tuple[str, ...]
    seen: NDArray[np.bool_] | None = None

    @property
    def scored(self) -> NDArray[np.int64]:
        """The rows that scores are computed from: those that were not in the training, or all where all were."""
        seen = self.seen
        return np.arange(len(self.labels)) if seen is None or seen.all() else np.flatnonzero(~seen)

    @property
    def predicted(self) -> NDArray[np.integer]:
        """Index of the most probable class of each picture."""
        return np.asarray(self.logits.argmax(-1))

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether the most probable class is the true one, for each picture."""
        return np.asarray(self.predicted == self.labels)

    def confusion(self) -> NDArray[np.int64]:
        """Counts of shape (classes, classes): row = label, column = prediction."""
        from sklearn.metrics import confusion_matrix

        return np.asarray(confusion_matrix(self.labels, self.predicted, labels=np.arange(len(self.class_names))))

    def scores(self, temperature: float = 1.0) -> Scores:
        """How well the model tells the pictures that are scored, with its logits divided by the temperature."""
        counted = self.take(self.scored)
        found = scores(counted.labels, counted.logits, self.class_names, temperature)
        left_out = len(counted.labels) < len(self.labels)
        return replace(
            found,
            seen_in_training=None if self.seen is None else int(self.seen.sum()),
            including_seen=group_scores(self.right) if left_out else None,
        )

    def take(self, rows: NDArray[np.integer]) -> Table:
        """A table of some rows in the given order."""
        paths, seen = [self.paths[row] for row in rows], None if self.seen is None else self.seen[rows]
        return Table(paths, self.labels[rows], self.logits[rows], self.class_names, seen)

    def write(self, path: Path) -> None:
        """Save as CSV: `path,label,predicted,logit_<class>...,seen_in_training`; the logits read back exactly.

        The last column is 1 or 0, and empty where that is not known.
        """
        told = [""] * len(self.labels) if self.seen is None else [str(int(one)) for one in self.seen]
        with whole(path) as unfinished, unfinished.open("w", **_CODING) as file:
            rows = csv.writer(file)
            rows.writerow(["path", "label", _PREDICTED, *(f"logit_{name}" for name in self.class_names), _SEEN])
            for name, label, predicted, logits, seen in zip(
                self.paths, self.labels, self.predicted, self.logits, told, strict=True
            ):
                words = self.class_names[label], self.class_names[predicted]
                rows.writerow([name, *words, *(f"{value:.9g}" for value in logits), seen])

    @classmethod
    def read(cls, path: Path) -> Table:
        """The table in a file that `write` made, of this version or an earlier one."""
        with path.open(**_CODING) as file:
            rows = csv.reader(file)
            columns = next(rows)
            first = 3 if columns[2] == _PREDICTED else 2  # which earlier versions lack
            class_names = tuple(column.removeprefix("logit_") for column in columns[first:] if column != _SEEN)
            index = {name: number for number, name in enumerate(class_names)}
            paths, labels, logits, told = [], [], [], []
            for name, label, *values in rows:
                values = values[first - 2 :]
                paths.append(name)
                labels.append(index[label])
                logits.append([float(value) for value in values[: len(class_names)]])
                told.append("".join(values[len(class_names) :]))
        seen = np.array([one == "1" for one in told]) if told and set(told) <= {"0", "1"} else None
        numbers = np.array(logits, np.float32).reshape(-1, len(class_names))
        return cls(paths, np.array(labels), numbers, class_names, seen)
