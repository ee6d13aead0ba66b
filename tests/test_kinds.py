"""A layer of a class of one's own counts as the stock Keras class that it derives from, wherever kinds matter."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import ception
from ception.inspection.graph import blocks
from ception.inspection.layers import training_memory
from ception.models.kinds import kind
from ception.weights.names import pairs
from support.parity import difference, fill, logits

L = keras.layers


class OwnConv(L.Conv2D):
    pass


class OwnSeparable(L.SeparableConv2D):
    pass


class OwnerSeparable(OwnSeparable):
    pass


def network(conv: type = L.Conv2D, separable: type = L.SeparableConv2D) -> keras.Model:
    image = keras.Input((9, 8, 3), name="input_image")
    x = conv(6, 3, strides=2, padding="same", name="block1_conv")(image)
    x = L.ReLU(name="block1")(x)
    x = separable(10, 3, padding="same", use_bias=False, name="block2_sepconv")(x)
    x = L.BatchNormalization(name="block2")(x)
    x = L.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, L.Dense(4, name="logits")(x), name="small")


@pytest.fixture(scope="module")
def stock() -> keras.Model:
    return network()


@pytest.fixture(scope="module")
def own() -> keras.Model:
    return network(OwnConv, OwnerSeparable)


def test_kind() -> None:
    assert [kind(layer) for layer in (L.Conv2D(1, 1), OwnConv(1, 1), OwnerSeparable(1, 1))] == [
        "Conv2D", "Conv2D", "SeparableConv2D",
    ]  # fmt: skip


def test_summary(stock: keras.Model, own: keras.Model) -> None:
    costs = {layer.name: layer for layer in ception.summary(own).layers}
    assert (costs["block1_conv"].kind, costs["block2_sepconv"].kind) == ("Conv2D", "SeparableConv2D")
    assert costs["block2_sepconv"].macs == 5 * 4 * (9 * 6 + 6 * 10)
    assert ception.summary(own) == ception.summary(stock)
    assert training_memory(own, 3) == training_memory(stock, 3)


def test_graph(stock: keras.Model, own: keras.Model) -> None:
    assert [block.kind for block in blocks(own)] == ["input", "convolution", "separable convolution"] + (
        ["pooling and head"] * 2
    )
    assert blocks(own) == blocks(stock)


def test_keras_gives_numbers_by_kind(own: keras.Model) -> None:
    keys = ["conv2d_4/kernel", "conv2d_4/bias", "separable_conv2d/depthwise_kernel"]
    theirs = {pair.ours: pair.theirs for pair in pairs(own, "keras", keys)}
    assert theirs["block1_conv/kernel"] == "conv2d_4/kernel"
    assert theirs["block2_sepconv/depthwise_kernel"] == "separable_conv2d/depthwise_kernel"


def test_openvino(own: keras.Model) -> None:
    pytest.importorskip("openvino")
    from ception.engines.choosing import fastest

    fill(own, seed=2)
    pictures = np.random.default_rng(0).uniform(0, 255, (3, 9, 8, 3)).astype("float32")
    assert difference(fastest(own, precision="float32").run(pictures), logits(own, pictures)) < 1e-5
