"""The examples do what they say."""

from __future__ import annotations

import functools
import importlib.util
import io
import json
import re
import runpy
import shutil
import subprocess
import sys
import threading
from dataclasses import asdict, replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ception
from ception import build
from ception.data.images import ImageContract, from_array, to_pixels
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
@pytest.mark.slow
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
    expected = ception.predict(tmp_path / "it.onnx", pictures)
    said = run("onnx_runtime.py", tmp_path / "it.onnx", *pictures).splitlines()
    for line, one in zip(said, expected, strict=True):
        label, told = line.rsplit(" ", 1)
        assert label == f"{one.path}: {'unknown, perhaps ' if one.unknown else ''}{one.top[0].class_name}"
        assert float(told) == pytest.approx(one.top[0].probability, abs=6e-5)  # to four places


def test_a_client_of_the_open_inference_protocol(run, server, trained, monkeypatch):
    asked = []

    def urlopen(request):
        asked.append(request.full_url)
        answer = server.ask("POST", request.full_url, content=request.data, headers=dict(request.header_items()))
        return io.BytesIO(answer.content)

    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    paths = sorted((trained.parents[1] / "colours").rglob("*.png"))[::50]
    said = run("open_inference.py", "http://it", "colours", trained / "model.keras", *paths)
    assert asked == ["http://it/v2/models/colours/infer"]
    expected = ception.predict(trained, paths, top=1)
    for line, path, prediction in zip(said.splitlines(), paths, expected, strict=True):
        name, told = line.removeprefix(f"{path}: ").rsplit(" ", 1)
        assert name == prediction.top[0].class_name
        assert float(told) == pytest.approx(prediction.top[0].probability, abs=1e-4)


@pytest.mark.skipif(
    not (importlib.util.find_spec("tensorflow") and importlib.util.find_spec("ai_edge_litert")),
    reason="tensorflow or ai-edge-litert is not installed",
)
@pytest.mark.parametrize(
    ("resize", "crop"),
    [("crop", 0.8), *(pytest.param(name, 1.0, marks=pytest.mark.slow) for name in ("squash", "pad"))],
)
def test_litert_with_numpy_alone(run, trained, tmp_path, resize, crop):
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
    ception.export(tmp_path / "it.keras", "litert", out=tmp_path / "it.tflite", pictures=2, min_confidence=0.6)
    expected = ception.predict(tmp_path / "it.tflite", [*map(tmp_path.joinpath, names)])
    said = run("litert_numpy.py", "it.tflite", *names).splitlines()
    assert len({line.split(": ")[1] for line in said}) == 3  # so that a mistaken picture shows
    for name, line, one in zip(names, said, expected, strict=True):
        unsure = "unknown, perhaps " if one.unknown else ""
        assert line == f"{name}: {unsure}{one.top[0].class_name} {one.top[0].probability:.1%}"


class TestBrowser:
    """The page in examples/browser, whose library comes from npm."""

    def test_the_resize_is_ours(self, tmp_path):
        node = shutil.which("node") or pytest.skip("needs node, which is not here")
        random, cases = np.random.default_rng(0), []
        for number in range(60):
            width, height, *wanted = (int(side) for side in random.integers(5, 60, 4))
            channels, resize = int(random.choice([1, 3])), ("squash", "crop", "pad")[number % 3]
            crop = float(random.choice([1.0, 0.875])) if resize == "crop" else 1.0
            contract = ImageContract(height=wanted[0], width=wanted[1], channels=channels, resize=resize, crop=crop)
            pixels = random.integers(0, 256, (height, width, channels), np.uint8)
            expected = to_pixels(from_array(pixels), contract)
            cases.append({"width": width, "height": height, "channels": channels, "data": pixels.ravel().tolist(),
                          "contract": asdict(contract), "expected": expected.ravel().tolist()})  # fmt: skip
        (tmp_path / "cases.json").write_text(json.dumps(cases))
        (tmp_path / "compare.mjs").write_text(
            f"import {{ resized }} from {json.dumps(str(EXAMPLES / 'browser' / 'resize.js'))};"
            "import { readFileSync } from 'fs';"
            "for (const { contract, expected, ...picture } of JSON.parse(readFileSync('cases.json'))) {"
            "  const made = resized(picture, contract);"
            "  console.log(made.length - expected.length, Math.max(...expected.map((v, k) => Math.abs(v - made[k]))));"
            "}"
        )
        said = subprocess.run([node, "compare.mjs"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert said.stderr == ""
        assert len(said.stdout.splitlines()) == 60
        assert set(said.stdout.splitlines()) <= {"0 0", "0 1"}

    def test_the_page_says_what_ception_says(self, trained, tmp_path):
        pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
        pytest.importorskip("onnx", reason="onnx is not installed")
        chromium = shutil.which("chromium") or pytest.skip("needs chromium, which is not here")
        if not (EXAMPLES / "browser" / "node_modules").is_dir():
            pytest.skip("needs `npm install onnxruntime-web` in examples/browser")
        for file in (EXAMPLES / "browser").iterdir():
            (tmp_path / file.name).symlink_to(file)
        ception.export(trained, "onnx", out=tmp_path / "model.onnx", pictures=2)
        picture = next((trained.parents[1] / "colours").rglob("*.png"))
        shutil.copy(picture, tmp_path / "p.png")
        handler = functools.partial(SimpleHTTPRequestHandler, directory=tmp_path)
        with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
            address = f"http://127.0.0.1:{server.server_port}/index.html?picture=p.png"
            flags = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=30000", "--dump-dom"]
            said = subprocess.run([chromium, *flags, address], capture_output=True, text=True, timeout=120).stdout
            server.shutdown()
        shown = re.findall(r"<td>(\w+)</td>.*?value=\"([\d.e-]+)\"", said)
        (expected,) = ception.predict(trained, picture, top=3)
        assert [name for name, _ in shown] == [guess.class_name for guess in expected.top]
        for (_, value), guess in zip(shown, expected.top, strict=True):
            assert float(value) == pytest.approx(guess.probability, abs=1e-3)
