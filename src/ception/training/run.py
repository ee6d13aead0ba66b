"""A finished training, as it is returned."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ception.reporting import counted, duration
from ception.results.result import html_table

if TYPE_CHECKING:
    from ception.classifier import Classifier
    from ception.results import Scores
    from ception.training.state import EpochRow


@dataclass(frozen=True, repr=False)
class Run:
    """A finished training.

    Attributes:
        classifier: The model with the weights of the best epoch.
        history: For each epoch `epoch`, `phase`, `loss`, `accuracy`, `val_loss`, `val_accuracy`, `learning_rate`,
            `seconds`. Before these, where the head was solved, for each head of another penalty the same with the
            epoch 0, and `penalty` in place of `learning_rate`.
        scores: Scores on the test pictures, as `ception.evaluate` returns them, and `best_epoch`.
        folder: Where everything lies.
    """

    classifier: Classifier
    history: tuple[EpochRow, ...]
    scores: Scores
    folder: Path

    def __repr__(self) -> str:
        return "\n".join([f"Run in {self.folder}", *(f"  {name}: {value}" for name, value in self._facts().items())])

    def _repr_html_(self) -> str:
        """A small table for notebooks."""
        return html_table(f"Run in {self.folder}", list(self._facts().items()))

    def _made(self) -> dict[str, str]:
        """What was made, and which of it is kept."""
        epochs, kept = sum(row["epoch"] > 0 for row in self.history), self.scores.best_epoch
        if not epochs:
            return {"head": f"the best of {counted(len(self.history), 'solved one')}"}
        return {"epochs": f"{epochs}, the best one {kept or 'none: the solved head'}"}

    def _facts(self) -> dict[str, str]:
        scores, names = self.scores, self.classifier.class_names
        low, high = scores.accuracy_interval
        more = "" if len(names) <= 5 else f" ... {names[-1]}"
        return {
            "network": f"{self.classifier.config.name} at {' x '.join(map(str, self.classifier.image.shape))}",
            "classes": f"{len(names)}: {', '.join(names[:5])}{more}",
            "accuracy": f"{scores.accuracy:.4f} ({low:.4f} to {high:.4f}) on {scores.count:,} test pictures",
            **({"but": "; ".join(scores.cautions)} if scores.cautions else {}),
            **self._made(),
            **({"time": duration(scores.training_seconds)} if scores.training_seconds is not None else {}),
        }
