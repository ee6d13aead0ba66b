"""What may be wrong with a data set: findings with their cases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ception.results.result import Result

Severity = Literal["error", "warning", "note"]  # the gravest first


@dataclass(frozen=True, kw_only=True)
class CasePicture(Result):
    """A picture that a finding is about.

    Attributes:
        path: Its name.
        class_name: Its class; `class` in the plain values.
        split: `train`, `val` or `test`, as training would have it; None where the data cannot be split.
    """

    _KEYS = {"class_name": "class"}  # noqa: RUF012

    path: str
    class_name: str
    split: str | None


@dataclass(frozen=True, kw_only=True)
class Case(Result):
    """One case of a finding: a picture, pictures that belong together, or a class or folder that the note names.

    Attributes:
        pictures: The pictures.
        note: What is to be said of it.
        suggested: The class that the picture seems to be of, where its own is doubted.
        probability: Of that class, 0..1.
        more: How many further pictures belong to it, where they are too many to be named.
    """

    _OMITTED = frozenset({"suggested", "probability", "more"})

    pictures: tuple[CasePicture, ...] = ()
    note: str = ""
    suggested: str | None = None
    probability: float | None = None
    more: int | None = None


@dataclass(frozen=True, kw_only=True)
class Finding(Result):
    """Something about a data set that a person should know.

    Attributes:
        kind: Short name for machines.
        severity: `error` spoils training, `warning` may spoil it or its scores, `note` is worth knowing.
        title: What was found.
        count: How often.
        counted: That with its unit: `3 groups`.
        in_training: What Ception does with it.
        way_out: What the user can do.
        items: The cases; of very many the first, which name 10,000 pictures in all.
    """

    kind: str
    severity: Severity
    title: str
    count: int
    counted: str
    in_training: str
    way_out: str
    items: tuple[Case, ...]

    def __repr__(self) -> str:
        return f"Finding({self.severity}: {self.title}, {self.counted})"


@dataclass(frozen=True, kw_only=True)
class CheckResult(Result):
    """What may be wrong with a data set.

    Attributes:
        data: The data set, as it was named.
        name: Its short name.
        pictures: How many it has.
        classes: Pictures of each class.
        class_splits: Pictures of each class in `train`, `val` and `test`; None where `split` is.
        split: Pictures of `train`, `val` and `test`, as training would have it; None where the data cannot be split.
        model: The network or model it was checked for.
        image_size: Height and width that this takes.
        findings: The gravest first.
        errors: How many of them are errors.
        warnings: How many are warnings.
        notes: How many are notes.
        verdict: These three in words.
        ok: Whether there are neither errors nor warnings.
        not_checked: What was left out, with the reason.
        page: The HTML page that shows all of it.
    """

    data: str
    name: str
    pictures: int
    classes: Mapping[str, int]
    class_splits: Mapping[str, Mapping[str, int]] | None
    split: Mapping[str, int] | None
    model: str
    image_size: tuple[int, int]
    findings: tuple[Finding, ...]
    errors: int
    warnings: int
    notes: int
    verdict: str
    ok: bool
    not_checked: tuple[str, ...]
    page: str

    def class_rows(self, most: int) -> list[tuple[str, tuple[int, ...]]]:
        """Each class with its pictures in all and in each split; of more than `most` classes the smallest ones."""
        names = list(self.classes)
        if len(names) > most:
            names = sorted(names, key=self.classes.__getitem__)[:most]
        splits = self.class_splits or {}
        return [(name, (self.classes[name], *splits.get(name, {}).values())) for name in names]

    def __repr__(self) -> str:
        lines = [f"  {one.severity}: {one.title}, {one.counted}" for one in self.findings]
        head = f"CheckResult({self.name}: {self.pictures:,} pictures in {len(self.classes)} classes, {self.verdict})"
        return "\n".join([head, *lines])
