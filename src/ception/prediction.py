"""Classify pictures with a model."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import numpy as np
from PIL import Image

from ception import backends
from ception.data import sources
from ception.data.images import Picture
from ception.data.pictures import Given, given
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
    pictures: Picture | Iterable[Picture],
    top: int = PredictSettings.top,
    *,
    reporter: Reporter | None = None,
    **settings: Unpack[PredictOptions],
) -> list[Prediction]:
    """The most probable classes of each picture.

    Args:
        model: A model file, or a classifier.
        pictures: One or several of: paths of pictures, folders of pictures, patterns such as `photos/*.jpg`; bytes or
            open files of pictures; uint8 arrays (height, width[, 1, 3 or 4]), or a batch of them; Pillow images.
        top: Number of classes to name for each picture, the most probable first.
        reporter: Receives progress.
        settings: Further fields of `PredictSettings`.

    Raises:
        InputError: the model cannot be used, or a path leads nowhere.
    """
    return list(predictions(model, pictures, reporter=reporter, top=top, **settings))


def predictions(
    model: str | Path | Classifier,
    pictures: Picture | Iterable[Picture],
    *,
    top: int = PredictSettings.top,
    reporter: Reporter | None = None,
    **settings: Unpack[PredictOptions],
) -> Iterator[Prediction]:
    """As `predict`, one picture after another: memory does not grow with their number."""
    options = settings_of(PredictSettings, {"top": top, **settings})
    listed = collected(pictures)
    with (
        backends.on(options.device, options.backend),
        Predictor.open(
            model, weights=options.weights, engine=options.engine, dtype=options.dtype, batch_size=options.batch_size,
            pictures=len(listed), backend=options.backend, device=options.device, cache_limit=options.cache_limit,
            reporter=reporter,
        ) as predictor,
    ):  # fmt: skip
        yield from predictor.predictions(
            listed, top=options.top, min_confidence=options.min_confidence, calibrated=options.calibration
        )


def collected(pictures: Picture | Iterable[Picture]) -> Given:
    """The pictures behind paths, folders (with all folders in them), patterns and what lies in memory, in that order.

    An array of four axes is a batch. A path that leads nowhere stays in the list, to be reported in its turn.

    Raises:
        InputError: there is no picture at all, or something is nothing that a picture can be in.
    """
    single = isinstance(pictures, str | os.PathLike | bytes | bytearray | memoryview | Image.Image)
    if single or hasattr(pictures, "read") or (isinstance(pictures, np.ndarray) and pictures.ndim < 4):
        pictures = [pictures]  # type: ignore[list-item]
    listed: list[Picture] = []
    try:
        for picture in pictures:  # type: ignore[union-attr]
            if isinstance(picture, str | os.PathLike):
                listed += _files(os.fspath(picture))
            else:
                listed.append(picture)  # type: ignore[arg-type]
    except TypeError:
        raise InputError(
            f"a {type(pictures).__name__} is no picture: give a path, bytes, an open file, an array or a Pillow image, "
            "or a list of these"
        ) from None
    if not any(os.path.exists(one) if isinstance(one, str) else True for one in listed):
        named = f" in {listed[0]!s}" if listed else ""
        raise InputError(f"there is no picture{named}: name files, folders or patterns such as 'photos/*.jpg'")
    return given(listed)


def _files(path: str) -> list[str]:
    """The files that a path, a folder or a pattern means; the path itself where it leads nowhere."""
    if not path:
        return []
    if os.path.isdir(path):
        return list(sources.pictures_in(Path(path)).paths)
    if os.path.exists(path):
        return [path]
    return sorted(match for match in glob.glob(path, recursive=True) if os.path.isfile(match)) or [path]
