"""Which of two models is better."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ception.results.result import Result
from ception.results.scores import GroupScores, all_were, beats, not_better, noun, verbs


@dataclass(frozen=True, kw_only=True)
class ClassComparison(Result):
    """How well two models tell one class.

    Attributes:
        recall: Of the first and of the second.
        support: Pictures of the class.
        p_value: Of McNemar's exact test on them.
    """

    recall: tuple[float, float]
    support: int
    p_value: float


@dataclass(frozen=True, kw_only=True)
class Changed(Result):
    """A picture that only one of two models gets right.

    Attributes:
        path: Its name.
        label: Its class.
        predicted: What the first and the second model call it.
    """

    path: str
    label: str
    predicted: tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Comparison(Result):
    """Whether one model is better than another on the same pictures.

    Attributes:
        count: Pictures.
        accuracy: Of the first model and of the second.
        accuracy_interval: The 95 % interval of each (Wilson).
        difference: The second accuracy less the first.
        difference_interval: Its 95 % interval (Newcombe, paired).
        only_one_right: Pictures that only the first gets right.
        only_other_right: Pictures that only the second gets right.
        p_value: Of McNemar's exact test, two-sided.
        different: Whether it is below 0.05.
        per_class: By name.
        changed: All pictures that only one of them gets right.
        models: The two models as they were named.
        data: The data set; None where what two runs said of their test pictures was compared.
        output: Folder with `comparison.json` and, where the pictures can be read, `changed.png`.
        seen_in_training: Pictures that the first and the second model were trained on. What either has seen does not
            count, unless that is all; `count` and all numbers are without it. None where a model does not say.
        including_seen: The accuracies with them; None where no other numbers come from that.
    """

    _OMITTED = frozenset({"including_seen"})
    _DERIVED = ("majority_share", "better_than_guessing")

    count: int
    accuracy: tuple[float, float]
    accuracy_interval: tuple[tuple[float, float], tuple[float, float]]
    difference: float
    difference_interval: tuple[float, float]
    only_one_right: int
    only_other_right: int
    p_value: float
    different: bool
    per_class: Mapping[str, ClassComparison]
    changed: tuple[Changed, ...]
    models: tuple[str, str] = ("", "")
    data: str | None = None
    output: str = ""
    seen_in_training: tuple[int | None, int | None] = (None, None)
    including_seen: tuple[GroupScores, GroupScores] | None = None

    @property
    def all_seen(self) -> bool:
        """Whether each picture was in the training of one of the models at least."""
        return any(self.seen_in_training) and self.including_seen is None

    @property
    def majority_share(self) -> float:
        """Share, 0..1, of the most frequent class among the pictures: the accuracy of always naming it."""
        return max(one.support for one in self.per_class.values()) / self.count

    @property
    def better_than_guessing(self) -> tuple[bool | None, bool | None]:
        """For each model as in `Scores`."""
        if len(self.per_class) < 2:
            return None, None
        one, other = (beats(interval, self.majority_share) for interval in self.accuracy_interval)
        return one, other

    @property
    def cautions(self) -> tuple[str, ...]:
        """What must be known before the comparison is believed, a line for each."""
        return tuple(filter(None, (self._of_seen(), *self._of_guessing())))

    def _of_guessing(self) -> list[str]:
        most = max(self.per_class, key=lambda name: self.per_class[name].support)
        share = self.majority_share
        return [
            f"The {which} model is {not_better(accuracy, share)} than guessing: '{most}' for every picture is "
            f"right for {share:.4f} of them"
            for which, accuracy, better in zip(
                ("first", "second"), self.accuracy, self.better_than_guessing, strict=True
            )
            if better is False
        ]

    def _of_seen(self) -> str:
        told = " and ".join(
            f"{seen:,} in that of the {which}"
            for seen, which in zip(self.seen_in_training, ("first", "second"), strict=True) if seen
        )  # fmt: skip
        if self.all_seen:
            return f"{all_were(self.count)} in a model's training ({told}): this says nothing of new ones"
        if self.including_seen:
            one, other = self.including_seen
            were, do, them = verbs(one.count - self.count)
            return (
                f"{one.count - self.count:,} of {one.count:,} pictures {were} in a model's training ({told}) and {do} "
                f"not count; with {them} the accuracies are {one.accuracy:.4f} and {other.accuracy:.4f}"
            )
        return ""

    def __repr__(self) -> str:
        low, high = self.difference_interval
        one, other = self.accuracy
        return (
            f"Comparison(accuracy={one:.4f} and {other:.4f} on {self.count:,} {noun(self.count)}, "
            f"difference={self.difference:+.4f} ({low:+.4f} to {high:+.4f}), p_value={self.p_value:.2g}, "
            f"different={self.different})"
        )
