"""What a run folder holds."""

from __future__ import annotations

from dataclasses import dataclass

from ception.results.result import Result


@dataclass(frozen=True, kw_only=True)
class RunEntry(Result):
    """A training at a glance.

    Attributes:
        folder: Its run folder.
        data: Name of the data set.
        model: Name of the network.
        weights: What it was fine-tuned from; None for fresh weights.
        options: What else was asked of it, as it is typed.
        accuracy: On the test pictures; None while it is not finished, as the next two.
        accuracy_interval: The 95 % interval of it.
        pictures: Test pictures that were scored.
        seconds: How long it took in all; its epochs alone where it has not ended.
        model_bytes: Size of the model file; None where there is none.
        finished: Whether it came to its end.
    """

    folder: str
    data: str
    model: str
    weights: str | None
    options: str
    accuracy: float | None
    accuracy_interval: tuple[float, float] | None
    pictures: int | None
    seconds: float
    model_bytes: int | None
    finished: bool
