"""Folders as people have them: which folder is a class, which a split, and which the data set."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

import ception
from ception.data import naming, sources, splitting
from ception.data.collecting import collected
from ception.data.sources import TEST, TRAIN, UNSTATED, VAL
from ception.errors import InputError
from support.reporters import Notes


def write(root: Path, *folders: str, each: int = 2) -> Path:
    """Pictures in each of these folders, all different."""
    for number, folder in enumerate(folders):
        (root / folder).mkdir(parents=True, exist_ok=True)
        for index in range(each):
            Image.new("RGB", (8, 8), (number, index, 0)).save(root / folder / f"{index}.png")
    return root


def read(root: Path) -> tuple[Counter[tuple[str, int]], list[str]]:
    """How many pictures there are of each class in each split, and what was said."""
    notes = Notes()
    dataset = sources.load(root, reporter=notes)
    found = zip(dataset.labels.tolist(), dataset.stated_splits.tolist(), strict=True)
    return Counter((dataset.class_names[label], split) for label, split in found), notes.lines


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", TRAIN), ("Training_Set", TRAIN), ("trainset", TRAIN), ("seg_train", TRAIN), ("train-images", TRAIN),
        ("TEST", TEST), ("test_set", TEST), ("testing", TEST), ("dev", VAL), ("valid", VAL), ("val data", VAL),
        ("trains", None), ("training wheels", None), ("set", None), ("latest", None), ("tester", None), ("", None),
    ],
)  # fmt: skip
def test_words_for_splits(name, split):
    assert naming.split_of(name) == split


class TestSplits:
    @pytest.mark.parametrize(("train", "test"), [("train", "test"), ("training_set", "test_set"), ("Train", "dev")])
    def test_by_their_names(self, tmp_path, train, test):
        write(tmp_path, f"{train}/a", f"{train}/b", f"{test}/a", f"{test}/b")
        other = VAL if test == "dev" else TEST
        assert read(tmp_path) == ({("a", TRAIN): 2, ("b", TRAIN): 2, ("a", other): 2, ("b", other): 2}, [])

    def test_a_folder_too_many_in_each(self, tmp_path):
        write(tmp_path, "training_set/training_set/a", "training_set/training_set/b", "test_set/test_set/a",
              "test_set/test_set/b")  # fmt: skip
        counts, said = read(tmp_path)
        assert counts == {("a", TRAIN): 2, ("b", TRAIN): 2, ("a", TEST): 2, ("b", TEST): 2}
        assert len(said) == 1
        assert "the classes are in" in said[0]

    def test_in_each_class(self, tmp_path):
        counts, said = read(write(tmp_path, "a/train", "a/test", "b/train", "b/test"))
        assert counts == {("a", TRAIN): 2, ("b", TRAIN): 2, ("a", TEST): 2, ("b", TEST): 2}
        assert said == ["each class folder states the split within it"]

    def test_a_class_called_train_beside_classes_of_the_same_kind(self, tmp_path):
        counts, said = read(write(tmp_path, *(f"{name}/{year}" for name in ("bus", "train") for year in (2023, 2024))))
        assert counts == {("bus", UNSTATED): 4, ("train", UNSTATED): 4}
        assert said == ["'train' is taken for a class, like the folders beside it"]

    def test_what_may_be_either_is_refused(self, tmp_path):
        with pytest.raises(
            InputError, match=r"may be the training pictures, with the classes a, b, or a class beside c"
        ):
            read(write(tmp_path, "train/a", "train/b", "c"))

    def test_pictures_without_classes(self, tmp_path):
        counts, said = read(write(tmp_path, "train/a", "train/b", "test"))
        assert counts == {("a", TRAIN): 2, ("b", TRAIN): 2}
        assert "test holds pictures in no class folders; they are left out" in said[0]
        with pytest.raises(InputError, match=r"the pictures in test, train of .* lie in no class folders"):
            read(write(tmp_path / "flat", "train", "test"))

    def test_folders_beside_are_named(self, tmp_path):
        counts, said = read(write(tmp_path, "train/a", "train/b", "test/a", "test/b", "samples"))
        assert len(counts) == 4
        assert said == [f"warning: samples beside test, train in {tmp_path}: left out"]

    def test_a_class_that_one_split_spells_otherwise(self, tmp_path):
        dataset = sources.load(write(tmp_path, "train/bees", "train/ants", "val/Bees", "val/ants", "test/bees",
                                     "test/ants"))  # fmt: skip
        splits = splitting.split(dataset, sources.digests(dataset.pictures)[0])
        with pytest.raises(
            InputError, match="'Bees' and 'bees' differ by capitals or spaces only, and 'bees' has no val"
        ):
            splitting.check_trainable(dataset, splits, "data")


class TestLevels:
    def test_a_folder_around(self, tmp_path):
        (tmp_path / "readme.txt").touch()
        counts, said = read(write(tmp_path, "data/photos/a", "data/photos/b"))
        assert counts == {("a", UNSTATED): 2, ("b", UNSTATED): 2}
        assert said == [f"the data are in {tmp_path / 'data' / 'photos'}, the one folder with pictures in {tmp_path}"]

    def test_a_folder_around_splits(self, tmp_path):
        counts, _ = read(write(tmp_path, "data/train/a", "data/train/b", "data/test/a", "data/test/b"))
        assert counts == {("a", TRAIN): 2, ("b", TRAIN): 2, ("a", TEST): 2, ("b", TEST): 2}

    def test_a_single_class_is_no_folder_around(self, tmp_path):
        assert read(write(tmp_path, "a")) == ({("a", UNSTATED): 2}, [])

    def test_a_folder_of_data_sets(self, tmp_path):
        write(tmp_path, *(f"{data}/{split}/{name}" for data in "xy" for split in ("train", "test") for name in "ab"))
        with pytest.raises(
            InputError, match=r"holds data sets, not classes: x has test, train of its own; did you mean"
        ):
            read(tmp_path)

    def test_what_looks_like_data_sets_is_warned_of(self, tmp_path):
        counts, said = read(write(tmp_path, "day1/a", "day1/b", "day2/a", "day2/b"))
        assert set(counts) == {("day1", UNSTATED), ("day2", UNSTATED)}
        assert f"folders of its own (a, b); did you mean {tmp_path / 'day1'}?" in said[0]

    def test_folders_by_year_are_no_classes(self, tmp_path):
        assert read(write(tmp_path, "a/2023", "a/2024", "b/2023", "b/2024"))[1] == []

    def test_a_flat_folder_names_what_its_files_may_mean(self, tmp_path):
        for name in ("cat", "dog"):
            for number in range(3):
                Image.new("L", (8, 8)).save(tmp_path / f"{name}.{number}.png")
        with pytest.raises(InputError, match=r"6 pictures but no class folders: .*the classes may be cat, dog"):
            read(tmp_path)
        shutil.rmtree(tmp_path)
        tmp_path.mkdir()
        (tmp_path / "a.txt").touch()
        with pytest.raises(InputError, match=r"holds no pictures \(1 \.txt\)"):
            read(tmp_path)


class TestWhatIsRead:
    def test_folders_of_the_system(self, tmp_path):
        write(tmp_path, "a", "b", "a/@eaDir/0.png", "__MACOSX/a")
        (tmp_path / "a" / "Thumbs.db").touch()
        dataset = sources.load(tmp_path)
        assert len(dataset.labels) == 4
        assert dataset.ignored == {"of the system": 3}
        assert len(collected(tmp_path)) == 4
        result = ception.check(tmp_path, out=tmp_path / "page.html", image_size=8)
        assert [finding.kind for finding in result.findings if finding.kind == "hidden"]

    def test_links_are_followed_once(self, tmp_path):
        write(tmp_path, "data/a", "data/b", "store/more", "store/c")
        for link, target in (("a/more", "store/more"), ("a/again", "store/more"), ("a/back", "data"), ("c", "store/c")):
            os.symlink(tmp_path / target, tmp_path / "data" / link)
        dataset = sources.load(tmp_path / "data")
        assert Counter(dataset.class_names[label] for label in dataset.labels) == {"a": 4, "b": 2, "c": 2}
        assert dataset.ignored == {"links to folders that were read": 2}

    def test_files_without_a_suffix_by_their_content(self, tmp_path):
        write(tmp_path, "a", "b")
        (tmp_path / "a" / "0.png").rename(tmp_path / "a" / "photo")
        (tmp_path / "a" / "1.png").rename(tmp_path / "a" / "photo.0001")
        (tmp_path / "b" / "notes").write_text("no picture")
        dataset = sources.load(tmp_path)
        assert len(dataset.labels) == 4
        assert dataset.ignored == {"not a picture": 1}
