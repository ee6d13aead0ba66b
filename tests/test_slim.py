"""Checkpoints of TF-Slim: their names, and the background class that they count."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from ception import build
from ception.weights.checkpoints import Checkpoint
from ception.weights.loading import classes_in, load
from ception.weights.names import pairs, variables
from ception.weights.opening import OpenedWeights
from support.parity import fill

BACKEND = keras.backend.backend()
pytestmark = pytest.mark.skipif(BACKEND == "jax", reason="TensorFlow and PyTorch check weights, which are no backend's")
SIZE = 76


@pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow writes and reads these files")
@pytest.mark.parametrize("name", ["inception_v1", pytest.param("inception_v3", marks=pytest.mark.slow)])
@pytest.mark.slow
def test_slim_checkpoint_loads_without_its_background_class(name, tmp_path):
    import tensorflow as tf

    auxiliary = name == "inception_v3"
    ours = build(name, image_size=SIZE, auxiliary=auxiliary)
    fill(ours, seed=6)
    values = {name: keras.ops.convert_to_numpy(tensor) for name, tensor in variables(ours).items()}
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        stored = []
        for pair in pairs(ours, "slim"):
            tensor = pair.to_theirs(values[pair.ours])
            if pair.ours.split("/")[0] in ("logits", "auxiliary"):  # the background comes first
                tensor = np.concatenate([np.full((*tensor.shape[:-1], 1), 99, "float32"), tensor], -1)
            stored.append(tf.compat.v1.get_variable(pair.theirs, initializer=tensor))
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver(stored).save(session, str(tmp_path / "slim.ckpt"))
    loaded = build(name, image_size=SIZE, auxiliary=auxiliary, weights=tmp_path / "slim.ckpt")
    for one, other in zip(ours.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    body = build(name, image_size=SIZE, weights=tmp_path / "slim.ckpt", classes=6)
    assert body.output.shape == (None, 6)


# As they stand in TF-Slim's inception_v1.py, inception_v3.py and their checkpoints, the odd ones among them
SLIM = {
    "inception_v3": """Conv2d_1a_3x3/weights Conv2d_3b_1x1/BatchNorm/beta Conv2d_4a_3x3/BatchNorm/moving_mean
        Mixed_5b/Branch_1/Conv2d_0b_5x5/weights Mixed_5b/Branch_2/Conv2d_0c_3x3/weights
        Mixed_5b/Branch_3/Conv2d_0b_1x1/weights
        Mixed_5c/Branch_1/Conv2d_0b_1x1/weights Mixed_5c/Branch_1/Conv_1_0c_5x5/weights
        Mixed_5d/Branch_1/Conv2d_0b_5x5/weights
        Mixed_6a/Branch_0/Conv2d_1a_1x1/weights Mixed_6a/Branch_1/Conv2d_1a_1x1/weights
        Mixed_6a/Branch_1/Conv2d_0b_3x3/weights
        Mixed_6b/Branch_1/Conv2d_0b_1x7/weights Mixed_6b/Branch_1/Conv2d_0c_7x1/weights
        Mixed_6e/Branch_2/Conv2d_0b_7x1/weights
        Mixed_6e/Branch_2/Conv2d_0e_1x7/weights Mixed_7a/Branch_0/Conv2d_1a_3x3/weights
        Mixed_7a/Branch_1/Conv2d_0c_7x1/weights
        Mixed_7b/Branch_1/Conv2d_0b_1x3/weights Mixed_7b/Branch_1/Conv2d_0b_3x1/weights
        Mixed_7c/Branch_1/Conv2d_0c_3x1/weights
        Mixed_7c/Branch_2/Conv2d_0d_3x1/weights Logits/Conv2d_1c_1x1/weights
        Logits/Conv2d_1c_1x1/biases
        AuxLogits/Conv2d_1b_1x1/weights AuxLogits/Conv2d_2a_5x5/BatchNorm/moving_variance
        AuxLogits/Conv2d_2b_1x1/biases""",
    "inception_v1": """Conv2d_1a_7x7/weights Conv2d_2b_1x1/BatchNorm/beta Conv2d_2c_3x3/weights
        Mixed_3b/Branch_1/Conv2d_0b_3x3/weights Mixed_3b/Branch_2/Conv2d_0b_3x3/weights
        Mixed_3b/Branch_3/Conv2d_0b_1x1/weights
        Mixed_5b/Branch_2/Conv2d_0a_3x3/weights Mixed_5c/Branch_2/Conv2d_0b_3x3/weights
        Logits/Conv2d_0c_1x1/biases""",
}  # fmt: skip


@pytest.mark.parametrize("name", SLIM)
def test_slims_own_names_have_a_place(name):
    network = build(name, image_size=SIZE, auxiliary=name == "inception_v3", depth_multiplier=1e-6, min_depth=1)
    scope = {"inception_v1": "InceptionV1", "inception_v3": "InceptionV3"}[name]
    assert {f"{scope}/{leaf}" for leaf in SLIM[name].split()} <= {pair.theirs for pair in pairs(network, "slim")}


def test_what_is_fine_tuned_with_slim_has_no_background_class(tmp_path):
    ours = build("inception_v1", image_size=SIZE, classes=5)
    fill(ours, seed=6)
    own = variables(ours)
    values = {pair.theirs: pair.to_theirs(keras.ops.convert_to_numpy(own[pair.ours])) for pair in pairs(ours, "slim")}
    checkpoint = Checkpoint(tmp_path / "some.ckpt", "slim", values)
    opened = OpenedWeights("inception_v1", checkpoint)
    assert classes_in(opened) == 5
    again = build("inception_v1", image_size=SIZE, classes=5)
    load(again, opened)
    for one, other in zip(ours.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
