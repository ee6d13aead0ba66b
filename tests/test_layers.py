"""Layers of other classes, made instead of Keras's: the network is the same, and what is saved is Keras's own."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace

import keras
import numpy as np
import pytest

from ception import layers
from ception.classifier import Classifier
from ception.data.images import ImageContract
from ception.keras_internals import with_moments
from ception.layers.classes import BatchNormalization
from ception.models import NetworkConfig
from ception.models.building import build_network
from ception.models.kinds import kind, stock_class, stock_config
from ception.settings import TrainSettings
from ception.training.planning import layers_of
from support.parity import fill


class Fast(keras.layers.SeparableConv2D):
    """A layer with an option of its own, which cannot be made without arguments."""

    def __init__(self, filters, kernel_size, *, tile=4, **options):
        super().__init__(filters, kernel_size, **options)
        self.tile = tile

    def get_config(self):
        return super().get_config() | {"tile": self.tile}


class Plain(keras.layers.Conv2D):
    """Only another class."""


CONFIG = NetworkConfig.of("xception", classes=3, image_size=71, depth_multiplier=0.05, min_depth=4)
LAYERS = {"SeparableConv2D": Fast, "Conv2D": Plain}


@pytest.fixture(scope="module")
def networks() -> tuple[keras.Model, keras.Model]:
    """The network with layers of other classes, and with Keras's."""
    return build_network(CONFIG, layers=LAYERS, seed=1), build_network(CONFIG, seed=1)


def test_they_are_made(networks):
    fast, plain = networks
    assert {type(layer) for layer in fast.layers if "sepconv" in layer.name and layer.name.endswith(("1", "2"))} == {
        Fast
    }
    assert not {type(layer) for layer in plain.layers} & {Fast, Plain}
    assert [kind(layer) for layer in fast.layers] == [kind(layer) for layer in plain.layers]


def test_the_same_seed_gives_the_same_weights(networks):
    for one, other in zip(*(network.get_weights() for network in networks), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_is_saved_is_kerass_own(tmp_path):
    fast = build_network(CONFIG, layers=LAYERS, seed=1)
    fill(fast, seed=3)
    classifier = Classifier(
        network=fast, config=CONFIG, class_names=("a", "b", "c"), image=ImageContract(height=71, width=71, channels=3)
    )
    classifier.save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        config = json.loads(archive.read("config.json"))
    text = json.dumps(config)
    assert "Fast" not in text
    assert "tile" not in text
    pixels = np.random.default_rng(0).integers(0, 256, (2, 71, 71, 3)).astype("float32")
    expected = keras.ops.convert_to_numpy(fast(pixels, training=False))
    for again in (keras.models.load_model(tmp_path / "m.keras"), Classifier.load(tmp_path / "m.keras").network):
        assert {type(layer).__module__.split(".")[0] for layer in again.layers} == {"keras"}
        np.testing.assert_allclose(keras.ops.convert_to_numpy(again(pixels, training=False)), expected, rtol=1e-5)


def test_training_takes_quicker_layers_unless_told_otherwise():
    settings = TrainSettings(model="xception")
    assert layers_of(settings).keys() == layers.quicker().keys() != set()
    assert layers_of(replace(settings, stock_layers=True)) == {}


def test_a_training_follows_that_of_kerass_layers():
    """The loss at each of 100 steps: what is left of rounding."""
    config = NetworkConfig.of("separable_cnn", classes=4, image_size=16, channels=1, depth_multiplier=0.5)
    random = np.random.default_rng(0)
    labels = random.integers(0, 4, 160)
    pixels = random.uniform(0, 100, (160, 16, 16, 1)).astype("float32")
    pixels[np.arange(160), :, 4 * labels] += 100  # no two values are equal, or rounding says which is the largest
    losses = []
    for classes in (layers.quicker(), {}):
        network = build_network(config, layers=classes, seed=1)
        network.compile(
            keras.optimizers.SGD(0.01, momentum=0.9),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=keras.backend.backend() == "jax",
        )
        batches = [slice(start, start + 16) for start in range(0, 160, 16)] * 10
        losses.append([float(network.train_on_batch(pixels[batch], labels[batch])) for batch in batches])
    assert losses[0][-1] < 0.5 * losses[0][0]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3)


def test_a_stock_configuration_is_what_keras_writes():
    """Classes of ours become what Keras itself writes of the class that they are one of."""
    ours = keras.saving.serialize_keras_object(Fast(8, 3, tile=2, name="a"))
    theirs = keras.saving.serialize_keras_object(keras.layers.SeparableConv2D(8, 3, name="a"))
    stock = stock_config(json.loads(json.dumps(ours)))
    for key in ("module", "class_name", "registered_name"):
        assert stock[key] == theirs[key]
    assert stock["config"].keys() == theirs["config"].keys()


def test_what_is_none_of_kerass():
    with pytest.raises(ValueError, match="derives from no class of Keras"):
        stock_class(dict)


def test_a_network_of_quicker_layers_is_saved_without_building_it_anew(tmp_path, monkeypatch):
    """Their classes have the names of Keras's, and so have those that a team makes of them."""
    made = {**layers.quicker(), "BatchNormalization": with_moments(BatchNormalization, None)}
    network = build_network(CONFIG, layers=made, seed=1)
    monkeypatch.setattr("ception.classifier.build_network", None)
    image = ImageContract(height=71, width=71, channels=3)
    classifier = Classifier(network=network, config=CONFIG, class_names=("a", "b", "c"), image=image)
    classifier.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    assert {type(layer).__module__.split(".")[0] for layer in again.layers} == {"keras"}
    for one, other in zip(again.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
