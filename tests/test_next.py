"""The command that comes next names what is known."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from ception.cli.scoring import _after_prediction
from ception.cli.terminal import data_of
from ception.settings import JobSettings
from support.findings import scene


def test_after_a_prediction(run_cli, trained, tmp_path, monkeypatch):
    picture = next((trained.parents[1] / "colours").rglob("*.png"))
    out = run_cli("predict", trained, picture, "--out", tmp_path / "o")[1]
    assert out.splitlines()[-1] == f"Next: ception evaluate {trained} {trained.parents[1] / 'colours'}"
    monkeypatch.setattr("os.path.exists", lambda path: False)
    assert data_of(trained) == "DATA"
    monkeypatch.setattr("ception.model_file.describe", lambda _: SimpleNamespace(record={"data": None}))
    assert data_of(trained) == "DATA"


def test_weights_that_predict_are_trained_on():
    told = _after_prediction(Path("xception"), "a.png", JobSettings(weights="my weights.h5"))
    assert told == "ception train DATA --model xception --weights 'my weights.h5'"


def test_what_is_only_warned_of_may_be_trained_on(data, run_cli):
    scene(52).save(data / "dog" / "photo.JPG_large", "JPEG")
    code, out, _ = run_cli("check", "data", "--image-size", "64")
    assert (code, "Found: 1 warning" in out) == (1, True)
    assert out.splitlines()[-1] == (
        "Next: ception train data --image-size 64   # better once what check-data.html warns of is mended"
    )
