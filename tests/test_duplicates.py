"""Pictures that are equal, or near copies of each other."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from PIL import Image

import ception
from ception.checking import duplicates, groups
from ception.checking.on_disk import OnDisk
from support.findings import findings_of, paths, scene


def near(copies: np.ndarray, sides: np.ndarray) -> list[list[int]]:
    return [group.tolist() for group in groups.groups(duplicates.near(copies, sides))]


class TestDuplicates:
    def test_the_same_bytes_in_two_classes_and_in_one(self, data):
        (data / "dog" / "same.jpg").write_bytes((data / "cat" / "03.jpg").read_bytes())
        (data / "cat" / "copy.jpg").write_bytes((data / "cat" / "04.jpg").read_bytes())
        findings = findings_of(data)
        assert paths(findings.pop("two_classes")) == [["03.jpg", "same.jpg"]]
        assert paths(findings.pop("copies")) == [["04.jpg", "copy.jpg"]]
        assert findings == {}

    @pytest.mark.parametrize(
        "change",
        [
            lambda image: image.resize((240, 180), Image.Resampling.LANCZOS),
            lambda image: image.resize((80, 80)),
            lambda image: image.point(lambda value: int(value * 0.7)),
            lambda image: image.convert("L"),
            *(lambda image, turn=turn: image.transpose(turn) for turn in Image.Transpose),
        ],
        ids=["larger", "squashed", "darker", "grey", *(turn.name for turn in Image.Transpose)],
    )
    def test_a_changed_copy_in_the_other_class(self, data, change):
        change(Image.open(data / "cat" / "03.jpg")).save(data / "dog" / "changed.webp", quality=60)
        findings = findings_of(data)
        assert paths(findings["near_two_classes"]) == [["03.jpg", "changed.webp"]]
        assert findings["near_two_classes"].severity == "warning"
        assert set(findings) <= {"near_two_classes", "near_two_splits", "shrunk"}

    def test_near_copies_are_sorted_by_the_split_that_training_makes(self, data):
        for index in range(15):
            image = Image.open(data / "cat" / f"{index:02}.jpg")
            image.resize((160, 120)).save(data / "cat" / f"{index:02}-large.png")
        findings = findings_of(data)
        parted, kept = findings["near_two_splits"], findings["near_copies"]
        assert parted.count + kept.count == 15
        for finding, parts in ((parted, {2, 3}), (kept, {1})):
            assert {len({picture.split for picture in item.pictures}) for item in finding.items} <= parts
        touched = sum(p.split == "test" for item in parted.items for p in item.pictures)
        assert f"{touched} of " in parted.in_training
        assert "automatic" in parted.in_training

    def test_copies_across_the_folders_of_a_split(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        for number, part in enumerate(("train", "val", "test")):
            for label, name in enumerate(("x", "y")):
                (tmp_path / "d" / part / name).mkdir(parents=True)
                for index in range(3):
                    seed = 100 * number + 10 * label + index
                    scene(seed).save(tmp_path / "d" / part / name / f"{seed}.png")
        scene(0).save(tmp_path / "d" / "test" / "x" / "same.png")
        scene(1).save(tmp_path / "d" / "test" / "x" / "near.jpg")
        findings = findings_of(tmp_path / "d")
        assert paths(findings["two_splits"]) == [["same.png", "0.png"]]
        assert findings["two_splits"].severity == "error"
        assert paths(findings["near_two_splits"]) == [["near.jpg", "1.png"]]
        assert "automatic" not in findings["near_two_splits"].in_training
        assert "1 of 8 test pictures has one in training" in findings["near_two_splits"].in_training

    def test_a_picture_that_a_csv_gives_two_labels(self, data):
        rows = [f"data/{name}/{index:02}.jpg,{name}" for name in ("cat", "dog") for index in range(15)]
        (data.parent / "t.csv").write_text("\n".join(["path,label", *rows, "data/cat/00.jpg,dog"]))
        assert paths(findings_of(data.parent / "t.csv")["two_classes"]) == [["00.jpg", "00.jpg"]]

    def test_arrays(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        x = np.stack([np.asarray(scene(seed, (28, 28)).convert("L")) for seed in range(40)])
        y = np.arange(40) % 2
        x[7] = x[2]
        np.savez(tmp_path / "d.npz", x_train=x[:30], y_train=y[:30], x_test=x[30:], y_test=y[30:])
        result = ception.check(tmp_path / "d.npz")
        finding = next(one for one in result.findings if one.kind == "two_classes")
        assert [p.path for p in finding.items[0].pictures] == ["x_train[2]", "x_train[7]"]
        assert "arrays" in result.not_checked[0]
        assert "data:image/jpeg" in Path(result.page).read_text()

    @given(st.lists(st.integers(0, 6), max_size=30))
    def test_equal_groups_are_those_that_share_a_digest(self, values):
        digests = np.array([bytes(15) + bytes([value]) for value in values], "V16")
        found = [group.tolist() for group in groups.equal(digests)]
        expected = [[i for i, other in enumerate(values) if other == value] for value in dict.fromkeys(values) if value]
        assert found == [group for group in expected if len(group) > 1]

    @given(npst.arrays(np.uint8, (3, 16, 16), elements=st.integers(0, 200)), st.integers(1, 55))
    def test_brightness_does_not_change_a_hash(self, copies, brighter):
        apart = np.bitwise_count(duplicates.hashes(copies) ^ duplicates.hashes(copies + np.uint8(brighter)))
        low = np.ptp(copies, axis=(1, 2)) > 20  # a flat one has no pattern that could stay
        assert (apart[low] <= duplicates.BITS).all()

    def test_among_many_those_near_in_some_order_are_found(self, monkeypatch):
        random = np.random.default_rng(0)
        scenes = random.normal(128, 40, (400, 6, 6)).repeat(4, 1).repeat(4, 2)[:, 4:20, 4:20]  # smooth, as photos are
        changed = [scenes[:100] + random.normal(0, 3, (100, 16, 16)), scenes[100:150].transpose(0, 2, 1),
                   scenes[150:200, :, ::-1], 0.7 * scenes[200:250]]  # fmt: skip
        copies = np.clip(np.concatenate([scenes, *changed]), 0, 255).astype(np.uint8)
        sides = np.full(len(copies), 100)
        groups = near(copies, sides)
        assert len(groups) > 220
        assert all(other == 400 + one for one, other in groups)
        compared = []
        monkeypatch.setattr(duplicates, "ALL_PAIRS", 649)
        monkeypatch.setattr(duplicates, "_alike", lambda *given: compared.append(given) or iter(()))
        assert near(copies, sides) == groups
        assert not compared

    def test_groups_do_not_depend_on_the_size_of_blocks(self, monkeypatch):
        random = np.random.default_rng(0)
        copies = random.integers(0, 256, (60, 16, 16), np.uint8)
        copies[30:] = np.clip(copies[:30] + random.normal(0, 4, (30, 16, 16)), 0, 255)
        sides = np.full(60, 100)
        groups = near(copies, sides)
        assert groups == [[index, index + 30] for index in range(30)]
        monkeypatch.setattr(duplicates, "_MOST_AT_ONCE", 100)
        monkeypatch.setattr(duplicates, "_MOST_COMPARED", 3)
        assert near(copies, sides) == groups
        assert near(copies[:0], sides[:0]) == []

    def test_small_pictures_are_compared_upright_alone(self):
        copies = np.random.default_rng(0).integers(0, 256, (3, 16, 16), np.uint8)
        copies[2] = copies[1, :, ::-1]
        assert near(copies, np.array([63, 64, 64])) == [[1, 2]]
        assert near(copies, np.array([64, 63, 64])) == []

    def test_small_pictures_must_be_more_alike(self):
        random = np.random.default_rng(0)
        one = random.integers(60, 200, (16, 16)).astype(np.uint8)
        other = np.clip(one + random.normal(0, 6, (16, 16)), 0, 255).astype(np.uint8)
        assert near(np.stack([one, other]), np.array([64, 64])) == [[0, 1]]
        assert near(np.stack([one, other]), np.array([63, 64])) == []

    @pytest.mark.slow
    def test_trashnet(self, shared, tmp_path, monkeypatch):
        monkeypatch.setenv("CEPTION_CACHE", str(tmp_path))
        findings = findings_of(shared / "trashnet", out=tmp_path / "page.html")
        assert {frozenset(Path(name).stem for name in group) for group in paths(findings["two_classes"])} == {
            frozenset(("glass176", "plastic152")), frozenset(("glass115", "metal91")),
            frozenset(("glass389", "plastic332")),
        }  # fmt: skip
        assert "near_two_classes" not in findings
        assert 28 <= findings["near_two_splits"].count + findings["near_copies"].count <= 33  # each looked at


def test_memory_grows_by_numbers_and_not_by_copies(monkeypatch):
    for name, value in (("ALL_PAIRS", 0), ("_ORDERS", 1), ("_IN_ORDER", 1 << 10), ("_AT_ONCE", 1 << 8)):
        monkeypatch.setattr(duplicates, name, value)
    peaks = []
    for count in (1_000, 4_000):
        with OnDisk(count, (16, 16), np.uint8) as copies:
            copies.write(0, np.random.default_rng(0).integers(0, 256, (count, 16, 16), np.uint8))
            tracemalloc.start()
            duplicates.near(copies, np.full(count, 100))
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert peaks[1] - peaks[0] < 80 * 3_000  # bytes; a copy has 256


@pytest.mark.parametrize("compute", [duplicates.hashes, duplicates.deviations])
def test_what_is_computed_of_each_copy_takes_no_memory_for_all(compute):
    copies = np.random.default_rng(0).integers(0, 256, (20_000, 16, 16), np.uint8)
    tracemalloc.start()
    found = compute(copies)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < copies.nbytes * 4  # of all at once as numbers of four bytes it would be as much, and more of eight
    assert np.array_equal(found, np.concatenate([compute(copies[:5]), compute(copies[5:])]))
    assert len(compute(copies[:0])) == 0
