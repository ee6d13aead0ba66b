"""The quicker layers compute what Keras's do: outputs, every gradient, moving statistics."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from ception import layers
from support.gradients import outputs_and_gradients

pytestmark = pytest.mark.usefixtures("made_of")


WITHIN = {"float32": 1e-5, "mixed_bfloat16": 2e-2}  # of the largest expected value


def compare(
    kind: str, shape: tuple[int, ...], *arguments: Any, training: bool = True, trainable: bool = True,
    dtype: str = "float32", positive: bool = False, **options: Any,
) -> None:  # fmt: skip
    """Ask both layers of a kind for the same, with the same random weights, and compare all that they give."""
    quicker = layers.quicker().get(kind)
    if quicker is None:
        pytest.skip(f"Keras's own {kind} is made on {keras.backend.backend()}")
    random = np.random.default_rng(len(shape) + sum(shape))
    stock, ours = (one(*arguments, dtype=dtype, **options) for one in (getattr(keras.layers, kind), quicker))
    inputs = random.standard_normal(shape).astype("float32")
    if positive:
        inputs = np.maximum(inputs, 0)  # as after a ReLU: many places of a window have the same value
    for layer in (stock, ours):
        layer.build(shape)
        layer.trainable = trainable
    for one, other in zip(stock.weights, ours.weights, strict=True):
        assert one.name == other.name
        value = (
            random.uniform(0.5, 1.5, one.shape) if kind == "BatchNormalization" else random.normal(0, 0.2, one.shape)
        )
        one.assign(value)
        other.assign(value)
    weights = random.standard_normal(stock.compute_output_shape(shape)).astype("float32")
    expected = outputs_and_gradients(stock, inputs, weights, training=training)
    found = outputs_and_gradients(ours, inputs, weights, training=training)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].shape == value.shape, name
        largest = max(np.abs(value).max(), 1e-6)
        assert np.abs(found[name] - value).max() <= WITHIN[dtype] * largest, name


SIZES = [(1, 1, 1, 5), (1, 6, 7, 5), (3, 9, 9, 16), (2, 8, 8, 33)]
ODD_AND_EVEN = (2, 7, 8, 9)  # the margins of one axis are alike, not those of the other


@pytest.mark.parametrize("dtype", WITHIN)
@pytest.mark.parametrize("shape", SIZES)
def test_separable(shape, dtype):
    compare("SeparableConv2D", shape, 7, 3, padding="same", dtype=dtype, use_bias=False)


@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_separable_with_strides_bias_and_activation(strides, padding):
    compare("SeparableConv2D", ODD_AND_EVEN, 8, 3, strides=strides, padding=padding, activation="selu")


@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("kernel", [3, (5, 2)])
def test_depthwise(strides, padding, kernel):
    compare("DepthwiseConv2D", ODD_AND_EVEN, kernel, strides=strides, padding=padding)


@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("shape", SIZES)
def test_pointwise(strides, shape):
    compare("Conv2D", shape, 6, 1, strides=strides, padding="same")


@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("kernel", [3, (1, 7)])
@pytest.mark.parametrize(("channels", "filters"), [(3, 6), (20, 35)])
def test_convolution(strides, padding, kernel, channels, filters):
    compare("Conv2D", (2, 8, 9, channels), filters, kernel, strides=strides, padding=padding, use_bias=False)


@pytest.mark.parametrize("dtype", WITHIN)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("trainable", [True, False])
def test_batch_norm(training, trainable, dtype):
    compare("BatchNormalization", (3, 5, 4, 7), training=training, trainable=trainable, dtype=dtype)


@pytest.mark.parametrize("shape", SIZES)
def test_batch_norm_without_gamma_or_beta(shape):
    compare("BatchNormalization", shape, scale=False, epsilon=1e-2, momentum=0.9)
    compare("BatchNormalization", shape, center=False)


@pytest.mark.parametrize("kind", ["Conv2D", "SeparableConv2D"])
def test_bias_and_selu(kind):
    compare(kind, (2, 7, 8, 5), 33, 3, padding="same", activation="selu")


@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(("kernel", "channels"), [(3, 1), ((5, 2), 3), (3, 8)])
def test_convolution_with_bias_and_selu(strides, padding, kernel, channels):
    compare("Conv2D", (3, 8, 9, channels), 35, kernel, strides=strides, padding=padding, activation="selu")


@pytest.mark.parametrize("dtype", WITHIN)
@pytest.mark.parametrize("shape", SIZES)
def test_separable_with_bias_and_selu(shape, dtype):
    compare("SeparableConv2D", shape, 34, 3, padding="same", activation="selu", dtype=dtype)


@pytest.mark.parametrize("window", [(3, 2), (2, 2), (3, 1), ((2, 3), 2)])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_max_pool(window, padding):
    compare("MaxPooling2D", ODD_AND_EVEN, *window, padding=padding)


def test_of_equal_values_the_same_one_is_the_largest():
    compare("MaxPooling2D", ODD_AND_EVEN, 3, 2, padding="same", positive=True)


@pytest.mark.parametrize(
    ("kind", "arguments", "options"),
    [
        ("SeparableConv2D", (4, 3), {"dilation_rate": 2}),
        ("SeparableConv2D", (4, 3), {"depth_multiplier": 2}),
        ("DepthwiseConv2D", (3,), {"dilation_rate": 2}),
        ("DepthwiseConv2D", (3,), {"depth_multiplier": 2}),
        ("Conv2D", (4, 3), {"dilation_rate": 2}),
        ("Conv2D", (4, 3), {"groups": 2}),
        ("BatchNormalization", (), {"axis": 1}),
    ],
)
def test_what_is_not_covered_is_left_to_keras(kind, arguments, options):
    compare(kind, (2, 8, 8, 6), *arguments, **options)


def test_gpus_keep_keras_layers():
    assert layers.quicker("gpu:0") == {}
    assert layers.quicker("cpu").keys() == layers.quicker().keys() != set()
