"""Classify pictures with a model."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ception import backends
from ception.data import loading, sources
from ception.errors import InputError
from ception.reporting import Reporter
from ception.settings import PredictSettings, settings_of

if TYPE_CHECKING:
    from ception.classifier import Classifier


def predict(
    model: str | Path | Classifier,
    pictures: str | Path | Iterable[str | Path],
    top: int = 5,
    *,
    reporter: Reporter | None = None,
    **settings: Any,
) -> list[dict[str, Any]]:
    """The most probable classes of each picture.

    Args:
        model: A model file, or a classifier.
        pictures: Paths of pictures, folders of pictures and patterns such as `photos/*.jpg`.
        top: Number of classes to name for each picture, the most probable first.
        reporter: Receives progress.
        settings: Further fields of `PredictSettings`.

    Returns:
        For each picture `{"path", "top": [{"class", "probability"}]}`, and `"unknown": True` where the best
        probability is below `min_confidence`; or `{"path", "error"}` where it cannot be read.

    Raises:
        InputError: the model cannot be used, or a path leads nowhere.
    """
    return list(predictions(model, pictures, reporter=reporter, top=top, **settings))


def predictions(
    model: str | Path | Classifier,
    pictures: str | Path | Iterable[str | Path],
    *,
    reporter: Reporter | None = None,
    **settings: Any,
) -> Iterator[dict[str, Any]]:
    """As `predict`, one picture after another: memory does not grow with their number."""
    options = settings_of(PredictSettings, settings)
    files = sources.Files(found([pictures] if isinstance(pictures, str | Path) else pictures))
    backends.choose(options.backend)
    with backends.on(options.device):
        classifier = _classifier(model, options, reporter)
        for indices, pixels, reasons in loading.stream(
            files,
            np.arange(len(files)),
            classifier.image,
            options.batch_size,
            reporter=reporter or Reporter(),
            label="Predicting",
        ):
            results: dict[int, dict[str, Any]] = {
                index: {"path": files.name(index), "error": why} for index, why in reasons.items()
            }
            if len(indices):
                padded = np.zeros((options.batch_size, *classifier.image.shape), np.uint8)  # one shape: compiled once
                padded[: len(indices)] = pixels
                if len(files) < options.batch_size:
                    padded = padded[: len(indices)]
                rows = classifier.probabilities(padded, calibrated=options.calibration)[: len(indices)]
                for index, row in zip(indices, rows, strict=True):
                    best = np.argsort(-row, kind="stable")[: options.top]
                    named = [{"class": classifier.class_names[k], "probability": round(float(row[k]), 6)} for k in best]
                    results[int(index)] = {"path": files.name(int(index)), "top": named}
                    if row[best[0]] < options.min_confidence:
                        results[int(index)]["unknown"] = True
            yield from (results[index] for index in sorted(results))


def _classifier(model: str | Path | Classifier, options: PredictSettings, reporter: Reporter | None) -> Classifier:
    """The classifier that a file, or a network's name with weights, means."""
    from ception.classifier import Classifier

    if isinstance(model, Classifier):
        return model
    if options.weights is None:
        classifier = Classifier.load(model)
    else:
        classifier, _, _ = Classifier.pretrained(str(model), options.weights, reporter=reporter)
    classifier.require_weights()
    return classifier


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
