"""Files of version 0.1: `earlier_run/` is a finished run of it, two epochs on blue and red pictures of 12 x 12."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import ception
from support.pictures import write_pictures

LOGITS = [[-1.3810019493103027, 0.32044464349746704], [-1.435152292251587, 0.7786896228790283],
          [-0.9233132004737854, 0.4373876750469208]]  # fmt: skip


@pytest.fixture
def run(tmp_path) -> Path:
    return Path(shutil.copytree(Path(__file__).parent / "earlier_run", tmp_path / "001-separable_cnn-colours"))


def test_its_model_computes_what_it_did(run):
    classifier = ception.Classifier.load(run)
    pixels = np.random.default_rng(1).integers(0, 256, (3, 12, 12, 3), np.uint8)
    np.testing.assert_allclose(classifier.logits(pixels), LOGITS, rtol=1e-5)  # other sums on other processors
    assert classifier.class_names == ("blue", "red")
    assert classifier.config.depth_multiplier == 0.1
    assert classifier.temperature != 1
    assert classifier.coverage[0].precision == 1


def test_it_is_finished_and_tells_its_scores(run):
    again = ception.resume(run)
    assert again.scores.accuracy == 1
    assert again.scores.best_epoch == 2
    assert again.scores.per_class["red"].support == 5
    assert [row["epoch"] for row in again.history] == [1, 2]
    assert "accuracy: 1.0000 (0.7719 to 1.0000) on 13 test pictures" in repr(again)


def test_it_is_evaluated_compared_and_used(run, tmp_path):
    data = write_pictures(tmp_path / "colours", {"blue": 9, "red": 9}, size=(12, 12), seed=7)
    assert ception.evaluate(run, data, split="all", out=tmp_path / "scores").accuracy > 0.9
    assert ception.compare(run, run, out=tmp_path / "comparison").difference == 0
    assert {result.top[0].class_name for result in ception.predict(run, data / "red")} == {"red"}
