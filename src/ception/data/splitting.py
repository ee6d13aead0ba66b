"""Each picture's place in the split: training, validation or test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ception.data.dataset import TEST, TRAIN, UNSTATED, VAL, Dataset
from ception.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def split(dataset: Dataset, digest: NDArray[np.void]) -> NDArray[np.int8]:
    """Each picture's place: TRAIN, VAL or TEST.

    What the source states is kept. Otherwise the place follows from a hash of the picture's bytes alone,
    so that it does not change when pictures are added and equal pictures never part: 70/10/20
    train/val/test, 90/10 train/val where there is a test set, 80/20 train/test where there is a
    validation set. A class that would get no test (then no val) picture gives its lowest hashes.

    Args:
        dataset: The data set.
        digest: Its pictures' digests.

    Returns:
        int8 of shape (pictures,).

    Raises:
        InputError: a class has too few different pictures to be split.
    """
    place = dataset.stated.copy()
    readable = digest != np.zeros(1, "V16")
    free = ((place == UNSTATED) | (place == TRAIN)) & readable
    has_test, has_val = bool((place == TEST).any()), bool((place == VAL).any())
    if (has_test and has_val) or not free.any():
        place[place == UNSTATED] = TRAIN
        return place
    place[(place == UNSTATED) | (place == TRAIN)] = TRAIN
    key = digest.view((np.uint8, 16))[:, :8].copy().view(">u8")[:, 0]
    share = key / 2.0**64
    limits = [(TEST, 0.0 if has_test else 0.2), (VAL, 0.0 if has_val else 0.1)]
    low = 0.0
    for part, fraction in limits:
        place[free & (share >= low) & (share < low + fraction)] = part
        low += fraction
    for part, fraction in limits:
        if fraction:
            _give_lowest(place, key, free, dataset, part)
    return place


def _give_lowest(
    place: NDArray[np.int8], key: NDArray[np.uint64], free: NDArray[np.bool_], dataset: Dataset, part: int
) -> None:
    """Move the lowest hash of each class that has no picture in `part` there, with all its equals."""
    for label, name in enumerate(dataset.class_names):
        of_class = dataset.labels == label
        if (of_class & (place == part)).any() or not (of_class & free).any():
            continue
        candidates = np.unique(key[of_class & free & (place == TRAIN)])
        if len(candidates) < 2:
            needed = 1 + sum(not (dataset.stated == other).any() for other in (VAL, TEST))
            raise InputError(
                f"class '{name}' has too few different pictures for training, validation and test: "
                f"{int(of_class.sum())}; give it at least {needed}"
            )
        place[free & (key == candidates[0])] = part


def check_trainable(dataset: Dataset, place: NDArray[np.int8], origin: str) -> None:
    """Check that a network can be trained on the data set.

    Args:
        dataset: The data set.
        place: Each picture's place, as `split` gives it.
        origin: What the user calls the data set.

    Raises:
        InputError: there is one class only, or a class lacks pictures in a part of the split.
    """
    if len(dataset.class_names) < 2:
        raise InputError(f"{origin} has one class only, '{dataset.class_names[0]}': a classifier needs two or more")
    counts = [counted(dataset, place, part) for part in (TRAIN, VAL, TEST)]
    for name, train, val, test in zip(dataset.class_names, *counts, strict=True):
        if not train:
            raise InputError(f"{origin} has no training picture of class '{name}': add some, or remove the class")
        for part, count in (("val", val), ("test", test)):
            if not count:
                raise InputError(
                    f"{origin} has no {part} picture of class '{name}', which could not be scored: "
                    f"add one, or remove the {part} set (Ception then makes one from the training pictures)"
                )


def counted(dataset: Dataset, place: NDArray[np.int8], part: int) -> NDArray[np.int64]:
    """How many pictures each class has in a part of the split, of shape (classes,)."""
    return np.bincount(dataset.labels[place == part], minlength=len(dataset.class_names))
