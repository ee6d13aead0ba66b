"""Whatever the user's Keras is configured to, results are the same, and so is the configuration afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import ception
from ception import MODELS, backends, build
from ception.errors import InputError
from ception.models.networks import modules
from ception.models.tables.modules import MODULES
from support.networks import few
from support.parity import fill
from support.pictures import COLOURS, write_pictures
from support.reporters import Notes
from support.runs import assert_same_run

config = keras.config
SETTINGS: dict[str, tuple[Callable[[], Any], Callable[[Any], None], Any]] = {
    "channels first": (config.image_data_format, config.set_image_data_format, "channels_first"),
    "float16": (config.floatx, config.set_floatx, "float16"),
    "float64": (config.floatx, config.set_floatx, "float64"),
    "mixed_float16": (config.dtype_policy, config.set_dtype_policy, "mixed_float16"),
    "mixed_bfloat16": (config.dtype_policy, config.set_dtype_policy, "mixed_bfloat16"),
    "epsilon": (config.epsilon, config.set_epsilon, 0.5),
    "one epoch": (config.max_epochs, config.set_max_epochs, 1),
    "one step": (config.max_steps_per_epoch, config.set_max_steps_per_epoch, 1),
}
THIN = {"image_size": 71, "depth_multiplier": 0.05, "final_endpoint": "block4"}
TRAINING = {"epochs": 2, "batch_size": 8, "image_size": 8}


@contextmanager
def configured(setting: str) -> Iterator[None]:
    read, write, value = SETTINGS[setting]
    before = read()
    write(value)
    try:
        yield
        after = read()
        assert getattr(after, "name", after) == value, "the user's configuration was changed"
    finally:
        write(before)


pytestmark = pytest.mark.usefixtures("undrawn")
QUICK = ("channels first", "mixed_float16", "one epoch")  # one of each kind; the others are much like them


@pytest.fixture(params=[name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in SETTINGS])
def setting(request) -> Iterator[str]:
    with configured(request.param):
        yield request.param


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("settings") / "colours", dict.fromkeys(COLOURS, 16))


@pytest.fixture(scope="module")
def usual(data) -> Path:
    return ception.train(data, runs=data.parent / "runs", reporter=Notes(), **TRAINING).folder


def test_training_is_the_same(data, usual, tmp_path, setting):
    assert_same_run(usual, ception.train(data, runs=tmp_path, reporter=Notes(), **TRAINING).folder)


@pytest.mark.slow
def test_so_is_fine_tuning(data, tmp_path, monkeypatch):
    network = build("xception", classes=3, seed=1, **THIN)
    fill(network, seed=3)
    network.save_weights(tmp_path / "x.weights.h5")

    def tuned(name: str) -> Path:
        monkeypatch.setenv("CEPTION_CACHE", str(tmp_path / name))  # the activations are computed each time
        settings = {"weights": str(tmp_path / "x.weights.h5"), "epochs": 2, "batch_size": 16, "head_only": True}
        runs = tmp_path / f"runs-{name}"
        return ception.train(data, model="xception", runs=runs, reporter=Notes(), **THIN | settings).folder

    usually = tuned("usual")
    with configured("channels first"), configured("float16"):
        assert_same_run(usually, tuned("configured"))


@pytest.mark.parametrize("engine", ["keras", "openvino"])
def test_predictions_are_the_same(data, usual, setting, engine, tmp_path, monkeypatch):
    if engine == "openvino":
        pytest.importorskip("openvino")
    pictures = [data / "red" / "000.png", data / "blue" / "001.png"]
    with configured("channels first"):
        SETTINGS["channels first"][1]("channels_last")
        expected = [result.as_dict() for result in ception.predict(usual, pictures, engine=engine)]
        SETTINGS["channels first"][1]("channels_first")
    monkeypatch.setenv("CEPTION_CACHE", str(tmp_path / "cache"))  # the network is translated here
    assert [result.as_dict() for result in ception.predict(usual, pictures, engine=engine)] == expected


def outputs(network: keras.Model) -> list[np.ndarray]:
    pictures = np.random.default_rng(0).integers(0, 256, (2, *network.input.shape[1:])).astype("float32")
    ends = network(pictures, training=False)
    return [keras.ops.convert_to_numpy(end) for end in (ends if isinstance(ends, list) else [ends])]


def channels_of(name: str) -> int:
    return MODELS[name].channels


@pytest.mark.parametrize("name", [
    name if name in ("separable_cnn", "xception") else pytest.param(name, marks=pytest.mark.slow)
    for name in MODELS
])  # fmt: skip
def test_networks_are_the_same(name):
    options = few(name) | {"seed": 1, "auxiliary": name == "inception_v3"}
    if channels_of(name) == 3:
        options["scaling"] = ((120, 110, 100), (60, 50, 40))
    one = build(name, **options)
    for setting in ("channels first", "float16", "mixed_float16"):
        with configured(setting):
            other = build(name, **options)
            for first, second in zip(one.get_weights(), other.get_weights(), strict=True):
                np.testing.assert_array_equal(first, second)
            for first, second in zip(outputs(one), outputs(other), strict=True):
                assert first.dtype == second.dtype == np.float32
                np.testing.assert_array_equal(first, second)
    formats = {getattr(layer, "data_format", "channels_last") for layer in other.layers}
    assert formats == {"channels_last"}


@pytest.mark.parametrize("name", MODULES)
def test_modules_are_the_same(name, setting):
    network = modules.build(name, image_size=9, channels=16, filters=32, segments=4, seed=1)
    assert network.output.shape[1:3] == (9, 9)
    assert network.input.dtype == network.output.dtype == "float32"


def test_plain_keras_opens_the_file(usual, setting):
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)).astype("float32")
    plain = keras.saving.load_model(usual / "model.keras")
    classifier = ception.Classifier.load(usual)
    np.testing.assert_array_equal(plain.predict_on_batch(images), classifier.logits(images))


@pytest.mark.slow
def test_a_conversion_is_certified(tmp_path):
    with configured("channels first"):
        SETTINGS["channels first"][1]("channels_last")
        keras.applications.Xception(weights=None, classes=3, input_shape=(71, 71, 3)).save_weights(
            tmp_path / "x.weights.h5"
        )
        SETTINGS["channels first"][1]("channels_first")
        assert ception.convert(tmp_path / "x.weights.h5", "xception", out=tmp_path / "x.keras").logits < 1e-5


# What is said in keras.json, which is read when Keras is imported


def run(place: Path, code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    without = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=place,
        env=without | {"KERAS_HOME": str(place)} | environment,
    )  # fmt: skip


@pytest.mark.parametrize("said", [{"image_data_format": "channels_first", "floatx": "float16", "epsilon": 0.1}])
@pytest.mark.slow
def test_the_configuration_of_the_user(data, usual, tmp_path, said):
    (tmp_path / "keras.json").write_text(json.dumps(said | {"backend": keras.backend.backend()}))
    done = run(tmp_path, f"import ception; ception.train({str(data)!r}, runs='runs', **{TRAINING}); import keras; "
               "print(keras.config.image_data_format(), keras.config.floatx(), keras.config.epsilon())")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["channels_first", "float16", "0.1"]
    assert_same_run(usual, next((tmp_path / "runs").iterdir()))


@pytest.mark.parametrize("said", [
    '{"floatx": "bfloat16"}', '{"epsilon": 1}', "[1]", '{"image_data_format": "nchw"}',
])  # fmt: skip
def test_a_configuration_that_keras_refuses_is_one_line(tmp_path, said):
    (tmp_path / "keras.json").write_text(said)
    done = run(tmp_path, "from ception import backends, InputError\ntry: backends.start()\n"
               "except InputError as error: print(error)")  # fmt: skip
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert line.startswith(f"{tmp_path / 'keras.json'} ")
    assert line.endswith("remove it")


class TestBackend:
    @pytest.fixture
    def installed(self, monkeypatch, tmp_path) -> Callable[..., None]:
        """Pretends that Keras has not been imported, and that these backends are installed."""

        def only(*names: str, configured: str) -> None:
            monkeypatch.delitem(sys.modules, "keras")
            monkeypatch.setenv("KERAS_BACKEND", "")
            monkeypatch.setenv("KERAS_HOME", str(tmp_path))
            monkeypatch.setattr("importlib.util.find_spec", lambda name: name if name in names else None)
            (tmp_path / "keras.json").write_text(json.dumps({"backend": configured}))

        return only

    def test_the_configured_one_is_taken(self, installed):
        installed("tensorflow", "jax", configured="jax")
        assert backends.likely() == backends.choose() == "jax"

    @pytest.mark.parametrize("named", ["torch", "theano"])
    def test_one_that_is_not_installed_is_told(self, installed, monkeypatch, tmp_path, named):
        installed("jax", configured=named)
        monkeypatch.setattr("importlib.import_module", lambda name: None)
        notes = Notes()
        assert backends.likely() == backends.start(reporter=notes) == "jax"
        assert notes.notes[0] == f"{tmp_path / 'keras.json'} names {named}, which is not installed: jax is used"

    def test_what_keras_writes_itself_is_no_news(self, installed, monkeypatch):
        installed("jax", configured="tensorflow")
        monkeypatch.setattr("importlib.import_module", lambda name: None)
        notes = Notes()
        assert backends.start(reporter=notes) == "jax"
        assert notes.notes == ["Loading Keras on jax ..."]

    def test_what_is_asked_for_counts_more(self, installed):
        installed("tensorflow", "jax", configured="jax")
        assert backends.choose("tensorflow") == "tensorflow"

    def test_that_it_is_asked_for_and_missing_is_an_error(self, installed):
        installed("jax", configured="jax")
        with pytest.raises(InputError, match="torch is not installed"):
            backends.choose("torch")
