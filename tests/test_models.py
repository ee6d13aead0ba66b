from __future__ import annotations

import keras
import numpy as np
import pytest

from ception.errors import InputError
from ception.models import MODELS, build
from ception.models.endpoints import endpoints

TUTORIAL = [  # the printed layer table: kind, output shape, parameters
    ("Conv2D", (28, 28, 32), 320),
    ("SeparableConv2D", (28, 28, 32), 1344),
    ("MaxPooling2D", (14, 14, 32), 0),
    ("SeparableConv2D", (14, 14, 64), 2400),
    ("SeparableConv2D", (14, 14, 64), 4736),
    ("MaxPooling2D", (7, 7, 64), 0),
    ("SeparableConv2D", (7, 7, 128), 8896),
    ("SeparableConv2D", (7, 7, 128), 17664),
    ("MaxPooling2D", (3, 3, 128), 0),
    ("Flatten", (1152,), 0),
    ("Dense", (128,), 147584),
    ("Dense", (10,), 1290),
]


def pixels(count: int, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape)).astype("float32")


@pytest.mark.parametrize("name", MODELS)
class TestEveryModel:
    def test_has_the_published_number_of_parameters(self, name):
        assert build(name).count_params() == MODELS[name].parameters

    def test_takes_pixels_and_gives_float32_logits(self, name):
        model = build(name, classes=7)
        assert model.output.dtype == "float32"
        assert model.output.shape == (None, 7)
        assert model.layers[-1].activation is keras.activations.linear

    def test_two_pictures_give_what_each_alone_gives(self, name):
        model = build(name, seed=1)
        batch = pixels(2, model.input.shape[1:])
        both = model.predict_on_batch(batch)
        singles = np.concatenate([model.predict_on_batch(batch[:1]), model.predict_on_batch(batch[1:])])
        np.testing.assert_allclose(both, singles, rtol=0, atol=1e-5 * np.abs(both).max())

    def test_gradient_reaches_every_weight(self, name):
        model = build(name, seed=1)
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
        before = [keras.ops.convert_to_numpy(weight) for weight in model.trainable_weights]
        model.train_on_batch(pixels(4, model.input.shape[1:]), np.arange(4))
        after = [keras.ops.convert_to_numpy(weight) for weight in model.trainable_weights]
        unmoved = [
            w.path for w, b, a in zip(model.trainable_weights, before, after, strict=True) if np.array_equal(b, a)
        ]
        assert unmoved == []

    def test_two_builds_have_the_same_names_and_the_same_seed_the_same_weights(self, name):
        first, second, other = build(name, seed=3), build(name, seed=3), build(name, seed=4)
        assert [layer.name for layer in first.layers] == [layer.name for layer in second.layers]
        for one, two in zip(first.get_weights(), second.get_weights(), strict=True):
            np.testing.assert_array_equal(one, two)
        assert not np.array_equal(first.get_weights()[0], other.get_weights()[0])

    def test_works_at_odd_even_and_unequal_sizes(self, name):
        smallest = MODELS[name].smallest
        for size in (smallest, smallest + 1, (smallest + 5, smallest + 2)):
            model = build(name, classes=3, image_size=size, channels=3)
            assert model.predict_on_batch(pixels(1, model.input.shape[1:])).shape == (1, 3)

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ({"image_size": 1}, "needs at least"),
            ({"classes": 0}, "at least one class"),
            ({"dropout": 1.0}, "dropout"),
            ({"scaling": (0, 0)}, "deviation"),
        ],
    )
    def test_refuses_impossible_options(self, name, options, says):
        with pytest.raises(InputError, match=says):
            build(name, **options)


def test_unknown_model_names_the_nearest():
    with pytest.raises(InputError, match="did you mean 'separable_cnn'"):
        build("seperable_cnn")


def test_building_leaves_pythons_generator_alone():
    import random

    random.seed(5)
    expected = random.random()
    random.seed(5)
    build("separable_cnn", seed=0)
    assert random.random() == expected


class TestSeparableCnn:
    def test_layers_are_those_of_the_printed_table(self):
        layers = build("separable_cnn").layers[2:]
        assert [(type(layer).__name__, layer.output.shape[1:], layer.count_params()) for layer in layers] == TUTORIAL

    def test_endpoints_are_its_blocks(self):
        shapes = {name: tensor.shape[1:] for name, tensor in endpoints(build("separable_cnn")).items()}
        assert shapes == {"block1": (14, 14, 32), "block2": (7, 7, 64), "block3": (3, 3, 128), "logits": (10,)}

    def test_scales_pixels_inside(self):
        model = build("separable_cnn", scaling=(72.9, 90.0))
        scaled = keras.Model(model.input, model.get_layer("input_scaling").output)
        found = scaled.predict_on_batch(np.array([0.0, 72.9, 255.0]).repeat(28 * 28).reshape(3, 28, 28, 1))
        np.testing.assert_allclose(found[:, 0, 0, 0], [-0.81, 0, 2.02333], atol=1e-4)

    def test_starts_self_normalising(self):
        """Deviations of all layers near 1 at the start; with Keras's depthwise fan-in they fall below 0.01."""
        from ception.data import sources

        pictures = sources.load("fashion-mnist-sample").pictures.parts[0][1]
        x = np.asarray(pictures[::40])[..., None].astype("float32")
        deviations = []
        for seed in range(5):
            model = build("separable_cnn", scaling=(x.mean(), x.std()), seed=seed)
            layers = [layer for layer in model.layers if layer.count_params()]
            outputs = keras.Model(model.input, [layer.output for layer in layers]).predict_on_batch(x)
            deviations.append([float(np.std(output)) for output in outputs])
        mean = np.exp(np.log(deviations).mean(0))
        assert ((mean > 0.7) & (mean < 1.4)).all(), mean
        assert ((np.array(deviations) > 0.4) & (np.array(deviations) < 2.5)).all(), deviations

    def test_dropout_hides_units_in_training_only(self):
        model = build("separable_cnn", dropout=0.5, seed=0)
        x = pixels(3, (28, 28, 1))
        still = [keras.ops.convert_to_numpy(model(x, training=False)) for _ in range(2)]
        np.testing.assert_array_equal(still[0], still[1])
        assert not np.allclose(keras.ops.convert_to_numpy(model(x, training=True)), still[0], rtol=1e-2)

    def test_mixed_precision_keeps_scaling_and_logits_in_float32(self):
        model = build("separable_cnn", dtype="mixed_bfloat16")
        assert model.get_layer("input_scaling").compute_dtype == "float32"
        assert model.get_layer("logits").compute_dtype == "float32"
        assert model.get_layer("block2_conv1").compute_dtype == "bfloat16"
