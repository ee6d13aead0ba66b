"""What is exported says in its own runtime what the model says in Keras, or is not left."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

import ception
from ception.artefacts import files_of, metadata
from ception.artefacts.opening import RUNTIMES, engine_of
from ception.engines.operations import folded
from ception.engines.translating import operations
from ception.errors import InputError, RunError
from ception.exporting import targets, writing
from support.contents import require_private
from support.parity import fill
from support.reporters import Notes

WRITTEN = [(to, precision) for to, target in targets.TARGETS.items() for precision in target.precisions]
FORMATS = list(targets.TARGETS)


def require(to):
    """Skip where a package is missing that writes or runs a format."""
    for package in (*targets.TARGETS[to].needs, RUNTIMES[to][0]):
        pytest.importorskip(package, reason=f"{package} is not installed")


@pytest.fixture
def onnx():
    require("onnx")


@pytest.fixture(scope="module", params=FORMATS)
def exported(request, trained, tmp_path_factory):
    """What each format gives of a trained model, and the report."""
    require(request.param)
    out = tmp_path_factory.mktemp("exported") / f"model{targets.SUFFIXES[request.param]}"
    return out, ception.export(trained, request.param, out=out, reporter=Notes())


def named(out):
    """The names of an artefact's inputs and outputs, as servers find them."""
    if out.suffix == ".onnx":
        graph = pytest.importorskip("onnx").load(out).graph
        return [one.name for one in graph.input], [one.name for one in graph.output]
    if out.suffix == ".xml":
        pytest.importorskip("openvino")
        from ception.engines.openvino import core

        graph = core().read_model(out)
        return [one.any_name for one in graph.inputs], [one.any_name for one in graph.outputs]
    if out.suffix == ".tflite":
        from ai_edge_litert.interpreter import Interpreter

        signature = Interpreter(str(out)).get_signature_list()["serving_default"]
        return signature["inputs"], signature["outputs"]
    if out.suffix == ".saved-model":
        signature = pytest.importorskip("tensorflow").saved_model.load(str(out)).signatures["serving_default"]
        return list(signature.structured_input_signature[1]), list(signature.structured_outputs)
    pytest.skip("a program of PyTorch has no names that a server asks for")


class TestExport:
    def test_says_what_the_model_says(self, exported, trained):
        out, report = exported
        assert report.differing == 0
        assert report.largest_gap < 1e-5
        assert report.accuracy == report.accuracy_in_keras
        assert report.pictures == 31
        assert report.data.endswith("colours (test)")
        kept = json.loads(out.with_name(out.name + ".report.json").read_text())
        assert kept == report.as_dict() | {"artefact": out.name, "model": "model.keras", "data": "colours (test)"}

    def test_has_the_names_that_servers_ask_for(self, exported):
        assert named(exported[0]) == (["pictures"], ["probabilities"])

    def test_is_taken_wherever_a_model_is(self, exported, trained, tmp_path):
        out, _ = exported
        colours = trained.parents[1] / "colours"
        (ours,), (theirs,) = (ception.predict(model, next(colours.rglob("*.png"))) for model in (out, trained))
        assert [guess.class_name for guess in ours.top] == [guess.class_name for guess in theirs.top]
        for one, other in zip(ours.top, theirs.top, strict=True):
            assert one.probability == pytest.approx(other.probability, abs=1e-5)
        scores = ception.evaluate(out, colours, out=tmp_path / "ours")
        expected = ception.evaluate(trained, colours, out=tmp_path / "theirs")
        assert (scores.accuracy, scores.split, scores.count) == (expected.accuracy, "test", expected.count)
        assert scores.log_loss == pytest.approx(expected.log_loss, abs=1e-4)

    def test_tells_what_the_model_file_tells(self, exported, trained):
        out, _ = exported
        ours, theirs = metadata.read(out), ception.Classifier.load(trained)
        expected = json.loads(json.dumps(theirs.as_json()))
        expected["record"]["data"]["source"] = "colours"
        expected["record"]["settings"]["runs"] = "runs"
        expected["record"]["scores"] |= {"model": "model.keras", "data": "colours", "output": trained.name}
        assert ours.described == expected
        assert ours.precision == "float32"

    def test_names_no_folder_of_this_machine(self, exported, trained):
        out, _ = exported
        assert str(trained.parents[1]) in json.dumps(ception.Classifier.load(trained).record)
        require_private([*files_of(out), out.with_name(out.name + ".report.json")], trained.parents[1], out.parent)

    def test_takes_its_own_place_and_no_others(self, exported, trained, tmp_path):
        out = shutil.copytree(exported[0].parent, tmp_path / "copied") / exported[0].name
        before = [file.read_bytes() for file in files_of(out)]
        out_again = ception.export(trained, metadata.read(out).format, out=out, min_confidence=0.9, pictures=2)
        assert out_again.pictures == 2
        assert before != [file.read_bytes() for file in files_of(out)]
        assert metadata.read(out).min_confidence == 0.9
        (prediction,) = ception.predict(out, np.full((16, 16, 3), 128, np.uint8))
        assert prediction.unknown == (prediction.top[0].probability < 0.9)
        (prediction,) = ception.predict(out, np.full((16, 16, 3), 128, np.uint8), min_confidence=0.0)
        assert not prediction.unknown

    def test_runs_in_its_own_runtime_alone(self, exported, trained):
        out, _ = exported
        colours = trained.parents[1] / "colours"
        for options, said in (
            ({"engine": "keras"}, "leave out --engine"),
            ({"dtype": "bfloat16"}, "leave out --dtype"),
        ):
            with pytest.raises(InputError, match=said):
                ception.predict(out, colours, **options)


@pytest.mark.parametrize(
    ("to", "precision"), [pytest.param(*one, marks=[pytest.mark.slow] * (one[1] == "int8")) for one in WRITTEN]
)
def test_every_precision_is_near(to, precision, tmp_path):
    require(to)
    network = ception.build("xception", image_size=71, depth_multiplier=0.125, classes=5, seed=1)
    fill(network, seed=3)
    samples = np.random.default_rng(0).integers(0, 256, (8, 71, 71, 3), np.uint8)
    if precision == "int8":
        pytest.importorskip("nncf", reason="nncf is not installed")
    out = tmp_path / f"it{targets.SUFFIXES[to]}"
    logits = np.asarray(network.predict_on_batch(samples.astype(np.float32)))
    temperature = float(np.ptp(logits))  # so that no class is sure
    writing.write(writing.with_probabilities(operations(network), temperature), to, out, precision, samples)
    metadata.write(out, to, precision=precision, described={})
    engine = engine_of(metadata.read(out))
    assert engine.precision == precision
    expected = np.asarray(keras.ops.softmax(logits / temperature))
    for count in (8, 3):  # any batch size
        given = engine.run(samples[:count])
        assert given.shape == (count, 5)
        assert given.dtype == np.float32
        allowed = {"float32": 1e-5, "float16": 2e-3, "bfloat16": 2e-2, "int8": 5e-2}[precision]
        assert np.abs(given - expected[:count]).max() < allowed
        assert np.abs(given.sum(-1) - 1).max() < 1e-2
    engine.close()
    with pytest.raises(RuntimeError, match="closed"):
        engine.run(samples)


def test_what_says_something_else_is_not_left(onnx, trained, tmp_path, monkeypatch):
    def wrong(network, to, path, precision, samples, kept):
        steps = [*network.steps]
        steps[-2] = folded([steps[-2]])[0]
        steps[-2].arrays["kernel"][:] = -steps[-2].arrays["kernel"]
        writing.write(network, to, path, precision, samples, kept)

    monkeypatch.setattr("ception.exporting.write", wrong)
    with monkeypatch.context() as context:
        context.setattr("ception.exporting.gate.speed", None)  # what is refused is not timed
        with pytest.raises(RunError, match=r"of 31 pictures another label \(.*allowed 0.0%.*nothing is left"):
            ception.export(trained, "onnx", out=tmp_path / "wrong.onnx")
    assert not list(tmp_path.iterdir())
    report = ception.export(trained, "onnx", out=tmp_path / "wrong.onnx", max_disagreement=1.0)
    assert report.differing > 0
    assert report.accuracy < report.accuracy_in_keras


def test_pictures_without_classes_do(onnx, trained, tmp_path):
    from support.pictures import write_pictures

    write_pictures(tmp_path / "others", {"unheard": 3, "of": 2})
    report = ception.export(trained, "onnx", out=tmp_path / "o.onnx", data=str(tmp_path / "others"))
    assert (report.pictures, report.accuracy) == (5, None)
    report = ception.export(trained, "onnx", out=tmp_path / "o.onnx", data=str(tmp_path / "others" / "of"))
    assert (report.pictures, report.accuracy) == (2, None)


class TestRefusals:
    def test_other_files(self, onnx, trained, tmp_path):
        theirs = tmp_path / "theirs.onnx"
        theirs.write_bytes(b"something else")
        with pytest.raises(InputError, match="is there already and no export of ception"):
            ception.export(trained, "onnx", out=theirs)
        assert theirs.read_bytes() == b"something else"

    @pytest.mark.parametrize(
        ("to", "options", "said"),
        [
            ("onyx", {}, "did you mean 'onnx'"),
            ("onnx", {"out": "x.xml"}, "must end in .onnx"),
            ("onnx", {"dtype": "bfloat16"}, "onnx has no bfloat16: choose one of float32, float16, int8"),
            ("onnx", {"data": "nowhere"}, "nowhere"),
        ],
    )
    def test_options(self, onnx, trained, tmp_path, monkeypatch, to, options, said):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(InputError, match=said):
            ception.export(trained, to, **options)
        assert not list(tmp_path.iterdir())

    def test_a_package_that_is_missing(self, trained, monkeypatch):
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(InputError, match=r"onnx in float32 needs onnx: pip install 'ception\[onnx\]'"):
            ception.export(trained, "onnx")


def test_command(onnx, run_cli, trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = run_cli("export", trained, "--to", "onnx", "--pictures", "4")
    assert code == 0
    lines = out.splitlines()
    assert lines[0].startswith("Compared with Keras on 4 pictures of ")
    assert "every label is the same" in lines[0]
    assert lines[-2].startswith(f"Exported to {trained.name}.onnx, report in {trained.name}.onnx.report.json")
    told = re.fullmatch(rf"Next: (ception predict {trained.name}\.onnx (\S+\.png))", lines[-1])
    assert told
    assert Path(told[2]).is_relative_to(trained.parents[1] / "colours")
    os.symlink(trained.parents[1] / "colours", "colours")  # of which an export keeps the last name
    assert run_cli(*told[1].split()[1:])[1].splitlines()[-1] == (f"Next: ception evaluate {trained.name}.onnx colours")
