from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ception.data.augmentation import Augmentation, augment


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
