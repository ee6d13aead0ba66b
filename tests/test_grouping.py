"""Pictures that belong together stay in one split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ception
from ception.data import grouping, sources, splitting
from ception.data.sources import TEST, TRAIN
from ception.errors import InputError
from ception.model_file import describe
from support.findings import findings_of
from support.pictures import write_pictures
from support.reporters import Notes

TRACKS, FRAMES = 12, 6


@pytest.fixture(scope="module")
def tracks(tmp_path_factory) -> Path:
    """Two classes of tracks, each of frames that differ little: `red/00003_00001.png`."""
    root = tmp_path_factory.mktemp("tracks") / "signs"
    random = np.random.default_rng(0)
    for number, name in enumerate(("blue", "red")):
        (root / name).mkdir(parents=True)
        for track in range(TRACKS):
            ground = random.integers(0, 200, (16, 16, 3))
            ground[..., 2 - 2 * number] = 230
            for frame in range(FRAMES):
                pixels = np.clip(ground + random.integers(0, 9, ground.shape), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(root / name / f"{track:05}_{frame:05}.png")
    return root


def split(data: sources.Dataset) -> np.ndarray:
    return splitting.split(data, sources.digests(data.pictures)[0])


@pytest.mark.parametrize("group", [r"(.+)_\d+", r"(\d+)_", r"/\d+"])
def test_an_expression_keeps_groups_whole(tracks, group):
    data = grouping.grouped(sources.load(tracks), group)
    parts = split(data)
    assert {TRAIN, TEST} <= set(parts.tolist())
    for name in set(data.groups):
        assert len({part for part, of in zip(parts, data.groups, strict=True) if of == name}) == 1
    assert len(set(data.groups)) == (2 * TRACKS if group.startswith("(.") else TRACKS)
    splitting.check_trainable(data, parts, "signs")


def test_the_split_stays_when_frames_are_added_and_data_move(tracks, tmp_path):
    data = grouping.grouped(sources.load(tracks), grouping.SERIES)
    of_group = dict(zip(data.groups, split(data).tolist(), strict=True))
    moved = tmp_path / "elsewhere"
    for path in tracks.rglob("*_00000.png"):
        target = moved / path.relative_to(tracks)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    less = grouping.grouped(sources.load(moved), grouping.SERIES)
    assert split(less).tolist() == [of_group[name] for name in less.groups]


def test_folders_and_columns(tracks, tmp_path):
    for number, path in enumerate(sorted((tracks).rglob("*.png"))):
        target = tmp_path / "d" / path.parent.name / f"day{number % 5}" / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    data = grouping.grouped(sources.load(tmp_path / "d"), "folder")
    assert set(data.groups) == {f"{name}/day{day}" for name in ("blue", "red") for day in range(5)}
    rows = [f"{path},{path.parent.parent.name},{path.parent.name}" for path in (tmp_path / "d").rglob("*.png")]
    (tmp_path / "list.csv").write_text("path,label,day\n" + "\n".join(rows))
    table = grouping.grouped(sources.load(tmp_path / "list.csv"), "day")
    assert set(table.groups) == {f"day{day}" for day in range(5)}
    assert set(table.without([0, 1]).groups) == set(table.groups)


@pytest.mark.parametrize(
    ("group", "says"),
    [
        ("patient", "--group patient is no column of the table: .*a regular expression"),
        ("(", "is no regular expression"),
        (r"day(\d)", r"'day\(\\d\)' is not found in blue/00000_00000.png"),
    ],
)
def test_what_is_wrong_is_named(tracks, group, says):
    with pytest.raises(InputError, match=says):
        grouping.grouped(sources.load(tracks), group)


def test_too_few_groups_are_named(tracks):
    with pytest.raises(InputError, match=r"class 'blue' has too few groups \(1\)"):
        split(grouping.grouped(sources.load(tracks), "folder"))


class TestSeries:
    def test_are_noticed(self, tracks):
        found = grouping.series(sources.load(tracks))
        assert (found.count, found.pictures, found.example) == (2 * TRACKS, FRAMES, "00000_00000.png")
        assert grouping.series(grouping.grouped(sources.load(tracks), grouping.SERIES)) is None
        finding = findings_of(tracks, out=tracks.parent / "page.html")["series"]
        assert f"--group '{grouping.SERIES}'" in finding.way_out
        assert "series" not in findings_of(tracks, group=grouping.SERIES, out=tracks.parent / "page.html")

    @pytest.mark.parametrize("names", ["photo{0}", "IMG_{0}", "2024-05-{0}", "{0}"])
    def test_numbers_alone_are_none(self, tmp_path, names):
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            for number in range(3):
                Image.new("L", (8, 8), number).save(tmp_path / name / f"{names.format(number * 7)}.png")
        assert grouping.series(sources.load(tmp_path)) is None


@pytest.mark.slow  # the split itself is checked above
def test_training_and_scoring_keep_to_it(tracks, tmp_path):
    notes = Notes()
    run = ception.train(tracks, group=grouping.SERIES, epochs=1, image_size=16, runs=tmp_path, reporter=notes)
    assert not [line for line in notes.warnings if "series" in line]
    assert describe(run.folder).record["settings"]["group"] == grouping.SERIES
    parts = split(grouping.grouped(sources.load(tracks), grouping.SERIES))
    assert run.scores.count == (parts == TEST).sum()
    assert ception.evaluate(run.folder, tracks, out=tmp_path / "scores").count == run.scores.count
    notes = Notes()
    ception.train(tracks, epochs=1, image_size=16, runs=tmp_path, reporter=notes)
    assert "look like frames of 24 series, about 6 in each" in notes.warnings[0]


def test_splits_too_small_to_judge_a_model_by_are_noticed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for seed, (name, counts) in enumerate({"train": (5, 5), "val": (50, 42), "test": (50, 43)}.items()):
        write_pictures(tmp_path / "d" / name, dict(zip("xy", counts, strict=True)), seed=seed)
    found = ception.check("d", model="separable_cnn").findings
    (few,) = [finding for finding in found if finding.kind == "few_scored"]
    assert [item.note for item in few.items] == [
        "val has 92 pictures: the 95 % interval of an accuracy is up to 20 points wide"
    ]
    assert few.severity == "note"
