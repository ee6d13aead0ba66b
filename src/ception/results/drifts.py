"""How pictures differ from those that a model knows."""

from __future__ import annotations

from dataclasses import dataclass

from ception.results.result import Result


@dataclass(frozen=True, kw_only=True)
class Drift(Result):
    """How far pictures are from what is usual by one quantity.

    Attributes:
        quantity: `confidence`, `brightness` or `shorter_side`, as `ception.drift.Looks` has them.
        count: Pictures that were compared.
        distance: Largest difference, 0..1, of both cumulative distributions (Kolmogorov and Smirnov).
        p_value: How probable so large a distance is by chance.
        median: Of the pictures.
        usual: Of what the model knows.
        different: Whether they are surely different, by a distance of 0.1 at least.
    """

    quantity: str
    count: int
    distance: float
    p_value: float
    median: float
    usual: float
    different: bool
