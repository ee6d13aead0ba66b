"""What parity tests need: weights with randomised batch-norm statistics, copied from one network to its equal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np


def pixels(count: int, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Noise, each picture with a contrast of its own."""
    noise = np.random.default_rng(seed).uniform(-127.5, 127.5, (count, *shape))
    return (127.5 + noise / np.arange(1, count + 1).reshape(-1, *[1] * len(shape)) ** 2).astype("float32")


def logits(network: keras.Model, batch: np.ndarray) -> np.ndarray:
    """The network's output, the first of several."""
    if keras.backend.backend() == "jax":
        found = network.predict_on_batch(batch)
        return np.asarray(found[0] if isinstance(found, list) else found)
    found = network(batch, training=False)  # nothing to trace or compile first
    return keras.ops.convert_to_numpy(found[0] if isinstance(found, list) else found)


def difference(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, relative to the largest expected value; the expected logits must tell pictures apart."""
    largest = np.abs(expected).max()
    assert np.isfinite(expected).all()
    assert np.abs(expected[0] - expected[1]).max() > 1e-2 * largest
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def fill(network: keras.Model, *, seed: int | None = None, layers: Sequence[keras.Layer] | None = None) -> None:
    """Give every weight a value of its own, statistics far from 0 and 1: from a seed, or else by a formula.

    Args:
        network: Any network.
        seed: Of NumPy's generator; None for the formula.
        layers: All layers with weights in the order in which their values are drawn; None for the network's own order.
    """
    for number, layer in enumerate(layers or [layer for layer in network.layers if layer.weights]):
        for index, weight in enumerate(layer.weights):
            size = int(np.prod(weight.shape))
            even = _hashed(size, 64 * number + index) if seed is None else np.random.default_rng(
                [seed, number, index]).random(size)  # fmt: skip
            weight.assign(_scaled(((2 * even - 1) * 3**0.5).reshape(weight.shape), weight))


def _hashed(size: int, start: int) -> np.ndarray:
    """Numbers 0..1 without visible order, the same on every machine and with every NumPy."""
    mixed = np.arange(size, dtype=np.uint64) + np.uint64(start * 2**32)
    for factor in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB):
        mixed = mixed * np.uint64(factor)
        mixed ^= mixed >> np.uint64(31)
    return (mixed >> np.uint64(11)) / 2.0**53


def _scaled(drawn: np.ndarray, weight: Any) -> np.ndarray:
    """Values of mean 0 and deviation 1 to what a weight of that kind holds in a trained network."""
    match weight.name:
        case "gamma":
            return 1 + 0.25 * drawn
        case "moving_variance":
            return 1 + 0.4 * drawn
        case "beta" | "bias" | "moving_mean":
            return 0.2 * drawn
    if len(weight.shape) == 4 and weight.shape[-1] == 1:  # depthwise: a kernel sees one channel
        return drawn / 3
    return drawn * (2 / np.prod(weight.shape[:-1])) ** 0.5


def in_order(network: keras.Model, *, turn_sums: bool = False) -> list[keras.Layer]:
    """The layers with weights as the computation meets them: an order that does not depend on names.

    Args:
        network: A functional network.
        turn_sums: Whether the summands of every addition are taken in the opposite order.
    """
    found: dict[str, keras.Layer] = {}
    seen: set[int] = set()

    def visit(tensor: keras.KerasTensor) -> None:
        layer, node_index, _ = tensor._keras_history
        if id(layer) in seen:
            return
        seen.add(id(layer))
        inputs = layer._inbound_nodes[node_index].input_tensors
        for earlier in reversed(inputs) if turn_sums and isinstance(layer, keras.layers.Add) else inputs:
            visit(earlier)
        if layer.weights:
            found[layer.name] = layer

    for output in network.outputs:
        visit(output)
    return list(found.values())


def copy_weights(source: keras.Model, target: keras.Model, *, turn_sums: bool = False) -> None:
    """Copy all weights to a network that is the same by its computation; fails where it is not."""
    ours, theirs = in_order(source), in_order(target, turn_sums=turn_sums)
    for one, other in zip(ours, theirs, strict=True):
        other.set_weights(one.get_weights())
