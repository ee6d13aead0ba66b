"""The gate: an artefact, opened again in its own runtime, against the model in Keras, on real pictures."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ception.data import sources
from ception.data.collecting import collected
from ception.engines import Engine, described
from ception.errors import InputError
from ception.evaluation.selection import matched, select
from ception.predictor import Predictor, answered
from ception.reporting import Reporter
from ception.results import Speed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ception.data.images import ImageContract
    from ception.data.pictures import Pictures
    from ception.model_file import ModelDescription

_SAMPLE = "fashion-mnist-sample"  # what comes with the package
_BATCH = 16
_ENOUGH_S, _LEAST, _MOST = 1.0, 3, 50  # of timing: seconds, and how often at least and at most


@dataclass(frozen=True)
class Sample:
    """Pictures with what they are.

    Attributes:
        pictures: Where they come from.
        indices: Which of these.
        labels: Of all pictures, counted as the model does; None where they have none that the model knows.
        told: Where they come from, in words.
    """

    pictures: Pictures
    indices: NDArray[np.integer]
    labels: NDArray[np.integer] | None
    told: str


@dataclass(frozen=True)
class Agreement:
    """What two predictors say of the same pictures.

    Attributes:
        pictures: How many could be read.
        differing: How many got another most probable class.
        largest_gap: The largest difference of a probability.
        accuracy: Share of right answers of the first and of the second; None without labels.
    """

    pictures: int
    differing: int
    largest_gap: float
    accuracy: tuple[float, float] | None

    @property
    def disagreement(self) -> float:
        """Share of the pictures, 0..1, that got another most probable class."""
        return self.differing / self.pictures


def sample(
    model: ModelDescription,
    data: str | None,
    most: int,
    *,
    split: str,
    cache_limit: float,
    reporter: Reporter,
    option: str = "--data",
) -> Sample:
    """Pictures to compare on or to calibrate with.

    Args:
        model: The model.
        data: A data set or a folder of pictures; None takes what the model was trained with, where it still is, or
            else what comes with the package.
        most: How many at most, evenly spread.
        split: Which pictures of the data that the model was trained on.
        cache_limit: Most that the cache folder may hold, in GB.
        reporter: Receives notes and warnings.
        option: What names the data.

    Raises:
        InputError: the data cannot be read.
    """
    trained_on = model.record.get("data", {}).get("source")
    if data is None and trained_on and Path(trained_on).exists():
        data = trained_on
    if data is None:
        reporter.warn(
            f"without {option} the pictures that come with the package are taken, for those of the training are not "
            "there: name your own"
        )
        data = _SAMPLE
    try:
        dataset = sources.load(data, cache_limit=cache_limit, reporter=reporter)
    except InputError:
        if not Path(data).is_dir():
            raise
        pictures = collected(data)  # no classes, but pictures all the same
        return Sample(pictures, _spread(np.arange(len(pictures)), most), None, data)
    try:
        labels = matched(dataset, model, Reporter())
    except InputError:
        return Sample(dataset.pictures, _spread(np.arange(len(dataset.labels)), most), None, data)
    known = model.seen_in_training(sources.digests(dataset.pictures, reporter)[0]).any()
    chosen = select(dataset, data, split if known else None, [model], reporter)
    return Sample(dataset.pictures, _spread(chosen.indices, most), labels, f"{data} ({chosen.split})")


def _spread(indices: NDArray[np.integer], most: int) -> NDArray[np.integer]:
    """At most so many of them, evenly spread."""
    return indices[np.linspace(0, len(indices) - 1, min(most, len(indices))).round().astype(np.int64)]


def pixels_of(chosen: Sample, contract: ImageContract, reporter: Reporter) -> NDArray[np.uint8]:
    """The readable pictures as a network takes them, (pictures, height, width, channels).

    Raises:
        InputError: none can be read.
    """
    from ception.data.loading import stream

    batches = [
        batch.pixels
        for batch in stream(chosen.pictures, chosen.indices, contract, _BATCH, reporter=reporter, label="Calibrating")
        if len(batch.pixels)
    ]
    if not batches:
        raise InputError(f"none of the pictures of {chosen.told} can be read")
    return np.concatenate(batches)


def agreement(one: Predictor, other: Predictor, chosen: Sample, reporter: Reporter) -> Agreement:
    """What two predictors of the same classes say of the same pictures, from the bytes of their files on.

    Raises:
        InputError: none of the pictures can be read.
    """
    ours: list[NDArray[np.float32]] = []
    theirs: list[NDArray[np.float32]] = []
    readable: list[NDArray[np.integer]] = []
    for answers in answered([one, other], chosen.pictures, chosen.indices, label="Comparing", reporter=reporter):
        readable.append(answers.indices)
        ours.append(one.description.softmax(answers.logits[0]))
        theirs.append(other.description.softmax(answers.logits[1]))
    indices, first, second = np.concatenate(readable), np.concatenate(ours), np.concatenate(theirs)
    if not len(indices):
        raise InputError(f"none of the pictures of {chosen.told} can be read")
    said = first.argmax(-1), second.argmax(-1)
    accuracy = None
    if chosen.labels is not None:
        true = chosen.labels[indices]
        accuracy = float((said[0] == true).mean()), float((said[1] == true).mean())
    gap = float(np.abs(first - second).max())
    return Agreement(len(indices), int((said[0] != said[1]).sum()), gap, accuracy)


def speed(engine: Engine, shape: tuple[int, ...]) -> Speed:
    """How fast an engine runs pictures of a shape (height, width, channels) that are already decoded."""
    pixels = np.random.default_rng(0).integers(0, 256, (_BATCH, *shape), np.uint8)
    single, many = _seconds(engine, pixels[:1]), _seconds(engine, pixels)
    return Speed(
        runtime=described(engine), latency_ms=round(single * 1e3, 2), images_per_s=round(_BATCH / many, 2),
        batch_size=_BATCH,
    )  # fmt: skip


def _seconds(engine: Engine, batch: NDArray[np.uint8]) -> float:
    """The median of several runs, after one that is not timed."""
    engine.run(batch)
    taken: list[float] = []
    while len(taken) < _LEAST or (sum(taken) < _ENOUGH_S and len(taken) < _MOST):
        began = time.perf_counter()
        engine.run(batch)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)
