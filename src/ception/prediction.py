"""Classify pictures with a model."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from ception import backends
from ception.data import sources
from ception.errors import InputError
from ception.options import PredictOptions
from ception.predictor import Predictor
from ception.reporting import Reporter
from ception.results import Prediction
from ception.settings import PredictSettings, settings_of

if TYPE_CHECKING:
    from ception.classifier import Classifier


def predict(
    model: str | Path | Classifier,
    pictures: str | Path | Iterable[str | Path],
    top: int = PredictSettings.top,
    *,
    reporter: Reporter | None = None,
    **settings: Unpack[PredictOptions],
) -> list[Prediction]:
    """The most probable classes of each picture.

    Args:
        model: A model file, or a classifier.
        pictures: Paths of pictures, folders of pictures and patterns such as `photos/*.jpg`.
        top: Number of classes to name for each picture, the most probable first.
        reporter: Receives progress.
        settings: Further fields of `PredictSettings`.

    Raises:
        InputError: the model cannot be used, or a path leads nowhere.
    """
    return list(predictions(model, pictures, reporter=reporter, top=top, **settings))


def predictions(
    model: str | Path | Classifier,
    pictures: str | Path | Iterable[str | Path],
    *,
    top: int = PredictSettings.top,
    reporter: Reporter | None = None,
    **settings: Unpack[PredictOptions],
) -> Iterator[Prediction]:
    """As `predict`, one picture after another: memory does not grow with their number."""
    options = settings_of(PredictSettings, {"top": top, **settings})
    files = sources.Files(found([pictures] if isinstance(pictures, str | Path) else pictures))
    with (
        backends.on(options.device, options.backend),
        Predictor.open(
            model, weights=options.weights, engine=options.engine, dtype=options.dtype, batch_size=options.batch_size,
            pictures=len(files), backend=options.backend, device=options.device, cache_limit=options.cache_limit,
            reporter=reporter,
        ) as predictor,
    ):  # fmt: skip
        yield from predictor.predictions(
            files, top=options.top, min_confidence=options.min_confidence, calibrated=options.calibration
        )


def found(pictures: Iterable[str | Path]) -> list[str]:
    """The files behind paths, folders (with all folders in them) and patterns, in the given order.

    A path that leads nowhere stays in the list, to be reported in its turn.

    Raises:
        InputError: there is no picture at all.
    """
    paths: list[str] = []
    for given in filter(None, map(str, pictures)):
        if os.path.isdir(given):
            paths += sources.pictures_in(Path(given)).paths
        elif os.path.exists(given):
            paths.append(given)
        else:
            paths += sorted(path for path in glob.glob(given, recursive=True) if os.path.isfile(path)) or [given]
    if not any(map(os.path.exists, paths)):
        named = f" in {paths[0]}" if paths else ""
        raise InputError(f"there is no picture{named}: name files, folders or patterns such as 'photos/*.jpg'")
    return paths
