"""A model file that is replaced while it is served: the new one takes over whole, or the old one goes on."""

from __future__ import annotations

import asyncio
import base64
import re

import pytest

import ception

pytest.importorskip("fastapi", reason="fastapi is not installed")
pytest.importorskip("httpx", reason="httpx is not installed")
from ception.serving import answering
from support.serving import Server


def test_a_new_file_takes_over_when_it_has_proven_itself(trained, tmp_path, files):
    path = tmp_path / "it.keras"
    path.write_bytes((trained / "model.keras").read_bytes())
    made = Server({"it": path})
    before = made.ask("POST", "/predict", content=files[0]).json()
    made.models.refresh()
    assert made.notes.lines == []
    path.write_bytes(b"broken")
    made.models.refresh()
    made.models.refresh()
    (said,) = [line for line in made.notes.lines if "replaced" in line]
    assert said.startswith("warning: it was replaced, but the old one goes on: ")
    assert made.ask("POST", "/predict", content=files[0]).json() == before
    other = ception.Classifier.build("separable_cnn", ["x", "y"], image_size=16)
    other.save(path)
    made.models.refresh()
    assert made.notes.lines[-1] == "it was replaced"
    (answer,) = made.ask("POST", "/predict", content=files[0]).json()["predictions"]
    assert {guess["class"] for guess in answer["top"]} == {"x", "y"}
    made.models.close()


def test_whatever_is_wrong_with_a_new_file_is_said_once(trained, tmp_path, monkeypatch):
    path = tmp_path / "it.keras"
    path.write_bytes((trained / "model.keras").read_bytes())
    made = Server({"it": path})

    def broken(path):
        raise RuntimeError("the engine\nrefuses")

    monkeypatch.setattr(made.models, "_open_one", broken)
    path.write_bytes(b"other")
    made.models.refresh()
    made.models.refresh()
    assert made.notes.lines == ["warning: it was replaced, but the old one goes on: the engine refuses"]
    made.models.close()


@pytest.mark.parametrize("path", ["/explain", "/neighbours"])
def test_nothing_is_explained_by_a_file_that_does_not_answer(path, trained, tmp_path, files):
    run = tmp_path / "run"
    run.mkdir()
    for name in ("model.keras", "neighbours.npz"):
        (run / name).write_bytes((trained / name).read_bytes())
    made = Server({"it": run / "model.keras"})
    (run / "model.keras").write_bytes(b"broken")
    made.models.refresh()
    answer = made.ask("POST", path, content=files[0])
    assert answer.status_code == 503, answer.text
    assert answer.headers["retry-after"] == "3"
    why = "the file of it was replaced, and the new one does not answer yet: come again"
    assert answer.json() == {"error": why}
    made.models.close()


@pytest.mark.parametrize("path", ["/predict", "/v2/models/it/infer"])
def test_a_request_at_work_is_answered_by_one_model_whole(path, trained, tmp_path, files, monkeypatch):
    """What was decoded for the old one is no picture for the new one, nor are its classes."""
    file = tmp_path / "it.keras"
    file.write_bytes((trained / "model.keras").read_bytes())
    made = Server({"it": file})
    decoded = answering.Answering.decoded

    async def replaced_meanwhile(self, hosted, sent):
        pictures = await decoded(self, hosted, sent)
        if hosted.description.class_names != ("x", "y"):
            ception.Classifier.build("separable_cnn", ["x", "y"], image_size=20).save(file)
            await asyncio.to_thread(made.models.refresh)
        return pictures

    monkeypatch.setattr(answering.Answering, "decoded", replaced_meanwhile)
    text = base64.b64encode(files[0]).decode()
    tensor = {"name": "pictures", "shape": [1], "datatype": "BYTES", "data": [text]}
    answer = made.ask("POST", path, json={"pictures": [text], "inputs": [tensor]})
    assert answer.status_code == 200, answer.text
    assert {"x", "y"} & {*re.findall(r'"(\w+)"', answer.text)}
    assert '"red"' not in answer.text
    assert not made.models.find("it").batcher.broken
    made.models.close()
