"""A head trained on a frozen network: cached features, the weights that stay, runs that end early and go on."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

import ception
from ception import engines
from ception.errors import InputError, RunError
from ception.models import build
from ception.models.checkpoints import read
from ception.models.names import variables
from ception.reporting import Reporter
from ception.settings import TrainSettings
from ception.training import features, preparation
from conftest import COLOURS, write_pictures
from parity import difference, fill
from test_resume import Killed, assert_same_run

THIN = {"image_size": 71, "depth_multiplier": 0.1}


class Notes(Reporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)

    def warn(self, text: str) -> None:
        self.lines.append(f"warning: {text}")

    def computed(self) -> bool:
        return any(line.startswith("Features of") for line in self.lines)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Pictures of three colours in `colours`, and weights of a thin Xception with three classes."""
    root = tmp_path_factory.mktemp("features")
    write_pictures(root / "colours", dict.fromkeys(COLOURS, 14))
    network = build("xception", classes=3, seed=1, **THIN)
    fill(network, seed=3)
    network.save_weights(root / "xception.weights.h5")
    return root


def trained(place: Path, runs: Path, **settings) -> tuple[ception.training.Run, Notes]:
    notes = Notes()
    options = {"model": "xception", "weights": str(place / "xception.weights.h5"), "epochs": 3, "batch_size": 8}
    return ception.train(place / "colours", runs=runs, reporter=notes, **THIN | options | settings), notes


on_others = pytest.mark.skipif(
    keras.backend.backend() == "jax", reason="compiling takes long, and TensorFlow and PyTorch see it"
)


class TestHead:
    def test_the_body_stays_and_the_head_learns(self, place, tmp_path):
        run, notes = trained(place, tmp_path)
        assert "Frozen: xception up to its pooling, batch norm with its own statistics" in "\n".join(notes.lines)
        stored, kept = read(place / "xception.weights.h5").tensors, variables(run.classifier.network)
        for name, tensor in kept.items():
            same = np.array_equal(keras.ops.convert_to_numpy(tensor), stored[name])
            assert same != name.startswith("logits/"), name
        assert run.history[-1]["loss"] < run.history[0]["loss"]
        assert run.classifier.record["settings"]["recipe"] is None
        assert run.classifier.record["recipe"]["source"].startswith("docs/recipes.md: a dense layer")

    @on_others
    def test_the_files_head_is_not_taken_even_with_the_same_classes(self, place, tmp_path):
        run, _ = trained(place, tmp_path, epochs=1, learning_rate=1e-12)
        head = run.classifier.network.get_layer("logits").get_weights()
        assert difference(head[0], read(place / "xception.weights.h5").tensors["logits/kernel"]) > 0.1
        np.testing.assert_allclose(head[1], 0, atol=1e-9)

    @on_others
    def test_networks_that_end_early(self, place, tmp_path):
        run, notes = trained(place, tmp_path, final_endpoint="block4", epochs=1)
        assert any(line.startswith("Frozen: xception up to block4") for line in notes.lines)
        again = ception.Classifier.load(run.folder)
        assert [layer.name for layer in again.network.layers][-4:] == ["block4", "pool", "prelogits", "logits"]
        assert (
            ception.evaluate(run.folder, place / "colours", output=tmp_path / "e")["accuracy"]
            == (run.scores["accuracy"])
        )


class TestCache:
    @on_others
    def test_features_are_what_the_network_computes(self, place, tmp_path, monkeypatch):
        monkeypatch.setenv("CEPTION_CACHE", str(tmp_path / "cache"))
        run, _ = trained(place, tmp_path, epochs=1)
        (pixels,), (stored,) = ([np.load(path) for path in (tmp_path / "cache").glob(f"{kind}-*")]
                                for kind in ("pixels", "features"))  # fmt: skip
        body = features.divided(run.classifier.network).body
        direct = np.asarray(body.predict_on_batch(pixels.astype("float32")))
        engine = engines.fastest(body)
        # bfloat16 has 8 bits, and a network of random weights adds their roundings up
        assert difference(stored[: len(direct)], direct) < (1e-4 if engine.precision == "float32" else 0.05)
        assert difference(stored[: len(direct)], engine.run(pixels)) < 1e-6
        assert difference(engines.fastest(body, precision="float32").run(pixels), direct) < 1e-4
        assert len(stored) == len(direct) + run.classifier.record["data"]["counts"]["train"]
        mirrored = engine.run(pixels[:, :, ::-1])
        for row in stored[len(direct) :]:
            assert np.abs(mirrored - row).max(-1).min() < 1e-5 * np.abs(row).max()
        trained(place, tmp_path, epochs=1, flip=False)
        assert sorted(len(np.load(path)) for path in (tmp_path / "cache").glob("features-*")) == [
            len(direct), len(stored)]  # fmt: skip

    def test_they_are_computed_once_and_anew_where_anything_changed(self, tmp_path, monkeypatch):
        monkeypatch.setenv("CEPTION_CACHE", str(tmp_path / "cache"))
        colours = write_pictures(tmp_path / "colours", dict.fromkeys(COLOURS, 14), seed=9)
        network = build("inception_v1", image_size=32, depth_multiplier=0.1, final_endpoint="pool3a", seed=1)
        body = keras.Model(network.input, keras.layers.GlobalAveragePooling2D(name="pool")(network.output))

        def computed(body: keras.Model = body, **changed) -> bool:
            notes = Notes()
            settings = TrainSettings(model="inception_v1", image_size=32)
            prepared = preparation.prepare(colours, settings, notes)
            options = {"mirrored": True, "cache_limit": 1.0, "reporter": notes} | changed
            features.features(body, prepared, {"name": "inception_v1"}, **options)
            return notes.computed()

        assert [computed(), computed()] == [True, False]
        assert [computed(mirrored=False), computed()] == [True, False]
        body.get_layer("conv1a_conv").kernel.assign(body.get_layer("conv1a_conv").kernel * 2)
        assert [computed(), computed()] == [True, False]
        (colours / "red" / "000.png").write_bytes((colours / "red" / "001.png").read_bytes())
        assert [computed(), computed()] == [True, False]
        for path in (tmp_path / "cache").glob("features-*"):
            path.write_bytes(path.read_bytes()[:-100])
        assert [computed(), computed()] == [True, False]
        nowhere = keras.layers.Rescaling(np.nan)(network.input)
        with pytest.raises(RunError, match="its weights are damaged"):
            computed(keras.Model(network.input, keras.layers.GlobalAveragePooling2D()(nowhere)))
        assert len(list((tmp_path / "cache").glob(".features-*"))) == 0

    def test_more_than_the_limit_is_refused(self, place, tmp_path):
        with pytest.raises(InputError, match=r"the features take .* above --cache-limit 1e-06 GB: raise it"):
            trained(place, tmp_path, cache_limit=1e-6, seed=77, final_endpoint="block3")


@pytest.mark.slow
@pytest.mark.parametrize("place_of_death", ["ception.training.state.save", "ception.training.features.features"])
def test_killed_and_resumed(place, tmp_path, monkeypatch, place_of_death):
    whole, _ = trained(place, tmp_path / "whole")
    with monkeypatch.context() as patched:
        patched.setattr(place_of_death, lambda *_, **__: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            trained(place, tmp_path / "runs")
    (run,) = (tmp_path / "runs").iterdir()
    monkeypatch.chdir(tmp_path)
    ception.resume(run, reporter=Notes())
    assert_same_run(whole.folder, run)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"recipe": "best"}, "shifts and erases, which a frozen network cannot follow: take head"),
        ({"model": "inception_v3", "auxiliary": True, "image_size": 75}, "stays frozen with --weights"),
        ({"weights": None, "partial": True}, "--partial belongs to --weights"),
        ({"weights": "nowhere.h5"}, "neither a file nor published weights"),
        ({"model": "inception_v3", "image_size": 75}, "does not fit inception_v3"),
        ({"final_endpoint": "block99"}, "no endpoint 'block99'"),
        ({"final_endpoint": "logits"}, "a head goes on feature maps"),
    ],
)
def test_what_cannot_be_trained_is_one_line(place, tmp_path, settings, says):
    with pytest.raises(InputError, match=says):
        trained(place, tmp_path, **settings)
    assert not list(tmp_path.glob("0*"))


def test_a_network_without_pooling(tmp_path, place, folder):
    build("separable_cnn", image_size=16, classes=3, channels=3).save_weights(tmp_path / "s.weights.h5")
    with pytest.raises(InputError, match="separable_cnn has no pooling"):
        ception.train(
            folder, model="separable_cnn", image_size=16, weights=str(tmp_path / "s.weights.h5"), runs=tmp_path
        )
