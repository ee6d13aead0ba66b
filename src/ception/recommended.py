"""Which network fits a data set, where the user names none."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ception import downloads
from ception.data.sources import Dataset
from ception.errors import InputError, RunError
from ception.model_file import describe
from ception.models import catalog
from ception.reporting import Reporter
from ception.settings import TrainSettings
from ception.values import flag
from ception.weights.published import WEIGHTS

PRETRAINED, SMALL = "xception", "separable_cnn"
DEFAULT_FOR = {PRETRAINED: "photos", SMALL: "small or grey pictures"}  # which pictures get them
PRETRAINED_WEIGHTS = "xception.keras_in1k_notop"  # imagenet's, without the head that training replaces
_LOOKED_AT = 200  # pictures whose size is looked at, evenly among all
_TINY, _SHRUNK = 64, 4  # a network's side that is tiny, in pixels, and how many times that is too much for it
_SMALL_PHOTO = 96  # pixels of a side at which a photo shows something, and a small network is still quick
_FRESH_ONLY = ("auxiliary", "every", "depth_multiplier")
_FRESH_RECIPES = ("xception", "inception_v3")


@dataclass(frozen=True)
class Recommendation:
    """A network for a data set.

    Attributes:
        model: A key of `MODELS`.
        weights: Published weights to start from; None for fresh ones.
        reason: Why, as a clause.
    """

    model: str
    weights: str | None
    reason: str


def recommended(dataset: Dataset) -> Recommendation:
    """Xception with ImageNet's weights for colour photos, the small network for grey or small pictures.

    Args:
        dataset: The data set; the headers of some of its pictures are read.
    """
    typical = typical_side(dataset)
    if all(map(dataset.pictures.is_grey, _looked_at(dataset))):
        return Recommendation(SMALL, None, "the pictures are grey")
    if typical < catalog.find(PRETRAINED).smallest:
        return Recommendation(SMALL, None, f"the pictures are small ({typical} pixels on the shorter side)")
    return Recommendation(PRETRAINED, PRETRAINED_WEIGHTS, f"these are colour photos ({typical} pixels)")


def typical_side(dataset: Dataset) -> int:
    """The median of the pictures' shorter sides in pixels, by the headers of some; 0 where none can be read."""
    sides = [side for index in _looked_at(dataset) if (side := dataset.pictures.shorter_side(index))]
    return int(np.median(sides)) if sides else 0


def too_large_for(side: int) -> float:
    """The shorter side, in pixels, from which on a picture loses nearly all when it is shrunk to a network's side."""
    return _SHRUNK * side if side < _TINY else float("inf")


def settled(settings: TrainSettings, dataset: Dataset, reporter: Reporter | None = None) -> TrainSettings:
    """The settings with a network, and with its weights where neither was named.

    Args:
        settings: As the user gave them.
        dataset: The data set.
        reporter: Receives what was chosen, and why.
    """
    if settings.model is not None:
        return settings
    if settings.weights:
        return replace(settings, model=network_of(settings.weights))
    chosen = _for_fresh_weights(settings) or recommended(dataset)
    weights = "the weights imagenet" if chosen.weights else "fresh weights"
    if reporter:
        reporter.note(f"Model: {chosen.model} with {weights}, because {chosen.reason}; --model names another")
    return replace(settings, model=chosen.model, weights=chosen.weights)


def _looked_at(dataset: Dataset) -> list[int]:
    """Indices of pictures, evenly among all."""
    count = len(dataset.pictures)
    return [int(index) for index in np.unique(np.linspace(0, count - 1, min(_LOOKED_AT, count)).astype(int))]


def fetch(settings: TrainSettings, reporter: Reporter) -> None:
    """Download the weights that were chosen for the user, if need be, or say what else there is.

    Args:
        settings: As `settled` gives them.
        reporter: Receives the progress.

    Raises:
        RunError: the weights cannot be downloaded.
    """
    if settings.weights is None:
        return
    record = WEIGHTS[settings.weights]
    try:
        downloads.fetch(record.url, record.digest, megabytes=record.megabytes, reporter=reporter)
    except RunError as error:
        why = str(error).split("; ")[0]
        raise RunError(
            f"{why}; fetch it elsewhere and give that file with --weights FILE, or train a small network "
            f"without any with --model {SMALL} --image-size {_SMALL_PHOTO}"
        ) from None


def network_of(weights: str) -> str:
    """The network that weights are for: by their record, or by what a model file of ours says; else Xception."""
    if record := WEIGHTS.get(weights):
        return record.network
    try:
        return describe(weights).config.name if Path(weights).exists() else PRETRAINED
    except InputError:
        return PRETRAINED


def _for_fresh_weights(settings: TrainSettings) -> Recommendation | None:
    """The small network, where something was asked for that published weights do not go with."""
    default = TrainSettings()
    fresh = [name for name in _FRESH_ONLY if getattr(settings, name) != getattr(default, name)]
    if fresh or settings.recipe in _FRESH_RECIPES:
        asked = flag(fresh[0]) if fresh else f"--recipe {settings.recipe}"
        return Recommendation(SMALL, None, f"{asked} is for fresh weights")
    if settings.channels == 1:
        return Recommendation(SMALL, None, "the pictures shall be grey")
    if settings.image_size is not None and settings.image_size < catalog.find(PRETRAINED).smallest:
        return Recommendation(SMALL, None, f"{PRETRAINED} takes no {settings.image_size} x {settings.image_size}")
    return None
