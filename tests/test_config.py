"""A network's config: what it takes from the architecture, what it refuses, and JSON both ways."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ception.errors import InputError
from ception.models import MODELS, NetworkConfig
from ception.models.building import build_network


@pytest.mark.parametrize("name", MODELS)
def test_without_options_it_is_the_architecture(name):
    config, entry = NetworkConfig.of(name), MODELS[name]
    assert (config.classes, config.image_size, config.channels) == (entry.classes, entry.image_size, entry.channels)
    assert config.dropout == entry.dropout
    assert config.table() is entry.spec


def test_none_means_the_architectures_own():
    nothing = dict.fromkeys(("classes", "image_size", "channels", "dropout", "scaling", "min_depth", "every", "port"))
    assert NetworkConfig.of("xception", **nothing) == NetworkConfig.of("xception")


def test_it_is_frozen():
    with pytest.raises(FrozenInstanceError):
        NetworkConfig.of("xception").classes = 5


@given(
    classes=st.integers(1, 5), side=st.integers(71, 400), dropout=st.floats(0, 0.9), multiplier=st.floats(0.01, 2),
    mean=st.floats(-200, 300) | st.tuples(*[st.floats(0, 255)] * 3), std=st.floats(0.1, 300),
    every=st.sampled_from([{}, {"shortcut": None}, {"inner": "elu", "segments": 4}, {"filters": (8, 8)}]),
    end=st.sampled_from([None, "block5"]), port=st.sampled_from([None, "timm_legacy"]),
)  # fmt: skip
def test_json_gives_it_back(classes, side, dropout, multiplier, mean, std, every, end, port):
    config = NetworkConfig.of(
        "xception", classes=classes, image_size=(side, side + 1), dropout=dropout, depth_multiplier=multiplier,
        scaling=(mean, std if isinstance(mean, float) else (std,) * 3), every=every, final_endpoint=end, port=port,
    )  # fmt: skip
    assert NetworkConfig.of(**json.loads(json.dumps(config.as_dict()))) == config


def test_what_model_files_of_earlier_versions_say():
    """They name only what was given, and leave the rest to the architecture."""
    early = {"name": "separable_cnn", "classes": 3, "image_size": [16, 16], "channels": 3, "scaling": [120.0, 60.0]}
    config = NetworkConfig.of(**early)
    assert config.scaling == (120.0, 60.0)
    assert config.depth_multiplier == 1
    assert build_network(config).output.shape == (None, 3)


def test_but_changes_what_it_is_told():
    config = NetworkConfig.of("inception_v3", classes=5, port="torchvision")
    assert config.but(classes=7) == NetworkConfig.of("inception_v3", classes=7, port="torchvision")
    with pytest.raises(InputError, match="at least 75 x 75"):
        config.but(image_size=40)


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("xzeption", {}, "did you mean 'xception'"),
        ("xception", {"clases": 5}, "a network has no option 'clases': did you mean 'classes'"),
        ("xception", {"image_size": 40}, "its last feature map would be 2 x 2"),
        ("xception", {"image_size": (8, 300)}, "its last feature map would be 1 x 10"),
        ("xception", {"image_size": 4}, "nothing would be left after the first block"),
        ("inception_v3", {"image_size": 20}, "the feature map would be 1 x 1 after conv4a, and nothing after"),
        ("separable_cnn", {"image_size": 4}, "the feature map would be 1 x 1 after block2"),
        ("separable_cnn", {"every": {"inner": "elu"}}, "has no columns"),
        ("xception", {"every": {"iner": "elu"}}, "did you mean 'inner'"),
        ("xception", {"every": {"segments": 0}}, "segments of xception cannot be 0"),
        ("xception", {"port": "torchvision"}, "unknown port 'torchvision'"),
        ("xception", {"scaling": (0, 0)}, "std of the scaling must be above 0"),
        ("xception", {"scaling": (float("nan"), 1)}, "the scaling must be finite"),
        ("separable_cnn", {"scaling": ([], 1)}, "scaling must be numbers, or one for each of 1 channels"),
        ("xception", {"scaling": 5}, r"scaling must be \(mean, std\)"),
        ("xception", {"scaling": ([1, 2], [1, 2])}, "one for each of 3 channels"),
        ("xception", {"scaling": (np.zeros((2, 2)), 1)}, r"scaling must be \(mean, std\)"),
    ],
)
def test_refuses(name, options, says):
    with pytest.raises(InputError, match=says):
        NetworkConfig.of(name, **options)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("larger", [0, 1, 30])
def test_the_tables_know_the_sizes_of_the_feature_maps(name, larger):
    """What a size that is too small is refused with is computed without Keras; here Keras computes it."""
    height = MODELS[name].smallest + larger
    config = NetworkConfig.of(name, image_size=(height, height + 7), depth_multiplier=1e-6, min_depth=1)
    network = build_network(config)
    table = config.table()
    for (block, rows), (_, columns) in zip(table.sizes(height), table.sizes(height + 7), strict=True):
        assert network.get_layer(block).output.shape[1:3] == (rows, columns), block
