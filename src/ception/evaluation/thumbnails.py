"""What can be told without a network: a linear classifier on thumbnails, as a yardstick for one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ception.data.images import from_array
from ception.evaluation.comparison import paired_interval
from ception.results import Thumbnails

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ception.data.loading import Pixels

SIDE = 8  # of the thumbnails, in pixels
MOST = 2_000  # pictures to fit on, and to score: they bound time, memory and what has to be decoded for it
_AT_ONCE = 64  # pictures whose pixels are in memory
_ALPHAS = (0.1, 1.0, 10.0, 100.0, 1000.0)


def beside(
    pixels: Pixels,
    labels: NDArray[np.integer],
    training: NDArray[np.integer],
    test: NDArray[np.integer],
    right: NDArray[np.bool_],
) -> Thumbnails | None:
    """How a linear classifier does on the pictures that a network was scored on, or some of them.

    It is ridge regression on the classes, which even for many of them is one decomposition of a small matrix.

    Args:
        pixels: All pictures.
        labels: Of all pictures.
        training: Indices of those that the network was trained on.
        test: Indices of those that it was scored on.
        right: Whether it is right, for each of these.

    Returns:
        None where the pictures to fit on have one class.
    """
    from sklearn.linear_model import RidgeClassifierCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    fitted, scored = training[_some(len(training))], _some(len(test))
    if len(np.unique(labels[fitted])) < 2:
        return None
    classifier = make_pipeline(StandardScaler(), RidgeClassifierCV(_ALPHAS))
    classifier.fit(thumbnails(pixels, fitted), labels[fitted])
    ours, of_network = classifier.predict(thumbnails(pixels, test[scored])) == labels[test[scored]], right[scored]
    return Thumbnails(
        side=SIDE,
        count=len(scored),
        accuracy=float(ours.mean()),
        difference=float(of_network.mean() - ours.mean()),
        difference_interval=paired_interval(ours, of_network),
    )


def thumbnails(pixels: Pixels, indices: NDArray[np.integer]) -> NDArray[np.float32]:
    """Pictures as small as `SIDE`, each value the mean of its part, of shape (indices, SIDE * SIDE * channels)."""
    parts = [
        [np.asarray(from_array(one).resize((SIDE, SIDE), Image.Resampling.BOX)).reshape(-1) for one in batch]
        for batch in (pixels[indices[start : start + _AT_ONCE]] for start in range(0, len(indices), _AT_ONCE))
    ]
    return np.array([one for part in parts for one in part], np.float32)


def _some(count: int) -> NDArray[np.intp]:
    """So many places, or `MOST` of them by chance, and the same each time."""
    return np.sort(np.random.default_rng(0).permutation(count)[:MOST])
