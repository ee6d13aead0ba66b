"""What a model sees in one picture: what spoke for its answer, and which training pictures it is like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import keras
import numpy as np

from ception.data.images import flatten, to_pixels
from ception.explaining import methods, overlays
from ception.explaining.neighbours import USUAL, Index, with_features

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from PIL import Image

    from ception.classifier import Classifier
    from ception.explaining.methods import Parts
    from ception.results import Neighbour


@dataclass(frozen=True)
class Subject:
    """A model that is looked into.

    Attributes:
        classifier: The model.
        seeing: Its network from pictures to features and logits.
        index: Training pictures to compare with; None shows none.
        parts: The network, cut where heat maps look at it; None draws none.
    """

    classifier: Classifier
    seeing: keras.Model
    index: Index | None = None
    parts: Parts | None = None

    @classmethod
    def of(cls, classifier: Classifier, index: Index | None = None, parts: Parts | None = None) -> Subject:
        """A model with what is to be shown of it."""
        return cls(classifier, with_features(classifier.network), index, parts)

    def seen(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The features (channels,) and the logits (classes,) of a picture (height, width, channels)."""
        features, logits = self.seeing(pixels[None].astype(np.float32), training=False)
        arrays = (np.asarray(keras.ops.convert_to_numpy(one), np.float32) for one in (features, logits))
        first, second = arrays
        return first.reshape(-1), second[0]


@dataclass(frozen=True)
class Insight:
    """What a model sees in a picture.

    Attributes:
        heat: The picture with what spoke for its answer over it; None where nothing was drawn.
        nearest: The training pictures most like it, each with its small copy.
    """

    heat: Image.Image | None
    nearest: tuple[tuple[Neighbour, bytes], ...]


def look(subject: Subject, image: Image.Image, count: int = USUAL) -> Insight:
    """What the model sees in a picture.

    Args:
        subject: The model.
        image: The picture.
        count: How many training pictures are shown.
    """
    image = flatten(image, 3)
    classifier = subject.classifier
    pixels = to_pixels(image, classifier.image)
    features, logits = subject.seen(pixels)
    heat = None
    if subject.parts is not None:
        found = methods.heat_map(subject.parts, pixels, int(logits.argmax()), "gradcam")
        shown = overlays.visible(image)
        heat = overlays.overlay(shown, overlays.in_picture(found.values, classifier.image, shown.size))
    return Insight(heat, () if subject.index is None else near(subject.index, classifier.class_names, features, count))


def near(
    index: Index, class_names: Sequence[str], features: NDArray[np.float32], count: int = USUAL
) -> tuple[tuple[Neighbour, bytes], ...]:
    """The training pictures whose features are most like these, each with its small copy."""
    found = index.nearest(features, count)
    return tuple(zip(index.told(class_names, found), (index.thumbnails[row] for row, _ in found), strict=True))
