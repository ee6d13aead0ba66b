"""What a model said of each picture: the one table that every number is computed from."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ception.evaluation.metrics import scores
from ception.files import whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ception.results import Scores

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
    """

    paths: Sequence[str]
    labels: NDArray[np.integer]
    logits: NDArray[np.float32]
    class_names: tuple[str, ...]

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
        """How well the model tells the pictures, with its logits divided by the temperature."""
        return scores(self.labels, self.logits, self.class_names, temperature)

    def take(self, rows: NDArray[np.integer]) -> Table:
        """A table of some rows in the given order."""
        return Table([self.paths[row] for row in rows], self.labels[rows], self.logits[rows], self.class_names)

    def write(self, path: Path) -> None:
        """Save as CSV: `path,label,logit_<class>...`; the logits read back exactly."""
        with whole(path) as unfinished, unfinished.open("w", **_CODING) as file:
            rows = csv.writer(file)
            rows.writerow(["path", "label", *(f"logit_{name}" for name in self.class_names)])
            for name, label, logits in zip(self.paths, self.labels, self.logits, strict=True):
                rows.writerow([name, self.class_names[label], *(f"{value:.9g}" for value in logits)])

    @classmethod
    def read(cls, path: Path) -> Table:
        """The table in a file that `write` made."""
        with path.open(**_CODING) as file:
            rows = csv.reader(file)
            class_names = tuple(column.removeprefix("logit_") for column in next(rows)[2:])
            index = {name: number for number, name in enumerate(class_names)}
            paths, labels, logits = [], [], []
            for name, label, *values in rows:
                paths.append(name)
                labels.append(index[label])
                logits.append([float(value) for value in values])
        return cls(paths, np.array(labels), np.array(logits, np.float32).reshape(-1, len(class_names)), class_names)
