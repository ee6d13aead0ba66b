"""Of very many findings the first are named, and all are counted; little of a picture stays in memory."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from ception.checking import findings
from ception.checking import scan as scanning
from ception.data import sources
from ception.reporting import Reporter
from support.findings import findings_of


@pytest.fixture(autouse=True)
def _few(monkeypatch):
    monkeypatch.setattr(findings, "LISTED", 5)


def test_single_pictures(data, run_cli):
    found = findings_of(data, image_size=91)["small"]
    assert (found.count, found.counted, len(found.items)) == (30, "30 pictures", 5)
    assert "... and 25 more" in run_cli("check", "data", "--image-size", "91")[1]
    assert "and 6 more" in (data.parent / "check-data.html").read_text()  # than the 24 that a page shows


def test_groups_of_more_than_are_named(data, run_cli):
    for number in range(11):
        shutil.copy(data / "cat" / "03.jpg", data / "cat" / f"again-{number:02}.jpg")
    found = findings_of(data)["copies"]
    (case,) = found.items
    assert (found.count, len(case.pictures), case.more) == (1, 5, 7)
    assert case.as_dict()["more"] == 7
    assert "and 7 more" in run_cli("check", "data")[1]
    assert "and 7 more" in (data.parent / "check-data.html").read_text()


def test_several_groups_share_what_may_be_named(data):
    for number in range(4):
        shutil.copy(data / "cat" / f"{number:02}.jpg", data / "cat" / f"again-{number}.jpg")
    found = findings_of(data)["copies"]
    assert found.count == 4
    assert [(len(case.pictures), case.more) for case in found.items] == [(2, None), (2, None), (1, 1)]


def test_reasons_of_the_first_that_cannot_be_read(data, monkeypatch):
    monkeypatch.setattr(scanning, "_MOST_REASONS", 2)
    for number in range(9):
        (data / "cat" / f"bad-{number}.png").write_text("no picture")
    found = findings_of(data)["unreadable"]
    assert (found.count, [case.note != "" for case in found.items[:2]]) == (9, [True, True])


def test_cases_are_made_when_asked_for():
    made = []
    items = findings.Items(1_000_000, lambda number: made.append(number) or findings.Item((number,)))
    assert [item.pictures for item in items[-2:]] == [(999_998,), (999_999,)]
    assert len(list(findings._first(items))) == 5
    assert made == [999_998, 999_999, 0, 1, 2, 3, 4]


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1), slice(3, 20, 2)])
def test_what_is_kept_is_what_was_found(data, order, monkeypatch):
    monkeypatch.setattr(scanning, "_AT_ONCE", 7)
    pictures = sources.load(data).pictures

    def scanned(pictures):
        with scanning.room(len(pictures)) as copies:
            facts, failed = scanning.scan(pictures, str(data), copies, cache_limit=1, reporter=Reporter())
            assert failed == {}
            return facts, copies[:]

    made = scanned(pictures)
    assert made[1].std((1, 2)).min() > 0
    monkeypatch.setattr(scanning, "_facts", None)  # nothing is read again
    kept = scanned(pictures.take(np.arange(30)[order]))
    assert all(np.array_equal(one, other[order]) for one, other in zip(kept, made, strict=True))


def test_a_picture_takes_few_bytes_of_memory():
    assert scanning.FACTS.itemsize < 60
