"""Classify pictures with a model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from ception import backends
from ception.data.collecting import collected
from ception.data.images import Picture
from ception.engines import described
from ception.options import PredictOptions
from ception.predictor import Predictor
from ception.reporting import Reporter, or_default
from ception.results import Prediction
from ception.settings import PredictSettings
from ception.validation import settings_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ception.classifier import Classifier
    from ception.data.pictures import Pictures


def predict(
    model: str | Path | Classifier,
    pictures: Picture | Iterable[Picture],
    top: int = PredictSettings.top,
    *,
    reporter: Reporter | None = None,
    **options: Unpack[PredictOptions],
) -> list[Prediction]:
    """The most probable classes of each picture.

    Args:
        model: A model file or run folder, a classifier, or with `weights` the name of a network.
        pictures: One or several of: paths of pictures, folders of pictures, patterns such as `photos/*.jpg`, with
            `allow_urls` http and https addresses; bytes or open files of pictures; uint8 arrays (height, width[, 1, 3
            or 4]), or a batch of them; Pillow images.
        top: Number of classes to name for each picture, the most probable first.
        reporter: Receives progress; None for what `ception.reporting.default` gives.
        options: Further fields of `PredictSettings`.

    Raises:
        InputError: the model or an option cannot be used, or a path leads nowhere.
        RunError: weights cannot be downloaded, or the cache folder cannot be written.
    """
    return list(predictions(model, pictures, reporter=reporter, top=top, **options))


def predictions(
    model: str | Path | Classifier,
    pictures: Picture | Iterable[Picture],
    *,
    top: int = PredictSettings.top,
    reporter: Reporter | None = None,
    **options: Unpack[PredictOptions],
) -> Iterator[Prediction]:
    """As `predict`, one picture after another: memory does not grow with their number."""
    settings = settings_of(PredictSettings, {"top": top, **options})
    listed = collected(
        pictures, allow_urls=settings.allow_urls, cache_limit=settings.cache_limit, reporter=or_default(reporter)
    )
    yield from answers(model, listed, settings, reporter)


def answers(
    model: str | Path | Classifier,
    pictures: Pictures,
    settings: PredictSettings,
    reporter: Reporter | None = None,
    indices: NDArray[np.integer] | None = None,
) -> Iterator[Prediction]:
    """What a model says of pictures that were collected, or of those of some indices, ascending."""
    with opened(model, settings, len(pictures if indices is None else indices), reporter) as predictor:
        yield from predictor.predictions(
            pictures, top=settings.top, min_confidence=settings.min_confidence, calibrated=settings.calibration,
            indices=indices,
        )  # fmt: skip


@contextmanager
def opened(
    model: str | Path | Classifier,
    settings: PredictSettings,
    pictures: int,
    reporter: Reporter | None = None,
    *,
    features: bool = False,
) -> Iterator[Predictor]:
    """A context with a model in the engine that so many pictures are worth, which is told; for features where asked."""
    with (
        backends.on(settings.device, settings.backend),
        Predictor.open(
            model, weights=settings.weights, engine=settings.engine, dtype=settings.dtype,
            batch_size=settings.batch_size, pictures=pictures, features=features,
            backend=settings.backend, device=settings.device, cache_limit=settings.cache_limit, reporter=reporter,
        ) as predictor,
    ):  # fmt: skip
        or_default(reporter).note(f"Running on {described(predictor.engine)}")
        yield predictor
