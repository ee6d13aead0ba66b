"""The index of training pictures by what the trained network sees in them, which explanations show."""

from __future__ import annotations

from contextlib import ExitStack, closing, contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ception import pages
from ception.data import sources
from ception.data.images import from_array, to_pixels
from ception.engines.batching import BatchRunner
from ception.engines.choosing import fastest
from ception.explaining.insight import Insight, near
from ception.explaining.neighbours import MOST, Index, identity, some, unit
from ception.models.endpoints import before_head
from ception.training.activations import part
from ception.training.examples import examples_of
from ception.training.phases import INPUT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import keras
    from numpy.typing import NDArray

    from ception.classifier import Classifier
    from ception.engines import Engine
    from ception.reporting import Reporter
    from ception.training.planning import Plan

_SIDE, _QUALITY = 96, 80  # of a thumbnail, in pixels, and of its JPEG: 2 to 3 kB
_BATCH = 32
_LARGEST = 64 << 20  # bytes of features


def index_of(plan: Plan, classifier: Classifier, network: keras.Model, reporter: Reporter) -> Index:
    """The training pictures, or some of them, as the trained network sees them.

    What the frozen part gives for them is in the cache already; only what was trained is run anew.

    Args:
        plan: The training.
        classifier: With the weights that are kept.
        network: What was trained, with the same frozen part.
        reporter: Receives progress.
    """
    data = plan.data
    training = data.indices(sources.TRAIN)
    labels, at = data.dataset.labels, before_head(classifier.network)
    width = int(np.prod(classifier.network.get_layer(at).output.shape[1:]))
    most = max(len(classifier.class_names), min(MOST, _LARGEST // (2 * width)))
    chosen = training[some(labels[training], most)]
    given, last = examples_of(plan, plan.phases[-1], network, reporter).inputs, plan.phases[-1].after
    with ExitStack() as stack:
        run: Callable[[NDArray[Any]], NDArray[np.float32]] = np.asarray
        if last != at:
            body = part(classifier.network, None if last == INPUT else last, at)
            engine = stack.enter_context(closing(fastest(body, precision="float32", reporter=reporter)))
            run = BatchRunner(engine, _BATCH, reporter=reporter, what="pictures")
        features, thumbnails = [], list[bytes]()
        task = stack.enter_context(reporter.task("Index of training pictures", len(chosen)))
        for start in range(0, len(chosen), _BATCH):
            now = chosen[start : start + _BATCH]
            features.append(unit(run(given[now])).astype(np.float16))
            thumbnails += _thumbnails(plan, now)
            task.advance(len(now))
    names = [data.dataset.pictures.name(int(index)) for index in chosen]
    return Index(np.concatenate(features), labels[chosen], names, thumbnails, identity(classifier.network))


@contextmanager
def insights(
    classifier: Classifier, index: Index | None, reporter: Reporter
) -> Iterator[Callable[[Image.Image], Insight] | None]:
    """A function that gives the training pictures most like a picture; the engine for it is opened when it is needed.

    Args:
        classifier: The model.
        index: Its training pictures; None gives no function.
        reporter: Told where the engine cannot run the network.
    """
    if index is None:
        yield None
        return
    network = classifier.network
    with ExitStack() as stack:

        @cache
        def engine() -> Engine:
            body = part(network, None, before_head(network))
            return stack.enter_context(closing(fastest(body, precision="float32", reporter=reporter)))

        def insight(image: Image.Image) -> Insight:
            features = engine().run(to_pixels(image, classifier.image)[None]).reshape(-1)
            return Insight(None, near(index, classifier.class_names, features))

        yield insight


def _thumbnails(plan: Plan, indices: NDArray[np.int64]) -> list[bytes]:
    """Small copies of pictures, made of their pixels, in the pictures' own shape where these were squashed."""
    data, pictures = plan.data, plan.data.dataset.pictures
    made = []
    for index, pixels in zip(indices.tolist(), data.pixels[indices], strict=True):
        image = from_array(pixels)
        width, height = pictures.size(index)
        if data.contract.resize == "squash" and min(width, height):
            factor = max(image.size) / max(width, height)
            shape = max(1, round(width * factor)), max(1, round(height * factor))
            image = image if shape == image.size else image.resize(shape, Image.Resampling.BICUBIC)
        made.append(pages.jpeg(image, _SIDE, _QUALITY))
    return made
