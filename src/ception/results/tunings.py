"""What a search for the options that train best gave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ception.results.result import Result


@dataclass(frozen=True, kw_only=True)
class TrialEntry(Result):
    """One training of a search.

    Attributes:
        number: Its place in the search, from 1.
        options: What it changes of what the user gave, as it is typed.
        state: Whether it came to its end, was stopped, or failed.
        reason: Why it was stopped or failed; empty where it came to its end.
        folder: Its run folder; None where it did not come to its end.
        val_accuracy: Share, 0..1, of the validation pictures that its best epoch is right about; None without an epoch.
        val_loss: The validation loss of that epoch; None where it did not come to its end.
        seconds: How long it took.
    """

    number: int
    options: str
    state: Literal["finished", "stopped", "failed"]
    reason: str = ""
    folder: str | None = None
    val_accuracy: float | None = None
    val_loss: float | None = None
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class TuneResult(Result):
    """A search for the options that train best.

    Attributes:
        data: The data set, as it was named.
        trials: What was tried, the best first.
        best: Run folder of the best.
        accuracy: Its share, 0..1, of right answers on the test pictures, which had no say.
        accuracy_interval: The 95 % interval of that (Wilson).
        command: What repeats it.
    """

    data: str
    trials: tuple[TrialEntry, ...]
    best: str
    accuracy: float
    accuracy_interval: tuple[float, float]
    command: str
