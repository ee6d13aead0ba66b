"""How good a model is, and which of two is better."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ception.results.result import Result, html_table


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
        top5_accuracy: Share of pictures whose class is among the five most probable; None below 6 classes.
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
        best_epoch: Number of the epoch whose weights were kept, of a training.
        selective: What the wished precision comes to.
        slices: The scores of groups.
    """

    _OMITTED = frozenset({"best_epoch", "selective", "slices"})

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

    @property
    def pictures_scored(self) -> str:
        """How many pictures of which split are scored, in words."""
        return f"all {self.count:,} pictures" if self.split == "all" else f"{self.count:,} {self.split} pictures"

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
            groups = {name: GroupScores(**one | {"accuracy_interval": tuple(one["accuracy_interval"])})
                      for name, one in slices["groups"].items()}  # fmt: skip
            read["slices"] = Slices(by=slices["by"], groups=groups)
        return cls(**read)


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
    """

    count: int
    accuracy: tuple[float, float]
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

    def __repr__(self) -> str:
        low, high = self.difference_interval
        one, other = self.accuracy
        return (
            f"Comparison(accuracy={one:.4f} and {other:.4f} on {self.count:,} pictures, "
            f"difference={self.difference:+.4f} ({low:+.4f} to {high:+.4f}), p_value={self.p_value:.2g}, "
            f"different={self.different})"
        )
