"""One page that shows the findings, with pictures; it needs nothing outside itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

from ception import pages
from ception.checking.findings import Item
from ception.checking.scan import preview
from ception.checking.seen import Seen
from ception.data.images import PictureError, flatten
from ception.data.sources import Dataset, Encoded, parallel
from ception.errors import InputError, reason
from ception.reporting import Reporter, counted
from ception.results import Case, CasePicture, CheckResult, Finding

_SHOWN = 24  # single pictures of a finding; with 12 groups of 6 and thumbnails of 8 KB, a page stays below 6 MB
_GROUPS, _OF_GROUP = 12, 6
_CLASSES = 40  # rows of their table
_LINES = 50  # cases without pictures
_THUMBNAIL = 160  # pixels
_OURS = '<meta name="generator" content="ception check">'


def require_free(path: Path) -> None:
    """Raise an InputError if the page would overwrite anything but an earlier page, or cannot be written there."""
    if path.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"--out {path} is no name of a page: end it in .html")
    try:
        if path.exists() and (path.is_dir() or _OURS not in path.read_text("utf-8", "replace")[:500]):
            raise InputError(f"{path} is there already and no page of ception check: name another file with --out")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {reason(error)}; name another file with --out") from None
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    try:
        with TemporaryFile(dir=folder):
            return
    except OSError as error:  # told now, and not after all pictures were read
        raise InputError(f"{path} cannot be written: {reason(error)}; name another file with --out") from None


@dataclass(frozen=True)
class _Picture:
    """A picture as the page shows it: what is known of it, its short name and its data URI, if it can be read."""

    of: CasePicture
    name: str
    source: str | None


@dataclass(frozen=True)
class _Case:
    """A case with the pictures of it that are shown, and how many more there are."""

    note: str
    pictures: list[_Picture]
    more: int


@dataclass(frozen=True)
class _Section:
    """A finding with the cases of it that are shown, and how many more there are."""

    finding: Finding
    cases: list[_Case]
    more: int


def write_page(
    path: Path,
    result: CheckResult,
    cases: Mapping[str, Sequence[Item]],
    seen: Sequence[Seen],
    dataset: Dataset,
    reporter: Reporter,
) -> None:
    """Write the page: how much there is, each finding with some of its pictures, and what the network sees.

    Args:
        path: The file.
        result: What `ception.check` returns.
        cases: The cases of each kind of finding, in the order of the result, with the pictures' indices.
        seen: Some pictures as the network sees them.
        dataset: The data set.
        reporter: Receives the progress.

    Raises:
        RunError: the file cannot be written.
    """
    shown = {finding.kind: _shown(cases[finding.kind]) for finding in result.findings}
    wanted = {index for items in shown.values() for item in items for index in item.pictures[:_OF_GROUP]}
    thumbnails = _thumbnails(dataset, sorted(wanted), reporter)
    sections = [
        _Section(
            finding,
            [_case(item, case, thumbnails) for item, case in zip(shown[finding.kind], finding.items, strict=False)],
            finding.count - len(shown[finding.kind]),
        )
        for finding in result.findings
    ]
    context = {
        "title": f"{result.name}: {result.verdict}",
        "result": result,
        "how_many": f"{counted(result.pictures, 'picture')} in {counted(len(result.classes), 'class')}",
        "sections": sections,
        "seen": [(one, _named(dataset, one.index)) for one in seen],
        "changed": max((len(one.changed) for one in seen), default=0),
        "classes": result.class_rows(_CLASSES),
        "footer": "Written by Ception.",
    }
    pages.render("checking/page.html.jinja", context, path)


def _named(dataset: Dataset, index: int) -> tuple[str, str]:
    """A picture's class and its short name."""
    return dataset.class_names[dataset.labels[index]], Path(dataset.pictures.name(index)).name


def _shown(items: Sequence[Item]) -> Sequence[Item]:
    """The cases of a finding that the page shows."""
    pictures = max((len(item.pictures) for item in items[:_SHOWN]), default=0)
    return items[: _LINES if not pictures else _SHOWN if pictures == 1 else _GROUPS]


def _case(item: Item, case: Case, thumbnails: Mapping[int, str | None]) -> _Case:
    pictures = [
        _Picture(picture, Path(picture.path).name, thumbnails[index])
        for index, picture in zip(item.pictures[:_OF_GROUP], case.pictures, strict=False)
    ]
    return _Case(case.note, pictures, len(case.pictures) - len(pictures) + (case.more or 0))


def _thumbnails(dataset: Dataset, indices: Sequence[int], reporter: Reporter) -> dict[int, str | None]:
    """Data URIs of pictures by their indices, drawn in parallel; None for those that cannot be read."""
    threads = isinstance(dataset.pictures, Encoded)
    drawn: dict[int, str | None] = {}
    with reporter.task("Drawing", len(indices)) as task:
        sources = parallel(lambda k: _thumbnail(dataset, indices[k]), len(indices), threads=threads)
        for index, source in zip(indices, sources, strict=True):
            drawn[index] = source
            task.advance()
    return drawn


def _thumbnail(dataset: Dataset, index: int) -> str | None:
    """The picture as a data URI; None where it cannot be read."""
    try:
        image = flatten(preview(dataset.pictures, index, _THUMBNAIL), 3)
    except PictureError:
        return None
    return pages.thumbnail(image, _THUMBNAIL, quality=80)
