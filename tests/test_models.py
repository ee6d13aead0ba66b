from __future__ import annotations

import keras
import numpy as np
import pytest

from ception import MODELS, build, summary
from ception.classifier import Classifier
from ception.data.images import ImageContract
from ception.errors import InputError
from ception.models import NetworkConfig
from ception.models.endpoints import endpoints, features, stages, truncate
from support.networks import common, few, thin
from support.parity import difference, fill, logits, pixels

BACKEND = keras.backend.backend()
EAGERLY = BACKEND != "jax"  # nothing to trace or compile first
# JAX compiles every step of every network; what is one network's alone is seen on TensorFlow
DEEPER = ("xception_65", "xception_71")  # xception_41 with more rows
# the articles' networks are xception with other rows, and what each computes is compared elsewhere
LIKE_XCEPTION = ("xception_light_norm", "xception_chained_shortcut", "xception_41")
SOME = [
    pytest.param(name, marks=pytest.mark.slow) if name in LIKE_XCEPTION else name
    for name in MODELS if name not in DEEPER
]  # fmt: skip
SOME = SOME if BACKEND == "tensorflow" else ["separable_cnn", "xception", "inception_v3"]


@pytest.mark.parametrize("name", MODELS)
def test_published_numbers(name):
    model = common(name)
    assert model.count_params() == MODELS[name].parameters
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == MODELS[name].trainable
    assert summary(model).macs == MODELS[name].macs


@pytest.mark.parametrize("name", SOME)
class TestEveryModel:
    def test_takes_pixels_and_gives_float32_logits(self, name):
        model = common(name, **few(name))
        assert model.output.dtype == "float32"
        assert model.output.shape == (None, 5)
        assert model.layers[-1].activation is keras.activations.linear

    def test_two_pictures_give_what_each_alone_gives(self, name):
        model = common(name, **few(name))
        fill(model, seed=1)
        batch = pixels(2, model.input.shape[1:])
        both = logits(model, batch)
        singles = np.concatenate([logits(model, batch[:1]), logits(model, batch[1:])])
        assert difference(singles, both) < 1e-5

    def test_gradient_reaches_every_weight(self, name):
        model = thin(name, seed=1, dropout=0.0)
        model.compile(
            "sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False, run_eagerly=EAGERLY
        )
        before = [keras.ops.convert_to_numpy(weight) for weight in model.trainable_weights]
        model.train_on_batch(pixels(4, model.input.shape[1:]), np.arange(4))
        after = [keras.ops.convert_to_numpy(weight) for weight in model.trainable_weights]
        unmoved = [
            w.path for w, b, a in zip(model.trainable_weights, before, after, strict=True) if np.array_equal(b, a)
        ]
        # batch normalisation takes away what a bias before it adds
        assert [path for path in unmoved if not path.endswith("_shortcut/bias")] == []

    def test_two_builds_have_the_same_names_and_the_same_seed_the_same_weights(self, name):
        first, second = thin(name, seed=3), thin(name, seed=3)
        assert [layer.name for layer in first.layers] == [layer.name for layer in second.layers]
        assert len({layer.name for layer in first.layers}) == len(first.layers)
        for one, two in zip(first.get_weights(), second.get_weights(), strict=True):
            np.testing.assert_array_equal(one, two)

    def test_takes_a_step_in_half_precision(self, name):
        model = thin(name, dtype="mixed_bfloat16", seed=1)
        assert {model.get_layer(layer).compute_dtype for layer in ("input_scaling", "logits")} == {"float32"}
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("sgd", loss, jit_compile=False, run_eagerly=EAGERLY)
        assert np.isfinite(model.train_on_batch(pixels(2, model.input.shape[1:]), np.arange(2)))

    def test_works_at_odd_even_and_unequal_sizes(self, name):
        smallest = MODELS[name].smallest
        for size in (smallest + 1, (smallest + 4, smallest + 3)):  # one of these is odd, one even
            model = thin(name, classes=3, image_size=size, channels=1)
            batch = pixels(1, model.input.shape[1:])
            assert keras.ops.convert_to_numpy(model(batch, training=False)).shape == (1, 3)

    def test_endpoints_survive_saving_and_loading(self, name, tmp_path):
        model = common(name, **few(name))
        fill(model, seed=2)
        size, channels = MODELS[name].smallest, MODELS[name].channels
        contract = ImageContract(height=size, width=size, channels=channels, resize="squash")
        Classifier(
            network=model, config=NetworkConfig.of(name=name, **few(name)), class_names=tuple("abcde"), image=contract
        ).save(tmp_path / "model.keras")
        ours = Classifier.load(tmp_path / "model.keras").network
        plain = keras.models.load_model(tmp_path / "model.keras")
        batch = pixels(2, model.input.shape[1:])
        expected = logits(model, batch)
        for loaded in (ours, plain):
            assert {k: v.shape for k, v in endpoints(loaded).items()} == {
                k: v.shape for k, v in endpoints(model).items()
            }
            np.testing.assert_array_equal(logits(loaded, batch), expected)
        for alias in MODELS[name].aliases:
            if alias != "AuxLogits":
                features(plain, [alias])

    def test_dropout_hides_features_in_training_only(self, name):
        model = thin(name, dropout=0.5, seed=0)
        batch = pixels(2, model.input.shape[1:])
        random = [model(batch, training=False) for _ in range(2)]
        np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, random))
        layer = next(layer for layer in model.layers if "Dropout" in type(layer).__name__)
        ones = np.ones((2, 1000), "float32")
        assert (keras.ops.convert_to_numpy(layer(ones, training=True)) != 1).mean() > 0.3

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ({"image_size": 1}, "needs at least"),
            ({"classes": 0}, "classes must be a whole number of at least 1, got 0"),
            ({"classes": "6"}, "classes must be a whole number of at least 1, got '6'"),
            ({"channels": 2.5}, "channels must be a whole number"),
            ({"dropout": "a"}, "dropout must be at least 0 and below 1, got 'a'"),
            ({"min_depth": 0}, "min_depth"),
            ({"dtype": "float31"}, "cannot be built with"),
            ({"final_endpoint": 5}, "no endpoint '5'"),
            ({"dropout": 1.0}, "dropout"),
            ({"scaling": (0, 0)}, "std of the scaling"),
            ({"depth_multiplier": 0}, "depth_multiplier"),
            ({"image_size": "large"}, "height, width"),
            ({"final_endpoint": "Mixed_6z"}, "no endpoint 'Mixed_6z'"),
        ],
    )
    def test_refuses_impossible_options(self, name, options, says):
        with pytest.raises(InputError, match=says):
            build(name, **options)


def test_unknown_model_names_the_nearest():
    with pytest.raises(InputError, match="did you mean 'separable_cnn'"):
        build("seperable_cnn")


def test_another_seed_gives_other_weights():
    one, other = (thin("separable_cnn", seed=seed).get_weights() for seed in (3, 4))
    assert not any(np.array_equal(first, second) for first, second in zip(one, other, strict=True) if np.ptp(first))


def test_building_leaves_pythons_generator_alone():
    import random

    random.seed(5)
    expected = random.random()
    random.seed(5)
    build("separable_cnn", seed=0)
    assert random.random() == expected


class TestSeparableCnn:
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

    def test_mixed_precision_keeps_scaling_and_logits_in_float32(self):
        model = build("separable_cnn", dtype="mixed_bfloat16")
        assert model.get_layer("input_scaling").compute_dtype == "float32"
        assert model.get_layer("logits").compute_dtype == "float32"
        assert model.get_layer("block2_conv1").compute_dtype == "bfloat16"


class TestXception:
    @pytest.mark.parametrize("name", ["xception", "xception_41"])
    @pytest.mark.parametrize(
        ("columns", "gone", "come"),
        [({"shortcut": None}, "_shortcut", None), ({"inner": "elu"}, None, "_dw_act"), ({"segments": 2}, None, "_dw")],
    )
    def test_ablations_change_every_block(self, name, columns, gone, come):
        model = thin(name, every=columns, depth_multiplier=0.25)
        names = [layer.name for layer in model.layers]
        assert gone is None or not [layer for layer in names if gone in layer]
        blocks = sum(name.startswith("block") and "_" not in name for name in names) - 1
        assert come is None or len({layer.split("_")[0] for layer in names if layer.endswith(come)}) == blocks
        assert EAGERLY is False or logits(model, pixels(1, model.input.shape[1:])).shape == (1, 5)

    def test_one_segment_per_channel_is_xception(self):
        """Grouped convolutions of one channel each compute what depthwise convolutions do."""
        grouped = thin("xception", every={"segments": 8}, depth_multiplier=1e-6)  # eight channels everywhere
        reference = thin("xception", depth_multiplier=1e-6)
        fill(reference, seed=5)
        for layer in reference.layers:
            if isinstance(layer, keras.layers.SeparableConv2D):
                depthwise, pointwise = layer.get_weights()
                grouped.get_layer(f"{layer.name}_dw").set_weights([depthwise.transpose(0, 1, 3, 2)])
                grouped.get_layer(f"{layer.name}_pw").set_weights([pointwise])
            elif layer.weights:
                grouped.get_layer(layer.name).set_weights(layer.get_weights())
        batch = pixels(2, reference.input.shape[1:])
        assert difference(logits(grouped, batch), logits(reference, batch)) < 1e-5

    @pytest.mark.slow
    def test_segments_have_the_weights_of_their_number(self):
        found = [
            build("xception", image_size=71, every={"segments": segments})
            .get_layer("block7_sepconv2_dw")
            .count_params()
            for segments in (1, 2, 8)
        ]
        assert found == [9 * 728 * 728, 9 * 728 * 728 // 2, 9 * 728 * 728 // 8]

    def test_the_spectrum_runs_from_a_plain_convolution_to_xception(self):
        """More segments never have more weights, and one for each channel is Xception."""
        counts = [thin("xception", every={"segments": n}).count_params() for n in (1, 2, 3, 8, 30, 72, 2048)]
        assert counts == sorted(counts, reverse=True)
        assert len(set(counts)) > 4
        assert counts[-1] == thin("xception").count_params()

    @pytest.mark.parametrize(
        ("columns", "says"),
        [
            ({"sgments": 2}, "did you mean 'segments'"),
            ({"segments": 0}, "segments of xception cannot be 0"),
            ({"segments": True}, "segments of xception cannot be True"),
            ({"shortcut": False}, "shortcut of xception cannot be False"),
            ({"norm": [True, False]}, "norm of xception cannot be"),
            ({"inner": "rely"}, "rely"),
        ],
    )
    def test_refuses_impossible_columns(self, columns, says):
        with pytest.raises(InputError, match=says):
            build("xception", every=columns)


class TestInception:
    def test_auxiliary_head_is_a_second_output_with_slims_weights(self):
        model = build("inception_v3", auxiliary=True)
        assert [tuple(output.shape) for output in model.outputs] == [(None, 1000), (None, 1000)]
        added = [layer for layer in model.layers if layer.name.startswith("auxiliary")]
        trainable = sum(int(np.prod(w.shape)) for layer in added for w in layer.trainable_weights)
        assert sum(layer.count_params() for layer in added) == 3_327_592
        assert trainable == 3_325_800
        assert model.count_params() == 27_179_376
        deviations = {name: float(np.std(model.get_layer(name).get_weights()[0]))
                      for name in ("auxiliary_conv2", "auxiliary")}  # fmt: skip
        # nothing beyond two deviations lowers a normal's deviation to 0.88 of it
        assert deviations == pytest.approx({"auxiliary_conv2": 0.0088, "auxiliary": 0.00088}, rel=0.01)
        assert model.get_layer("auxiliary_conv2").kernel.shape[:2] == (5, 5)

    @pytest.mark.parametrize(
        ("size", "kernel"),
        [pytest.param(75, (1, 1), marks=pytest.mark.slow), pytest.param(150, (1, 1), marks=pytest.mark.slow),
         ((299, 150), (5, 1)), pytest.param(400, (5, 5), marks=pytest.mark.slow)],
    )  # fmt: skip
    def test_auxiliary_kernels_shrink_with_the_picture(self, size, kernel):
        model = thin("inception_v3", image_size=size, auxiliary=True)
        assert tuple(model.get_layer("auxiliary_conv2").kernel.shape[:2]) == kernel
        assert [tuple(output.shape) for output in model.outputs] == [(None, 5), (None, 5)]

    @pytest.mark.slow  # other networks are thin in quicker tests
    def test_depth_multiplier_and_min_depth_are_slims(self):
        model = build("inception_v3", depth_multiplier=0.5, auxiliary=True)
        filters = {name: tensor.shape[-1] for name, tensor in endpoints(model).items()}
        assert (filters["conv1a"], filters["conv3b"], filters["mixed0"], filters["mixed10"]) == (16, 40, 128, 1024)
        assert model.get_layer("auxiliary_conv1").filters == 64
        assert endpoints(build("inception_v3", image_size=75, min_depth=64))["conv1a"].shape[-1] == 64
        least = build("inception_v3", depth_multiplier=0.1, min_depth=24)
        assert min(layer.filters for layer in least.layers if isinstance(layer, keras.layers.Conv2D)) == 24

    def test_final_endpoint_goes_by_every_name(self):
        for name in ("Mixed_6e", "mixed7"):
            model = thin("inception_v3", image_size=150, classes=None, final_endpoint=name)
            assert model.layers[-1].name == "mixed7"
            assert model.output.shape[1:3] == (7, 7)

    def test_classes_put_a_head_where_the_network_ends(self):
        whole = thin("inception_v3", seed=1)
        model = thin("inception_v3", final_endpoint="mixed8", seed=1)
        assert [layer.name for layer in model.layers][-4:] == ["mixed8", "pool", "prelogits", "logits"]
        assert model.output.shape == (None, 5)
        batch = pixels(2, model.input.shape[1:])
        maps, again = (logits(truncate(network, "mixed8"), batch) for network in (whole, model))
        np.testing.assert_array_equal(maps, again)
        with pytest.raises(InputError, match="a head goes on feature maps, which logits of inception_v3 are not"):
            thin("inception_v3", final_endpoint="logits")
        with pytest.raises(InputError, match="the auxiliary head belongs to the whole network"):
            thin("inception_v3", final_endpoint="mixed8", auxiliary=True)

    def test_gradient_of_the_auxiliary_head_reaches_its_weights(self):
        model = thin("inception_v3", auxiliary=True, seed=1)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("sgd", [loss, loss], loss_weights=[0.0, 1.0], jit_compile=False, run_eagerly=EAGERLY)
        before = [w.copy() for layer in model.layers if layer.name.startswith("aux") for w in layer.get_weights()]
        labels = np.arange(4)
        model.train_on_batch(pixels(4, model.input.shape[1:]), [labels, labels])
        after = [w for layer in model.layers if layer.name.startswith("aux") for w in layer.get_weights()]
        assert not [i for i, (one, other) in enumerate(zip(before, after, strict=True)) if np.array_equal(one, other)]


class TestEndpoints:
    def test_stages_are_the_last_at_each_size(self):
        assert list(stages(common("xception"))) == ["block1", "block2", "block3", "block12", "block14"]
        found = list(stages(build("inception_v3", image_size=300)))
        assert found == ["conv1a", "conv2b", "conv3b", "conv4a", "mixed2", "mixed7", "mixed10"]

    def test_features_share_the_weights_and_keep_the_names_asked_for(self):
        model = common("inception_v3", **few("inception_v3"))
        fill(model, seed=1)
        batch = pixels(2, model.input.shape[1:])
        found = features(model, ["Mixed_6e", "mixed7", "Predictions", "avg_pool"]).predict_on_batch(batch)
        np.testing.assert_array_equal(found["Mixed_6e"], found["mixed7"])
        np.testing.assert_allclose(found["Predictions"].sum(-1), 1, rtol=1e-5)
        assert found["avg_pool"].shape[1:3] == (1, 1)

    def test_truncate_ends_where_asked(self):
        model = common("xception_65", **few("xception_65"))
        ends = [truncate(model, name) for name in ("block21", "exit_flow/block1", "blocks.19")]
        assert {end.layers[-1].name for end in ends} == {"block21"}

    def test_places_that_this_network_was_built_without(self):
        with pytest.raises(InputError, match="build it with auxiliary=True"):
            features(common("inception_v3", **few("inception_v3")), "AuxLogits")
        plain = thin("xception", dropout=0.0)
        assert truncate(plain, "prelogits").output.shape == truncate(plain, "pool").output.shape
        both = features(common("inception_v3", **few("inception_v3")), ["Predictions", "predictions"])
        assert set(both.output) == {"Predictions", "predictions"}

    def test_unknown_places_name_the_nearest(self):
        with pytest.raises(InputError, match="did you mean 'Mixed_6e'"):
            features(common("inception_v3", **few("inception_v3")), ["Mixed_6ee"])


@pytest.mark.parametrize(
    ("name", "size", "says"),
    [
        ("inception_v3", 64, "at least 75 x 75 pixels, got 64 x 64: the feature map would be 2 x 2 after mixed7"),
        ("xception", 32, r"last feature map would be 1 x 1; enlarge them to at least 71 x 71, or take incept"),
    ],
)
def test_too_small_pictures_are_told_what_to_do(name, size, says):
    with pytest.raises(InputError, match=says):
        build(name, image_size=size)


def test_only_inception_v3_has_an_auxiliary_head():
    with pytest.raises(InputError, match=r"no auxiliary head \(known: inception_v3"):
        build("xception", auxiliary=True)
