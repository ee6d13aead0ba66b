"""Training of the published networks: the auxiliary head, the penalty, the running average, the published recipes."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest

import ception
from ception.errors import InputError
from ception.keras_internals import averaged
from ception.reporting import Reporter
from ception.training.optimizers import optimizer_of
from ception.training.recipes import RECIPES, Recipe
from ception.training.trainee import Averages, Trainee
from support.pictures import write_pictures

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
EAGERLY = keras.backend.backend() != "jax"


def small(two_heads: bool) -> Trainee:
    """Three features to two logits, with a second head on the hidden ones."""
    image = keras.Input((3,), name="input_image")
    hidden = keras.layers.Dense(4, name="hidden_dense")(image)
    heads = [keras.layers.Dense(2, name=name)(hidden) for name in ("logits", "auxiliary")[: 1 + two_heads]]
    return Trainee(image, heads if two_heads else heads[0])


@pytest.fixture
def batch() -> tuple[np.ndarray, np.ndarray]:
    return np.random.default_rng(0).normal(size=(8, 3)).astype("float32"), np.arange(8) % 2


class TestTrainee:
    def test_trains_on_both_heads_and_validates_on_the_first(self, batch):
        x, y = batch
        network = small(two_heads=True)
        network.auxiliary_weight = 0.4
        network.compile(keras.optimizers.SGD(0.0), LOSS, metrics=["accuracy"], run_eagerly=EAGERLY, jit_compile=False)
        logits, auxiliary = network.predict_on_batch(x)
        main, other = (float(LOSS(y, value)) for value in (logits, auxiliary))
        trained = network.train_on_batch(x, y, return_dict=True)
        assert trained["loss"] == pytest.approx(main + 0.4 * other, rel=1e-5)
        tested = network.test_on_batch(x, y, return_dict=True)
        assert tested["loss"] == pytest.approx(main, rel=1e-5)
        assert tested["accuracy"] == pytest.approx((logits.argmax(-1) == y).mean())

    def test_penalises_kernels_but_no_biases(self, batch):
        x, y = batch
        network = small(two_heads=False)
        network.l2 = 0.01
        network.compile(keras.optimizers.SGD(0.0), LOSS, run_eagerly=EAGERLY, jit_compile=False)
        for layer in network.layers[1:]:
            layer.bias.assign(np.full(layer.bias.shape, 5.0))
        plain = network.test_on_batch(x, y)
        squares = sum(float((layer.get_weights()[0] ** 2).sum()) for layer in network.layers[1:])
        assert network.train_on_batch(x, y) == pytest.approx(plain + 0.01 * squares, rel=1e-5)


class TestAverages:
    def test_average_is_that_of_tensorflow_with_num_updates(self, batch):
        x, y = batch
        network = small(two_heads=False)
        network.compile(averaged(keras.optimizers.SGD)(0.5, use_ema=True, ema_momentum=0.5), LOSS,
                        run_eagerly=EAGERLY, jit_compile=False)  # fmt: skip
        expected = network.layers[-1].get_weights()[0]
        for step in range(12):
            network.train_on_batch(x, y)
            keep = min(0.5, (1 + step) / (10 + step))
            expected = keep * expected + (1 - keep) * network.layers[-1].get_weights()[0]
        averages = Averages()
        averages.set_model(network)
        raw = network.layers[-1].get_weights()[0]
        with averages.in_place():
            np.testing.assert_allclose(network.layers[-1].get_weights()[0], expected, atol=1e-5)
        np.testing.assert_array_equal(network.layers[-1].get_weights()[0], raw)

    def test_validation_sees_the_averages(self, batch):
        x, y = batch
        network = small(two_heads=False)
        network.compile(averaged(keras.optimizers.SGD)(0.5, use_ema=True, ema_momentum=0.9), LOSS, metrics=["accuracy"],
                        jit_compile=False)  # fmt: skip
        averages = Averages()
        history = network.fit(x, y, epochs=3, verbose=0, validation_data=(x, y), callbacks=[averages])
        # Keras puts the averages in place when the fit ends
        assert history.history["val_loss"][-1] == pytest.approx(network.evaluate(x, y, verbose=0)[0], rel=1e-5)


def test_published_recipes_are_data():
    xception, inception = RECIPES["xception"], RECIPES["inception_v3"]
    optimizer = optimizer_of(xception, steps_per_epoch=10)
    assert isinstance(optimizer, keras.optimizers.SGD)
    assert optimizer.momentum == 0.9
    rates = [float(optimizer._learning_rate(step)) for step in (0, 19, 20, 40)]
    assert rates == pytest.approx([0.045, 0.045, 0.045 * 0.94, 0.045 * 0.94**2])
    optimizer = optimizer_of(inception, steps_per_epoch=10)
    assert isinstance(optimizer, keras.optimizers.RMSprop)
    assert (optimizer.rho, optimizer.momentum, optimizer.epsilon, optimizer.global_clipnorm) == (0.9, 0.9, 1.0, 2.0)
    assert (xception.l2, inception.label_smoothing, inception.auxiliary_weight) == (1e-5, 0.1, 0.4)


SMALL = {"model": "inception_v3", "image_size": 75, "depth_multiplier": 0.1, "epochs": 2, "batch_size": 16}


@pytest.fixture
def few(tmp_path):
    return write_pictures(tmp_path / "colours", {"blue": 20, "red": 20})


@pytest.mark.skipif(not EAGERLY, reason="JAX compiles for minutes; its trainings are those of the other tests")
class TestTraining:
    @pytest.mark.slow
    def test_auxiliary_head_is_trained_and_left_out(self, few, tmp_path, monkeypatch):
        seen = []
        real = Trainee.compute_loss

        def spy(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            seen.append((len(y_pred), training))
            return real(self, x, y, y_pred, sample_weight, training)

        monkeypatch.setattr(Trainee, "compute_loss", spy)
        run = ception.train(few, auxiliary=True, runs=tmp_path / "runs", **SMALL)
        assert (2, True) in seen
        loaded = ception.Classifier.load(run.folder / "model.keras")
        assert not [layer.name for layer in loaded.network.layers if "auxiliary" in layer.name]
        assert len(keras.models.load_model(run.folder / "model.keras").outputs) == 1
        assert loaded.config.depth_multiplier == 0.1

    @pytest.mark.slow
    def test_ablations_are_trained_and_come_back(self, few, tmp_path):
        run = ception.train(few, runs=tmp_path, every=("shortcut=none", "segments=2"), **SMALL | {"model": "xception"})
        loaded = ception.Classifier.load(run.folder / "model.keras")
        assert loaded.config.every == {"shortcut": None, "segments": 2}
        assert not [layer.name for layer in loaded.network.layers if "shortcut" in layer.name]
        with pytest.raises(InputError, match="must be COLUMN=VALUE"):
            ception.train(few, runs=tmp_path, every=("shortcut",), **SMALL | {"model": "xception"})

    def test_networks_without_auxiliary_head_say_so_before_reading_pictures(self, tmp_path):
        with pytest.raises(InputError, match=r"xception has no auxiliary head \(known: inception_v3\)"):
            ception.train(tmp_path / "nothing", model="xception", auxiliary=True)

    @pytest.mark.slow
    def test_an_interrupted_averaged_training_goes_on_as_if_it_were_not(self, few, tmp_path, monkeypatch):
        settings = SMALL | {"model": "separable_cnn", "recipe": "inception_v3", "image_size": 8, "depth_multiplier": 1}
        whole = ception.train(few, runs=tmp_path / "whole", **settings)

        class Stop(BaseException):
            pass

        def interrupt(self, text: str) -> None:
            if text.startswith("epoch 1/"):
                raise Stop

        with monkeypatch.context() as patched:
            patched.setattr(Reporter, "note", interrupt)
            with pytest.raises(Stop):
                ception.train(few, runs=tmp_path / "broken", **settings)
        again = ception.resume(next((tmp_path / "broken").iterdir()))
        pairs = zip(again.classifier.network.get_weights(), whole.classifier.network.get_weights(), strict=True)
        for one, other in pairs:
            np.testing.assert_array_equal(one, other)
        assert [row["val_loss"] for row in again.history] == [row["val_loss"] for row in whole.history]

    @pytest.mark.slow  # it trains and validates each epoch anew
    def test_kept_weights_are_the_averages_that_were_validated(self, few, tmp_path):
        settings = SMALL | {"model": "separable_cnn", "recipe": "xception", "image_size": 8, "depth_multiplier": 1}
        run = ception.train(few, runs=tmp_path / "runs", **settings)
        best = min(row["val_loss"] for row in run.history)
        from ception.evaluation import evaluate

        scores = evaluate(run.folder / "model.keras", few, split="val", out=tmp_path / "scores")
        assert scores.uncalibrated.log_loss == pytest.approx(best, rel=1e-4)


def test_recipes_of_other_parts_are_untouched_by_the_new_fields():
    plain = Recipe(learning_rate=0.1, batch_size=1, epochs=1, patience=1, source="-")
    optimizer = optimizer_of(plain, 3)
    assert (optimizer.momentum, optimizer.use_ema, optimizer.global_clipnorm) == (0.0, False, None)
    assert optimizer_of(replace(plain, momentum=0.5), 3).momentum == 0.5
