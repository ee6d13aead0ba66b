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


@pytest.mark.parametrize(("resize", "channels"), [("squash", 3), ("crop", 3), ("pad", 1)])
def test_onnx_runtime_alone_says_what_predict_says(run, tmp_path, resize, channels):
    pytest.importorskip("onnx", reason="onnx is not installed")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    random = np.random.default_rng(0)
    mixed = Image.fromarray(random.integers(0, 256, (37, 50, 4), np.uint8))
    mixed.getexif()[274] = 6  # to be turned
    mixed.save(tmp_path / "turned.png", exif=mixed.getexif())
    Image.fromarray(random.integers(0, 256, (40, 23), np.uint8)).save(tmp_path / "grey.png")
    classifier = ception.Classifier.build(
        "separable_cnn", ["ä", "b", "c"], resize=resize, image_size=20, channels=channels
    )
    replace(classifier, image=replace(classifier.image, crop=0.875)).save(tmp_path / "it.keras")
    ception.export(tmp_path / "it.keras", "onnx", out=tmp_path / "it.onnx", data=str(tmp_path), min_confidence=0.5)
    pictures = [str(tmp_path / name) for name in ("grey.png", "turned.png")]
    expected = [
        f"{one.path}: {'unknown, perhaps ' if one.unknown else ''}{one.top[0].class_name} {one.top[0].probability:.4f}"
        for one in ception.predict(tmp_path / "it.onnx", pictures)
    ]
    said = run("onnx_runtime.py", tmp_path / "it.onnx", *pictures).splitlines()
    assert said == expected
