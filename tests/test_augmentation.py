from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import ception
from ception.data import augmentation
from ception.data.augmentation import Augmentation, Mixing, augment, mix
from ception.training.optimizers import loss_of
from ception.training.recipes import RECIPES
from support.reporters import Notes


def batch(count: int = 8, height: int = 12, width: int = 10) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), np.uint8)


def changed(augmentation: Augmentation, seed: int = 0, pictures: np.ndarray | None = None) -> np.ndarray:
    return augment(batch() if pictures is None else pictures, augmentation, np.random.default_rng(seed))


def test_none_changes_nothing():
    np.testing.assert_array_equal(changed(Augmentation()), batch())


def test_the_given_batch_stays():
    pictures = batch()
    changed(Augmentation(flip=1, shift=0.3, erase=1), pictures=pictures)
    np.testing.assert_array_equal(pictures, batch())


@pytest.mark.parametrize("places", [[0, 3, 4], [7], []])
def test_some_of_a_batch_are_changed_as_in_the_whole(places):
    every = Augmentation(flip=0.5, shift=0.2, erase=0.5, crop=0.3, colour=0.2, randaugment=9)
    part = augment(batch()[places], every, np.random.default_rng(5), np.array(places, int), 8)
    np.testing.assert_array_equal(part, changed(every, 5)[places])


def test_the_same_generator_gives_the_same():
    every = Augmentation(flip=0.5, shift=0.2, erase=0.5)
    np.testing.assert_array_equal(changed(every, 1), changed(every, 1))
    assert not np.array_equal(changed(every, 1), changed(every, 2))


def test_flip_mirrors_left_to_right():
    np.testing.assert_array_equal(changed(Augmentation(flip=1)), batch()[:, :, ::-1])
    some = changed(Augmentation(flip=0.5))
    mirrored = [np.array_equal(one, two[:, ::-1]) for one, two in zip(some, batch(), strict=True)]
    kept = [np.array_equal(one, two) for one, two in zip(some, batch(), strict=True)]
    assert all(m != k for m, k in zip(mirrored, kept, strict=True))
    assert 0 < sum(mirrored) < 8


@given(st.integers(0, 1000), st.sampled_from([0.1, 0.25, 0.5]))
def test_shift_moves_by_whole_pixels_up_to_the_limit_and_repeats_the_border(seed, share):
    found = changed(Augmentation(shift=share), seed)
    most_down, most_right = int(share * 12), int(share * 10)
    for one, two in zip(found, batch(), strict=True):
        possible = [
            two[np.clip(np.arange(12) + down, 0, 11)][:, np.clip(np.arange(10) + right, 0, 9)]
            for down in range(-most_down, most_down + 1)
            for right in range(-most_right, most_right + 1)
        ]
        assert any(np.array_equal(one, candidate) for candidate in possible)


@given(st.integers(0, 1000))
def test_erase_fills_one_rectangle_of_the_stated_area(seed):
    pictures = np.full((20, 30, 30, 1), 7, np.uint8)
    found = changed(Augmentation(erase=1), seed, pictures)
    for picture in found[..., 0]:
        rows, columns = np.where(picture != 7)
        if not len(rows):
            continue  # the value drawn was 7 itself
        box = picture[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert len(np.unique(box)) == 1
        assert 0.01 * 900 <= box.size <= 0.28 * 900


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (3, 2, 50, 3), (2, 50, 1, 1)])
def test_any_shape(shape):
    pictures = np.zeros(shape, np.uint8)
    assert changed(Augmentation(flip=1, shift=0.5, erase=1), pictures=pictures).shape == shape


class TestRedrawing:
    def test_crops_are_enlarged_parts(self):
        ramp = np.tile(np.linspace(0, 250, 60).astype(np.uint8)[None, None, :, None], (20, 60, 1, 3))
        found = changed(Augmentation(crop=0.5), pictures=ramp)
        assert found.shape == ramp.shape
        spans = np.ptp(found[:, 30, :, 0].astype(int), axis=1)
        assert (spans <= 250).all()
        assert spans.min() < 220
        assert (np.diff(found.astype(int), axis=2) >= 0).all()  # still a ramp
        middles = found[:, 30, 30, 0]
        assert np.ptp(middles.astype(int)) > 10  # not always the same part

    def test_a_crop_of_nothing_is_the_picture(self):
        np.testing.assert_allclose(changed(Augmentation(crop=1e-9)).astype(int), batch().astype(int), atol=1)

    def test_colour_keeps_places_and_moves_values(self):
        flat = np.full((30, 6, 6, 3), (100, 150, 50), np.uint8)
        found = changed(Augmentation(colour=0.4), pictures=flat)
        assert (np.ptp(found.astype(int), axis=(1, 2)) == 0).all()
        means = found.mean((1, 2, 3))
        assert means.min() < 90 < 110 < means.max()
        assert (means > 60 / 1.7).all()
        assert (means < 100 * 1.7).all()

    @pytest.mark.parametrize("channels", [1, 3])
    @pytest.mark.parametrize("magnitude", [1, 9, 30])
    def test_randaugment_changes_most_pictures_in_different_ways(self, channels, magnitude):
        pictures = np.random.default_rng(1).integers(0, 256, (40, 16, 12, channels), np.uint8)
        found = changed(Augmentation(randaugment=magnitude), pictures=pictures)
        assert found.shape == pictures.shape
        moved = [not np.array_equal(one, two) for one, two in zip(found, pictures, strict=True)]
        assert 20 < sum(moved) <= 40
        np.testing.assert_array_equal(found, changed(Augmentation(randaugment=magnitude), pictures=pictures))

    @pytest.mark.parametrize("name", augmentation._RANDAUGMENT)
    def test_every_operation_of_randaugment(self, name):
        picture = np.random.default_rng(2).integers(0, 256, (16, 16, 3), np.uint8)
        operation = augmentation._RANDAUGMENT[name]
        found = {sign: np.asarray(operation(Image.fromarray(picture), sign)) for sign in (-1.0, 1.0, 0.0)}
        assert all(one.shape == picture.shape for one in found.values())
        if name not in ("autocontrast", "equalize", "solarize"):
            np.testing.assert_array_equal(found[0.0], picture)  # no strength, no change
        if name not in ("identity", "autocontrast"):
            assert not np.array_equal(found[1.0], picture)
        if name in ("shear_x", "shear_y", "translate_x", "translate_y", "rotate", "brightness", "saturation"):
            assert not np.array_equal(found[1.0], found[-1.0])


class TestMixing:
    TARGETS = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 2, 0, 1]]

    def mixed(self, mixing: Mixing, seed: int = 0, pictures: np.ndarray | None = None):
        pictures, random = batch() if pictures is None else pictures, np.random.default_rng(seed)
        other = random.permutation(8)
        return mix((pictures, self.TARGETS), (pictures[other], self.TARGETS[other]), mixing, random)

    @given(st.integers(0, 200))
    def test_mixup_mixes_pictures_and_labels_in_the_same_shares(self, seed):
        flat = np.broadcast_to(np.arange(8, dtype=np.float32)[:, None, None, None], (8, 4, 4, 1))
        values, targets = self.mixed(Mixing(mixup=1.0), seed, flat)
        other = np.random.default_rng(seed).permutation(8)
        own = np.random.default_rng(seed)
        own.permutation(8)
        own.integers(1)
        share = own.beta(1.0, 1.0)
        np.testing.assert_allclose(values[:, 0, 0, 0], share * np.arange(8) + (1 - share) * other, rtol=1e-5)
        np.testing.assert_allclose(targets, share * self.TARGETS + (1 - share) * self.TARGETS[other], rtol=1e-5)

    @given(st.integers(0, 200))
    def test_cutmix_gives_labels_by_area(self, seed):
        classes = self.TARGETS.argmax(1)
        flat = np.broadcast_to(classes.astype(np.float32)[:, None, None, None], (8, 10, 12, 1))
        values, targets = self.mixed(Mixing(cutmix=1.0), seed, flat)
        for label in range(3):
            np.testing.assert_allclose((values == label).mean((1, 2, 3)), targets[:, label], atol=1e-6)
        for one, own in zip(values[..., 0], classes, strict=True):
            foreign = np.argwhere(one != own)
            if len(foreign):  # a rectangle
                assert len(foreign) == np.prod(np.ptp(foreign, axis=0) + 1)

    def test_features_have_no_rectangles(self):
        features = np.arange(16, dtype=np.float32).reshape(8, 2)
        values, targets = self.mixed(Mixing(cutmix=1.0), pictures=features)
        np.testing.assert_array_equal(values, features)
        np.testing.assert_array_equal(targets, self.TARGETS)

    def test_where_both_are_given_each_batch_takes_one(self):
        flat = np.broadcast_to(np.arange(8, dtype=np.float32)[:, None, None, None], (8, 6, 6, 1))
        whole = [np.equal(self.mixed(Mixing(mixup=1.0, cutmix=1.0), seed, flat)[0] % 1, 0).all() for seed in range(20)]
        assert 0 < sum(whole) < 20


@pytest.mark.parametrize("share", [0.0, 0.1])
def test_the_loss_of_weights_of_classes_is_that_of_labels(share):
    random = np.random.default_rng(0)
    logits, labels = random.normal(size=(6, 4)).astype("float32"), np.array([0, 1, 2, 3, 0, 1])
    loss = loss_of(replace(RECIPES["article"], label_smoothing=share))
    factor = np.array([1, 2, 3, 4], np.float32)
    plain, soft = (
        keras.ops.convert_to_numpy(loss(*map(keras.ops.convert_to_tensor, (given, logits))))
        for given in (labels, np.diag(factor)[labels])
    )
    np.testing.assert_allclose(soft, plain * factor[labels], rtol=1e-5)


def test_a_training_with_everything(folder, tmp_path):
    run = ception.train(
        folder, runs=tmp_path, epochs=2, batch_size=8, image_size=8, crop=0.3, colour=0.2, randaugment=5, mixup=0.2,
        cutmix=1.0, balance=True, reporter=Notes(),
    )  # fmt: skip
    recipe = run.classifier.record["phases"][0]["recipe"]
    assert recipe["augmentation"]["crop"] == 0.3
    assert recipe["mixing"] == {"mixup": 0.2, "cutmix": 1.0}
    assert 0 <= run.history[0]["accuracy"] <= 1
