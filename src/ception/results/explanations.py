"""What speaks for the answers of a model."""

from __future__ import annotations

from dataclasses import dataclass

from ception.results.result import Result

ALIKE = 0.9  # rank correlation with a shuffled network's map, from which on a map does not depend on what was learnt


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
        """Whether it explains, in few words."""
        return "tests passed" if self.explains else "it marks nothing" if self.is_empty else "do not trust it"

    @property
    def is_empty(self) -> bool:
        """Whether the map is the same everywhere, and so counts as a random order of the picture's parts."""
        return (self.insertion, self.deletion) == (self.insertion_by_chance, self.deletion_by_chance)

    @property
    def told(self) -> tuple[str, ...]:
        """What follows for the map, and a line for each test: what was tested, what came out, whether that passes."""
        if self.is_empty:
            return ("The map marks nothing, for nothing there speaks for the class: try another --layer or --method",)
        tests = (
            (f"uncovering what it marks first, the class has a mean probability of {self.insertion:.3f}, in random "
             f"order {self.insertion_by_chance:.3f} (must be higher)", self.insertion > self.insertion_by_chance),
            (f"covering what it marks first, it has {self.deletion:.3f}, in random order {self.deletion_by_chance:.3f} "
             "(must be lower)", self.deletion < self.deletion_by_chance),
            (f"with the network's weights shuffled, the map is like this one by {self.alike:.3f} (rank correlation, "
             f"must be below {ALIKE})", self.alike < ALIKE),
        )  # fmt: skip
        failed = sum(not passed for _, passed in tests)
        says = (
            f"Do not trust the map: it failed {failed} of {len(tests)} tests"
            if failed
            else f"The map shows what counts for the class here: it passed {len(tests)} of {len(tests)} tests"
        )
        return says, *(f"{'passed' if passed else 'failed'}: {text}" for text, passed in tests)


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
