"""State dicts in wrappers, under prefixes and beside other tensors: the one that fits a network is found and said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import ception
from ception.errors import InputError
from ception.weights.checkpoints import Checkpoint
from ception.weights.checkpoints.state_dicts import best_prefix, shared_prefix, state_dicts, under
from ception.weights.names import pairs, variables
from ception.weights.opening import fitting
from support.networks import few, thin
from support.parity import fill

not_on_jax = pytest.mark.skipif(keras.backend.backend() == "jax", reason="weights are no backend's")


def is_tensor(value: Any) -> bool:
    return isinstance(value, np.ndarray)


def state(*names: str) -> dict[str, np.ndarray]:
    return {name: np.ones(2, "f4") for name in names}


@pytest.mark.parametrize(
    "path",
    ["state_dict", "model_state_dict", "state_dict_ema", "model_ema", "ema_state_dict", "net", "model", "weights",
     "model.state_dict", "checkpoint.net.weights"],
)  # fmt: skip
def test_wrappers_are_opened(path):
    loaded: Any = state("a", "b")
    for key in reversed(path.split(".")):
        loaded = {key: loaded, "epoch": 3, "optimizer": {"state": {0: state("x")}, "moments": state("p", "q", "r")}}
    assert list(state_dicts(loaded, is_tensor)) == [path]


def test_the_average_of_the_weights_comes_after_them_and_the_largest_set_first():
    loaded = {"state_dict_ema": state("a", "b"), "state_dict": state("a", "b"), "best_acc": np.ones(1),
              "swa": {"model": state("a", "b", "c")}}  # fmt: skip
    assert list(state_dicts(loaded, is_tensor)) == ["state_dict", "", "swa.model", "state_dict_ema"]
    assert state_dicts({"epoch": 3}, is_tensor) == {}
    assert state_dicts([1], is_tensor) == {}


def test_wrappers_without_end_end():
    loaded: Any = state("a")
    for _ in range(100):
        loaded = {"model": loaded}
    assert state_dicts(loaded, is_tensor) == {}


def test_prefixes():
    assert shared_prefix(["module.model.a", "module.model.b"]) == "module.model."
    assert shared_prefix(["model_a.x", "module.y"]) == ""
    names = ["net.conv1.weight", "net.fc.bias", "ema_net.conv1.weight", "ema_net.fc.bias", "fc.bias"]
    assert best_prefix(names, ["conv1.weight", "fc.bias"]) == ("net.", 2)
    assert best_prefix(["x"], ["conv1.weight"]) == ("", 0)


def test_what_only_training_needs_is_left_out_and_nothing_else():
    tensors = state("net.fc.bias", "fc.bias", "top.weight", "loss.weight", "val_metrics.total", "ema_net.fc.bias")
    kept, left = under(tensors, "net.")
    assert sorted(kept) == ["beside fc.bias", "fc.bias", "top.weight"]
    assert left == ["loss.weight", "val_metrics.total", "ema_net.fc.bias"]


@pytest.fixture(scope="module")
def theirs() -> tuple[keras.Model, dict[str, np.ndarray]]:
    """A small network, and its tensors as timm has them."""
    network = thin("xception_41")
    fill(network, seed=3)
    own = {name: keras.ops.convert_to_numpy(value) for name, value in variables(network).items()}
    return network, {
        pair.theirs: np.ascontiguousarray(pair.to_theirs(own[pair.ours])) for pair in pairs(network, "timm")
    }


@not_on_jax
@pytest.mark.parametrize(
    "prefix", ["net.", "backbone.", "module.", "_orig_mod.", "model.", "encoder.", "module.body.net."]
)
def test_a_network_under_a_prefix_beside_other_tensors(tmp_path: Path, theirs: Any, prefix: str) -> None:
    save = pytest.importorskip("safetensors.numpy").save_file
    network, tensors = theirs
    beside = {"criterion.weight": np.ones(5, "f4"), "train_metrics.sum": np.ones(1, "f4")}
    save({f"{prefix}{name}": tensor for name, tensor in tensors.items()} | beside, tmp_path / "some.safetensors")
    ours = ception.build("xception_41", **few("xception_41"), weights=tmp_path / "some.safetensors")
    for one, other in zip(network.get_weights(), ours.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@not_on_jax
def test_the_set_that_fits_is_taken_and_said(theirs: Any) -> None:
    _, tensors = theirs
    wrapped = {f"backbone.{name}": tensor for name, tensor in tensors.items()} | state("loss.weight")
    checkpoint = Checkpoint(Path("x.pth"), "torch", state("gan.weight"), others={"'net' of the file": wrapped})
    found = fitting("xception_41", checkpoint)
    assert sorted(found.tensors) == sorted(tensors)
    assert found.found == "'net' of the file, those under 'backbone.', 1 of the training left out (loss.weight)"
    other = Checkpoint(Path("x.pth"), "torch", state("gan.weight"))
    assert fitting("xception_41", other) is other
    wrapped["backbone.head.fc.bias"] = np.full(5, np.nan, "f4")
    with pytest.raises(InputError, match="values that are not finite"):
        fitting("xception_41", checkpoint)


@not_on_jax
def test_a_second_head_beside_the_network_is_refused_where_it_predicts(tmp_path: Path, theirs: Any) -> None:
    save = pytest.importorskip("safetensors.numpy").save_file
    tensors = {f"backbone.{name}": tensor for name, tensor in theirs[1].items()} | {"top.weight": np.ones((2, 5), "f4")}
    save(tensors, tmp_path / "two.safetensors")
    options = {name: value for name, value in few("xception_41").items() if name != "classes"}
    with pytest.raises(InputError, match=r"top.weight has no place; .* takes its body"):
        ception.Classifier.pretrained("xception_41", tmp_path / "two.safetensors", **options)
