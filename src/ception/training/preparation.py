"""From a data set to pixels and splits, with everything checked before anything is trained."""

from __future__ import annotations

import hashlib
import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ception import backends, recommended
from ception.data import grouping, loading, sources, splitting
from ception.data.images import ImageContract
from ception.errors import InputError
from ception.models import catalog
from ception.models.config import columns_of
from ception.reporting import Reporter, counted
from ception.settings import TrainSettings
from ception.training.recipes import Recipe, recipes_of
from ception.values import flag
from ception.weights.published import require_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

_IMBALANCE = 5  # largest class over smallest, from which on training warns


@dataclass(frozen=True)
class Prepared:
    """A data set ready for training.

    Attributes:
        dataset: The pictures that can be read.
        contract: What the network expects of a picture.
        digests: Digest of each picture, of type `V16`.
        splits: TRAIN, VAL or TEST for each picture.
        pixels: All pictures as the contract says.
    """

    dataset: sources.Dataset
    contract: ImageContract
    digests: NDArray[np.void]
    splits: NDArray[np.int8]
    pixels: loading.Pixels

    def indices(self, split: int) -> NDArray[np.int64]:
        """The pictures in a split."""
        return np.flatnonzero(self.splits == split)

    def fingerprint(self) -> str:
        """A digest of all pictures, labels and splits in their order, and of the class names."""
        labels, names = self.dataset.labels.astype("<i4").tobytes(), "\0".join(self.dataset.class_names)
        parts = (self.digests.tobytes(), labels, self.splits.tobytes(), os.fsencode(names))
        return hashlib.blake2b(b"".join(parts), digest_size=16).hexdigest()


@dataclass(frozen=True)
class Listed:
    """A data set read, checked and split; its pictures are not decoded yet.

    Attributes:
        source: What the user calls it.
        dataset: All pictures.
        digests: Digest of each picture, of type `V16`.
        splits: TRAIN, VAL or TEST for each picture.
        contract: What the network expects of a picture.
        unreadable: Why pictures cannot be read, by index, as far as it is known.
    """

    source: str
    dataset: sources.Dataset
    digests: NDArray[np.void]
    splits: NDArray[np.int8]
    contract: ImageContract
    unreadable: dict[int, str]


def require_sense(settings: TrainSettings, backend: str | None = None) -> tuple[Recipe, ...]:
    """Refuse settings that do not go together, as far as that can be told from them alone; the recipe of each phase.

    Args:
        settings: The settings.
        backend: Keras's backend; the settings' own when not given.

    Raises:
        InputError: they do not, or the backend is not installed.
    """
    backends.choose(backend or settings.backend)
    catalog.find(settings.network)
    recipes = recipes_of(settings)
    columns_of(settings.every)
    if settings.auxiliary:
        catalog.require_auxiliary(settings.network)
    if settings.weights:
        if settings.auxiliary:
            raise InputError("the auxiliary head is for a training from fresh weights, without --weights")
        require_file(settings.network, settings.weights)
    else:
        for name in ("partial", "from_", "head_only", "head_epochs", "batch_norm", "views"):
            if getattr(settings, name) != getattr(TrainSettings(), name):
                raise InputError(f"{flag(name)} belongs to --weights")
    if settings.head_only and settings.from_:
        raise InputError("--from names what is trained after the head: leave out --head-only")
    if settings.runs.exists() and not settings.runs.is_dir():
        raise InputError(f"{settings.runs} is a file; name a folder with --runs")
    return recipes


def opened(
    data: str | Path, settings: TrainSettings, reporter: Reporter
) -> tuple[sources.Dataset, TrainSettings, tuple[Recipe, ...]]:
    """A data set, the settings with a network named, and the recipe of each phase.

    Args:
        data: The data set.
        settings: The settings.
        reporter: Receives notes, warnings and progress.

    Raises:
        InputError: there is no such data set, or the settings do not go together.
        RunError: the weights that fit the data cannot be downloaded.
    """
    if settings.model is not None:
        require_sense(settings)  # before anything is read
    backends.choose(settings.backend)
    dataset = sources.load(data, cache_limit=settings.cache_limit, reporter=reporter)
    named = recommended.settled(settings, dataset, reporter)
    recipes = require_sense(named)
    if named.weights != settings.weights:
        recommended.fetch(named, reporter)
    return dataset, named, recipes


def seen_size(settings: TrainSettings) -> tuple[int, int]:
    """Height and width in pixels that the network sees.

    Raises:
        InputError: it cannot take pictures of that size.
    """
    size = settings.image_size or catalog.find(settings.network).image_size
    height, width = (size, size) if isinstance(size, int) else size
    catalog.require_size(settings.network, height, width)
    return height, width


def read(dataset: sources.Dataset, source: str, settings: TrainSettings, reporter: Reporter) -> Listed:
    """Check and split a data set.

    Args:
        dataset: The data set.
        source: What the user calls it.
        settings: The settings.
        reporter: Receives notes, warnings and progress.

    Raises:
        InputError: the data set cannot be trained on.
    """
    height, width = seen_size(settings)
    dataset = grouping.grouped(dataset, settings.group)
    _tell_classes(dataset, reporter)
    _warn_of_series(dataset, reporter)
    _warn_of_augmented(dataset, reporter)
    if (typical := recommended.typical_side(dataset)) >= recommended.too_large_for(min(height, width)):
        reporter.warn(
            f"the network sees {height} x {width} pixels of pictures of {typical}: what tells the classes apart may be "
            "gone; leave out --model, for the network that suits photos, or give a larger --image-size"
        )
    digests, unreadable = sources.digests(dataset.pictures, reporter)
    channels = settings.channels or loading.channels_of(dataset.pictures)
    contract = ImageContract(height=height, width=width, channels=channels, resize=settings.resize)
    splits = splitting.split(dataset, digests)  # of all files, so that evaluating finds the same splits
    splitting.check_trainable(dataset, splits, source)
    return Listed(source, dataset, digests, splits, contract, unreadable)


def decode(listed: Listed, settings: TrainSettings, reporter: Reporter) -> Prepared:
    """Decode the pictures of a data set, and warn of what may spoil a training on them.

    Args:
        listed: The data set.
        settings: The settings.
        reporter: Receives notes, warnings and progress.

    Raises:
        InputError: a picture cannot be read, or without such pictures the data set cannot be trained on.
        RunError: the cache cannot be written.
    """
    dataset, digests, splits, contract = listed.dataset, listed.digests, listed.splits, listed.contract
    limit = settings.cache_limit
    pixels, more = loading.prepare(dataset, contract, digests, cache_limit=limit, reporter=reporter)
    if unreadable := listed.unreadable | more:
        _tell_unreadable(dataset, unreadable, settings, reporter)
        keep = np.setdiff1d(np.arange(len(splits)), sorted(unreadable))
        dataset = dataset.without(sorted(unreadable))
        digests, splits = digests[keep], splits[keep]
        pixels = loading.Chosen(pixels, keep)
        splitting.check_trainable(dataset, splits, listed.source)
    _warn_of_names(dataset, reporter)
    if not settings.balance:
        _warn_of_imbalance(dataset, splits, reporter)
    _warn_of_leaks(dataset, digests, splits, reporter)
    counts = [int((splits == split).sum()) for split in (sources.TRAIN, sources.VAL, sources.TEST)]
    reporter.note(
        f"Training on {counts[0]:,}, validating on {counts[1]:,}, testing on {counts[2]:,} pictures, "
        f"{contract.height} x {contract.width} in {'grey' if contract.channels == 1 else 'colour'}"
    )
    return Prepared(dataset, contract, digests, splits, pixels)


def _tell_classes(dataset: sources.Dataset, reporter: Reporter) -> None:
    names = dataset.class_names
    ignored = ", ".join(f"{count} {what}" for what, count in dataset.ignored.items())
    reporter.note(
        f"{counted(len(dataset.labels), 'picture')}, {counted(len(names), 'class')}: "
        + ", ".join(names[:10])
        + (f" ... {names[-1]}" if len(names) > 10 else "")
        + (f"   ignored: {ignored}" if ignored else "")
    )


def _warn_of_series(dataset: sources.Dataset, reporter: Reporter) -> None:
    found = grouping.series(dataset)
    if found and not {sources.VAL, sources.TEST} <= set(dataset.stated_splits.tolist()):
        reporter.warn(
            f"names such as {found.example} look like frames of {found.count:,} series, about {found.pictures} in "
            "each: frames in two splits flatter the scores; keep each series in one with "
            f"--group {shlex.quote(grouping.SERIES)}"
        )


def _warn_of_augmented(dataset: sources.Dataset, reporter: Reporter) -> None:
    if found := grouping.augmented(dataset):
        original, copy = (os.path.basename(dataset.pictures.name(index)) for index in found[0][:2])
        reporter.warn(
            f"names such as {copy} beside {original} look like augmented copies "
            f"({sum(map(len, found)) - len(found):,} of {counted(len(found), 'picture')}): "
            "copies in two splits flatter the scores; delete them, or keep each picture with its copies in one split "
            f"with --group {grouping.ORIGINAL}"
        )


def _tell_unreadable(
    dataset: sources.Dataset, failed: dict[int, str], settings: TrainSettings, reporter: Reporter
) -> None:
    listed = [f"{dataset.pictures.name(index)}: {why}" for index, why in sorted(failed.items())]
    if not settings.skip_unreadable:
        if len(listed) > 1:
            for line in listed:
                reporter.warn(line)
        first = listed[0] if len(listed) == 1 else f"{len(listed)} pictures cannot be read, the first is {listed[0]}"
        raise InputError(f"{first}; mend or remove what cannot be read, or leave it out with --skip-unreadable")
    reporter.warn(f"left out {counted(len(listed), 'picture')} that cannot be read, the first is {listed[0]}")


def _warn_of_names(dataset: sources.Dataset, reporter: Reporter) -> None:
    plain: dict[str, str] = {}
    for name in dataset.class_names:
        other = plain.setdefault(name.casefold().strip(), name)
        if other != name:
            reporter.warn(f"the classes '{other}' and '{name}' differ by capitals or spaces only; are they the same?")


def _warn_of_imbalance(dataset: sources.Dataset, splits: NDArray[np.int8], reporter: Reporter) -> None:
    counts = splitting.counted(dataset, splits, sources.TRAIN)
    most, least = int(counts.argmax()), int(counts.argmin())
    if counts[most] >= _IMBALANCE * counts[least]:
        reporter.warn(
            f"imbalanced classes: {counts[most]} training pictures of '{dataset.class_names[most]}' against "
            f"{counts[least]} of '{dataset.class_names[least]}'; look at the balanced accuracy and at each class, or "
            "train with --balance"
        )


def _warn_of_leaks(
    dataset: sources.Dataset, digests: NDArray[np.void], splits: NDArray[np.int8], reporter: Reporter
) -> None:
    different, picture = np.unique(digests.view((np.uint8, 16)), axis=0, return_inverse=True)
    picture = picture.reshape(-1)
    trained = np.zeros(len(different), bool)
    trained[picture[splits == sources.TRAIN]] = True
    leaked = int(trained[picture[splits != sources.TRAIN]].sum())
    if leaked:
        stand = "picture stands in training too: it does" if leaked == 1 else "pictures stand in training too: they do"
        reporter.warn(f"{leaked:,} validation or test {stand} not count in the scores")
    label = np.zeros(len(different), np.int64)
    label[picture] = dataset.labels
    torn = np.flatnonzero(label[picture] != dataset.labels)
    if len(torn):
        index = int(torn[0])
        twin = int(np.flatnonzero((picture == picture[index]) & (dataset.labels != dataset.labels[index]))[0])
        names = sorted((dataset.pictures.name(index), dataset.pictures.name(twin)))
        reporter.warn(f"the same picture stands in two classes ({len(torn)} such): {names[0]} and {names[1]}")
