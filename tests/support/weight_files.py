"""Weight files as their own writers write them, and what reading them must give."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from ception.errors import InputError
from ception.weights.checkpoints import read

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


def keras_file(model: keras.Model, path: Path) -> Path:
    """The model in a file of Keras, or its weights where the name says so."""
    (model.save_weights if path.name.endswith(".weights.h5") else model.save)(path)
    return path


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


def torch_state(torch: Any) -> dict[str, Any]:
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 2).bfloat16())
    return model.state_dict()


def save_without_checksums(torch: Any, state: dict[str, Any], path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(state, path)
    finally:
        torch.serialization.set_crc32_options(True)


def write_slim(folder: Path) -> dict[str, np.ndarray]:
    """`v1.ckpt` in one file and `v2.ckpt` in two, as TensorFlow writes them, with what a training adds; the weights."""
    tf = pytest.importorskip("tensorflow")
    v1 = tf.compat.v1
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
    return arrays


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
