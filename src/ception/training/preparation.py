"""From a data set to pixels and places in the split, with everything checked before anything is trained."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ception.data import loading, sources, splitting
from ception.data.images import ImageContract
from ception.errors import InputError
from ception.models import catalog
from ception.reporting import Reporter
from ception.settings import TrainSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ception.data.augmentation import Augmentation

_IMBALANCE = 5  # largest class over smallest, from which on training warns


@dataclass(frozen=True)
class Prepared:
    """A data set ready for training.

    Attributes:
        dataset: The pictures that can be read.
        contract: What the network expects of a picture.
        digests: Digest of each picture, of type `V16`.
        place: TRAIN, VAL or TEST for each picture.
        pixels: All pictures as the contract says.
    """

    dataset: sources.Dataset
    contract: ImageContract
    digests: NDArray[np.void]
    place: NDArray[np.int8]
    pixels: loading.Pixels

    def indices(self, part: int) -> NDArray[np.int64]:
        """The pictures in a part of the split."""
        return np.flatnonzero(self.place == part)

    def fingerprint(self) -> str:
        """A digest of all pictures, labels and places in the split in their order, and of the class names."""
        labels, names = self.dataset.labels.astype("<i4").tobytes(), "\0".join(self.dataset.class_names)
        parts = (self.digests.tobytes(), labels, self.place.tobytes(), os.fsencode(names))
        return hashlib.blake2b(b"".join(parts), digest_size=16).hexdigest()


@dataclass(frozen=True)
class Examples:
    """What is trained on.

    Attributes:
        inputs: By index, pictures (height, width, channels) or features.
        labels: By index.
        training: Indices to train on.
        validation: Indices to validate on.
        augmentation: How training inputs are changed; None leaves them as they are.
        class_weights: Factor of each class's loss; None weighs every picture the same.
        views: Views of each picture among the inputs, as `Batches` counts them.
    """

    inputs: Any
    labels: NDArray[np.int32]
    training: NDArray[np.int64]
    validation: NDArray[np.int64]
    augmentation: Augmentation | None = None
    class_weights: dict[int, float] | None = None
    views: int = 1


def balanced(labels: NDArray[np.int32]) -> dict[int, float]:
    """Factors that give every class the same weight in the loss, and every picture 1 in the mean."""
    classes, counts = np.unique(labels, return_counts=True)
    return {int(label): len(labels) / (len(classes) * int(count)) for label, count in zip(classes, counts, strict=True)}


def prepare(
    data: str | Path,
    options: TrainSettings,
    reporter: Reporter,
    before_decoding: Callable[[int, ImageContract], None] | None = None,
) -> Prepared:
    """Read, check, split and decode a data set.

    Args:
        data: The data set.
        options: The settings.
        reporter: Receives notes, warnings and progress.
        before_decoding: Called with the number of classes and the contract before the slow part.

    Raises:
        InputError: the data set cannot be trained on.
        RunError: the cache cannot be written.
    """
    size = options.image_size or catalog.find(options.model).image_size
    height, width = (size, size) if isinstance(size, int) else size
    catalog.require_size(options.model, height, width)
    if options.auxiliary:
        catalog.require_auxiliary(options.model)
    dataset = sources.load(data, cache_limit=options.cache_limit, reporter=reporter)
    names = dataset.class_names
    ignored = ", ".join(f"{count} {what}" for what, count in dataset.ignored.items())
    reporter.note(
        f"{len(dataset.labels):,} pictures, {len(names)} class{'es' if len(names) > 1 else ''}: "
        + ", ".join(names[:10])
        + (f" ... {names[-1]}" if len(names) > 10 else "")
        + (f"   ignored: {ignored}" if ignored else "")
    )
    digests, failed = sources.digests(dataset.pictures, reporter)
    channels = options.channels or loading.channels_of(dataset.pictures)
    contract = ImageContract(height=height, width=width, channels=channels, resize=options.resize)
    place = splitting.split(dataset, digests)  # of all files, so that evaluating finds the same places
    splitting.check_trainable(dataset, place, str(data))  # before the slow decoding
    if before_decoding:
        before_decoding(len(names), contract)
    limit = options.cache_limit
    pixels, more = loading.prepare(dataset, contract, digests, cache_limit=limit, reporter=reporter)
    failed |= more
    if failed:
        _tell_unreadable(dataset, failed, options, reporter)
        unreadable = sorted(failed)
        dataset = dataset.without(unreadable)
        keep = np.setdiff1d(np.arange(len(place)), unreadable)
        digests, place = digests[keep], place[keep]
        pixels, _ = loading.prepare(dataset, contract, digests, cache_limit=limit, reporter=reporter)
        splitting.check_trainable(dataset, place, str(data))
    _warn_of_names(dataset, reporter)
    if not options.balance:
        _warn_of_imbalance(dataset, place, reporter)
    _warn_of_leaks(dataset, digests, place, reporter)
    counts = [int((place == part).sum()) for part in (sources.TRAIN, sources.VAL, sources.TEST)]
    reporter.note(
        f"Training on {counts[0]:,}, validating on {counts[1]:,}, testing on {counts[2]:,} pictures, "
        f"{height} x {width} in {'grey' if channels == 1 else 'colour'}"
    )
    return Prepared(dataset, contract, digests, place, pixels)


def _tell_unreadable(
    dataset: sources.Dataset, failed: dict[int, str], options: TrainSettings, reporter: Reporter
) -> None:
    listed = [f"{dataset.pictures.name(index)}: {why}" for index, why in sorted(failed.items())]
    if not options.skip_unreadable:
        if len(listed) > 1:
            for line in listed:
                reporter.warn(line)
        first = listed[0] if len(listed) == 1 else f"{len(listed)} pictures cannot be read, the first is {listed[0]}"
        raise InputError(f"{first}; mend or remove what cannot be read, or leave it out with --skip-unreadable")
    reporter.warn(f"left out {len(listed)} pictures that cannot be read, the first is {listed[0]}")


def _warn_of_names(dataset: sources.Dataset, reporter: Reporter) -> None:
    plain: dict[str, str] = {}
    for name in dataset.class_names:
        other = plain.setdefault(name.casefold().strip(), name)
        if other != name:
            reporter.warn(f"the classes '{other}' and '{name}' differ by capitals or spaces only; are they the same?")


def _warn_of_imbalance(dataset: sources.Dataset, place: NDArray[np.int8], reporter: Reporter) -> None:
    counts = splitting.counted(dataset, place, sources.TRAIN)
    most, least = int(counts.argmax()), int(counts.argmin())
    if counts[most] >= _IMBALANCE * counts[least]:
        reporter.warn(
            f"imbalanced classes: {counts[most]} training pictures of '{dataset.class_names[most]}' against "
            f"{counts[least]} of '{dataset.class_names[least]}'; look at the balanced accuracy and at each class, or "
            "train with --balance"
        )


def _warn_of_leaks(
    dataset: sources.Dataset, digests: NDArray[np.void], place: NDArray[np.int8], reporter: Reporter
) -> None:
    different, picture = np.unique(digests.view((np.uint8, 16)), axis=0, return_inverse=True)
    picture = picture.reshape(-1)
    trained = np.zeros(len(different), bool)
    trained[picture[place == sources.TRAIN]] = True
    leaked = int(trained[picture[place != sources.TRAIN]].sum())
    if leaked:
        reporter.warn(f"{leaked:,} validation or test pictures stand in training too: the scores flatter the model")
    label = np.zeros(len(different), np.int64)
    label[picture] = dataset.labels
    torn = np.flatnonzero(label[picture] != dataset.labels)
    if len(torn):
        index = int(torn[0])
        twin = int(np.flatnonzero((picture == picture[index]) & (dataset.labels != dataset.labels[index]))[0])
        names = sorted((dataset.pictures.name(index), dataset.pictures.name(twin)))
        reporter.warn(f"the same picture stands in two classes ({len(torn)} such): {names[0]} and {names[1]}")
