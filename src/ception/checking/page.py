"""One page that shows the findings, with pictures; it needs nothing outside itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ception import pages
from ception.checking.findings import Finding, Item
from ception.checking.scan import preview
from ception.data.images import PictureError, flatten
from ception.data.sources import Dataset, Files, parallel
from ception.errors import InputError, reason
from ception.reporting import Reporter

_SHOWN = 24  # single pictures of a finding; with 12 groups of 6 and thumbnails of 8 KB, a page stays below 6 MB
_GROUPS, _OF_GROUP = 12, 6
_LINES = 50  # cases without pictures
_THUMBNAIL = 160  # pixels
_OURS = '<meta name="generator" content="ception check">'


def require_free(path: Path) -> None:
    """Raise an InputError if the page would overwrite anything but an earlier page."""
    if path.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"--out {path} is no name of a page: end it in .html")
    try:
        if path.exists() and (path.is_dir() or _OURS not in path.read_text("utf-8", "replace")[:500]):
            raise InputError(f"{path} is there already and no page of ception check: name another file with --out")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {reason(error)}; name another file with --out") from None


def write_page(
    path: Path, result: dict[str, Any], findings: Sequence[Finding], dataset: Dataset, reporter: Reporter
) -> None:
    """Write the page: how much there is, and each finding with some of its pictures, copies side by side.

    Args:
        path: The file.
        result: What `ception.check` returns.
        findings: The findings, in the order of the result.
        dataset: The data set.
        reporter: Receives the progress.

    Raises:
        RunError: the file cannot be written.
    """
    shown = [_shown(finding) for finding in findings]
    wanted = sorted({index for cases, _ in shown for index in _pictures(cases)})
    thumbnails: dict[int, str | None] = {}
    with reporter.task("Drawing", len(wanted)) as task:
        threads = isinstance(dataset.pictures, Files)
        for index, source in zip(
            wanted, parallel(lambda k: _thumbnail(dataset, wanted[k]), len(wanted), threads=threads), strict=True
        ):
            thumbnails[index] = source
            task.advance()
    sections = [
        {
            "finding": plain,
            "more": more,
            "cases": [_case(item, of, thumbnails) for item, of in zip(cases, plain["items"], strict=False)],
        }
        for plain, (cases, more) in zip(result["findings"], shown, strict=True)
    ]
    context = result | {
        "sections": sections,
        "title": f"{result['name']}: {result['verdict']}",
        "footer": "Written by Ception.",
    }
    pages.render("checking/page.html.jinja", context, path)


def _shown(finding: Finding) -> tuple[Sequence[Item], int]:
    """The cases that the page shows, and how many more there are."""
    pictures = max((len(item.pictures) for item in finding.items), default=0)
    most = _LINES if not pictures else _SHOWN if pictures == 1 else _GROUPS
    return finding.items[:most], max(0, len(finding.items) - most)


def _pictures(cases: Sequence[Item]) -> list[int]:
    return [index for item in cases for index in item.pictures[:_OF_GROUP]]


def _case(item: Item, case: dict[str, Any], thumbnails: dict[int, str | None]) -> dict[str, Any]:
    pictures = [
        picture | {"source": thumbnails[index], "name": Path(picture["path"]).name}
        for index, picture in zip(item.pictures[:_OF_GROUP], case["pictures"], strict=False)
    ]
    return {"note": case["note"], "pictures": pictures, "more": len(item.pictures) - len(pictures)}


def _thumbnail(dataset: Dataset, index: int) -> str | None:
    """The picture as a data URI; None where it cannot be read."""
    try:
        image = flatten(preview(dataset.pictures, index, _THUMBNAIL), 3)
    except PictureError:
        return None
    return pages.thumbnail(image, _THUMBNAIL, quality=80)
