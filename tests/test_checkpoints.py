"""Readers of weight files: what Keras and TF-Slim wrote comes back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

import ception
from ception.weights.checkpoints import read
from support.parity import difference, fill, logits, pixels
from support.weight_files import RANDOM, assert_equal, backbone, keras_file, legacy, refused, write_slim

L = keras.layers


def randomised(model: keras.Model) -> keras.Model:
    model.set_weights([RANDOM.normal(size=weight.shape).astype("float32") for weight in model.get_weights()])
    return model


def classifier() -> keras.Model:
    """A whole network as one layer of another, compiled and trained, as people do."""
    inputs = L.Input((8, 8, 3))
    x = backbone()(L.RandomFlip(name="flip")(inputs))
    model = keras.Model(inputs, L.Dense(3, name="out")(L.GlobalAveragePooling2D(name="pool")(x)))
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(np.zeros((2, 8, 8, 3)), np.zeros((2, 3)), verbose=0)
    return randomised(model)


def by_name(model: keras.Model) -> dict[str, np.ndarray]:
    named = {}
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            named |= by_name(layer)
        else:
            named |= {f"{layer.name}/{weight.name}": np.asarray(weight) for weight in layer.weights}
    return {name: value for name, value in named.items() if value.dtype == np.float32}


# --- Keras


@pytest.mark.parametrize("suffix", [".h5", ".weights.h5", ".keras"])
@pytest.mark.filterwarnings("ignore")
def test_every_keras_file_gives_its_tensors_by_layer_and_variable(tmp_path: Path, suffix: str) -> None:
    model = classifier()
    path = keras_file(model, tmp_path / f"model{suffix}")
    checkpoint = read(str(path))
    assert (checkpoint.path, checkpoint.layout, checkpoint.described) == (path, "keras", {})
    assert_equal(checkpoint.tensors, by_name(model))
    assert "sep/pointwise_kernel" in checkpoint.tensors
    assert "stem_bn/beta" in checkpoint.tensors
    assert "stem_bn/gamma" not in checkpoint.tensors


@pytest.mark.filterwarnings("ignore:Saving sharded weights requires:UserWarning")  # of Keras, on what it names them
def test_shards_are_one_checkpoint(tmp_path: Path) -> None:
    model = randomised(backbone())
    model.save_weights(tmp_path / "m.weights.h5", max_shard_size=5e-7)
    assert len(list(tmp_path.glob("*.h5"))) > 1
    assert_equal(read(tmp_path / "m.weights.json").tensors, by_name(model))
    (tmp_path / "m.weights.json").write_text(json.dumps({"weight_map": {"/vars": ["../m.h5"]}}))
    refused(tmp_path / "m.weights.json", "outside its folder")


def test_a_normalisation_without_beta_is_told_by_the_configuration(tmp_path: Path) -> None:
    model = randomised(backbone(scale=True, center=False))
    model.save(tmp_path / "m.keras")
    assert_equal(read(tmp_path / "m.keras").tensors, by_name(model))


def test_layers_of_one_class_keep_their_order_and_unknown_classes_their_numbers(tmp_path: Path) -> None:
    inputs = x = L.Input((4, 4, 2))
    for number in range(12):
        x = L.Conv2D(2, 1, name=f"layer{11 - number}")(x)
    model = keras.Model(inputs, L.LayerNormalization(name="norm")(x))
    model.save_weights(tmp_path / "m.weights.h5")
    names = list(read(tmp_path / "m.weights.h5").tensors)
    assert names[::2][:12] == [f"layer{11 - number}/kernel" for number in range(12)]
    assert names[-2:] == ["norm/0", "norm/1"]


def test_keys_stand_in_for_names_in_files_before_they_had_names(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.weights.h5", "w") as file:
        file["layers/conv2d_3/vars/0"] = np.ones((1, 1, 2, 2), "f4")
        file["_layer_checkpoint_dependencies/batch_normalization/vars/0"] = np.ones(2, "f4")
    assert list(read(tmp_path / "m.weights.h5").tensors) == ["batch_normalization/moving_mean", "conv2d_3/kernel"]


@pytest.mark.filterwarnings("ignore:Explicitly requested dtype float64:UserWarning")  # JAX has none, and says so
@pytest.mark.parametrize("policy", ["float16", "bfloat16", "float64"])
def test_every_precision_becomes_float32(tmp_path: Path, policy: str) -> None:
    model = keras.Sequential([L.Input((3,)), L.Dense(4, name="d", dtype=policy)])
    model.save_weights(tmp_path / "m.weights.h5")
    expected = np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(model.weights[0], "float32")))
    assert_equal({"k": read(tmp_path / "m.weights.h5").tensors["d/kernel"]}, {"k": expected})


LEGACY = {
    "input_1": {},
    "block1_conv1": {"block1_conv1_1/kernel:0": np.ones((3, 3, 3, 2), "f4")},
    "block1_conv1_bn": {"gamma:0": np.ones(2, ">f4"), "running_mean:0": np.zeros(2, "f8")},
    "predictions": {"predictions/bias:0": np.ones(3, "f2"), "predictions/count:0": np.ones(3, "i4")},
}


@pytest.mark.parametrize(
    "options", [{}, {"root": "model_weights"}, {"chunks": 3}, {"root": "model_weights", "chunks": 1}]
)
def test_official_legacy_files_keep_the_names_that_stand_there(tmp_path: Path, options: dict[str, Any]) -> None:
    tensors = read(legacy(tmp_path / "w.h5", LEGACY, **options)).tensors
    assert list(tensors) == [
        "block1_conv1/kernel", "block1_conv1_bn/gamma", "block1_conv1_bn/running_mean", "predictions/bias",
    ]  # fmt: skip
    np.testing.assert_array_equal(tensors["block1_conv1_bn/gamma"], 1)


def test_legacy_layers_stand_in_the_order_of_the_network(tmp_path: Path) -> None:
    layers = {f"mine_{n}": {f"mine_{n}/kernel:0": np.ones(1), f"mine_{n}/bias:0": np.ones(1)} for n in (3, 10, 2, 1)}
    tensors = read(legacy(tmp_path / "w.h5", layers)).tensors
    assert list(tensors) == [f"mine_{n}/{variable}" for n in (3, 10, 2, 1) for variable in ("kernel", "bias")]


def keras_1(path: Path, network: keras.Model) -> Path:
    """Xception's weights under the names of the published files, in which Keras 1 numbered all layers by creation."""
    middle = [f"block{block}_sepconv{number}" for block in range(5, 13) for number in (1, 2, 3)]
    separable = [f"block{block}_sepconv{number}" for block in (2, 3, 4) for number in (1, 2)] + middle
    separable += ["block13_sepconv1", "block13_sepconv2", "block14_sepconv1", "block14_sepconv2"]
    plain = [layer.name for layer in network.layers if type(layer) is L.Conv2D]
    shortcuts = iter(layer.name for layer in network.layers if layer.name.startswith("batch_normalization"))
    norms = ["block1_conv1_bn", "block1_conv2_bn"]
    for convolution in separable:
        if convolution in ("block2_sepconv1", "block3_sepconv1", "block4_sepconv1", "block13_sepconv1"):
            norms.append(next(shortcuts))
        norms.append(f"{convolution}_bn")
    names = {name: f"convolution2d_{number}" for number, name in enumerate(plain, 1)}
    names |= {name: f"separableconvolution2d_{number}" for number, name in enumerate(separable, 1)}
    names |= {name: f"batchnormalization_{number}" for number, name in enumerate(norms, 1)} | {"predictions": "dense_2"}
    assert (len(plain), len(separable), len(norms)) == (6, 34, 40)
    table = {"kernel": "W", "bias": "b", "moving_mean": "running_mean", "moving_variance": "running_std"}
    layers: dict[str, dict[str, Any]] = {}
    for layer in network.layers:
        name = names.get(layer.name, layer.name)
        layers[name] = {
            f"{name}_{table.get(weight.name, weight.name)}:0": keras.ops.convert_to_numpy(weight)
            for weight in layer.weights
        }
    return legacy(path, layers)


@pytest.mark.slow  # it makes the network in full size
@pytest.mark.parametrize("head", [True, False])
def test_the_published_xception_has_names_of_keras_1(tmp_path: Path, head: bool) -> None:
    size = (71, 71, 3)

    def published() -> keras.Model:
        if head:
            return keras.applications.Xception(weights=None, input_shape=size, classes=5, classifier_activation=None)
        return keras.applications.Xception(weights=None, input_shape=size, include_top=False, pooling="avg")

    network, batch = published(), pixels(2, size)
    fill(network, seed=5)
    path = keras_1(tmp_path / "xception_weights_tf_dim_ordering_tf_kernels.h5", network)
    expected = logits(network, batch / 127.5 - 1)
    twin = published()
    twin.load_weights(path)
    assert difference(logits(twin, batch / 127.5 - 1), expected) == 0
    tensors = read(path).tensors
    assert len(tensors) == 236 - 2 * (not head)
    assert {"conv2d_1/kernel", "separable_conv2d_34/pointwise_kernel", "batch_normalization_40/gamma"} <= set(tensors)
    ours = ception.build("xception", weights=path, image_size=71, classes=5)
    if not head:
        ours = ception.truncate(ours, "avg_pool")
    assert difference(logits(ours, batch).reshape(2, -1), expected) < 1e-5


def test_keras_1_names_of_other_layers(tmp_path: Path) -> None:
    """Layers with names of their own, in a network as one layer, and of names that TensorFlow made unique."""
    ones = np.ones(2, "f4")
    layers = {
        "block1_conv1": {"block1_conv1_W:0": ones, "block1_conv1_b_1:0": ones},
        "block2_sepconv1_bn": {"block2_sepconv1_bn_running_std": ones, "block2_sepconv1_bn_beta:0": ones},
        "model_1": {"convolution2d_7_W:0": ones, "batchnormalization_running_mean:0": ones},
        "later": {"later_1/my_b:0": ones},
    }
    assert list(read(legacy(tmp_path / "w.h5", layers)).tensors) == [
        "block1_conv1/kernel", "block1_conv1/bias", "block2_sepconv1_bn/moving_variance", "block2_sepconv1_bn/beta",
        "conv2d_7/kernel", "batch_normalization/moving_mean", "later/my_b",
    ]  # fmt: skip


def test_the_published_partial_file(shared: Path) -> None:
    path = shared / "weights" / "inception_v3_to_mixed8.h5"
    if not path.exists():
        pytest.skip(f"needs {path}")
    tensors = read(path).tensors
    with h5py.File(path) as file:
        expected = {
            f"{layer}/{name.split('/')[-1][:-2]}": file[layer][name][()]
            for layer in file.attrs["layer_names"]
            for name in file[layer].attrs["weight_names"]
        }
    assert_equal(tensors, expected)
    assert len(tensors) == 304


def test_our_own_file_brings_its_description(trained: Path) -> None:
    path = next(trained.glob("**/model.keras"))
    checkpoint = read(path)
    assert checkpoint.layout == "ception"
    assert checkpoint.described["network"]["name"] == "separable_cnn"
    assert_equal(checkpoint.tensors, by_name(ception.Classifier.load(path).network))


# --- TF-Slim


@pytest.fixture(scope="module")
def slim(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    folder = tmp_path_factory.mktemp("slim")
    return folder, write_slim(folder)


@pytest.mark.parametrize("name", ["v1.ckpt", "v2.ckpt", "v2.ckpt.index", "v2.ckpt.data-00000-of-00001"])
def test_slim_checkpoints(slim: tuple[Path, dict[str, np.ndarray]], name: str) -> None:
    folder, arrays = slim
    checkpoint = read(folder / name)
    assert checkpoint.layout == "slim"
    assert list(checkpoint.tensors) == sorted(arrays)
    assert_equal(checkpoint.tensors, arrays)


def test_a_folder_with_one_slim_checkpoint(slim: tuple[Path, dict[str, np.ndarray]], tmp_path: Path) -> None:
    folder, arrays = slim
    refused(folder, "v1.ckpt, v2.ckpt.index")
    (tmp_path / "inception_v3.ckpt").write_bytes((folder / "v1.ckpt").read_bytes())
    assert_equal(read(tmp_path).tensors, arrays)
    (tmp_path / "inception_v3.ckpt").unlink()
    (tmp_path / "x.ckpt.index").write_bytes((folder / "v2.ckpt.index").read_bytes())
    refused(tmp_path / "x.ckpt", "x.ckpt.data-00000-of-00001")
