"""What speaks for the answers of a model."""

from __future__ import annotations

from dataclasses import dataclass

from ception.results.result import Result


@dataclass(frozen=True, kw_only=True)
class Evidence(Result):
    """What speaks for a heat map.

    Attributes:
        insertion: Mean probability of the class while the picture is uncovered from grey, the warmest parts first: the
            higher, the better.
        deletion: The same while it is covered, the warmest parts first: the lower, the better.
        insertion_by_chance: `insertion` in a random order of parts.
        deletion_by_chance: `deletion` likewise.
        alike: Rank correlation, -1..1, with the map of the same network with its weights shuffled.
        explains: Whether the map depends on the weights, and what it marks counts for more than chance both ways.
    """

    insertion: float
    deletion: float
    insertion_by_chance: float
    deletion_by_chance: float
    alike: float
    explains: bool

    @property
    def verdict(self) -> str:
        """Whether it explains, in words."""
        return "it explains" if self.explains else "do not trust it"


@dataclass(frozen=True, kw_only=True)
class Neighbour(Result):
    """A training picture that the network sees as like another picture.

    Attributes:
        path: What it was called in the training.
        class_name: Its class; `class` in the plain values.
        distance: 0..2: 1 less the cosine between what the network sees in both before its last layer.
    """

    _KEYS = {"class_name": "class"}  # noqa: RUF012

    path: str
    class_name: str
    distance: float


@dataclass(frozen=True, kw_only=True)
class Explanation(Result):
    """Which parts of a picture speak for a class.

    Attributes:
        path: The picture's name.
        class_name: The class; empty where the picture cannot be read.
        probability: Its calibrated probability.
        method: How the map was found.
        layer: The layer that was looked at; None where the method looks at none.
        picture: PNG of the picture with the map over it; None where nothing was written.
        completeness: Of integrated gradients, how far their sum is from the change of the logit, as a share of it.
        evidence: What speaks for the map; None where it was not checked.
        nearest: The training pictures most like it, the nearest first; None where none were asked for, or the model has
            no index of them.
        error: Why the picture cannot be read; None where it can.
    """

    _OMITTED = frozenset({"completeness", "nearest", "error"})

    path: str
    class_name: str = ""
    probability: float = 0.0
    method: str = ""
    layer: str | None = None
    picture: str | None = None
    completeness: float | None = None
    evidence: Evidence | None = None
    nearest: tuple[Neighbour, ...] | None = None
    error: str | None = None
