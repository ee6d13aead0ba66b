"""Of very many findings the first are named, and all are counted."""

from __future__ import annotations

import shutil

import pytest

from ception.checking import findings
from ception.checking import scan as scanning
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
