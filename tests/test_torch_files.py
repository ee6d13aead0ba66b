"""Readers of weight files: what PyTorch and safetensors wrote comes back, and no code in it is run."""

from __future__ import annotations

import argparse
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ception.weights.checkpoints import read
from ception.weights.checkpoints.slim_files import END_OF_TABLE
from support.weight_files import RANDOM, assert_equal, refused, safetensors_file, save_without_checksums, torch_state


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


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


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: s,
        lambda s: {"state_dict": s, "epoch": 3},
        lambda s: {"model": s},
        lambda s: {"net": {"model_ema": s}, "optimizer_state_dict": s | {"more": next(iter(s.values()))}},
    ],
)
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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of TorchScript, files of which remain
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
