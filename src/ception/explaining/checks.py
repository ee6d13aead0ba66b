"""Whether a heat map explains anything: it has to change with the weights, and what it marks has to matter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np

from ception.explaining.methods import GROUND, HeatMap, Method, Parts, heat_map, parts_of, resized
from ception.models.building import build_network
from ception.results import Evidence
from ception.results.explanations import ALIKE

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ception.models.config import NetworkConfig

_STEPS = 8  # of insertion and deletion
_RANDOM_ORDERS = 2


def evidence(
    parts: Parts, randomised: Parts, found: HeatMap, pixels: NDArray[np.uint8], index: int, method: Method,
    softmax: Callable[[NDArray[np.float32]], NDArray[np.float32]],
) -> Evidence:  # fmt: skip
    """What speaks for a heat map.

    Args:
        parts: The network.
        randomised: The same with random weights.
        found: The map.
        pixels: The picture that it is of, (height, width, channels).
        index: The class.
        method: How it was found.
        softmax: From logits to probabilities.

    Source: for insertion and deletion Petsiuk et al., arXiv:1806.07421, section 4.2; for random weights Adebayo et al.,
        arXiv:1810.03292, section 3.
    """
    from scipy.stats import spearmanr

    def curve(values: NDArray[np.float32], uncovering: bool) -> float:
        return _area(parts.whole, pixels, values, index, softmax, uncovering=uncovering)

    size = found.values.shape
    random = np.random.default_rng(0)
    chance = [random.random(size).astype(np.float32) for _ in range(_RANDOM_ORDERS)]
    other = heat_map(randomised, pixels, index, method).values
    flat = np.ptp(other) == 0 or np.ptp(found.values) == 0
    alike = 1.0 if flat else float(spearmanr(found.values, other, axis=None).statistic)
    inserted, deleted = curve(found.values, True), curve(found.values, False)
    by_chance = [float(np.mean([curve(one, uncovering) for one in chance])) for uncovering in (True, False)]
    if np.ptp(found.values) == 0:  # it marks nothing: all orders of its places are by chance
        inserted, deleted = by_chance
    numbers = [round(value, 4) for value in (inserted, deleted, *by_chance, alike)]
    return Evidence(
        insertion=numbers[0], deletion=numbers[1], insertion_by_chance=numbers[2], deletion_by_chance=numbers[3],
        alike=numbers[4], explains=numbers[0] > numbers[2] and numbers[1] < numbers[3] and numbers[4] < ALIKE,
    )  # fmt: skip


def randomised(config: NetworkConfig, parts: Parts) -> Parts:
    """A copy of a network with its weights shuffled, cut at the same layer."""
    copy = build_network(config)
    random = np.random.default_rng(0)
    copy.set_weights([_shuffled(weight, random) for weight in parts.whole.get_weights()])
    return parts_of(copy, parts.layer) if parts.layer else Parts(copy, copy, copy, "")


def _shuffled(weight: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """The same numbers elsewhere: as large as before, and meaning nothing."""
    return random.permutation(weight.reshape(-1)).reshape(weight.shape)


def _area(
    network: keras.Model, pixels: NDArray[np.uint8], values: NDArray[np.float32], index: int,
    softmax: Callable[[NDArray[np.float32]], NDArray[np.float32]], *, uncovering: bool,
) -> float:  # fmt: skip
    """The mean probability of the class over all steps from covered to uncovered, or back."""
    warmth = resized(values, pixels.shape[:2])
    rank = np.argsort(np.argsort(-warmth, axis=None, kind="stable")).reshape(warmth.shape) / warmth.size
    shares = np.linspace(0, 1, _STEPS + 1)[:, None, None]
    shown = rank < shares if uncovering else rank >= shares
    pictures = np.where(shown[..., None], pixels.astype(np.float32), np.float32(GROUND))
    logits = keras.ops.convert_to_numpy(network(pictures, training=False))
    return float(softmax(np.asarray(logits, np.float32))[:, index].mean())
