"""Which split each picture is in: training, validation or test."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ception.data.dataset import SPLITS, TEST, TRAIN, UNSTATED, VAL, Dataset
from ception.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def split(dataset: Dataset, digest: NDArray[np.void]) -> NDArray[np.int8]:
    """Which split each picture is in: TRAIN, VAL or TEST.

    What the source states is kept. Otherwise the split follows from a hash of the picture's bytes alone,
    so that it does not change when pictures are added and equal pictures never part: 70/10/20
    train/val/test, 90/10 train/val where there is a test set, 80/20 train/test where there is a
    validation set. A class that would get no test (then no val) picture gives its lowest hashes. Where the pictures are
    grouped, it follows from a hash of the group's name instead, and no group is parted.

    Args:
        dataset: The data set.
        digest: Its pictures' digests.

    Returns:
        int8 of shape (pictures,).

    Raises:
        InputError: a class has too few different pictures to be split.
    """
    splits = dataset.stated_splits.copy()
    readable = digest != np.zeros(1, "V16")
    free = ((splits == UNSTATED) | (splits == TRAIN)) & readable
    has_test, has_val = bool((splits == TEST).any()), bool((splits == VAL).any())
    if (has_test and has_val) or not free.any():
        splits[splits == UNSTATED] = TRAIN
        return splits
    splits[(splits == UNSTATED) | (splits == TRAIN)] = TRAIN
    key = _keys(dataset, digest)
    share = key / 2.0**64
    limits = [(TEST, 0.0 if has_test else 0.2), (VAL, 0.0 if has_val else 0.1)]
    low = 0.0
    for number, fraction in limits:
        splits[free & (share >= low) & (share < low + fraction)] = number
        low += fraction
    for number, fraction in limits:
        if fraction:
            _give_lowest(splits, key, free, dataset, number)
    return splits


def _keys(dataset: Dataset, digest: NDArray[np.void]) -> NDArray[np.uint64]:
    """The number that decides each picture's split, evenly among all: equal for what must not be parted."""
    if dataset.groups is not None:
        of_group = {
            name: hashlib.blake2b(os.fsencode(name), digest_size=16).digest() for name in sorted(set(dataset.groups))
        }
        digest = np.array([of_group[name] for name in dataset.groups], "V16")
    return np.asarray(digest.view((np.uint8, 16))[:, :8].copy().view(">u8")[:, 0])


def _give_lowest(
    splits: NDArray[np.int8], key: NDArray[np.uint64], free: NDArray[np.bool_], dataset: Dataset, number: int
) -> None:
    """Move the lowest hash of each class that has no picture in split `number` there, with all its equals."""
    for label, name in enumerate(dataset.class_names):
        of_class = dataset.labels == label
        if (of_class & (splits == number)).any() or not (of_class & free).any():
            continue
        candidates = np.unique(key[of_class & free & (splits == TRAIN)])
        if len(candidates) < 2:
            needed = 1 + sum(not (dataset.stated_splits == other).any() for other in (VAL, TEST))
            what = "different pictures" if dataset.groups is None else f"groups ({len(candidates)})"
            raise InputError(
                f"class '{name}' has too few {what} for training, validation and test: "
                f"{int(of_class.sum())}; give it at least {needed}"
            )
        splits[free & (key == candidates[0])] = number


def check_trainable(dataset: Dataset, splits: NDArray[np.int8], origin: str) -> None:
    """Check that a network can be trained on the data set.

    Args:
        dataset: The data set.
        splits: The split of each picture, as `split` gives it.
        origin: What the user calls the data set.

    Raises:
        InputError: there is one class only, or a class lacks pictures in a split.
    """
    if len(dataset.class_names) < 2:
        raise InputError(f"{origin} has one class only, '{dataset.class_names[0]}': a classifier needs two or more")
    counts = [counted(dataset, splits, number) for number in (TRAIN, VAL, TEST)]
    _require_same_letters(dataset, counts, origin)
    for name, train, val, test in zip(dataset.class_names, *counts, strict=True):
        if not train:
            way_out = "number the classes 0, 1, 2 ... without gaps" if dataset.unnamed else "add some"
            raise InputError(f"{origin} has no training picture of class '{name}': {way_out}, or remove the class")
        for missing, count in (("val", val), ("test", test)):
            if not count:
                raise InputError(
                    f"{origin} has no {missing} picture of class '{name}', which could not be scored: "
                    f"add one, or remove the {missing} set (Ception then makes one from the training pictures)"
                )


def _require_same_letters(dataset: Dataset, counts: Sequence[NDArray[np.int64]], origin: str) -> None:
    """Refuse a class that one split spells otherwise than another: `val/Bees` beside `train/bees`."""
    spelled: dict[str, int] = {}
    for label, name in enumerate(dataset.class_names):
        twin = spelled.setdefault(name.strip().casefold(), label)
        lacking = [
            split for split, count in zip(SPLITS, counts, strict=True) if not count[label] and count[twin]
        ] if twin != label else []  # fmt: skip
        if lacking:
            raise InputError(
                f"{origin}: '{dataset.class_names[twin]}' and '{name}' differ by capitals or spaces only, and "
                f"'{name}' has no {lacking[0]} pictures: if they are one class, give its folders the same name"
            )


def counted(dataset: Dataset, splits: NDArray[np.int8], number: int) -> NDArray[np.int64]:
    """How many pictures each class has in a split, of shape (classes,)."""
    return np.bincount(dataset.labels[splits == number], minlength=len(dataset.class_names))
