"""The examples do what they say."""

from __future__ import annotations

import runpy
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ception
from ception import build
from support.marks import not_on_jax

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def run(tmp_path, monkeypatch, capfd):
    """Runs an example as its command line does, in the test's folder; what it prints."""

    def script(name: str, *options: object) -> str:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [name, *map(str, options)])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capfd.readouterr().out

    return script


@not_on_jax
def test_step_by_step(run, folder, tmp_path):
    build("inception_v1", classes=5, image_size=32).save_weights(tmp_path / "w.weights.h5")
    options = ("--model", "inception_v1", "--weights", "w.weights.h5", "--at", "mixed5b", "--image-size", "32",
               "--final-endpoint", "mixed5b")  # fmt: skip
    assert "mixed5b: (90, 1, 1, 832)" in run("fine_tuning_step_by_step.py", folder, *options)
    classifier = ception.Classifier.load(tmp_path / "step-by-step.keras")
    assert (classifier.class_names, classifier.config.final_endpoint) == (("blue", "green", "red"), "mixed5b")


@not_on_jax
@pytest.mark.slow
def test_in_a_few_lines(run, folder, tmp_path):
    build("inception_v1", classes=5, image_size=32).save_weights(tmp_path / "w.weights.h5")
    options = ("--model", "inception_v1", "--weights", "w.weights.h5", "--image-size", "32")
    said = run("fine_tuning.py", folder, *options)
    assert "90 photos" in said
    assert "Test accuracy " in said
    assert (tmp_path / "runs" / "001-inception_v1-colours" / "report.html").is_file()


@pytest.mark.parametrize(("resize", "crop"), [("squash", 1.0), ("crop", 0.8), ("pad", 1.0)])
def test_litert_with_numpy_alone(run, trained, tmp_path, resize, crop):
    pytest.importorskip("tensorflow", reason="tensorflow is not installed")
    pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed")
    classifier = ception.Classifier.load(trained)
    replace(classifier, image=replace(classifier.image, resize=resize, crop=crop)).save(tmp_path / "it.keras")
    random = np.random.default_rng(0)
    upright = Image.fromarray(random.integers(0, 256, (50, 20, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    upright.save(tmp_path / "turned.jpg", exif=exif)
    Image.fromarray(random.integers(0, 256, (9, 30, 4), np.uint8)).save(tmp_path / "transparent.png")
    Image.fromarray(random.integers(0, 256, (40, 40), np.uint8)).save(tmp_path / "grey.png")
    names = ["turned.jpg", "transparent.png", "grey.png"]
    ception.export(tmp_path / "it.keras", "litert", out=tmp_path / "it.tflite", pictures=2)
    expected = [
        prediction.top[0] for prediction in ception.predict(tmp_path / "it.tflite", [*map(tmp_path.joinpath, names)])
    ]
    said = run("litert_numpy.py", "it.tflite", *names).splitlines()
    assert len({line.split(": ")[1] for line in said}) == 3  # so that a mistaken picture shows
    for name, line, best in zip(names, said, expected, strict=True):
        assert line == f"{name}: {best.class_name} {best.probability:.1%}"
