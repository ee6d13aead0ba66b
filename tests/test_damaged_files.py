"""Readers of weight files: hostile and damaged ones are refused in one line and do no harm."""

from __future__ import annotations

import random
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from ception.errors import InputError
from ception.weights.checkpoints import read
from ception.weights.tensors import is_finite
from support.weight_files import (
    backbone,
    keras_file,
    legacy,
    refused,
    safetensors_file,
    save_without_checksums,
    torch_state,
    write_slim,
)

L = keras.layers


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def slim(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    folder = tmp_path_factory.mktemp("slim")
    return folder, write_slim(folder)


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
        if kind == "linked layer":
            del file["conv"]
            file["conv"] = h5py.ExternalLink(outside, "/")
        elif kind == "empty":
            file.attrs["layer_names"] = np.zeros(0, "S1")
        else:
            hostile_tensor(group, kind, outside)


def hostile_tensor(group: h5py.Group, kind: str, outside: Path) -> None:
    """What stands in the tensor's place."""
    if kind == "external link":
        group["kernel:0"] = h5py.ExternalLink(outside, "secret")
    elif kind == "soft link":
        group["kernel:0"] = h5py.SoftLink("/elsewhere")
    elif kind == "external storage":
        group.create_dataset("kernel:0", (3,), "f4", external=[(str(outside.with_suffix(".raw")), 0, 12)])
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
    else:  # "new layout", "group"
        group.create_group("kernel:0")


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
    with path.open("wb") as file:
        np.savez(file, a=np.ones(3))
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
    assert_harmless(keras_file(backbone(), tmp_path / f"m{suffix}"))


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
