"""Readers of weight files: what the real writers wrote comes back, and nothing else does harm."""

from __future__ import annotations

import argparse
import json
import pickle
import random
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

import ception
from ception.errors import InputError
from ception.weights.checkpoints import read
from ception.weights.checkpoints.slim_files import END_OF_TABLE
from ception.weights.tensors import is_finite
from support.parity import difference, fill, logits, pixels

L = keras.layers
RANDOM = np.random.default_rng(0)


def backbone(*, scale: bool = False, center: bool = True) -> keras.Model:
    inputs = L.Input((8, 8, 3))
    x = L.Conv2D(4, 3, name="stem", use_bias=False)(inputs)
    x = L.BatchNormalization(scale=scale, center=center, name="stem_bn")(x)
    x = L.SeparableConv2D(5, 1, name="sep", use_bias=False)(x)
    x = L.BatchNormalization(name="sep_bn")(x)
    x = L.DepthwiseConv2D(1, name="dw")(x)
    return keras.Model(inputs, x, name="body")


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


def assert_equal(tensors: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert sorted(tensors) == sorted(expected)
    for name, tensor in tensors.items():
        assert tensor.dtype == np.float32
        np.testing.assert_array_equal(tensor, expected[name], err_msg=name)


def refused(path: Path, *words: str) -> str:
    with pytest.raises(InputError) as caught:
        read(path)
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 500 + len(str(path))
    assert path.name.partition(".data-")[0] in message
    for word in words:
        assert word in message
    return message


# --- Keras


@pytest.mark.parametrize("suffix", [".h5", ".weights.h5", ".keras"])
@pytest.mark.filterwarnings("ignore")
def test_every_keras_file_gives_its_tensors_by_layer_and_variable(tmp_path: Path, suffix: str) -> None:
    model = classifier()
    path = tmp_path / f"model{suffix}"
    (model.save_weights if "weights" in suffix else model.save)(path)
    checkpoint = read(str(path))
    assert (checkpoint.path, checkpoint.layout, checkpoint.described) == (path, "keras", {})
    assert_equal(checkpoint.tensors, by_name(model))
    assert "sep/pointwise_kernel" in checkpoint.tensors
    assert "stem_bn/beta" in checkpoint.tensors
    assert "stem_bn/gamma" not in checkpoint.tensors


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


@pytest.mark.parametrize("policy", ["float16", "bfloat16", "float64"])
def test_every_precision_becomes_float32(tmp_path: Path, policy: str) -> None:
    model = keras.Sequential([L.Input((3,)), L.Dense(4, name="d", dtype=policy)])
    model.save_weights(tmp_path / "m.weights.h5")
    expected = np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(model.weights[0], "float32")))
    assert_equal({"k": read(tmp_path / "m.weights.h5").tensors["d/kernel"]}, {"k": expected})


def legacy(path: Path, layers: dict[str, dict[str, Any]], *, root: str = "/", chunks: int = 0) -> Path:
    """A file as `keras.engine.saving.save_weights_to_hdf5_group` wrote it."""
    with h5py.File(path, "w") as file:
        group = file.require_group(root)
        names = [name.encode() for name in layers]
        for number, start in enumerate(range(0, len(names), chunks or len(names))):
            part = names[start : start + (chunks or len(names))]
            group.attrs[f"layer_names{number}" if chunks else "layer_names"] = part
        for layer, variables in layers.items():
            inner = group.create_group(layer)
            inner.attrs["weight_names"] = [name.encode() for name in variables]
            for name, value in variables.items():
                inner[name] = value
    return path


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


@pytest.mark.parametrize("head", [True, pytest.param(False, marks=pytest.mark.slow)])
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


# --- safetensors and PyTorch


def safetensors_file(path: Path) -> dict[str, np.ndarray]:
    """Written by hand, for NumPy has no bfloat16: `u2` stands for it."""
    arrays = {
        "conv1.weight": RANDOM.normal(size=(4, 3, 3, 3)).astype("f4"),
        "half": np.array([0.5, -2, 65504], "f2"),
        "brain": np.array([0x3F80, 0xC000, 0x7F7F], "u2"),
        "double": np.array(1e30),
        "bn.num_batches_tracked": np.array(7),
    }
    kinds = {"f4": "F32", "f2": "F16", "u2": "BF16", "f8": "F64", "i8": "I64"}
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    content = b""
    for name, array in arrays.items():
        offsets = [len(content), len(content) + array.nbytes]
        header[name] = {"dtype": kinds[array.dtype.str[1:]], "shape": array.shape, "data_offsets": offsets}
        content += array.tobytes()
    encoded = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + content)
    return arrays


def test_safetensors(tmp_path: Path) -> None:
    arrays = safetensors_file(tmp_path / "model.safetensors")
    checkpoint = read(tmp_path / "model.safetensors")
    assert checkpoint.layout == "torch"
    assert list(checkpoint.tensors) == ["conv1.weight", "half", "brain", "double"]
    np.testing.assert_array_equal(checkpoint.tensors["conv1.weight"], arrays["conv1.weight"])
    np.testing.assert_array_equal(checkpoint.tensors["half"], [0.5, -2, 65504])
    np.testing.assert_array_equal(checkpoint.tensors["brain"], np.float32([1, -2, 3.3895314e38]))
    assert checkpoint.tensors["double"] == np.float32(1e30)


def test_safetensors_of_their_own_writer(tmp_path: Path) -> None:
    arrays = {"b": RANDOM.normal(size=(2, 3)).astype("f4"), "a": np.ones(3, "f4")}
    pytest.importorskip("safetensors.numpy").save_file(arrays, tmp_path / "m.bin")
    assert_equal(read(tmp_path / "m.bin").tensors, arrays)


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


def torch_state(torch: Any) -> dict[str, Any]:
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 2).bfloat16())
    return model.state_dict()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": s, "epoch": 3}, lambda s: {"model": s}])
def test_torch_files(tmp_path: Path, torch: Any, zipped: bool, wrap: Callable[[Any], Any]) -> None:
    state = torch_state(torch)
    path = tmp_path / "m.pth"
    parallel = {f"module.{name}": tensor for name, tensor in state.items()}
    torch.save(wrap(parallel), path, _use_new_zipfile_serialization=zipped)
    checkpoint = read(path)
    assert checkpoint.layout == "torch"
    assert_equal(checkpoint.tensors, {n: t.float().numpy() for n, t in state.items() if t.is_floating_point()})


@pytest.mark.parametrize("wrapper", ["module.", "_orig_mod.", "model.", "_orig_mod.module.", "model._orig_mod."])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_what_wrappers_put_before_every_name_is_left_out(tmp_path: Path, torch: Any, wrapper: str, suffix: str) -> None:
    path, state = tmp_path / f"m{suffix}", {"model_a.weight": torch.ones(2), "module.bias": torch.zeros(2)}
    save = torch.save if suffix == ".pth" else pytest.importorskip("safetensors.torch").save_file
    save({f"{wrapper}{name}": tensor for name, tensor in state.items()}, path)
    assert sorted(read(path).tensors) == sorted(state)
    save({f"{wrapper}bn.weight": torch.ones(2), "other": torch.ones(2)}, path)
    assert sorted(read(path).tensors) == sorted([f"{wrapper}bn.weight", "other"])


@pytest.mark.parametrize("zipped", [True, False])
def test_the_state_of_a_training_with_its_options(tmp_path: Path, torch: Any, zipped: bool) -> None:
    """As timm saves it; what stands beside the weights is left alone."""
    path, state = tmp_path / "model_best.pth.tar", {"fc.weight": torch.ones(2, 3)}
    options = argparse.Namespace(lr=0.1, mean=(0.5, 0.5), sched="cosine", aug=None)
    training = {"epoch": 3, "arch": "xception41", "state_dict": state, "args": options, "metric": 71.2}
    training |= {"state_dict_ema": {"fc.weight": torch.zeros(2, 3)}, "optimizer": {"state": {0: torch.ones(1)}}}
    torch.save(training, path, _use_new_zipfile_serialization=zipped)
    assert_equal(read(path).tensors, {"fc.weight": np.ones((2, 3), "f4")})
    torch.save({"args": argparse.Namespace(evil=Evil(tmp_path / "flag"))}, path)
    refused(path)
    assert not (tmp_path / "flag").exists()
    assert argparse.Namespace not in torch.serialization.get_safe_globals()


def test_a_damaged_member_of_a_torch_file_is_named(tmp_path: Path, torch: Any) -> None:
    path = tmp_path / "m.pth"
    torch.save({"w": torch.ones(1000), "v": torch.full((1000,), 2.0)}, path)
    content = bytearray(path.read_bytes())
    content[content.index(torch.full((1000,), 2.0).numpy().tobytes()) + 2000] ^= 4
    path.write_bytes(content)
    refused(path, "m/data/1", "download or copy it again")


def save_without_checksums(torch: Any, state: dict[str, Any], path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(state, path)
    finally:
        torch.serialization.set_crc32_options(True)


def test_a_torch_file_without_checksums(tmp_path: Path, torch: Any) -> None:
    save_without_checksums(torch, {"w": torch.ones(1000)}, tmp_path / "m.pth")
    assert_equal(read(tmp_path / "m.pth").tensors, {"w": np.ones(1000, "f4")})


def test_torch_files_that_hold_more_than_tensors(tmp_path: Path, torch: Any) -> None:
    path = tmp_path / "m.pt"
    torch.save(torch.nn.Linear(2, 2), path)
    refused(path, "torch.nn.modules.linear.Linear", "state_dict")
    torch.save([torch.ones(2)], path)
    refused(path, "list")
    torch.save({"epoch": 3}, path)
    refused(path, "no weights")
    torch.save({"w": torch.zeros(1).expand(10**12)}, path)
    refused(path, "implausibly")
    torch.jit.script(torch.nn.Linear(2, 2)).save(path)
    refused(path, "TorchScript")


class Evil:
    def __init__(self, flag: Path) -> None:
        self.flag = flag

    def __reduce__(self) -> Any:
        return Path.touch, (self.flag,)


@pytest.mark.parametrize("zipped", [True, False])
def test_nothing_in_a_pickle_is_run(tmp_path: Path, zipped: bool) -> None:
    path, flag = tmp_path / "evil.pth", tmp_path / "flag"
    if zipped:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps(Evil(flag), 2))
            archive.writestr("archive/version", "3\n")
    else:
        magic = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
        path.write_bytes(b"".join(magic) + pickle.dumps(Evil(flag), 2))
    refused(path)
    assert not flag.exists()


@pytest.mark.parametrize("package", ["torch", "tensorflow", "safetensors"])
def test_a_package_that_is_not_installed_is_named(
    tmp_path: Path, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr("importlib.import_module", missing)
    path = tmp_path / "weights"
    content = {"torch": pickle.dumps({}, 2), "tensorflow": bytes(40) + END_OF_TABLE}
    path.write_bytes(content.get(package, struct.pack("<Q", 2) + b"{}"))
    extra = package if package == "safetensors" else f"ception[{package}]"
    refused(path, f"pip install '{extra}'")


# --- TF-Slim


@pytest.fixture(scope="module")
def slim(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    """A folder with `v1.ckpt` in one file and `v2.ckpt` in two, with what a training adds."""
    tf = pytest.importorskip("tensorflow")
    folder, v1 = tmp_path_factory.mktemp("slim"), tf.compat.v1
    layer = "InceptionV3/Conv2d_1a_3x3"
    arrays = {
        f"{layer}/BatchNorm/beta": np.ones(4, "f4"),
        f"{layer}/weights": RANDOM.normal(size=(3, 3, 3, 4)).astype("f4"),
        "InceptionV3/Logits/Conv2d_1c_1x1/biases": np.zeros(1001, "f4"),
    }
    slots = ["RMSProp", "RMSProp_1", "Momentum", "Adam", "Adam_1", "ExponentialMovingAverage"]
    others = {f"{layer}/weights/{slot}": np.zeros((3, 3, 3, 4), "f4") for slot in slots}
    others |= {"global_step": np.array(7), "beta1_power": np.float32(0.9)}
    with tf.Graph().as_default(), v1.Session() as session:
        for name, value in (arrays | others).items():
            v1.get_variable(name, initializer=tf.constant(value))
        session.run(v1.global_variables_initializer())
        for version in (1, 2):
            saver = v1.train.Saver(write_version=version)
            saver.save(session, str(folder / f"v{version}.ckpt"), write_meta_graph=False, write_state=False)
    return folder, arrays


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


# --- hostile and broken files


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("w.h5", b"", "empty"),
        ("w.h5", b"<!DOCTYPE html><html><title>404", "web page"),
        ("w.pth", b"\n <html>", "web page"),
        ("w.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git lfs pull"),
        ("w.h5", b"\x07" * 5000, "no whole HDF5"),
        ("w.ckpt", b"\x07" * 5000, "no whole TensorFlow"),
        ("w.jpg", b"\xff\xd8" * 50, "no weight file"),
        ("w.keras", b"PK\x03\x04" + bytes(100), "no whole Keras"),
        ("w.h5", b"\x89HDF\r\n\x1a\n", "no whole HDF5"),
        ("w.weights.json", b'{"weight_map": 3}', "no whole Keras"),
        ("w.weights.json", b'{"weight_map": {"/vars": "w.weights.json"}}', "no whole Keras"),
    ],
)
def test_what_is_no_weight_file(tmp_path: Path, name: str, content: bytes, word: str) -> None:
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name, word)


def test_what_is_no_file(tmp_path: Path) -> None:
    refused(tmp_path / "missing.h5", "no file")
    refused(tmp_path, "0 TF-Slim checkpoints")
    refused(Path("/dev/zero"), "no regular file")


def hostile_h5(path: Path, kind: str) -> None:
    """A legacy file whose one tensor `conv/kernel:0`, or the way to it, is not as Keras writes it."""
    outside = path.with_name("outside.h5")
    with h5py.File(outside, "w") as file:
        file["secret"] = np.ones(3, "f4")
    outside.with_suffix(".raw").write_bytes(b"secret" * 100)
    with h5py.File(path, "w", libver="latest" if kind == "new layout" else "earliest") as file:
        file.attrs["layer_names"] = [b"conv"]
        group = file.create_group("conv")
        group.attrs["weight_names"] = [b"kernel:0"]
        if kind == "external link":
            group["kernel:0"] = h5py.ExternalLink(outside, "secret")
        elif kind == "soft link":
            group["kernel:0"] = h5py.SoftLink("/elsewhere")
        elif kind == "linked layer":
            del file["conv"]
            file["conv"] = h5py.ExternalLink(outside, "/")
        elif kind == "external storage":
            raw = [(str(outside.with_suffix(".raw")), 0, 12)]
            group.create_dataset("kernel:0", (3,), "f4", external=raw)
        elif kind == "virtual dataset":
            virtual = h5py.VirtualLayout((3,), "f4")
            virtual[:] = h5py.VirtualSource(outside, "secret", (3,))
            group.create_virtual_dataset("kernel:0", virtual)
        elif kind == "absurd shape":
            group.create_dataset("kernel:0", (10**6, 10**6), "f4")
        elif kind == "gzip bomb":
            group.create_dataset("kernel:0", (25 * 10**9,), "f4", chunks=(10**6,), compression="gzip")
        elif kind == "never written":
            group.create_dataset("kernel:0", (100,), "f4")
        elif kind in ("new layout", "group"):
            group.create_group("kernel:0")
        elif kind == "empty":
            file.attrs["layer_names"] = np.zeros(0, "S1")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("external link", "other files"),
        ("soft link", "a link out of it"),
        ("linked layer", "other files"),
        ("external storage", "outside the file"),
        ("virtual dataset", "outside the file"),
        ("absurd shape", "implausibly"),
        ("gzip bomb", "save it again"),
        ("never written", "fewer values"),
        ("new layout", "save it again"),
        ("group", "no tensor"),
        ("empty", "no weights"),
    ],
)
def test_hostile_h5(tmp_path: Path, kind: str, words: str) -> None:
    hostile_h5(tmp_path / "w.h5", kind)
    refused(tmp_path / "w.h5", words)


def test_groups_in_a_circle(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "w.weights.h5", "w") as file:
        inner = file.create_group("layers/functional")
        inner["layers"] = file["layers"]
    refused(tmp_path / "w.weights.h5", "circle")


def test_an_h5_of_something_else(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["images"] = np.zeros((4, 4))
    refused(tmp_path / "data.h5", "no weights")


def test_twins_are_not_mixed_up(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "w.weights.h5", "w") as file:
        for twin in ("functional", "functional_1"):
            file[f"layers/{twin}/layers/conv2d/vars/0"] = np.zeros(2, "f4")
    refused(tmp_path / "w.weights.h5", "conv2d/kernel twice")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, -1])
def test_values_that_are_not_finite(tmp_path: Path, value: float, place: int) -> None:
    kernel = np.ones((3, 1 << 20), "f4")
    kernel[place, place] = value
    layers = {"a": {"a/bias:0": np.ones(2, "f4")}, "b": {"b/kernel:0": kernel}}
    refused(legacy(tmp_path / "w.h5", layers), "b/kernel has values that are not finite", "diverged")


def test_looking_for_such_values_takes_no_memory() -> None:
    tensor = np.ones((1 << 12, 1 << 12), "f4")
    tracemalloc.start()
    assert is_finite(tensor)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 << 20


def test_zip_bombs(tmp_path: Path) -> None:
    path = tmp_path / "w.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.weights.h5", bytes(200 << 20))
    refused(path, "implausibly")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.weights.h5", b"x")
    content = bytearray(path.read_bytes())
    end = content.rfind(b"PK\x05\x06")
    content[end + 12 : end + 16] = struct.pack("<L", 900 << 20)
    path.write_bytes(content)
    refused(path, "absurdly many members")


def test_archives_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "w.keras"
    np.savez(path.open("wb"), a=np.ones(3))
    refused(path, "without model.weights.h5")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.weights.h5", b"x" * 100)
        archive.writestr("model.json", "[" * 100_000)
    refused(path, "no whole Keras")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.weights.h5", b"x" * 100)
        archive.writestr("model.json", "[]")
    refused(path, "no JSON object")


@pytest.mark.parametrize("name", ["m.h5", "m.keras", "m.safetensors"])
@pytest.mark.filterwarnings("ignore")
def test_a_file_is_in_memory_only_once(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "m.safetensors":
        pytest.importorskip("safetensors.numpy").save_file({"w": np.ones((2000, 1000), "f4")}, path)
    else:
        keras.Sequential([L.Input((2000,)), L.Dense(1000)]).save(path)
    read(path)
    tracemalloc.start()
    checkpoint = read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sum(tensor.nbytes for tensor in checkpoint.tensors.values()) >= 8_000_000
    assert peak < 1.5 * path.stat().st_size


# --- fuzz


def broken(content: bytes, seed: int) -> bytes:
    """Cut off, with flipped bits or overwritten bytes, or with a piece doubled."""
    source, data = random.Random(seed), bytearray(content)
    place = source.randrange(len(data))
    match seed % 5:
        case 0:
            return bytes(data[:place])
        case 1 | 2:
            for _ in range(source.choice([1, 2, 16])):
                data[source.randrange(len(data))] ^= 1 << source.randrange(8)
        case 3:
            size = source.choice([1, 2, 4, 8])
            data[place : place + size] = source.choice([b"\0", b"\xff", b"\x7f"]) * size
        case _:
            data[place:place] = data[place : place + source.randrange(200)]
    return bytes(data)


def outcome(path: Path) -> str:
    """What `read` says against a file, nothing if it reads it."""
    try:
        assert read(path).tensors
    except InputError as error:
        return str(error)
    return ""


def assert_harmless(path: Path, rounds: int = 300) -> None:
    """Nothing but a message comes of a damaged file; one that is cut off is never read."""
    content, stem = path.read_bytes(), str(path).partition(".data-")[0]
    for seed in range(rounds):
        path.write_bytes(broken(content, seed))
        message = outcome(path)
        assert not message or (message.isprintable() and stem in message), seed
        assert message or seed % 5, f"{seed}: cut off, and read all the same"


@pytest.mark.parametrize("suffix", [".h5", ".weights.h5", ".keras"])
@pytest.mark.filterwarnings("ignore")
def test_fuzz_keras(tmp_path: Path, suffix: str) -> None:
    model = backbone()
    path = tmp_path / f"m{suffix}"
    (model.save_weights if "weights" in suffix else model.save)(path)
    assert_harmless(path)


def test_fuzz_safetensors(tmp_path: Path) -> None:
    safetensors_file(tmp_path / "m.safetensors")
    assert_harmless(tmp_path / "m.safetensors")


@pytest.mark.parametrize("zipped", [True, False])
def test_fuzz_torch(tmp_path: Path, torch: Any, zipped: bool) -> None:
    torch.save(torch_state(torch), tmp_path / "m.pth", _use_new_zipfile_serialization=zipped)
    assert_harmless(tmp_path / "m.pth")


def test_fuzz_torch_where_no_checksum_helps(tmp_path: Path, torch: Any) -> None:
    save_without_checksums(torch, torch_state(torch), tmp_path / "m.pth")
    assert_harmless(tmp_path / "m.pth")


@pytest.mark.parametrize("name", ["v1.ckpt", "v2.ckpt.index", "v2.ckpt.data-00000-of-00001"])
def test_fuzz_slim(slim: tuple[Path, dict[str, np.ndarray]], tmp_path: Path, name: str) -> None:
    for file in slim[0].glob(f"{name[:2]}*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert_harmless(tmp_path / name, 200)
