"""A folder for the Hugging Face hub: whole, usable as it stands, and silent about the machine that wrote it."""

from __future__ import annotations

import json
import runpy
import shutil
import sys
from dataclasses import replace

import pytest
from huggingface_hub import ModelCard

import ception
from ception.errors import InputError
from ception.exporting import card
from ception.exporting.private import without_paths
from ception.model_file import describe
from support.contents import require_private
from support.hub import serving

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


@pytest.fixture(scope="module")
def published(trained, tmp_path_factory):
    """The folder of a trained model, and the report."""
    out = tmp_path_factory.mktemp("published") / "folder"
    return out, ception.export(trained, "huggingface", out=out)


def test_holds_all_that_belongs_to_it(published, trained):
    out, report = published
    assert {file.name for file in out.iterdir()} == {
        "model.keras", "model.onnx", "model.onnx.report.json", "config.json", "README.md", "confusion.png",
    }  # fmt: skip
    assert (report.format, report.artefact, report.differing) == ("huggingface", str(out), 0)
    assert report.data.endswith("colours (test)")  # what it was trained with, though the folder does not say where
    config = json.loads((out / "config.json").read_text())
    assert (config["library_name"], config["pipeline_tag"]) == ("keras", "image-classification")
    assert config["id2label"] == {"0": "blue", "1": "green", "2": "red"}
    assert config["network"] == json.loads(json.dumps(describe(trained).config.as_dict()))
    assert "training_digests" not in config
    assert len(describe(out).training_digests) == len(describe(trained).training_digests) > 0


def test_says_nothing_of_the_machine(published, trained):
    out, _ = published
    require_private([out], trained.parents[1], out)
    assert describe(out).record["data"]["source"] == "colours"


def test_the_card(published, trained):
    out, _ = published
    read = ModelCard.load(out / "README.md")
    assert read.data.pipeline_tag == "image-classification"
    assert read.data.license is None  # its own weights: whoever shares them says which
    scores = describe(trained).record["scores"]
    of_accuracy, _ = read.data.eval_results
    assert (of_accuracy.metric_value, of_accuracy.dataset_name) == (round(scores["accuracy"], 4), "colours")
    low, high = scores["accuracy_interval"]
    for line in (
        f"95 % interval {low:.4f} to {high:.4f}",
        "classes apart: blue, green, red.",
        "on 31 pictures of colours (test): every label is the same",
        "says nothing of pictures of another kind",
        "None of the pictures scored was in the training",
        "fewer than 30 pictures were scored, so that their numbers say little: blue, green, red.",
        "![What is taken for what](confusion.png)",
        "| Command | ception train colours",
        "Licence of the weights: its own, as none were taken",
    ):
        assert line.replace("_", r"\_") in read.text
    for name, of in scores["per_class"].items():
        assert f"| {name} | {of['precision']:.3f} | {of['recall']:.3f} |" in read.text


def test_what_the_card_says_of_onnx_runtime_works(published, trained, tmp_path, monkeypatch, capfd):
    out, _ = published
    code = next(part for part in (out / "README.md").read_text().split("```") if "onnxruntime" in part and "\n" in part)
    (tmp_path / "it.py").write_text(code.removeprefix("python\n"))
    picture = next((trained.parents[1] / "colours").rglob("*.png"))
    monkeypatch.chdir(out)
    monkeypatch.setattr(sys, "argv", ["it.py", str(picture)])
    runpy.run_path(str(tmp_path / "it.py"))
    (expected,) = ception.predict(trained, picture)
    name, probability = capfd.readouterr().out.split()
    assert name == expected.top[0].class_name
    assert float(probability) == pytest.approx(expected.top[0].probability, abs=1e-5)


def test_is_a_model_on_the_hub(published, trained, monkeypatch, tmp_path):
    out, _ = published
    picture = next((trained.parents[1] / "colours").rglob("*.png"))
    with serving() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("CEPTION_CACHE", str(tmp_path))
        server.repositories["jane/it"] = {file.name: file.read_bytes() for file in out.iterdir()}
        ours, theirs = (ception.predict(model, picture)[0].top for model in ("hf://jane/it", trained))
    assert [guess.class_name for guess in ours] == [guess.class_name for guess in theirs]
    assert ours[0].probability == pytest.approx(theirs[0].probability, abs=1e-5)


class TestTheFolder:
    def test_a_clone_keeps_what_else_it_holds(self, published, trained, tmp_path):
        shutil.copytree(published[0], tmp_path / "clone")
        (tmp_path / "clone" / ".git").mkdir()
        (tmp_path / "clone" / "README.md").write_text("earlier")
        ception.export(trained, "huggingface", out=tmp_path / "clone", pictures=2)
        assert (tmp_path / "clone" / ".git").is_dir()
        assert (tmp_path / "clone" / "README.md").read_text() != "earlier"

    @pytest.mark.parametrize("content", ["{}", "no json", '{"model_type": "bert"}'])
    def test_that_of_another_model_is_left_alone(self, trained, tmp_path, content):
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(InputError, match=r"holds config.json and is no export of ception"):
            ception.export(trained, "huggingface", out=tmp_path)
        assert [file.name for file in tmp_path.iterdir()] == ["config.json"]

    def test_a_file_is_left_alone(self, trained, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(InputError, match="is a file: name a folder"):
            ception.export(trained, "huggingface", out=tmp_path / "file")

    def test_command(self, run_cli, trained, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        code, out, _ = run_cli("export", trained, "--to", "huggingface", "--pictures", "2")
        assert code == 0
        folder = f"{trained.name}-huggingface"
        assert out.splitlines()[-2:] == [
            f"Exported to {folder}, report in {folder}/model.onnx.report.json", f"Next: hf upload USER/NAME {folder}",
        ]  # fmt: skip


class TestOtherModels:
    @pytest.fixture
    def written(self, published, trained):
        """The card of a model that says something else of itself."""

        def card_with(folder=published[0], **changes) -> ModelCard:
            described = describe(trained)
            record = without_paths(described.record | changes.pop("record", {}))
            return ModelCard(card.card_of(replace(described, record=record, **changes), published[1], folder))

        return card_with

    def test_a_licence_that_is_known(self, written):
        read = written(record={"weights_licence": "Apache-2.0", "weights": "xception65.ra3_in1k"})
        assert read.data.license == "apache-2.0"
        assert "Licence of the weights that it began with: Apache-2.0." in read.text

    def test_pictures_that_were_in_the_training(self, written, trained):
        scores = describe(trained).record["scores"]
        whole = {"count": 50, "accuracy": 0.99, "accuracy_interval": [0.9, 1.0], "balanced_accuracy": 0.99}
        group = {key: whole[key] for key in ("count", "accuracy", "accuracy_interval")}
        read = written(record={"scores": scores | {"seen_in_training": 19, "including_seen": group}})
        assert "**19 of 50 pictures (38.0%) were in the model's training and do not count" in read.text
        assert "None of the pictures scored was in the training" not in read.text

    def test_names_that_are_markdown(self, written, trained):
        names = ("a|b", "<script>", "*c*\n# d")
        read = written(class_names=names)
        assert r"apart: a\|b, \<script\>, \*c\* \# d." in read.text

    def test_a_converted_one(self, written, tmp_path):
        certificate = {"matched": 12, "original": "keras.applications", "endpoints": {"a": 2e-6}, "logits": 1e-6}
        (tmp_path / "certificate.json").write_text(json.dumps(certificate))
        record = {"scores": None, "settings": None, "data": None, "weights": "w.h5", "weights_licence": None}
        read = written(tmp_path, record=record | {"taken": {"scaling": "from the file"}})
        assert read.data.eval_results is None
        for line in (
            "It was not scored: how often it is right is not known",
            "what became of the 12 tensors, and how far each endpoint is from keras.applications: at most 2.0e-06",
            r"The weights are those of w.h5, converted.",
            "- scaling: from the file",
            "Licence of the weights: not known; find out before you share it",
        ):
            assert line in read.text


@pytest.mark.parametrize(
    ("key", "text", "kept"),
    [
        ("source", "/home/jane/photos", "photos"),
        ("source", "/home/jane doe/my photos/", "my photos"),
        ("source", "C:\\Users\\jane\\photos", "photos"),
        ("source", "../../jane/photos", "photos"),
        ("runs", "~/jane/runs", "runs"),
        ("x", "~/jane/runs", "runs"),
        ("weights", "imagenet", "imagenet"),
        ("weights", "inception_v3.tv_in1k", "inception_v3.tv_in1k"),
        ("tensors", "12 of '/home/jane/w.h5', 3 missing", "12 of 'w.h5', 3 missing"),
        ("source", "docs/recipes.md: a dense layer", "docs/recipes.md: a dense layer"),
        ("source", "https://example.org/a/b", "https://example.org/a/b"),
        ("note", "see https://example.org/a/b", "see https://example.org/a/b"),
        ("source", "/", "data"),
        ("ratio", "a/b", "a/b"),
    ],
)
def test_paths_are_cut_to_their_names(key, text, kept):
    assert without_paths({"it": [{key: text}], "n": 1}) == {"it": [{key: kept}], "n": 1}
