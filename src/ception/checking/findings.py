"""What may be wrong with a data set, from the facts about its pictures."""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, get_args, overload

import numpy as np

from ception import recommended
from ception.checking.groups import Groups
from ception.checking.kinds import KINDS, Kind
from ception.checking.labels import Doubt
from ception.checking.passed_over import PassedOver
from ception.data import grouping, splitting
from ception.data.dataset import match_classes
from ception.data.sources import SPLIT_NAMES, SPLITS, TEST, TRAIN, UNSTATED, VAL, Dataset
from ception.errors import InputError
from ception.evaluation.calibration import wilson_interval
from ception.reporting import counted
from ception.results import Case, CasePicture, Finding, Severity

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ROUGH = 0.2  # an interval so wide does not tell a good model from a poor one: less than 93 pictures
IMBALANCE = 10  # times as many pictures in the largest class as in the smallest
_SAME_FORMAT = {"MPO": "JPEG", "DIB": "BMP"}  # what cameras write as .jpg, and .bmp without its first lines
_SEVERITIES: tuple[Severity, ...] = get_args(Severity)  # the gravest first
LISTED = 10_000  # pictures of a finding that its cases name


@dataclass(frozen=True)
class Item:
    """One case by the pictures' indices: one, some that belong together, or none, where the note names a folder.

    Of very many that belong together it has the first, and how many `more` there are.

    Where a picture's label is doubted, it has the class that it seems to be of, and how probable that is.
    """

    pictures: tuple[int, ...] = ()
    note: str = ""
    suggested: str | None = None
    probability: float | None = None
    more: int = 0


@dataclass(frozen=True)
class Items(Sequence[Item]):
    """Cases that are made when asked for, so that a million of them take no memory.

    Attributes:
        many: How many there are.
        item: Makes one by its number.
    """

    many: int
    item: Callable[[int], Item]

    def __len__(self) -> int:
        return self.many

    @overload
    def __getitem__(self, number: int) -> Item: ...
    @overload
    def __getitem__(self, number: slice) -> list[Item]: ...
    def __getitem__(self, number: int | slice) -> Item | list[Item]:
        """One case, or some."""
        if isinstance(number, slice):
            return [self.item(one) for one in range(self.many)[number]]
        return self.item(range(self.many)[number])


@dataclass(frozen=True)
class GroupItems(Items):
    """Cases of pictures that belong together.

    Attributes:
        groups: Those of each case.
    """

    groups: Groups

    @classmethod
    def of(cls, groups: Groups, note: Callable[[NDArray[np.intp]], str] = lambda group: "") -> GroupItems:
        """A case for each group."""

        def item(number: int) -> Item:
            group = groups[number]
            first = tuple(group[:LISTED].tolist())
            return Item(first, note(group), more=len(group) - len(first))

        return cls(len(groups), item, groups)


Cases = dict[str, Sequence[Item]]  # by kind of finding


def split_as_trained(dataset: Dataset, digests: NDArray[np.void]) -> tuple[NDArray[np.int8] | None, list[Item]]:
    """Each picture's split as training would have it, None where there can be none, and what is lacking."""
    items = []
    if len(dataset.class_names) < 2:
        items.append(Item(note=f"there is one class only, {dataset.class_names[0]}: a classifier needs two or more"))
    try:
        splits = splitting.split(dataset, digests)
    except InputError as error:
        needed = 1 + sum(not (dataset.stated_splits == number).any() for number in SPLITS.values() if number != TRAIN)
        free = (dataset.stated_splits == UNSTATED) | (dataset.stated_splits == TRAIN)
        for label, name in enumerate(dataset.class_names):
            different = len(np.unique(digests[free & (dataset.labels == label)]))
            if 0 < different < needed:
                items.append(Item(note=f"{name} has {different} different pictures, of {needed} that it needs"))
        return None, items or [Item(note=str(error))]
    for split, number in SPLITS.items():
        for name, count in zip(dataset.class_names, splitting.counted(dataset, splits, number), strict=True):
            if not count:
                items.append(Item(note=f"{name} has no {split} picture"))
    return splits, items


def about_splits(splits: NDArray[np.int8] | None, lacking: list[Item]) -> Cases:
    """What is lacking for a split, as `split_as_trained` tells it, and the splits too small to judge a model by."""
    counts = {} if splits is None else {name: int((splits == SPLITS[name]).sum()) for name in ("val", "test")}
    few = [
        Item(note=f"{name} has {counted(count, 'picture')}: the 95 % interval of an accuracy is up to "
                  f"{100 * _width(count):.0f} points wide")
        for name, count in counts.items() if count and _width(count) > _ROUGH
    ]  # fmt: skip
    return {"too_few": lacking, "few_scored": few}


def _width(count: int) -> float:
    """What the 95 % interval of an accuracy spans at most, with so many pictures: where half of them are right."""
    low, high = wilson_interval(count // 2, count)
    return high - low


def about_pictures(dataset: Dataset, facts: NDArray[np.void], failed: dict[int, str], size: tuple[int, int]) -> Cases:
    """What single pictures are like, by kind of finding.

    Args:
        dataset: The data set.
        facts: What `ception.checking.scan.scan` found.
        failed: The reasons of pictures that cannot be read.
        size: Height and width that the network takes, in pixels.
    """
    height, width = size

    def of(indices: NDArray[np.intp], note: Callable[[int], str]) -> Items:
        return Items(len(indices), lambda number: Item((int(indices[number]),), note(int(indices[number]))))

    def where(these: NDArray[np.bool_], note: Callable[[Any], str]) -> Items:
        return of(np.flatnonzero(these & (facts["width"] > 0)), lambda index: note(facts[index]))

    cases: Cases = {
        "unreadable": of(np.flatnonzero(facts["width"] == 0), lambda index: failed.get(index, "")),
        "misnamed": of(_misnamed(dataset, facts), lambda index: _told_kind(dataset, facts, index)),
        "small": where(
            (facts["width"] < width) | (facts["height"] < height),
            lambda of: f"{of['width']} x {of['height']} pixels, the network takes {width} x {height}",
        ),
        "shrunk": where(
            np.minimum(facts["width"], facts["height"]) >= recommended.too_large_for(min(size)),
            lambda of: f"{of['width']} x {of['height']} pixels, the network takes {width} x {height}",
        ),
        "rotated": where(facts["orientation"] > 1, lambda of: f"orientation {of['orientation']}"),
        "alpha": where(facts["alpha"], lambda of: f"mode {of['mode'].decode()}"),
        "cmyk": where(facts["mode"] == b"CMYK", lambda of: str(of["format"].decode())),
        "deep": where(facts["deep"], lambda of: f"{of['format'].decode()}, mode {of['mode'].decode()}"),
        "animated": where(facts["frames"] > 1, lambda of: f"{of['frames']} frames in a {of['format'].decode()}"),
    }
    counts = np.bincount(dataset.labels, minlength=len(dataset.class_names))
    present = counts[counts > 0]
    if len(present) > 1 and present.max() >= IMBALANCE * present.min():
        most = f"{int(counts.max()):,} of {dataset.class_names[int(counts.argmax())]}"
        cases["imbalance"] = [
            Item(note=f"{dataset.class_names[label]} has {int(counts[label]):,} pictures beside {most}")
            for label in np.argsort(counts, kind="stable").tolist()
            if 0 < counts[label] * IMBALANCE <= counts.max()
        ]
    return cases


def _misnamed(dataset: Dataset, facts: NDArray[np.void]) -> NDArray[np.intp]:
    """The pictures whose suffix is that of another format."""
    from PIL import Image

    formats = Image.registered_extensions()
    found = array("q")
    for index in range(len(facts)):
        if kind := facts["format"][index].decode():
            said = formats.get(_suffix(dataset, index), kind)
            if _SAME_FORMAT.get(said, said) != _SAME_FORMAT.get(kind, kind):
                found.append(index)
    return np.array(found, np.intp)


def _told_kind(dataset: Dataset, facts: NDArray[np.void], index: int) -> str:
    return f"{facts['format'][index].decode()} with the suffix {_suffix(dataset, index)}"


def _suffix(dataset: Dataset, index: int) -> str:
    return os.path.splitext(dataset.pictures.name(index))[1].lower()


def about_copies(dataset: Dataset, splits: NDArray[np.int8] | None, equal: Groups, near: Groups) -> Cases:
    """What stands more than once, by kind of finding.

    Args:
        dataset: The data set.
        splits: Each picture's split, if there are any.
        equal: Groups of equal pictures.
        near: Groups of pictures that show nearly the same.
    """
    cases: Cases = {}
    for groups, names in (
        (equal, ("two_classes", "two_splits", "copies")),
        (near, ("near_two_classes", "near_two_splits", "near_copies")),
    ):
        crossing = [groups.cross(of) for of in (dataset.labels, splits) if of is not None]
        within = ~np.logical_or.reduce(crossing)
        for name, these in zip((names[2], *names), (within, *crossing), strict=False):
            if these.any():
                cases[name] = GroupItems.of(groups.where(these))
    return cases


def about_placeholders(dataset: Dataset, found: Groups) -> Cases:
    """Pictures that look like placeholders, with their copies, by kind of finding."""

    def note(group: NDArray[np.intp]) -> str:
        if len(group) == 1:
            return "of one colour all over"
        return f"{len(group):,} times, in {counted(len(np.unique(dataset.labels[group])), 'class')}"

    return {"placeholders": GroupItems.of(found, note)}


def about_folders(passed: PassedOver) -> Cases:
    """What was passed over, by kind of finding."""
    return {
        "empty_class": [Item(note=folder) for folder in passed.empty],
        "hidden": [Item(note=f"{folder}, pictures: {count:,}") for folder, count in passed.hidden.items()],
        "outside": [Item(note=path) for path in passed.outside],
        "foreign_suffix": [Item(note=f"{path} is a {kind}") for path, kind in passed.foreign.items()],
    }


def about_names(dataset: Dataset) -> Cases:
    """Cases that names tell: frames of series, and augmented copies."""
    return about_series(dataset) | about_augmented(dataset)


def about_series(dataset: Dataset) -> Cases:
    """Frames that a split would part, by kind of finding."""
    found = grouping.series(dataset)
    if found is None or {VAL, TEST} <= set(dataset.stated_splits.tolist()):
        return {}
    return {"series": [Item(note=f"{found.count:,} series, about {found.pictures} in each, such as {found.example}")]}


def about_augmented(dataset: Dataset) -> Cases:
    """Originals with their augmented copies, by kind of finding."""
    return {"augmented": [Item(group) for group in grouping.augmented(dataset)]}


def about_labels(dataset: Dataset, doubts: Sequence[Doubt], indices: NDArray[np.integer]) -> Cases:
    """Pictures whose label may be wrong, by kind of finding.

    Args:
        dataset: The data set.
        doubts: The surest first.
        indices: Of the pictures at the places of the doubts.
    """

    def item(doubt: Doubt) -> Item:
        name = dataset.class_names[doubt.label]
        note = f"looks like {name} ({doubt.probability:.0%}; its own class {doubt.own:.1%})"
        return Item((int(indices[doubt.place]),), note, name, round(doubt.probability, 4))

    return {"mislabelled": [item(doubt) for doubt in doubts]}


def split_of_pictures(splits: NDArray[np.int8] | None) -> dict[str, int] | None:
    """Pictures in each split; None where there are no splits."""
    return None if splits is None else {name: int((splits == number).sum()) for name, number in SPLITS.items()}


def split_of_classes(dataset: Dataset, splits: NDArray[np.int8] | None) -> dict[str, dict[str, int]] | None:
    """Pictures of each class in each split; None where there are no splits."""
    if splits is None:
        return None
    counts = {name: splitting.counted(dataset, splits, number).tolist() for name, number in SPLITS.items()}
    return {name: {split: of[label] for split, of in counts.items()} for label, name in enumerate(dataset.class_names)}


def about_classes(dataset: Dataset, known: Sequence[str], unnamed: bool) -> Cases:
    """How the data's classes differ from a model's, by kind of finding.

    Args:
        dataset: The data set.
        known: Names of the model's classes.
        unnamed: Whether those are just numbers.
    """
    places = match_classes(dataset.class_names, known, nameless=dataset.unnamed or unnamed).places
    alike = {name.strip().casefold(): name for name in known}
    shown = np.bincount(dataset.labels, minlength=len(places)) > 0
    unknown = [dataset.class_names[k] for k in np.flatnonzero(shown) if places[k] is None]
    found = {places[k] for k in np.flatnonzero(shown)}
    return {
        "unknown_classes": [
            Item(note=f"{name}" + (f"; the model calls it {alike[name.strip().casefold()]}"
                                   if name.strip().casefold() in alike else ""))
            for name in unknown
        ],
        "absent_classes": [Item(note=name) for place, name in enumerate(known) if place not in found],
    }  # fmt: skip


def listed(cases: Cases, dataset: Dataset, splits: NDArray[np.int8] | None) -> tuple[Finding, ...]:
    """The findings that have cases, the gravest first.

    Args:
        cases: Those of each kind.
        dataset: The data set.
        splits: Each picture's split, if there are any.
    """

    def case(item: Item) -> Case:
        return Case(
            pictures=tuple(map(picture, item.pictures)), note=item.note, suggested=item.suggested,
            probability=item.probability, more=item.more or None,
        )  # fmt: skip

    def picture(index: int) -> CasePicture:
        return CasePicture(
            path=dataset.pictures.name(index),
            class_name=dataset.class_names[dataset.labels[index]],
            split=None if splits is None else SPLIT_NAMES[int(splits[index])],
        )

    findings = [_finding(kind, cases[kind.name], case, dataset, splits) for kind in KINDS if cases.get(kind.name)]
    return tuple(sorted(findings, key=lambda finding: _SEVERITIES.index(finding.severity)))


def _finding(
    kind: Kind, items: Sequence[Item], case: Callable[[Item], Case], dataset: Dataset, splits: NDArray[np.int8] | None
) -> Finding:
    in_training, way_out = kind.in_training, kind.way_out
    if kind.name == "near_two_splits" and splits is not None and isinstance(items, GroupItems):
        in_training, way_out = _parted(kind, items.groups, dataset, splits)
    return Finding(
        kind=kind.name,
        severity=kind.severity,
        title=kind.title,
        count=len(items),
        counted=counted(len(items), kind.unit),
        in_training=in_training,
        way_out=way_out,
        items=tuple(map(case, _first(items))),
    )


def _first(items: Sequence[Item]) -> Iterator[Item]:
    """The first cases, which name `LISTED` pictures in all at most; each counts as one that has none."""
    left = LISTED
    for item in items:
        cut = item.pictures[:left]
        yield replace(item, pictures=cut, more=item.more + len(item.pictures) - len(cut))
        left -= max(1, len(cut))
        if left <= 0:
            return


def _parted(kind: Kind, groups: Groups, dataset: Dataset, splits: NDArray[np.int8]) -> tuple[str, str]:
    """What training does, with how many test pictures that touches, and the way out where data state the split."""
    tested = splits == TEST
    touched = int(tested[groups.where(~groups.all(tested)).members].sum())
    have = "has" if touched == 1 else "have"
    told = f" {touched:,} of {int((splits == TEST).sum()):,} test pictures {have} one in training or validation."
    if set(SPLITS.values()) - set(dataset.stated_splits.tolist()):
        return kind.in_training + told, kind.way_out
    kept = "The data state the split, so it is kept: scores on these pictures are too good."
    return kept + told, "Delete them in all splits but one."


def severities(findings: Iterable[Finding]) -> dict[str, int]:
    """How many findings there are of each severity: `errors`, `warnings` and `notes`."""
    grave = [finding.severity for finding in findings]
    return {name + "s": grave.count(name) for name in _SEVERITIES}


def verdict(numbers: dict[str, int]) -> str:
    """What `severities` gives, in words: `1 error, 2 notes`."""
    parts = [f"{count} {name if count > 1 else name[:-1]}" for name, count in numbers.items() if count]
    return ", ".join(parts) or "nothing"
