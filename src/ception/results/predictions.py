"""What a model says of pictures."""

from __future__ import annotations

from dataclasses import dataclass

from ception.results.result import Result


@dataclass(frozen=True, kw_only=True)
class Guess(Result):
    """A class that a picture may show.

    Attributes:
        class_name: The class; `class` in the plain values.
        probability: 0..1.
    """

    _KEYS = {"class_name": "class"}  # noqa: RUF012

    class_name: str
    probability: float


@dataclass(frozen=True, kw_only=True)
class Prediction(Result):
    """What a model says of a picture.

    Attributes:
        path: The picture's name: its path, or what it is called in memory, such as `picture 3`.
        top: The most probable classes, the most probable first; none where the picture cannot be read.
        unknown: Whether the best probability is below the threshold.
        error: Why it cannot be read; None where it can.
    """

    path: str
    top: tuple[Guess, ...] = ()
    unknown: bool = False
    error: str | None = None

    @property
    def best(self) -> Guess | None:
        """The most probable class; None where the picture cannot be read."""
        return self.top[0] if self.top else None
