"""How good a model is, and which of two is better."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ception.results.result import Result, html_table

_TRY = (
    "train with more --epochs, the rate that --find-lr finds, or, for photos and where it began with fresh weights, "
    "--model xception --weights imagenet --image-size 299"
)


@dataclass(frozen=True, kw_only=True)
class ClassScores(Result):
    """How well one class is told.

    Attributes:
        precision: Share, 0..1, of the pictures called so that are so.
        recall: Share of the pictures that are so that are called so.
        f1: Harmonic mean of both.
        support: Pictures of the class.
    """

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, kw_only=True)
class Confusion(Result):
    """How often one class is taken for another.

    Attributes:
        label: The true class.
        predicted: What it is taken for.
        count: Pictures.
    """

    label: str
    predicted: str
    count: int


@dataclass(frozen=True, kw_only=True)
class Calibration(Result):
    """What probabilities are worth.

    Attributes:
        log_loss: Mean negative log probability of the labels, in nats.
        calibration_error: Expected calibration error, 0..1, with 15 bins.
    """

    log_loss: float
    calibration_error: float


@dataclass(frozen=True, kw_only=True)
class Selective(Result):
    """What a confidence threshold delivers, where a precision was wished for.

    Attributes:
        wished: The precision that was wished for.
        min_confidence: The threshold, chosen on the validation pictures.
        precision: Share of right answers above it; 0 where there are none.
        precision_interval: Its 95 % interval.
        coverage: Share of the pictures that are answered.
        count: How many that are.
    """

    wished: float
    min_confidence: float
    precision: float
    precision_interval: tuple[float, float]
    coverage: float
    count: int


@dataclass(frozen=True, kw_only=True)
class GroupScores(Result):
    """The accuracy of a group of pictures with its 95 % interval."""

    count: int
    accuracy: float
    accuracy_interval: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Thumbnails(Result):
    """What a linear classifier on thumbnails makes of the pictures: what a network should be better than.

    Attributes:
        side: Of the thumbnails, in pixels.
        count: Pictures that both were scored on.
        accuracy: Share, 0..1, of its right answers.
        difference: The network's accuracy on these less that.
        difference_interval: Its 95 % interval (Newcombe, paired).
    """

    side: int
    count: int
    accuracy: float
    difference: float
    difference_interval: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Slices(Result):
    """The scores of groups of pictures.

    Attributes:
        by: What they are grouped by.
        groups: By name.
    """

    by: str
    groups: Mapping[str, GroupScores]


@dataclass(frozen=True, kw_only=True)
class Scores(Result):
    """How good a model is.

    Attributes:
        count: Pictures scored.
        accuracy: Share, 0..1, of right answers.
        accuracy_interval: Its 95 % interval (Wilson).
        top5_accuracy: Share of pictures whose class is among the five most probable; None below 10 classes, where
            five guesses are right by chance more often than not.
        balanced_accuracy: Mean recall of the classes that have pictures.
        log_loss: Mean negative log probability of the labels, in nats.
        calibration_error: Expected calibration error, 0..1, with 15 bins.
        temperature: What the logits were divided by.
        uncalibrated: The same without the temperature.
        per_class: By name.
        confused: The most confused pairs, at most ten.
        model: The model file; None for a classifier in memory.
        data: The data set.
        split: Which of its splits.
        output: Folder that was written; None where none was.
        best_epoch: Number of the epoch whose weights were kept, of a training; 0 for a head that was solved.
        selective: What the wished precision comes to.
        slices: The scores of groups.
        seen_in_training: Pictures that the model was trained on. They do not count, unless all were: `count` and all
            scores are without them. None where the model does not say what it was trained on.
        including_seen: The accuracy with them; None where no other number comes from that.
        thumbnails: How a linear classifier on thumbnails compares, after a training.
        training_seconds: How long a training took, from its data to these scores, without what interruptions lost.
    """

    _OMITTED = frozenset({
        "best_epoch", "selective", "slices", "including_seen", "thumbnails", "better_than_thumbnails",
        "training_seconds",
    })  # fmt: skip
    _DERIVED = ("seen_share", "majority_share", "better_than_guessing", "better_than_thumbnails")

    count: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    top5_accuracy: float | None
    balanced_accuracy: float
    log_loss: float
    calibration_error: float
    temperature: float
    uncalibrated: Calibration
    per_class: Mapping[str, ClassScores]
    confused: tuple[Confusion, ...]
    model: str | None = None
    data: str = ""
    split: str = ""
    output: str | None = None
    best_epoch: int | None = None
    selective: Selective | None = None
    slices: Slices | None = None
    seen_in_training: int | None = None
    including_seen: GroupScores | None = None
    thumbnails: Thumbnails | None = None
    training_seconds: float | None = None

    @property
    def all_seen(self) -> bool:
        """Whether the model was trained on all pictures that are scored."""
        return bool(self.seen_in_training) and self.including_seen is None

    @property
    def seen_share(self) -> float | None:
        """Share, 0..1, of all pictures that the model was trained on; None where that is not known."""
        if self.seen_in_training is None:
            return None
        return self.seen_in_training / (self.including_seen.count if self.including_seen else self.count)

    @property
    def majority_share(self) -> float:
        """Share, 0..1, of the most frequent class among the pictures scored: the accuracy of always naming it."""
        return max(one.support for one in self.per_class.values()) / self.count

    @property
    def better_than_guessing(self) -> bool | None:
        """Whether the interval of the accuracy lies above `majority_share`; None where one class alone has pictures."""
        if sum(one.support > 0 for one in self.per_class.values()) < 2:
            return None
        return beats(self.accuracy_interval, self.majority_share)

    @property
    def better_than_thumbnails(self) -> bool | None:
        """Whether the interval of the difference to `thumbnails` lies above 0; None where there are none."""
        return None if self.thumbnails is None else beats(self.thumbnails.difference_interval, 0.0)

    @property
    def cautions(self) -> tuple[str, ...]:
        """What must be known before the scores are believed, a line for each."""
        return tuple(filter(None, (self._of_seen(), self._of_guessing() or self._of_thumbnails())))

    def _of_seen(self) -> str:
        if self.all_seen:
            return f"{all_were(self.count)} in the model's training: these scores say nothing of new pictures"
        if one := self.including_seen:
            were, do, them = verbs(self.seen_in_training or 0)
            return (
                f"{self.seen_in_training:,} of {one.count:,} pictures ({self.seen_share:.1%}) {were} in the model's "
                f"training and {do} not count; with {them} the accuracy is {one.accuracy:.4f}"
            )
        return ""

    def _of_guessing(self) -> str:
        better, most = self.better_than_guessing, max(self.per_class, key=lambda name: self.per_class[name].support)
        if better:
            return ""
        if better is None:
            subject = "The only picture is" if self.count == 1 else "All pictures are"
            return f"{subject} of class '{most}': score others too, or the accuracy says little"
        said = not_better(self.accuracy, self.majority_share).capitalize()
        first = "" if self.accuracy <= self.majority_share else "score more pictures, or "
        return (
            f"{said} than guessing: '{most}' for every picture is right for {self.majority_share:.4f} of them; "
            f"{first}{_TRY}, and look at the data with ception check"
        )

    def _of_thumbnails(self) -> str:
        one = self.thumbnails
        if one is None or self.better_than_thumbnails:
            return ""
        if self.accuracy == 1:
            return (
                f"A linear classifier on thumbnails of {one.side} x {one.side} pixels is right for {one.accuracy:.4f} "
                f"of {one.count:,} too: these pictures are easy, and more or harder ones would say more"
            )
        first = "" if one.difference <= 0 else "score more pictures, or "
        return (
            f"{not_better(one.difference, 0).capitalize()} than a linear classifier on thumbnails of {one.side} x "
            f"{one.side} pixels, which is right for {one.accuracy:.4f} of {one.count:,}; {first}{_TRY}"
        )

    @property
    def pictures_scored(self) -> str:
        """How many pictures of which split are scored, in words."""
        counted = noun(self.count)
        if self.including_seen:
            return f"{self.count:,} {self.split} {counted} not seen in training".replace(" all ", " ")
        if self.split == "all":
            return f"all {self.count:,} {counted}" if self.count > 1 else "the only picture"
        return f"{self.count:,} {self.split} {counted}"

    def __repr__(self) -> str:
        low, high = self.accuracy_interval
        return (
            f"Scores(accuracy={self.accuracy:.4f} ({low:.4f} to {high:.4f}) on {self.pictures_scored}, "
            f"balanced_accuracy={self.balanced_accuracy:.4f}, log_loss={self.log_loss:.4f})"
        )

    def _repr_html_(self) -> str:
        low, high = self.accuracy_interval
        rows = [
            ("accuracy", f"{self.accuracy:.4f}", f"95 % interval {low:.4f} to {high:.4f}"),
            ("balanced accuracy", f"{self.balanced_accuracy:.4f}", "mean recall of the classes"),
            ("log loss", f"{self.log_loss:.4f}", f"{self.uncalibrated.log_loss:.4f} without temperature"),
            ("calibration error", f"{self.calibration_error:.4f}",
             f"{self.uncalibrated.calibration_error:.4f} without temperature"),
        ]  # fmt: skip
        rows += [("caution", "", line) for line in self.cautions]
        if self.top5_accuracy is not None:
            rows.insert(1, ("top-5 accuracy", f"{self.top5_accuracy:.4f}", "true class among the first five"))
        return html_table(f"{self.pictures_scored} of {self.data}", rows)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Scores:
        """What `as_dict` gave.

        Raises:
            KeyError: something is missing.
            TypeError: something is of another type.
        """
        known = {one.name for one in fields(cls)}
        read = {key: value for key, value in values.items() if key in known}
        read["accuracy_interval"] = tuple(values["accuracy_interval"])
        read["uncalibrated"] = Calibration(**values["uncalibrated"])
        read["per_class"] = {name: ClassScores(**one) for name, one in values["per_class"].items()}
        read["confused"] = tuple(Confusion(**one) for one in values["confused"])
        if wished := values.get("selective"):
            read["selective"] = Selective(**wished | {"precision_interval": tuple(wished["precision_interval"])})
        if slices := values.get("slices"):
            groups = {name: _group(one) for name, one in slices["groups"].items()}
            read["slices"] = Slices(by=slices["by"], groups=groups)
        if linear := values.get("thumbnails"):
            read["thumbnails"] = Thumbnails(**linear | {"difference_interval": tuple(linear["difference_interval"])})
        if including := values.get("including_seen"):
            read["including_seen"] = _group(including)
        return cls(**read)


def beats(interval: tuple[float, float], yardstick: float) -> bool:
    """Whether an interval lies above what is to be beaten."""
    return interval[0] > yardstick


def not_better(value: float, yardstick: float) -> str:
    """How a value that does not beat its yardstick is called."""
    return "not better" if value <= yardstick else "not surely better"


def _group(values: Mapping[str, Any]) -> GroupScores:
    """What `as_dict` of a group's scores gave."""
    return GroupScores(**{**values, "accuracy_interval": tuple(values["accuracy_interval"])})


@dataclass(frozen=True, kw_only=True)
class CoveragePoint(Result):
    """What answering above a confidence gives.

    Attributes:
        threshold: The confidence, cut to six digits, so that it can be printed.
        coverage: Share, 0..1, of the pictures with at least that confidence.
        precision: Share of these that are right.
        precision_low: Lower end of its 95 % interval.
    """

    threshold: float
    coverage: float
    precision: float
    precision_low: float


def noun(count: int) -> str:
    """`picture`, or its plural."""
    return "picture" if count == 1 else "pictures"


def all_were(count: int) -> str:
    """The subject of a sentence about all pictures, with its verb."""
    return "The only picture was" if count == 1 else f"All {count:,} pictures were"


def verbs(count: int) -> tuple[str, str, str]:
    """What goes with a number of pictures: `were`, `do` and `them`, or their singulars."""
    return ("was", "does", "it") if count == 1 else ("were", "do", "them")
