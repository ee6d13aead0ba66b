"""The network that is taken where the user names none, and where its weights come from."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image

from ception import recommended
from ception.data import sources
from ception.errors import RunError
from ception.settings import TrainSettings
from ception.training import preparation
from ception.weights.published import WEIGHTS
from support.pictures import write_pictures
from support.reporters import Notes

NOTOP = "xception.keras_in1k_notop"


@pytest.fixture
def photos(tmp_path) -> Path:
    return write_pictures(tmp_path / "photos", {"cat": 6, "dog": 6}, size=(90, 80))


@pytest.fixture
def served(tmp_path, own_cache, monkeypatch) -> Iterator[ThreadingHTTPServer]:
    """A server for a file in the place of the published weights, with an empty cache."""
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "small.h5").write_bytes(b"weights")
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path / "served")
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/small.h5"
    record = replace(
        WEIGHTS[NOTOP], url=address, digest=f"md5:{hashlib.md5(b'weights').hexdigest()}", megabytes=0,
    )  # fmt: skip
    monkeypatch.setattr(recommended, "WEIGHTS", dict(WEIGHTS) | {NOTOP: record})
    yield server
    server.shutdown()
    server.server_close()


def opened(data: Path, **settings) -> tuple[TrainSettings, list[str]]:
    notes = Notes()
    return preparation.opened(data, TrainSettings(**settings), notes)[1], notes.lines


def test_photos_get_the_pretrained_xception(photos, served, tmp_path):
    settings, said = opened(photos)
    assert (settings.model, settings.weights) == ("xception", NOTOP)
    assert said[0] == (
        "Model: xception with the weights imagenet, because these are colour photos (80 pixels); --model names another"
    )
    assert (tmp_path / "cache" / "weights-small.h5").read_bytes() == b"weights"
    served.shutdown()
    assert opened(photos)[0] == settings  # they are there


def test_without_a_network_connection_there_are_two_ways_out(photos, served):
    served.shutdown()
    served.server_close()
    with pytest.raises(RunError, match=r"cannot be downloaded: .*--weights FILE, .*--model separable_cnn") as caught:
        opened(photos)
    assert "\n" not in str(caught.value)
    assert str(caught.value).count("http") == 1  # the address, once


@pytest.mark.parametrize(
    ("settings", "model", "weights"),
    [
        ({"model": "separable_cnn"}, "separable_cnn", None),
        ({"model": "xception"}, "xception", None),
        ({"weights": "inception_v3.keras_in1k"}, "inception_v3", "inception_v3.keras_in1k"),
        ({"image_size": 32}, "separable_cnn", None),
        ({"channels": 1}, "separable_cnn", None),
        ({"depth_multiplier": 0.5}, "separable_cnn", None),
        ({"recipe": "xception"}, "separable_cnn", None),
    ],
)
def test_what_the_user_asks_for_decides_first(photos, settings, model, weights):
    named, said = opened(photos, **settings)
    assert (named.model, named.weights) == (model, weights)
    assert len(said) == (not {"model", "weights"} & set(settings))


def test_weights_in_a_file_are_xceptions(photos, tmp_path):
    (tmp_path / "own.h5").write_bytes(b"x")
    settings, _ = opened(photos, weights=str(tmp_path / "own.h5"))
    assert (settings.model, settings.weights) == ("xception", str(tmp_path / "own.h5"))


def test_a_model_file_of_ours_says_its_network(photos, trained):
    settings, _ = opened(photos, weights=str(trained / "model.keras"))
    assert settings.model == "separable_cnn"


def test_small_and_grey_pictures_get_the_small_network(tmp_path):
    small = write_pictures(tmp_path / "small", {"a": 3, "b": 3}, size=(70, 90))
    assert opened(small)[0].model == "separable_cnn"
    grey = write_pictures(tmp_path / "grey", {"a": 3, "b": 3}, size=(90, 90))
    for path in grey.rglob("*.png"):
        Image.open(path).convert("L").save(path)
    settings, said = opened(grey)
    assert settings.model == "separable_cnn"
    assert "because the pictures are grey" in said[0]


def test_photos_at_a_tiny_size_are_warned_of(photos):
    for path in photos.rglob("*.png"):
        Image.open(path).resize((200, 150)).save(path)
    notes = Notes()
    settings = TrainSettings(model="separable_cnn")
    preparation.read(sources.load(photos), str(photos), settings, notes)
    assert "the network sees 28 x 28 pixels of pictures of 150" in notes.warnings[0]
    notes = Notes()
    preparation.read(sources.load(photos), str(photos), replace(settings, image_size=64), notes)
    assert notes.warnings == []
