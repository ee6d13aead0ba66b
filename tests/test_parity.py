"""Every network against what it claims to be: published code, published tables, and itself on every backend."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from ception import MODELS
from ception.models.endpoints import endpoints, features
from support import articles, goldens
from support.networks import common
from support.originals import (
    PUBLISHED_IN_ARTICLES,
    PUBLISHED_IN_KERAS,
    PUBLISHED_IN_TIMM,
    SIZES,
    from_keras,
    from_timm,
)  # fmt: skip
from support.parity import difference

BACKEND = keras.backend.backend()
GOLDENS = goldens.stored()
full_size = pytest.mark.skipif(BACKEND != "tensorflow", reason="networks of full size run on TensorFlow")
EACH_SIZE = [SIZES[0], *(pytest.param(size, marks=pytest.mark.slow) for size in SIZES[1:])]
ROUNDING = 1e-5  # of the largest logit: float32 sums of thousands of products in another order


@full_size
@pytest.mark.parametrize("size", EACH_SIZE)
@pytest.mark.parametrize("name", PUBLISHED_IN_KERAS)
def test_parity_with_keras_applications(name, size):
    assert from_keras(name, size) < ROUNDING


@full_size
@pytest.mark.parametrize("size", EACH_SIZE)
@pytest.mark.parametrize("name", PUBLISHED_IN_ARTICLES)
def test_parity_with_articles(name, size):
    """Our network gives what the article's own code gave; the values are stored, the article is not needed."""
    found = goldens.full_logits(common(name, image_size=size), scales=True)
    assert difference(found, np.array(GOLDENS["articles"][f"{name} {size}"])) < ROUNDING


@full_size
@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", PUBLISHED_IN_ARTICLES)
def test_stored_logits_are_those_of_the_articles_code(name, size):
    theirs = PUBLISHED_IN_ARTICLES[name](size)
    assert sum(int(np.prod(weight.shape)) for weight in theirs.trainable_weights) == MODELS[name].trainable
    found = goldens.full_logits(theirs, scales=False)
    assert difference(found, np.array(GOLDENS["articles"][f"{name} {size}"])) < ROUNDING


@pytest.mark.skipif(BACKEND != "torch", reason="compares with PyTorch")
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", PUBLISHED_IN_TIMM)
def test_parity_with_timm(name, size):
    assert from_timm(name, size) < ROUNDING


@pytest.mark.parametrize("name", goldens.TABLES)
def test_layers_are_those_of_the_published_table(name):
    published = GOLDENS["tables"][name]
    ours = [
        (type(layer).__name__, list(layer.output.shape[1:]), layer.count_params())
        for layer in common(name).layers
        if layer.name != "input_scaling" and (layer.name != "input_image" or published[0][0] == "InputLayer")
    ]
    assert len(ours) == len(published) > 10
    for found, (kind, *expected) in zip(ours, published, strict=True):
        assert list(found[1:]) == expected
        assert found[0].startswith(kind)  # which may be cut off


@pytest.mark.parametrize("name", goldens.TABLES)
def test_stored_tables_are_those_of_the_articles(name):
    printed = articles.table(goldens.TABLES[name])
    assert GOLDENS["tables"][name] == [[kind, list(shape), parameters] for kind, shape, parameters in printed]


V3 = {  # TF-Slim's table at 299, its names
    "Conv2d_1a_3x3": (149, 149, 32), "Conv2d_2a_3x3": (147, 147, 32), "Conv2d_2b_3x3": (147, 147, 64),
    "MaxPool_3a_3x3": (73, 73, 64), "Conv2d_3b_1x1": (73, 73, 80), "Conv2d_4a_3x3": (71, 71, 192),
    "MaxPool_5a_3x3": (35, 35, 192), "Mixed_5b": (35, 35, 256), "Mixed_5c": (35, 35, 288),
    "Mixed_5d": (35, 35, 288), "Mixed_6a": (17, 17, 768), "Mixed_6b": (17, 17, 768), "Mixed_6c": (17, 17, 768),
    "Mixed_6d": (17, 17, 768), "Mixed_6e": (17, 17, 768), "Mixed_7a": (8, 8, 1280), "Mixed_7b": (8, 8, 2048),
    "Mixed_7c": (8, 8, 2048), "AuxLogits": (1000,), "AvgPool_1a": (1, 1, 2048), "PreLogits": (1, 1, 2048),
    "Logits": (1000,), "Predictions": (1000,),
}  # fmt: skip
V1 = {  # TF-Slim's table at 224
    "Conv2d_1a_7x7": (112, 112, 64), "MaxPool_2a_3x3": (56, 56, 64), "Conv2d_2b_1x1": (56, 56, 64),
    "Conv2d_2c_3x3": (56, 56, 192), "MaxPool_3a_3x3": (28, 28, 192), "Mixed_3b": (28, 28, 256),
    "Mixed_3c": (28, 28, 480), "MaxPool_4a_3x3": (14, 14, 480), "Mixed_4b": (14, 14, 512), "Mixed_4c": (14, 14, 512),
    "Mixed_4d": (14, 14, 512), "Mixed_4e": (14, 14, 528), "Mixed_4f": (14, 14, 832), "MaxPool_5a_2x2": (7, 7, 832),
    "Mixed_5b": (7, 7, 832), "Mixed_5c": (7, 7, 1024), "AvgPool_0a_7x7": (1, 1, 1024), "Logits": (1000,),
    "Predictions": (1000,),
}  # fmt: skip
SIDES = {  # by hand: (n - 3) // 2 + 1 where Slim pads nothing, n / 2 rounded up where it does
    ("inception_v3", 150): {"Conv2d_1a_3x3": 74, "Conv2d_2a_3x3": 72, "MaxPool_3a_3x3": 35, "Conv2d_4a_3x3": 33,
                            "MaxPool_5a_3x3": 16, "Mixed_5d": 16, "Mixed_6a": 7, "Mixed_6e": 7, "Mixed_7a": 3,
                            "Mixed_7c": 3},
    ("inception_v1", 150): {"Conv2d_1a_7x7": 75, "MaxPool_2a_3x3": 38, "MaxPool_3a_3x3": 19, "MaxPool_4a_3x3": 10,
                            "MaxPool_5a_2x2": 5, "Mixed_5c": 5},
}  # fmt: skip


@pytest.mark.parametrize(("name", "published"), [("inception_v3", V3), ("inception_v1", V1)])
def test_endpoints_are_those_of_the_published_table(name, published):
    found = features(common(name, auxiliary=name == "inception_v3"), published).output
    assert {endpoint: tuple(tensor.shape[1:]) for endpoint, tensor in found.items()} == published


@pytest.mark.parametrize(("name", "size"), SIDES)
def test_endpoints_at_an_even_size_are_as_published(name, size):
    published = SIDES[name, size]
    found = features(common(name, image_size=size), published).output
    assert {endpoint: tensor.shape[1:3] for endpoint, tensor in found.items()} == {
        endpoint: (side, side) for endpoint, side in published.items()
    }


@pytest.mark.parametrize(
    ("name", "size", "sides"),
    [
        ("xception", 299, [147, 74, 37, 19, 10]),
        ("xception", 300, [147, 74, 37, 19, 10]),
        ("xception", 304, [149, 75, 38, 19, 10]),
        ("xception_light_norm", 299, [150, 75, 38, 19, 10]),
        ("xception_chained_shortcut", 300, [150, 75, 38, 19, 10]),
        ("xception_65", 299, [150, 75, 38, 19, 10]),
    ],
)
def test_sizes_of_xception_are_as_published(name, size, sides):
    found = [tensor.shape[1] for tensor in endpoints(common(name, image_size=size)).values() if len(tensor.shape) == 4]
    assert sorted(set(found), reverse=True) == sides


@pytest.mark.parametrize("name", MODELS)
def test_parity_among_backends(name):
    """The logits of a thin network, weights by a formula, equal those stored, whatever the backend: 1e-4."""
    assert difference(goldens.thin_logits(name), np.array(GOLDENS["thin"][name])) < 1e-4
