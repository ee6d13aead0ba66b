"""What tasks return: typed values, each with `as_dict()`, the plain values that `--json` writes."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar


def plain(value: Any) -> Any:
    """The value in what JSON has: results as dicts, tuples as lists."""
    if isinstance(value, Result):
        return value.as_dict()
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return value


class Result:
    """A frozen dataclass that knows its plain values.

    Attributes:
        _OMITTED: Fields that are left out of the plain values where they are None.
        _KEYS: Keys of fields whose name is another one there.
    """

    _OMITTED: ClassVar[frozenset[str]] = frozenset()
    _KEYS: ClassVar[Mapping[str, str]] = {}

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON has them."""
        named = {one.name: getattr(self, one.name) for one in fields(self)}  # type: ignore[arg-type]
        return {
            self._KEYS.get(name, name): plain(value)
            for name, value in named.items()
            if not (value is None and name in self._OMITTED)
        }


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
        split: Which part of it.
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

    def __repr__(self) -> str:
        low, high = self.accuracy_interval
        return (
            f"Scores(accuracy={self.accuracy:.4f} ({low:.4f} to {high:.4f}) on {self.count:,} {self.split} pictures, "
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
        return _html_table(f"{self.count:,} {self.split} pictures of {self.data}", rows)

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


@dataclass(frozen=True, kw_only=True)
class Certificate(Result):
    """What a conversion of weights did, and how far the network is from the original's code with the same weights.

    Attributes:
        source: The weight file, or the name of published weights.
        sha256: The file's digest.
        model: The network.
        scheme: Whose names the tensors had.
        matched: Number of tensors that were filled.
        missing: Ours that the file does not have.
        unused: The file's that the network has none for.
        adapted: Ours that were changed to fit, with how.
        original: The code that it was compared with, with its version; None where it was not compared.
        filled_by: Who put the weights into the original.
        endpoints: The largest difference relative to the largest value, by endpoint.
        logits: The same of the logits; None where they were not compared.
        note: Why it was not compared; None where it was.
        out: The model file.
    """

    _OMITTED = frozenset({"note"})

    source: str
    sha256: str
    model: str
    scheme: str
    matched: int
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    adapted: Mapping[str, str]
    original: str | None = None
    filled_by: str | None = None
    endpoints: Mapping[str, float] = field(default_factory=dict)
    logits: float | None = None
    note: str | None = None
    out: str

    def __repr__(self) -> str:
        compared = "not compared"
        if self.original:
            worst = max((*self.endpoints.values(), self.logits or 0.0))
            compared = f"within {worst:.1e} of {self.original}"
        return f"Certificate({self.out}: {self.matched} tensors, {len(self.missing)} missing, {compared})"


@dataclass(frozen=True, kw_only=True)
class PixelScaling(Result):
    """How pixels 0..255 are scaled: times `scale` plus `offset`, numbers or one for each channel."""

    scale: float | Sequence[float]
    offset: float | Sequence[float]


@dataclass(frozen=True, kw_only=True)
class ExportedWeights(Result):
    """Weights written for another library.

    Attributes:
        out: The file.
        to: The library.
        tensors: Number of tensors.
        use: The line of Python that loads them there.
        scaling: What pixels are scaled by before, for it is not inside there.
    """

    out: str
    to: str
    tensors: int
    use: str
    scaling: PixelScaling


@dataclass(frozen=True, kw_only=True)
class LayerCost(Result):
    """A layer and what it costs, for one picture.

    Attributes:
        name: Its name.
        kind: The stock Keras class that it is, or derives from.
        output_shape: (height, width, channels) or (features,).
        parameters: Number of weights and statistics.
        macs: Multiply-accumulates with the weights of convolutions and dense layers; 2 FLOPs each.
        activation_bytes: Size of its output.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    macs: int
    activation_bytes: int

    @property
    def block(self) -> str:
        """The block it belongs to: its name up to the first underscore."""
        return self.name.split("_")[0]


@dataclass(frozen=True, kw_only=True)
class TrainingCost(Result):
    """What a training step takes.

    Attributes:
        batch_size: Pictures in it.
        dtype: Keras dtype policy of the layers with weights; `precision` in the plain values.
        memory_bytes: Its peak with TensorFlow, the library itself not counted.
    """

    _KEYS = {"dtype": "precision"}  # noqa: RUF012

    batch_size: int
    dtype: str
    memory_bytes: int


@dataclass(frozen=True, kw_only=True)
class NetworkSummary(Result):
    """What a network costs.

    Attributes:
        model: Its name.
        input_shape: (height, width, channels).
        layers: Every layer, in the network's order.
        parameters: Number of weights and statistics.
        trainable: Number of those that are trained.
        macs: Multiply-accumulates for one picture.
        activation_bytes: Size of all layers' outputs for one picture.
        training: What a training step takes.
    """

    model: str
    input_shape: tuple[int, ...]
    layers: tuple[LayerCost, ...]
    parameters: int
    trainable: int
    macs: int
    activation_bytes: int
    training: TrainingCost

    def __repr__(self) -> str:
        size, megabytes = " x ".join(map(str, self.input_shape)), self.activation_bytes / 1e6
        return (
            f"NetworkSummary({self.model} at {size}, {len(self.layers)} layers,\n"
            f"    {self.parameters:,} parameters, {self.trainable:,} of them trained,\n"
            f"    {self.macs:,} multiply-accumulates and {megabytes:,.1f} MB of activations a picture)"
        )


def _html_table(caption: str, rows: Sequence[Sequence[str]]) -> str:
    """A small table as notebooks show it; everything in it is escaped."""
    lines = ["".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in rows]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table><caption>{html.escape(caption)}</caption><tbody>{body}</tbody></table>"
