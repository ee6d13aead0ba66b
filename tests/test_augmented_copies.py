"""Augmented copies beside their originals are noticed by their names, and kept in one split where that is asked for."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

import ception
from ception.data import grouping, sources
from ception.settings import TrainSettings
from ception.training import preparation
from support.findings import findings_of, paths, scene
from support.reporters import Notes

COPIES = (
    "00_aug.jpg", "00_aug_0_1234.jpg", "00-augmented3.jpg", "00_flipped.png", "00_hflip.jpg", "00 mirror.jpg",
    "00.rot90.jpg", "00_Rotated_15.jpg", "aug_00.jpg", "flipped_rot90_00.jpg", "00_augmentation_2.jpg", "VFlip-00.jpg",
)  # fmt: skip
OTHERS = ("00_1.jpg", "robot.jpg", "august_00.jpg", "00_rotor.jpg", "00flip.jpg", "rot90.jpg", "99_flipped.jpg")


def copied(data: Path, *names: str) -> None:
    """Pictures of their own under these names in the class of cats."""
    for number, name in enumerate(names):
        scene(1000 + number).save(data / "cat" / name)


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_is_told_by_its_name(data, name):
    copied(data, name)
    found = findings_of(data)["augmented"]
    assert (found.severity, found.count, paths(found)) == ("warning", 1, [["00.jpg", name]])


@pytest.mark.parametrize("name", OTHERS)
def test_other_names_are_none(data, name):
    copied(data, name)
    assert "augmented" not in findings_of(data)


def test_an_original_in_another_class_is_none(data):
    (data / "cat" / "00.jpg").rename(data / "cat" / "alone.jpg")
    copied(data, "00_flipped.jpg")
    assert "augmented" not in findings_of(data)


def test_the_way_out_works_as_it_is_typed(data, run_cli):
    copied(data, *COPIES)
    before = {path: path.read_bytes() for path in data.rglob("*.*")}
    code, out, _ = run_cli("check", data, "--model", "separable_cnn")
    assert code == 1
    assert "Names of augmented copies beside their originals" in out
    assert " + data/cat/00_" in out.replace(f"{data.parent}/", "")
    (group,) = re.findall(r"--group (\w+), for train and check", out)
    grouped = grouping.grouped(sources.load(data), group)
    of_cat = {name for path, name in zip(grouped.pictures.paths, grouped.groups, strict=True) if "/cat/" in path}
    assert len(of_cat) == 15
    assert len(set(grouped.groups)) == 30
    result = ception.check(data, model="separable_cnn", group=group)
    assert "augmented" not in {finding.kind for finding in result.findings}
    assert {path: path.read_bytes() for path in data.rglob("*.*")} == before


def test_training_warns_of_them_with_what_to_type(data):
    copied(data, "00_flipped.jpg", "01_rot90.jpg", "01_rot180.jpg")
    settings = TrainSettings(model="separable_cnn", image_size=16)

    def warnings(settings: TrainSettings) -> list[str]:
        notes = Notes()
        preparation.read(sources.load(data), str(data), settings, notes)
        return [line for line in notes.warnings if "augmented" in line]

    (line,) = warnings(settings)
    assert "names such as 00_flipped.jpg beside 00.jpg look like augmented copies (3 of 2 pictures)" in line
    (group,) = re.findall(r"--group (\w+)$", line)
    assert warnings(replace(settings, group=group)) == []


@pytest.mark.parametrize(("split", "told"), [("train", False), ("test", True)])
def test_a_stated_split_that_keeps_them_together_is_none(data, split, told):
    copied(data, "00_flipped.jpg")
    rows = ["path,label,split"]
    for path in sorted(data.rglob("*.*")):
        number = int(path.stem[:2])
        part = split if "flipped" in path.name else "train" if number < 10 else "val" if number < 12 else "test"
        rows.append(f"{path.relative_to(data)},{path.parent.name},{part}")
    (data / "list.csv").write_text("\n".join(rows))
    assert ("augmented" in findings_of(data / "list.csv")) == told
