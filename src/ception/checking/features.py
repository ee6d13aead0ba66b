"""What a network gives for the pictures of a data set, by which their classes can be told without a training."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ception import backends
from ception.data import loading
from ception.data.augmentation import Augmentation
from ception.errors import InputError
from ception.model_file import ModelDescription, model_file
from ception.models import catalog
from ception.recommended import network_of, settled
from ception.run_list import run_named
from ception.settings import CheckSettings, TrainSettings
from ception.training import preparation
from ception.values import flag

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

    from ception.data.images import ImageContract
    from ception.data.sources import Dataset
    from ception.models.config import NetworkConfig
    from ception.reporting import Reporter
    from ception.training.activations import Activations


@dataclass(frozen=True)
class Features:
    """What a network gives behind its pooling for each picture that can be read.

    Attributes:
        indices: Of these pictures.
        given: By them, float32 of shape (pictures, ...); memory-mapped.
    """

    indices: NDArray[np.int64]
    given: Activations

    def __getitem__(self, places: NDArray[np.integer]) -> NDArray[np.float32]:
        """Those at some places among the indices, (places, channels)."""
        return self.given[self.indices[places]].reshape(len(places), -1)


def is_trained(settings: CheckSettings) -> bool:
    """Whether the model is a trained one: a file, a run by its short name, or an address; no network's name."""
    name = str(settings.model or "")
    if not name or name in catalog.MODELS:
        return False
    return os.path.exists(name) or os.sep in name or name.endswith(".keras") or run_named(name) is not None


def as_trained(settings: CheckSettings, dataset: Dataset | None = None) -> TrainSettings:
    """The settings of a training that the check is made for.

    Args:
        settings: Of the check.
        dataset: From which the network follows where none is named; None leaves that open.
    """
    shared = ("model", "weights", "final_endpoint", "partial", "image_size", "group")
    training = TrainSettings(**{name: getattr(settings, name) for name in shared})
    return training if dataset is None else settled(training, dataset)


def require_sense(settings: CheckSettings, described: ModelDescription | None) -> None:
    """Refuse settings that do not go together, before anything is read.

    Args:
        settings: Of the check.
        described: What the model says of itself if it is a file.

    Raises:
        InputError: they do not, there are no such weights, or no backend is installed.
    """
    if settings.weights is None:
        for name in ("final_endpoint", "partial"):
            if getattr(settings, name):
                raise InputError(f"{flag(name)} belongs to --weights")
    elif described is not None:
        raise InputError(f"{settings.model} brings weights of its own: leave out --weights, or name a network")
    else:
        training = as_trained(settings)
        preparation.require_sense(replace(training, model=training.model or network_of(settings.weights)))
    if described is not None:
        described.require_weights()


def features(
    dataset: Dataset,
    digests: NDArray[np.void],
    readable: NDArray[np.integer],
    settings: CheckSettings,
    reporter: Reporter,
) -> Features:
    """What a network gives for the pictures, computed by the fastest engine and kept in the cache that training uses.

    Args:
        dataset: The data set.
        digests: Of its pictures, of type `V16`.
        readable: Indices of those that can be read.
        settings: They name weights, or a model file.
        reporter: Receives notes, warnings and progress.

    Raises:
        InputError: the weights cannot be used.
        RunError: they cannot be downloaded, or the cache cannot be written.
    """
    training = None
    if settings.weights is not None:
        training = as_trained(settings, dataset)
        size = settings.image_size or catalog.find(training.network).image_size
        catalog.require_size(training.network, *((size, size) if isinstance(size, int) else size))
    backends.start(None, reporter)
    with backends.standard_settings():
        from ception.models.endpoints import before_head
        from ception.training.activations import Views, activations
        from ception.training.preparation import Prepared

        network, config, contract = _network(training, dataset, settings, reporter)
        pixels, failed = loading.prepare(
            dataset, contract, digests, cache_limit=settings.cache_limit, reporter=reporter
        )
        wanted = np.setdiff1d(readable, sorted(failed)).astype(np.int64)
        shown = Views(Prepared(dataset, contract, digests, np.zeros(len(digests), np.int8), pixels), Augmentation())
        given = activations(
            network, before_head(network), shown, wanted, config, what="what the network sees in each picture",
            cache_limit=settings.cache_limit, reporter=reporter,
        )  # fmt: skip
    return Features(wanted, given)


def _network(
    training: TrainSettings | None, dataset: Dataset, settings: CheckSettings, reporter: Reporter
) -> tuple[keras.Model, NetworkConfig, ImageContract]:
    """The network with its weights, what it was built from, and what it expects of a picture."""
    if training is None:
        from ception.classifier import Classifier

        classifier = Classifier.load(model_file(str(settings.model)))
        return classifier.network, classifier.config, classifier.image
    from ception.data.images import ImageContract
    from ception.networks import filled
    from ception.training.planning import network_options
    from ception.weights.opening import open_weights

    opened = open_weights(training.network, str(training.weights), reporter=reporter)
    size = settings.image_size or catalog.find(training.network).image_size
    height, width = (size, size) if isinstance(size, int) else size
    channels = loading.channels_of(dataset.pictures)
    contract = ImageContract(height=height, width=width, channels=channels, resize=training.resize)
    config = opened.config(**network_options(training, max(2, len(dataset.class_names)), contract))
    network, _ = filled(config, opened, partial=training.partial, seed=training.seed)
    return network, config, contract
