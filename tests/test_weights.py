"""Weights of every origin, saved by the original in its own format: loaded, the logits are the original's."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import ception
from ception import MODELS, build, downloads
from ception.data.images import ImageContract
from ception.errors import InputError
from ception.models import PORTS, NetworkConfig
from ception.weights.checkpoints import read
from ception.weights.loading import load
from ception.weights.names import IN_KERAS, IN_TIMM, Theirs, pairs
from ception.weights.opening import OpenedWeights
from ception.weights.published import WEIGHTS, imagenet_classes, record_of
from support.networks import thin
from support.originals import PUBLISHED_IN_KERAS, in_torch, logits_in_torch, write_legacy
from support.parity import difference, fill, logits, pixels

BACKEND = keras.backend.backend()
ROUNDING = 1e-5
pytestmark = pytest.mark.skipif(BACKEND == "jax", reason="TensorFlow and PyTorch check weights, which are no backend's")
SIZE = 76  # even: where the ports differ in their padding


@pytest.fixture(scope="module", params=[pytest.param("xception", marks=pytest.mark.slow), "inception_v3"])
def original(request):
    """A network of keras.applications with weights of its own, and its logits for two pictures."""
    published = PUBLISHED_IN_KERAS[request.param]
    keras.backend.clear_session()
    published(weights=None, input_shape=(SIZE, SIZE, 3), classes=2)  # so that the numbers of layers do not begin at 0
    network = published(weights=None, input_shape=(SIZE, SIZE, 3), classifier_activation=None)
    fill(network, seed=4)
    batch = pixels(2, (SIZE, SIZE, 3))
    return request.param, network, batch, logits(network, batch / 127.5 - 1)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="Keras's own files are checked on TensorFlow")
class TestKeras:
    @pytest.mark.parametrize(
        "form", [".h5", *(pytest.param(form, marks=pytest.mark.slow) for form in (".weights.h5", ".keras"))]
    )
    def test_every_format_gives_the_originals_logits(self, original, form, tmp_path):
        name, network, batch, expected = original
        path = tmp_path / f"some{form}"
        if form == ".h5":
            write_legacy(network, path)
        elif form == ".keras":
            network.save(path)
        else:
            network.save_weights(path)
        ours = build(name, weights=path, image_size=SIZE)
        assert difference(logits(ours, batch), expected) < ROUNDING

    def test_file_without_head_keeps_the_body(self, original, tmp_path):
        name, network, batch, _ = original
        body = keras.Model(network.input, network.layers[-2].output)
        path = write_legacy(body, tmp_path / "notop.h5")
        ours = build(name, weights=path, image_size=SIZE, classes=7)
        found = logits(ception.truncate(ours, "avg_pool"), batch).reshape(2, -1)
        assert difference(found, logits(body, batch / 127.5 - 1)) < ROUNDING
        assert ours.output.shape == (None, 7)

    @pytest.mark.slow
    def test_other_classes_make_a_fresh_head_and_other_channels_adapt_the_first_kernel(self, original, tmp_path):
        name, network, _, _ = original
        path = write_legacy(network, tmp_path / "full.h5")
        checkpoint = read(path)
        grey = build(name, image_size=SIZE, classes=5, channels=1)
        report = load(grey, OpenedWeights(name, checkpoint))
        assert sorted(report.fresh) == ["logits/bias", "logits/kernel"]
        assert list(report.adapted.values()) == ["first kernel adapted to 1 channel"]
        first = next(layer for layer in grey.layers if layer.weights)
        stored = next(layer for layer in network.layers if layer.weights)
        np.testing.assert_allclose(first.get_weights()[0], stored.get_weights()[0].sum(2, keepdims=True), rtol=1e-6)
        five = build(name, image_size=SIZE, weights=path, channels=5)
        kernel = next(layer for layer in five.layers if layer.weights).get_weights()[0]
        np.testing.assert_allclose(kernel[:, :, 3], stored.get_weights()[0][:, :, 0] * 3 / 5, rtol=1e-6)

    @pytest.mark.slow
    @pytest.mark.parametrize("form", [".h5", ".keras"])
    def test_renamed_layers_are_taken_in_their_order(self, original, form, tmp_path):
        name, network, batch, expected = original
        renamed = keras.models.clone_model(network)
        renamed.set_weights(network.get_weights())
        for number, layer in enumerate(renamed.layers):
            layer.name = f"mine{number}"
        path = tmp_path / f"renamed{form}"
        write_legacy(renamed, path) if form == ".h5" else renamed.save(path)
        ours = build(name, weights=path, image_size=SIZE)
        assert difference(logits(ours, batch), expected) < ROUNDING

    @pytest.mark.slow
    def test_our_weights_in_the_originals_names_are_the_original(self, original):
        name, network, batch, expected = original
        ours = build(name, image_size=SIZE)
        fill(ours, seed=9)
        theirs = {f"{layer.name}/{weight.name}": weight for layer in network.layers for weight in layer.weights}
        values = {f"{layer.name}/{weight.name}": keras.ops.convert_to_numpy(weight)
                  for layer in ours.layers for weight in layer.weights}  # fmt: skip
        before = {key: keras.ops.convert_to_numpy(weight).copy() for key, weight in theirs.items()}
        for pair in pairs(ours, "keras", list(theirs)):
            theirs[pair.theirs].assign(pair.to_theirs(values[pair.ours]))
        assert difference(logits(network, batch / 127.5 - 1), logits(ours, batch)) < ROUNDING
        for key, weight in theirs.items():
            weight.assign(before[key])
        assert difference(logits(network, batch / 127.5 - 1), expected) < ROUNDING


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    """Weight files of a network, whole and up to block4, and its feature maps there."""
    whole, folder = build("xception", image_size=71, classes=3), tmp_path_factory.mktemp("early")
    fill(whole, seed=5)
    batch = pixels(2, (71, 71, 3))
    part = ception.truncate(whole, "block4")
    files = [write_legacy(whole, folder / "whole.h5"), write_legacy(part, folder / "part.h5")]
    return files, batch, logits(part, batch)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="weight files are no backend's")
class TestNetworksThatEndEarly:
    @pytest.mark.parametrize("classes", [None, 5])
    def test_take_what_they_need_of_any_file(self, maps, classes):
        files, batch, expected = maps
        for path in files:
            network = build("xception", image_size=71, classes=classes, final_endpoint="block4", weights=path)
            np.testing.assert_array_equal(logits(ception.truncate(network, "block4"), batch), expected)
            assert network.output.shape == ((None, 5, 5, 728) if classes is None else (None, classes))
        with pytest.raises(InputError, match="accept that with --partial"):
            build("xception", image_size=71, final_endpoint="block5", weights=files[1])

    def test_are_saved_and_loaded_with_their_heads(self, maps, tmp_path):
        files, batch, _ = maps
        arguments = {"name": "xception", "image_size": [71, 71], "classes": 2, "final_endpoint": "block4"}
        network = build(**arguments, weights=files[0])
        contract = ImageContract(height=71, width=71, channels=3, resize="pad")
        ception.Classifier(
            network=network, config=NetworkConfig.of(**arguments), class_names=("a", "b"), image=contract
        ).save(tmp_path / "early.keras")
        again = ception.Classifier.load(tmp_path / "early.keras")
        assert difference(again.logits(batch), logits(network, batch)) < ROUNDING
        once_more = build(**arguments, weights=tmp_path / "early.keras")
        assert difference(logits(once_more, batch), logits(network, batch)) < ROUNDING


@pytest.mark.skipif(BACKEND != "torch", reason="compares with PyTorch")
class TestTorch:
    CASES = (("xception", "legacy_xception"), ("xception_41", "xception41"), ("inception_v3", "inception_v3"),
             ("inception_v3", "torchvision"))  # fmt: skip

    @pytest.mark.parametrize("form", [".pth", ".safetensors"])
    @pytest.mark.parametrize(("name", "theirs"), CASES)
    def test_every_port_gives_the_originals_logits(self, name, theirs, form, tmp_path):
        import torch
        from safetensors.torch import save_file

        network = in_torch(theirs)
        path = tmp_path / f"some{form}"
        state = network.state_dict()
        torch.save(state, path) if form == ".pth" else save_file(state, path)
        batch = pixels(2, (100, 100, 3))
        ours = build(name, weights=path, image_size=100)
        assert difference(logits(ours, batch), logits_in_torch(network, batch)) < ROUNDING

    @pytest.mark.parametrize(("name", "theirs"), CASES)
    def test_the_original_takes_our_weights(self, name, theirs):
        import torch

        network = in_torch(theirs)
        port = {"legacy_xception": "timm_legacy", "xception41": None}.get(theirs, "torchvision")
        auxiliary = theirs == "torchvision"
        size = 299 if auxiliary else 100  # the auxiliary head's kernel shrinks with the picture
        ours = build(name, image_size=size, port=port, auxiliary=auxiliary)
        fill(ours, seed=8)
        values = {f"{layer.name}/{weight.name}": keras.ops.convert_to_numpy(weight)
                  for layer in ours.layers for weight in layer.weights}  # fmt: skip
        scheme = {"legacy_xception": "timm_legacy", "xception41": "timm"}.get(theirs, "torchvision")
        state = {
            pair.theirs: torch.from_numpy(pair.to_theirs(values[pair.ours]).copy()) for pair in pairs(ours, scheme)
        }
        missing, unexpected = network.load_state_dict(state, strict=False)
        assert not unexpected
        assert not [key for key in missing if not key.endswith("num_batches_tracked")]
        batch = pixels(2, (size, size, 3))
        found = logits(ours, batch)
        assert difference(logits_in_torch(network, batch), found) < ROUNDING


@pytest.mark.skipif(BACKEND != "tensorflow", reason="the rules are checked on TensorFlow, the ports on PyTorch")
class TestPorts:
    @pytest.mark.slow
    def test_every_rule_changes_the_logits_at_an_even_size(self):
        """What a port does otherwise is no ornament: with the same weights, each rule alone changes what comes out."""
        for name, known in PORTS.items():
            for port in known:
                own, other = build(name, image_size=SIZE), build(name, image_size=SIZE, port=port)
                fill(own, seed=3)
                for layer in own.layers:
                    if layer.weights:
                        there = other.get_layer(layer.name)
                        values = layer.get_weights()
                        extra = len(there.weights) - len(values)  # a gamma
                        there.set_weights([*[np.ones_like(values[0])] * extra, *values])
                batch = pixels(2, (SIZE, SIZE, 3))
                assert difference(logits(other, batch), logits(own, batch)) > 1e-4

    def test_symmetric_pool_is_that_of_infinite_padding(self):
        from ception.models.blocks import Layers, max_pool, series

        for height, width in ((6, 6), (7, 7), (6, 7)):
            image = keras.Input((height, width, 2))
            pooled = keras.Model(image, series(image, max_pool("pool", "symmetric"), name="x", layers=Layers()))
            x = -np.abs(np.random.default_rng(0).normal(size=(1, height, width, 2))).astype("float32")
            padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)], constant_values=-np.inf)
            expected = np.array([[[padded[0, i : i + 3, j : j + 3, c].max() for c in range(2)]
                                  for j in range(0, width, 2)] for i in range(0, height, 2)])  # fmt: skip
            np.testing.assert_array_equal(logits(pooled, x)[0], expected)

    def test_unknown_port(self):
        with pytest.raises(InputError, match="unknown port 'timm' of xception: did you mean 'timm_legacy'"):
            build("xception", port="timm")


def test_our_own_file_brings_its_scaling(trained):
    classifier = ception.Classifier.load(trained / "model.keras")
    size = classifier.image.height
    network = build("separable_cnn", weights=trained / "model.keras", image_size=size, channels=3, classes=3)
    batch = pixels(2, (size, size, 3))
    np.testing.assert_allclose(logits(network, batch), classifier.logits(batch), rtol=1e-5, atol=1e-5)


def test_wrong_options_are_told_before_weights_are_fetched(monkeypatch):
    monkeypatch.setattr(downloads, "fetch", lambda *_, **__: pytest.fail("nothing may be fetched"))
    with pytest.raises(InputError, match="dropout"):
        build("xception", weights="imagenet", dropout=2.0)


class TestRefusals:
    @pytest.mark.slow
    def test_weights_of_another_network_say_what_they_look_like(self, tmp_path):
        other = build("xception_41", image_size=71, classes=3)
        path = write_legacy(other, tmp_path / "other.h5")
        with pytest.raises(
            InputError, match=r"does not fit xception: it looks like weights of xception_41 \(--model\)"
        ):
            build("xception", weights=path, image_size=71)

    def test_a_partial_file_needs_leave_and_loads_nothing_without_it(self, tmp_path):
        whole = build("xception", image_size=71, classes=3)
        part = ception.truncate(whole, "block3")
        path = write_legacy(part, tmp_path / "part.h5")
        network = build("xception", image_size=71, seed=1)
        before = network.get_weights()
        with pytest.raises(InputError, match=r"missing; .* with --final-endpoint block3, or .* with --partial"):
            load(network, OpenedWeights(network.name, read(path)))
        for one, other in zip(before, network.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)
        report = load(network, OpenedWeights(network.name, read(path)), partial=True)
        assert len(report.matched) == sum(len(layer.weights) for layer in part.layers)
        early, _, _ = ception.Classifier.pretrained("xception", path, final_endpoint="block3", image_size=71)
        assert early.record["missing"] == ["logits/kernel", "logits/bias"]
        batch = pixels(2, (71, 71, 3))
        assert difference(logits(ception.truncate(early.network, "block3"), batch), logits(part, batch)) < ROUNDING

    def test_a_head_on_other_features_of_equal_shape_stays_fresh(self, tmp_path):
        """The maps of mixed9 have as many channels as those of mixed10, on which the file's head was trained."""
        whole = thin("inception_v3")
        fill(whole, seed=2)
        whole.save_weights(tmp_path / "whole.weights.h5")
        early = thin("inception_v3", final_endpoint="mixed9", weights=tmp_path / "whole.weights.h5", seed=1)
        fresh = thin("inception_v3", final_endpoint="mixed9", seed=1)
        kernels = [network.get_layer("logits").get_weights()[0] for network in (early, fresh, whole)]
        assert kernels[0].shape == kernels[2].shape
        np.testing.assert_array_equal(kernels[0], kernels[1])

    @pytest.mark.parametrize(
        ("given", "says"),
        [
            ("nowhere.h5", "neither a file nor published weights"),
            ("xception65.ra3_in1k", "are weights of xception_65, not of xception"),
        ],
    )
    def test_unknown_weights(self, given, says):
        with pytest.raises(InputError, match=says):
            build("xception", weights=given)

    @pytest.mark.parametrize("name", MODELS)
    def test_every_network_has_a_name_for_every_tensor_in_every_scheme(self, name):
        network = build(name, image_size=MODELS[name].smallest, depth_multiplier=1e-6, min_depth=1)
        for scheme in ("ception", "keras", "timm", "timm_legacy", "torchvision", "slim"):
            named = pairs(network, scheme, ["conv2d/kernel"])
            assert len(named) == len({pair.ours for pair in named}) == len(network.weights)

    @pytest.mark.slow
    def test_tensors_without_a_place_are_refused_even_with_partial(self, tmp_path):
        options = {"image_size": 75, "classes": 3, "depth_multiplier": 0.1, "min_depth": 8}
        with_gamma = build("inception_v3", port="torchvision", **options)
        path = tmp_path / "gamma.weights.h5"
        with_gamma.save_weights(path)
        for partial in (False, True):
            network = build("inception_v3", **options, seed=1)
            before = network.get_weights()
            with pytest.raises(InputError, match=r"gamma has no place; without them it would compute something else"):
                load(network, OpenedWeights(network.name, read(path)), partial=partial)
            for one, other in zip(before, network.get_weights(), strict=True):
                np.testing.assert_array_equal(one, other)

    @pytest.mark.slow
    def test_a_head_of_several_layers_is_left_out_where_ours_is_trained_and_refused_where_it_predicts(self, tmp_path):
        body = keras.applications.Xception(weights=None, include_top=False, input_shape=(71, 71, 3), pooling="avg")
        fill(body, seed=6)
        x = keras.layers.BatchNormalization()(keras.layers.Dense(2048, activation="relu")(body.output))
        path = write_legacy(keras.Model(body.input, keras.layers.Dense(3)(x)), tmp_path / "two.h5")
        path_of_flat = tmp_path / "flat.h5"
        with pytest.warns(UserWarning, match=r"the head is fresh, and batch_normalization\w*, dense\w* are"):
            network = build("xception", weights=path, image_size=71, classes=3, seed=1)
        batch = pixels(2, (71, 71, 3))
        pooled = logits(ception.truncate(network, "pool"), batch).reshape(2, -1)
        assert difference(pooled, logits(body, batch / 127.5 - 1)) < ROUNDING
        fresh = build("xception", image_size=71, classes=3, seed=1).get_layer("logits").get_weights()[0]
        np.testing.assert_array_equal(network.get_layer("logits").get_weights()[0], fresh)
        flat = keras.Model(body.input, keras.layers.Dense(3)(keras.layers.Flatten()(body.layers[-2].output)))
        report = load(network, OpenedWeights(network.name, read(write_legacy(flat, path_of_flat))))
        assert (report.fresh, report.left_out) == (["logits/kernel", "logits/bias"], [])
        with pytest.raises(
            InputError, match=r"has no place; .*; ception train DATA --model xception --weights .*two.h5"
        ):
            ception.Classifier.pretrained("xception", path)

    def test_networks_whose_weights_have_no_hash_say_where_they_are(self):
        with pytest.raises(InputError, match=r"inception_v1_2016_08_28.tar.gz has no published hash"):
            build("inception_v1", weights="imagenet")

    def test_networks_without_published_weights(self):
        with pytest.raises(InputError, match="no weights of separable_cnn for ImageNet are published"):
            build("separable_cnn", weights="imagenet")


def test_records_are_complete():
    names = imagenet_classes()
    assert len(set(names)) == 1000
    assert (names[0], names[281], names[999]) == ("tench", "tabby", "toilet tissue")
    for name, record in WEIGHTS.items():
        assert record.network in MODELS, name
        unchecked = record.url.startswith("hf:") or record.url.endswith(".tar.gz")  # the latter is not downloaded
        assert unchecked or record.digest.split(":")[0] in ("md5", "sha256")
        assert record.port is None or record.port in PORTS[record.network]
        own = {"keras": IN_KERAS, "slim": {record.network: Theirs("slim", "")}}.get(record.scheme, IN_TIMM)
        assert (own[record.network].scheme, own[record.network].port) == (record.scheme, record.port)
        assert 20 <= record.megabytes <= 180
    first = {record_of(record.network, "imagenet") for record in WEIGHTS.values()}
    assert all(record.head for record in first)


def test_per_channel_scaling_is_inside_the_network():
    record = WEIGHTS["inception_v3.gluon_in1k"]
    network = build("inception_v3", image_size=75, scaling=(record.mean, record.std))
    scaled = ception.truncate(network, "input_scaling")
    found = logits(scaled, np.full((1, 75, 75, 3), 255.0, "float32"))[0, 0, 0]
    expected = (1 - np.array([0.485, 0.456, 0.406])) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.slow
def test_real_weights_load_as_a_partial_file(shared):
    path = shared / "weights" / "inception_v3_to_mixed8.h5"
    network = build("inception_v3", image_size=150)
    report = load(network, OpenedWeights(network.name, read(path)), partial=True)
    assert report.unused == []
    assert not report.misshaped
    missing = {name.split("_")[0].split("/")[0] for name in report.missing}
    assert missing == {"mixed9", "mixed10", "logits"}
    assert build("inception_v3", image_size=150, classes=6, final_endpoint="mixed8", weights=path).output.shape[1] == 6
