"""A linear classifier on thumbnails as the yardstick of a training."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest

import ception
from ception.evaluation import thumbnails
from ception.results import Scores


class Few:
    """Pixels that count how many pictures are asked for at a time, and in all."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels = pixels
        self.most, self.asked = 0, 0

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        self.most, self.asked = max(self.most, len(indices)), self.asked + len(indices)
        return self.pixels[indices]


def pictures(count: int, contrast: int, side: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Noise, brighter on the left or on the right by a contrast, and which."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, count)
    pixels = random.integers(50, 200, (count, side, side, 3))
    pixels[labels == 0, :, : side // 2] += contrast
    pixels[labels == 1, :, side // 2 :] += contrast
    return np.clip(pixels, 0, 255).astype(np.uint8), labels


def test_what_a_thumbnail_tells_is_the_mean_of_its_parts():
    pixels, _ = pictures(3, 0, side=16)
    found = thumbnails.thumbnails(pixels, np.array([2, 0]))
    expected = pixels[[2, 0]].reshape(2, 8, 2, 8, 2, 3).mean(axis=(2, 4)).reshape(2, -1)
    assert np.abs(found - expected).max() <= 1.01  # rounded, along each side
    grey = thumbnails.thumbnails(pixels[..., :1], np.array([0]))
    assert grey.shape == (1, 64)


@pytest.mark.parametrize(("contrast", "low", "high"), [(40, 0.95, 1.0), (0, 0.3, 0.7)])
def test_it_learns_what_there_is_to_learn(contrast, low, high):
    pixels, labels = pictures(300, contrast)
    test = np.arange(200, 300)
    found = thumbnails.beside(pixels, labels, np.arange(200), test, np.ones(100, bool))
    assert low <= found.accuracy <= high
    assert (found.side, found.count) == (8, 100)
    assert found.difference == pytest.approx(1 - found.accuracy)
    assert found.difference_interval[0] <= found.difference <= found.difference_interval[1]
    assert (found.difference_interval[0] > 0) is (contrast == 0)


def test_a_part_of_many_pictures_is_enough_and_the_same_each_time(monkeypatch):
    monkeypatch.setattr(thumbnails, "MOST", 60)
    pixels, labels = pictures(300, 40)
    right = np.arange(150) % 3 > 0
    few = Few(pixels)
    found = thumbnails.beside(few, labels, np.arange(150), np.arange(150, 300), right)
    assert (few.asked, found.count) == (120, 60)
    assert few.most <= 64
    assert found == thumbnails.beside(few, labels, np.arange(150), np.arange(150, 300), right)
    assert found.difference == pytest.approx(2 / 3 - found.accuracy, abs=0.2)


def test_one_class_alone_is_no_yardstick():
    pixels, labels = pictures(40, 40)
    assert thumbnails.beside(pixels, labels, np.flatnonzero(labels == 0), np.arange(40), np.ones(40, bool)) is None


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, trained: Path) -> ception.Run:
    """Colours, which any linear classifier tells, after too short a training."""
    return ception.train(
        trained.parents[1] / "colours", model="separable_cnn", epochs=1, learning_rate=1e-6, batch_size=16,
        image_size=16, runs=tmp_path_factory.mktemp("runs"),
    )  # fmt: skip


class TestTraining:
    def test_a_network_that_is_no_better_is_told_so_everywhere(self, run):
        scores = json.loads((run.folder / "scores.json").read_text())
        assert scores["thumbnails"]["accuracy"] == 1.0
        assert scores["thumbnails"]["count"] == scores["count"]
        assert scores["better_than_thumbnails"] is False
        assert scores["thumbnails"]["difference"] == pytest.approx(scores["accuracy"] - 1)
        page = (run.folder / "report.html").read_text()
        assert re.search(r"on thumbnails of 8 x 8; the network -\d+\.\d to -?\d+\.\d points", page)
        assert ception.resume(run.folder).scores == run.scores

    def test_what_is_said_after_the_training(self, trained, run_cli):
        code, out, _ = run_cli("train", "--resume", trained)
        scores = json.loads((trained / "scores.json").read_text())
        assert code == 0
        assert scores["better_than_thumbnails"] is False  # nothing is better than all
        assert scores["better_than_guessing"] is True
        told = " ".join(out.split())
        assert "A linear classifier on thumbnails of 8 x 8 pixels is right for 1.0000 of" in told
        assert "these pictures are easy" in told
        (worse,) = dataclasses.replace(Scores.from_dict(scores), accuracy=0.9).cautions
        assert "ot better than a linear classifier on thumbnails of 8 x 8 pixels, which is right for 1.0000 of" in worse
        assert "train with more --epochs" in worse
