"""What a network gives for pictures before its head: their features, on the path that its answers take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ception.predictor import Predictor, answered

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ception.data.pictures import Pictures
    from ception.reporting import Reporter


@dataclass(frozen=True, kw_only=True)
class Features:
    """What a network gives for a picture.

    Attributes:
        path: The picture's path or name.
        values: Float32 of shape (channels,); None where the picture cannot be read.
        error: Why not; None where it can.
    """

    path: str
    values: NDArray[np.float32] | None = None
    error: str | None = None


def extracted(
    predictor: Predictor, pictures: Pictures, indices: NDArray[np.integer], reporter: Reporter
) -> Iterator[Features]:
    """The features of pictures, in their order.

    Args:
        predictor: Opened for features.
        pictures: All pictures.
        indices: Those that are asked for, ascending.
        reporter: Receives the progress.

    Raises:
        RunError: the network gives what is no number.
    """
    for answers in answered([predictor], pictures, indices, label="Features", reporter=reporter):
        found = {index: Features(path=pictures.name(index), error=why) for index, why in answers.errors.items()}
        rows: NDArray[Any] = answers.logits[0].reshape(len(answers.indices), -1)
        for index, row in zip(answers.indices.tolist(), rows, strict=True):
            found[index] = Features(path=pictures.name(index), values=row)
        yield from (found[index] for index in sorted(found))
