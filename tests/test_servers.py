"""What docs/export.md has for servers of others fits what is exported: folders, names, shapes, numbers, a client."""

from __future__ import annotations

import ast
import io
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

import ception
from ception.artefacts import SUFFIXES, files_of
from ception.models.catalog import MODELS
from support.documents import ROOT, SHELL, Block, blocks
from support.reporters import Notes

PAGE = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
TYPES = {"TYPE_UINT8": "tensor(uint8)", "TYPE_FP32": "tensor(float)"}  # Triton's names, and ONNX Runtime's


def section(name: str) -> list[Block]:
    """The blocks below a heading."""
    return blocks(re.split(r"^##", PAGE.split(f"### {name}\n")[1], maxsplit=1, flags=re.M)[0])


def command(name: str, program: str) -> str:
    """The line of a section that starts a program."""
    lines = [line for block in section(name) for line in block.body.replace("\\\n", " ").splitlines()]
    return next(line for line in lines if line.startswith(program))


def values(text: str) -> dict[str, list[Any]]:
    """The fields of a message in protocol buffers' text format, each with all values that it is given."""
    tokens = re.findall(r'"[^"]*"|[\w.]+|[][{}]', re.sub(r"#.*", "", text))
    value: Any
    found: list[tuple[str, dict[str, list[Any]]]] = [("", {})]
    name = ""
    for token in tokens:
        if token == "{":
            found.append((name, {}))
        elif token == "}":
            name, value = found.pop()
            found[-1][1].setdefault(name, []).append(value)
        elif re.fullmatch(r"[a-z]\w*", token):
            name = token
        elif token not in "[]":
            value = token if token.startswith("TYPE_") else ast.literal_eval(token)
            found[-1][1].setdefault(name, []).append(value)
    ((_, whole),) = found
    return whole


def configuration(name: str) -> tuple[Path, dict[str, list[Any]]]:
    """A section's text file: where it lies, by its first line, and what it says."""
    (block,) = (block for block in section(name) if block.language == "text")
    return Path(block.body.splitlines()[0].removeprefix("# ")), values(block.body)


@pytest.fixture(scope="module")
def laid(trained, tmp_path_factory):
    """Lays a server's folder from an export, by the commands of its section; gives the folder in which they ran."""

    def lay(to: str, name: str) -> Path:
        place = tmp_path_factory.mktemp("served")
        ception.export(trained, to, out=place / f"photos{SUFFIXES[to]}", pictures=2, reporter=Notes())
        lines = [line for block in section(name) if block.language in SHELL for line in block.body.splitlines()]
        for line in lines:
            if line.startswith("mkdir "):
                subprocess.run(line, shell=True, check=True, cwd=place)
        return place

    return lay


def expected(trained: Path, pixels: np.ndarray) -> np.ndarray:
    """Probabilities of pictures of the model's size (pictures, height, width, channels)."""
    names = ception.Classifier.load(trained).class_names
    told = ception.predict(trained, list(pixels), top=len(names))
    return np.array(
        [[{guess.class_name: guess.probability for guess in one.top}[name] for name in names] for one in told]
    )


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), np.uint8)


def test_text_is_read():
    assert values('a: "x"  # b: 1\nc [ { d: [ 1, 2 ] }, { d: 3 e { } } ] f: TYPE_FP32') == {
        "a": ["x"], "c": [{"d": [1, 2]}, {"d": [3], "e": [{}]}], "f": ["TYPE_FP32"],
    }  # fmt: skip


def test_triton(laid, trained, pixels):
    pytest.importorskip("onnx", reason="onnx is not installed")
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    place = laid("onnx", "Triton")
    path, said = configuration("Triton")
    assert path.parts[0] in command("Triton", "docker")
    session = onnxruntime.InferenceSession(place / path.parent / "1" / "model.onnx")
    assert (said["name"], said["backend"]) == ([path.parent.name], ["onnxruntime"])
    assert said["dynamic_batching"] == [{}]
    for kind, held in (("input", session.get_inputs()), ("output", session.get_outputs())):
        ((told,), (one,)) = said[kind], held
        assert told["name"] == [one.name]
        assert TYPES[told["data_type"][0]] == one.type
        assert len(told["dims"]) == len(one.shape) - 1  # all but the batch
        assert isinstance(one.shape[0], str), "a free batch, which max_batch_size needs"
    assert said["input"][0]["dims"] == [*MODELS["xception"].image_size, 3]
    for count in (1, min(len(pixels), *said["max_batch_size"])):
        (given,) = session.run(None, {"pictures": pixels[:count]})
        assert given == pytest.approx(expected(trained, pixels[:count]), abs=1e-5)


def test_openvino_model_server(laid, trained, pixels):
    openvino = pytest.importorskip("openvino", reason="openvino is not installed")
    from ception.engines.openvino import core

    place, started = laid("openvino", "OpenVINO Model Server"), command("OpenVINO Model Server", "docker")
    name = re.search(r"--model_path /(\S+) --model_name (\S+)", started)
    assert name[1] == f"models/{name[2]}"
    assert '-v "$PWD/models:/models"' in started
    assert {file.suffix for file in (place / name[1] / "1").iterdir()} == {".xml", ".bin"}
    graph = core().read_model(next((place / name[1] / "1").glob("*.xml")))
    assert (graph.input(0).any_name, graph.output(0).any_name) == ("pictures", "probabilities")
    assert (graph.input(0).element_type, graph.output(0).element_type) == (openvino.Type.u8, openvino.Type.f32)
    assert graph.input(0).partial_shape[0].is_dynamic
    options = json.loads(re.search(r"--plugin_config '([^']*)'", started)[1])
    compiled = core().compile_model(graph, "CPU", options)
    assert compiled.get_property("INFERENCE_PRECISION_HINT") == openvino.Type.f32
    for count in (1, 5):
        given = compiled({"pictures": pixels[:count]})["probabilities"]
        assert given == pytest.approx(expected(trained, pixels[:count]), abs=1e-5)


def test_tensorflow_serving(laid, trained, pixels, monkeypatch, capsys):
    tf = pytest.importorskip("tensorflow", reason="tensorflow is not installed")
    place, started = laid("saved-model", "TensorFlow Serving"), command("TensorFlow Serving", "docker")
    path, said = configuration("TensorFlow Serving")
    assert f"--model_config_file=/{path}" in started
    assert '-v "$PWD/models:/models"' in started
    ((config,),) = (one["config"] for one in said["model_config_list"])
    assert config["model_platform"] == ["tensorflow"]
    folder = place / config["base_path"][0].removeprefix("/") / "1"
    assert [file.name for file in folder.parent.iterdir()] == ["1"]
    assert len(files_of(folder)) == len(files_of(place / "photos.saved-model"))
    loaded = tf.saved_model.load(str(folder))
    serve = loaded.signatures["serving_default"]
    given = serve(pictures=tf.constant(pixels))["probabilities"].numpy()
    assert given == pytest.approx(expected(trained, pixels), abs=1e-5)

    def urlopen(address: str, body: bytes) -> io.BytesIO:
        assert address == f"http://localhost:8501/v1/models/{config['name'][0]}:predict"
        assert "-p 8501:8501" in started
        (taken,) = serve.structured_input_signature[1].values()
        (answer,) = serve(tf.constant(json.loads(body)["instances"], taken.dtype)).values()
        return io.BytesIO(json.dumps({"predictions": answer.numpy().tolist()}).encode())

    Image.fromarray(pixels[0]).resize((40, 30)).save(place / "cat.jpg")
    monkeypatch.chdir(place)
    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    (client,) = (block.body for block in section("TensorFlow Serving") if block.language == "python")
    exec(compile(client, "docs/export.md", "exec"), {})
    (prediction,) = ception.predict(trained, place / "cat.jpg")
    told = ast.literal_eval(capsys.readouterr().out)
    assert told == pytest.approx({guess.class_name: guess.probability for guess in prediction.top}, abs=1e-4)


def test_kserve(server):
    of_triton, of_ours = (yaml.safe_load(block.body) for block in section("KServe"))
    for told in (of_triton, of_ours):
        assert (told["apiVersion"], told["kind"]) == ("serving.kserve.io/v1beta1", "InferenceService")
        assert told["metadata"] == {"name": "photos"}
    model = of_triton["spec"]["predictor"]["model"]
    assert (model["modelFormat"], model["protocolVersion"]) == ({"name": "onnx"}, "v2")
    assert model["storageUri"].endswith(f"/{configuration('Triton')[0].parts[0]}")  # the folder above the model's
    (container,) = of_ours["spec"]["predictor"]["containers"]
    ready = container["readinessProbe"]["httpGet"]
    assert server.ask("GET", ready["path"]).status_code == 200
    written = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
    assert f"EXPOSE {ready['port']}\n" in written
    assert container["ports"] == [{"containerPort": ready["port"], "protocol": "TCP"}]
