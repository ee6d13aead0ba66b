"""Weights rounded to int8: on its steps, and with less lost of what they make of pictures than by the nearest steps."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import ception
from ception.engines.translating import operations
from ception.exporting import quantising, rounding, writing
from support.reporters import Notes

PACKAGES = {
    "onnx": ("onnx", "onnxruntime"),
    "openvino": ("openvino",),
    "litert": ("tensorflow", "ai_edge_litert"),
}
random = np.random.default_rng(0)


def require(to: str) -> None:
    for name in PACKAGES[to]:
        pytest.importorskip(name, reason=f"{name} is not installed")


def nearest(weights: np.ndarray) -> np.ndarray:
    steps = np.abs(weights).max(tuple(range(weights.ndim - 1))) / 127
    return np.round(weights / steps) * steps


def small() -> keras.Model:
    given = keras.Input((12, 12, 3))
    x = keras.layers.Conv2D(8, 3, name="first", activation="relu")(given)
    x = keras.layers.Conv2D(12, 3, strides=2, padding="same", name="conv", activation="relu")(x)
    x = keras.layers.DepthwiseConv2D(3, name="depthwise", activation="relu")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    x = keras.layers.Dense(8, activation="relu", name="hidden")(x)
    network = keras.Model(given, keras.layers.Dense(4, name="logits")(x))
    draw = np.random.default_rng(1)
    network.set_weights([draw.normal(0, 0.3, weight.shape) for weight in network.get_weights()])
    return network


def pixels(count: int) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (count, 12, 12, 3), np.uint8)


def kernels(network) -> dict[str, np.ndarray]:
    return {step.name: step.arrays["kernel"] for step in network.steps if "kernel" in step.arrays}


class TestRounded:
    def test_less_is_lost_of_what_goes_together(self):
        draw = np.random.default_rng(0)
        taken = draw.normal(size=(2000, 16)) @ draw.normal(size=(16, 150)) + 0.1 * draw.normal(size=(2000, 150))
        weights = draw.normal(size=(150, 5)).astype(np.float32)  # more than two blocks
        given = rounding.rounded(weights, taken.T @ taken)
        steps = np.abs(weights).max(0) / 127
        assert np.abs(given / steps - (given / steps).round()).max() < 1e-3
        assert np.abs(given).max(0) == pytest.approx(np.abs(weights).max(0), rel=0)  # else the steps were others
        lost, lost_by_nearest = (np.square(taken @ (one - weights)).sum() for one in (given, nearest(weights)))
        assert lost < 0.1 * lost_by_nearest

    def test_what_does_not_is_rounded_to_the_nearest(self):
        weights = random.normal(size=(70, 3)).astype(np.float32)
        given = rounding.rounded(weights, np.diag(random.uniform(1, 2, 70)))
        assert given == pytest.approx(nearest(weights), rel=1e-5)

    def test_filters_and_inputs_of_zeros(self):
        weights = random.normal(size=(4, 2)).astype(np.float32)
        weights[:, 1] = 0
        given = rounding.rounded(weights, np.zeros((4, 4)))
        assert given == pytest.approx(np.stack([nearest(weights[:, :1])[:, 0], np.zeros(4)], 1), rel=1e-5)


@pytest.mark.parametrize(
    ("padding", "strides", "dilations"), [("valid", (1, 2), 1), ("same", 2, 1), ("same", 1, 2), ("valid", 1, (2, 1))]
)
def test_what_a_convolution_takes(padding, strides, dilations, monkeypatch):
    layer = keras.layers.Conv2D(4, (3, 2), strides, padding, dilation_rate=dilations, use_bias=False, name="conv")
    network = keras.Sequential([keras.Input((10, 9, 5)), layer])
    values = random.normal(size=(10, 9, 5)).astype(np.float32)
    expected = keras.ops.convert_to_numpy(network(values[None]))[0].reshape(-1, 4)
    (step,) = operations(network).steps
    taken = rounding._taken(step, values, np.random.default_rng(0))
    given = taken @ step.arrays["kernel"].reshape(-1, 4)
    assert len(given) == len(expected)
    assert np.sort(given, 0) == pytest.approx(np.sort(expected, 0), abs=1e-4)


@pytest.mark.parametrize("to", PACKAGES)
def test_which_layers_are_rounded(to):
    require(to)
    network = writing.with_probabilities(operations(small()), 1.0)
    before, after = kernels(network), kernels(rounding.compensated(network, to, pixels(8)))
    same = [name for name in before if np.array_equal(before[name], after[name])]
    assert same == ["first", "depthwise", *["logits"] * (to == "litert")]
    for name in {"conv", "hidden"}:
        steps = np.abs(before[name]).max(tuple(range(before[name].ndim - 1))) / 127
        assert np.abs(after[name] / steps - (after[name] / steps).round()).max() < 1e-3
    assert not np.allclose(after["conv"], nearest(before["conv"]), atol=1e-5)  # the pictures had a say


def test_litert_keeps_them_exactly(tmp_path):
    require("litert")
    from ai_edge_litert.interpreter import Interpreter

    network, out = writing.with_probabilities(operations(small()), 1.0), tmp_path / "it.tflite"
    changed = rounding.compensated(network, "litert", pixels(8))
    writing.write(changed, "litert", out, "int8", pixels(8))
    interpreter = Interpreter(str(out))
    (tensor,) = [one for one in interpreter.get_tensor_details() if tuple(one["shape"]) == (12, 3, 3, 8)]
    held = interpreter.get_tensor(tensor["index"]) * tensor["quantization_parameters"]["scales"][:, None, None, None]
    assert held.transpose(1, 2, 3, 0) == pytest.approx(kernels(changed)["conv"], abs=1e-6)


def test_an_export_rounds_but_what_stays_in_floats(trained, tmp_path, monkeypatch):
    require("onnx")
    pytest.importorskip("nncf", reason="nncf is not installed")
    written = []

    def wrong(network, to, path, precision, samples, kept):
        written.append((kernels(network), [*kept]))
        writing.write(network, to, path, "float32", None)

    monkeypatch.setattr("ception.exporting.write", wrong)
    monkeypatch.setattr("ception.exporting.mixed.costs_too_much", lambda found, allowed: True)
    monkeypatch.setattr("ception.exporting.gate._ENOUGH_S", 0.0)
    ception.export(trained, "onnx", out=tmp_path / "exact.onnx", pictures=2, reporter=Notes())
    ((exact, _),) = written
    ception.export(trained, "onnx", out=tmp_path / "it.onnx", dtype="int8", pictures=2, reporter=Notes())
    tries = written[1:]
    assert [len(kept) for _, kept in tries] == [0, 1, 4, 0]  # the last is the one that costs least, written again
    dense = {name for name, kernel in exact.items() if not np.array_equal(kernel, tries[0][0][name])}
    assert len(dense) >= 5
    network = operations(ception.Classifier.load(trained).network)
    assert dense.isdisjoint(quantising.first_layers(network))
    for found, kept in tries[1:]:
        assert {name for name in exact if not np.array_equal(exact[name], found[name])} == dense - {*kept}


def test_what_litert_fused_is_found_by_its_names():
    from ception.exporting.intermediate import owners

    names = {"conv", "conv/2", "relu"}
    assert owners("relu/Relu;conv/BiasAdd;conv/Conv2D;conv/BiasAdd/bias1", names) == {"relu", "conv"}
    assert owners("conv/2/Elu", names) == {"conv/2"}
    assert owners("convolution/Conv2D;PartitionedCall:0", names) == set()
