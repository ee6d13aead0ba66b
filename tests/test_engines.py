"""The engines give what Keras gives."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from ception import MODELS, backends, build
from ception.engines import described
from ception.engines.choosing import fastest
from ception.engines.keras_backend import KerasEngine
from ception.engines.translating import operations
from ception.errors import InputError
from ception.models.endpoints import truncate
from support.networks import of_rare_layers
from support.parity import difference, fill
from support.reporters import Notes

openvino = pytest.importorskip("ception.engines.openvino", reason="openvino is not installed")
openvino_graph = pytest.importorskip("ception.engines.openvino_graph", reason="openvino is not installed")
SOME = list(MODELS) if keras.backend.backend() == "tensorflow" else ["inception_v3", "separable_cnn"]
QUICK = ("separable_cnn", "inception_v3", "xception_41")  # of which the others' layers are


def others_slow(*names: str) -> list[object]:
    """The names of the networks, all but the given ones marked as slow."""
    return [pytest.param(name, marks=[pytest.mark.slow] * (name not in names)) for name in SOME]


def network(name: str, **options) -> keras.Model:
    side = MODELS[name].image_size if name == "separable_cnn" else 107
    built = build(name, image_size=side, depth_multiplier=0.25, seed=1, **({"classes": 7} | options))
    fill(built, seed=3)
    return built


def compiled(of: keras.Model, precision: str | None = None) -> openvino.OpenVinoEngine:
    return openvino.OpenVinoEngine(openvino_graph.graph_of(operations(of)), precision)


def pictures(of: keras.Model, count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *of.input.shape[1:]), np.uint8)


@pytest.mark.parametrize("name", others_slow(*QUICK))
def test_openvino_gives_the_networks_logits(name):
    built = network(name)
    batch = pictures(built, 3)
    engine = compiled(built, "float32")
    assert engine.precision == "float32"
    assert engine.name.startswith("openvino 20")
    expected = KerasEngine(built).run(batch)
    # relative to the largest logit: sums in another order, of a network with random statistics
    assert difference(engine.run(batch), expected) < 1e-4
    assert difference(engine.run(batch[:2]), expected[:2]) < 1e-4  # another batch size
    assert difference(compiled(built, "bfloat16").run(batch), expected) < 0.05


def test_openvino_gives_feature_maps_with_the_channels_last():
    built = network("inception_v3")
    batch = pictures(built, 2)
    for end in ("mixed0", "mixed7"):
        body = truncate(built, end)
        maps = compiled(body, "float32").run(batch)
        assert maps.shape[1:] == body.output.shape[1:]
        assert difference(maps, KerasEngine(body).run(batch)) < 1e-4


def test_openvino_leaves_dropout_out():
    built = network("separable_cnn", dropout=0.3)
    batch = pictures(built, 2)
    assert difference(compiled(built, "float32").run(batch), KerasEngine(built).run(batch)) < 1e-4


def test_openvino_goes_on_from_feature_maps():
    """The part of a network behind an endpoint is a network too."""
    tail = of_rare_layers()
    batch = pictures(tail, 3)
    assert difference(compiled(tail, "float32").run(batch), KerasEngine(tail).run(batch)) < 1e-5


@pytest.mark.parametrize("name", others_slow("separable_cnn", "xception"))
def test_onnxruntime_gives_the_networks_logits(name):
    onnxruntime = onnxruntime_engine()
    built = network(name)
    batch = pictures(built, 3)
    engine = onnxruntime.opened(onnxruntime.translated(operations(built)), None)
    assert engine.precision == "float32"
    assert engine.name.startswith("onnxruntime 1")
    expected = KerasEngine(built).run(batch)
    assert difference(engine.run(batch), expected) < 1e-4
    assert difference(engine.run(batch[:2]), expected[:2]) < 1e-4


def test_onnxruntime_gives_feature_maps_with_the_channels_last():
    onnxruntime = onnxruntime_engine()
    body = truncate(network("inception_v3"), "mixed7")
    batch = pictures(body, 2)
    maps = onnxruntime.opened(onnxruntime.translated(operations(body)), None).run(batch)
    assert maps.shape[1:] == body.output.shape[1:]
    assert difference(maps, KerasEngine(body).run(batch)) < 1e-4


def onnxruntime_engine():
    pytest.importorskip("onnx", reason="onnx is not installed")
    return pytest.importorskip("ception.engines.onnxruntime", reason="onnxruntime is not installed")


def test_a_result_outlives_the_next_one():
    built = network("separable_cnn")
    batch = pictures(built, 4)
    run = compiled(built).run
    first = run(batch[:2])
    kept = first.copy()
    run(batch[2:])
    np.testing.assert_array_equal(first, kept)


def test_an_unknown_layer_falls_back_to_keras_and_says_so(monkeypatch):
    monkeypatch.setattr(backends, "has_accelerator", lambda: False)
    given = keras.Input((8, 8, 3))
    odd = keras.Model(given, keras.layers.UpSampling2D(name="larger")(given), name="odd")
    told = Notes()
    engine = fastest(odd, reporter=told)
    assert engine.name.startswith(keras.backend.backend())
    assert told.warnings == [
        f"OpenVINO cannot run odd (larger is a UpSampling2D): {keras.backend.backend()} runs it"
    ]  # fmt: skip
    assert engine.run(np.ones((1, 8, 8, 3), np.uint8)).shape == (1, 16, 16, 3)


def test_without_openvino_keras_runs_the_network(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *_: None)
    built = network("separable_cnn")
    engine = fastest(built)
    assert described(engine).startswith(f"{keras.backend.backend()} ")
    assert described(engine).endswith("in float32")
    with pytest.raises(InputError, match="build it with dtype for bfloat16, or install openvino"):
        fastest(built, precision="bfloat16")


def test_openvino_tells_nobody_of_its_import(tmp_path):
    """Its telemetry keeps a number for the user in the home folder before it sends anything."""
    environment = {name: value for name, value in os.environ.items() if name != "CI"} | {"HOME": str(tmp_path)}
    command = [sys.executable, "-c", "import ception.engines.openvino"]
    subprocess.run(command, check=True, env=environment, capture_output=True)
    assert not (tmp_path / "intel").exists()


CLOSED_IN_ORDER = """
import gc, signal
import numpy as np
import openvino as ov
from openvino import opset13 as ops
from ception.engines.openvino import OpenVinoEngine

def engine():
    given = ops.parameter([1, 4], np.float32)
    return OpenVinoEngine(ov.Model([ops.relu(given)], [given]))

signal.signal(signal.SIGINT, signal.default_int_handler)  # what began this may have it ignored
one, other = engine(), engine()
one.close(); del one; gc.collect()
other.close(); del other; gc.collect()
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("told")
"""


def test_a_signal_after_openvino_does_not_end_the_process():
    done = subprocess.run([sys.executable, "-c", CLOSED_IN_ORDER], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "told\n"), done.stderr
