"""Files of other networks and of other programs are called by their names, with what helps."""

from __future__ import annotations

import warnings
import zipfile

import keras
import numpy as np
import pytest

import ception
from ception import MODELS
from ception.conversion import convert
from ception.errors import InputError
from ception.models.building import thin
from ception.weights.names import pairs
from ception.weights.other_networks import other_network
from support.parity import logits, pixels
from support.weight_files import refused

on_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="Keras's own files are checked there"
)


@pytest.fixture(scope="module")
def mobilenet(tmp_path_factory):
    path = tmp_path_factory.mktemp("mobilenet") / "keras_model.h5"
    network = keras.applications.MobileNetV2(weights=None, input_shape=(32, 32, 3), alpha=0.35, classes=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras calls the format legacy
        network.save(path)
    return path


@on_tensorflow
def test_another_network_is_named(mobilenet, run_cli):
    code, _, err = run_cli("convert", mobilenet, "--model", "xception", "--quiet")
    assert code == 2
    assert "keras_model.h5 holds another network (MobileNet V2 or V3), not xception" in err
    assert "train on the same pictures instead, with ception train DATA --model xception" in err
    with pytest.raises(InputError, match=r"holds another network \(MobileNet"):
        ception.build("inception_v3", weights=mobilenet, image_size=75, classes=2)
    (mobilenet.parent / "labels.txt").write_text("0 cat\n1 dog\n")
    with pytest.raises(InputError, match=r"was made by Teachable Machine: it holds another network \(MobileNet"):
        convert(mobilenet, "xception", out=mobilenet.parent / "o.keras")


@pytest.mark.parametrize(
    ("keys", "name"),
    [
        ([f"conv2_block{number}_1_conv/kernel" for number in (1, 2, 3)], "ResNet"),
        ([f"layer1.{number}.conv1.weight" for number in (0, 1, 2)], "ResNet"),
        ([f"module.layer1.{number}.conv1.weight" for number in (0, 1, 2)], "ResNet"),
        (["block1a_se_reduce/kernel", "block1a_se_expand/kernel", "block2a_expand_conv/kernel"], "EfficientNet"),
        ([f"conv_dw_{number}/depthwise_kernel" for number in (1, 2, 3)], "MobileNet"),
        ([f"block5_conv{number}/kernel" for number in (1, 2, 3)], "VGG"),
        ([f"blocks.{number}.attn.qkv.weight" for number in range(3)], "vision transformer"),
        (["block5_conv1/kernel", "mine/kernel"], ""),
    ],
)
def test_names_tell_networks(keys, name):
    assert other_network(keys) == name


@pytest.mark.parametrize("name", MODELS)
def test_no_network_of_the_family_is_taken_for_another(name):
    for scheme in ("ception", "keras", "timm", "timm_legacy", "torchvision", "slim"):
        network = thin(name, auxiliary=MODELS[name].auxiliary)
        assert other_network(pair.theirs for pair in pairs(network, scheme, ["conv2d/kernel"])) == "", scheme


def test_networks_exported_for_other_programs(tmp_path):
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"\x08\x01")
    refused(tmp_path / "saved", "SavedModel of TensorFlow", "save_weights")
    (tmp_path / "m.tflite").write_bytes(b"\x1c\0\0\0TFL3" + bytes(20))
    refused(tmp_path / "m.tflite", "exported for LiteRT")
    (tmp_path / "m.onnx").write_bytes(b"\x08\x08\x12\x07pytorch" + bytes(20))
    refused(tmp_path / "m.onnx", "exported for ONNX", "take the model that it was exported from")
    (tmp_path / "frozen.pb").write_bytes(b"\x0a\x08" + bytes(20))
    refused(tmp_path / "frozen.pb", "exported for TensorFlow")
    (tmp_path / "m.xml").write_bytes(b'<?xml version="1.0"?>\n<net name="it" version="11">')
    refused(tmp_path / "m.xml", "exported for OpenVINO")
    with zipfile.ZipFile(tmp_path / "m.pt2", "w") as archive:
        archive.writestr("it/data/weights/weight_0", bytes(20))
    refused(tmp_path / "m.pt2", "exported for PyTorch")
    (tmp_path / "saved" / "assets.extra").mkdir()
    (tmp_path / "saved" / "assets.extra" / "ception.json").write_text("{}")
    refused(tmp_path / "saved", "exported for TensorFlow", "take the model that it was exported from")


@on_tensorflow
@pytest.mark.filterwarnings("ignore")  # Keras calls one of the formats legacy
@pytest.mark.parametrize("name", ["again.keras", "again.h5"])
def test_a_model_of_ours_that_plain_keras_saved_again_comes_back(trained, tmp_path, run_cli, name):
    classifier = ception.Classifier.load(trained / "model.keras")
    keras.saving.load_model(trained / "model.keras").save(tmp_path / name)
    picture = next((trained.parent.parent / "colours").rglob("*.png"))
    code, _, err = run_cli("predict", tmp_path / name, picture, "--quiet")
    shown = "separable_cnn" if name == "again.keras" else "NAME"
    assert (code, err.count("\n")) == (2, 1)
    assert f"with ception convert {tmp_path / name} --model {shown}" in err
    code, _, _ = run_cli("convert", tmp_path / name, "--model", "separable_cnn", "--out", tmp_path / "back.keras")
    assert code == 0
    back = ception.Classifier.load(tmp_path / "back.keras")
    assert back.image.shape == classifier.image.shape
    assert len(back.class_names) == len(classifier.class_names)
    np.testing.assert_allclose(back.config.mean_and_std(), classifier.config.mean_and_std(), rtol=1e-9)
    batch = pixels(2, classifier.image.shape)
    np.testing.assert_allclose(back.logits(batch), logits(classifier.network, batch), rtol=1e-5, atol=1e-5)
