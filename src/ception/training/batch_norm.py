"""Batch normalisation in fine-tuning: statistics of other pictures, and whether training and inference agree."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from ception.models.kinds import kind

if TYPE_CHECKING:
    from numpy.typing import NDArray

_APART = 0.1  # of accuracy between training and inference mode, from which on the probe warns


def normalisations(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """Its layers of batch normalisation."""
    return [layer for layer in model.layers if kind(layer) == "BatchNormalization"]


def adapt(made: keras.Model, batches: Callable[[], Iterator[NDArray[Any]]]) -> None:
    """Give batch normalisation the statistics of the given inputs: the mean over the batches.

    Source: Li et al., Revisiting batch normalization for practical domain adaptation, arXiv:1603.04779.
    """
    layers = normalisations(made)
    momenta = [layer.momentum for layer in layers]
    try:
        for layer in layers:
            layer.trainable = True
        for step, batch in enumerate(batches()):
            for layer in layers:
                layer.momentum = step / (step + 1)
            made(batch, training=True)
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum, layer.trainable = momentum, False


@contextmanager
def in_fewer_steps(made: keras.Model, times: float) -> Iterator[None]:
    """A context in which the moving statistics go as far in one step as else in so many."""
    layers = normalisations(made)
    momenta = [layer.momentum for layer in layers]
    try:
        for layer in layers:
            layer.momentum **= times
        yield
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum


@dataclass(frozen=True)
class Probe:
    """Accuracy of one batch as the network is used, and as batch normalisation sees it in training.

    Attributes:
        inference: Share of right answers, 0..1.
        training: The same in training mode, without dropout.
    """

    inference: float
    training: float

    @property
    def parted(self) -> bool:
        """Whether the two differ by more than chance would have it."""
        return abs(self.inference - self.training) > _APART


def probe(made: keras.Model, inputs: NDArray[Any], labels: NDArray[np.integer], batch_size: int = 64) -> Probe | None:
    """Score some inputs in both modes, leaving the network as it is; None where it has no batch normalisation.

    Args:
        made: What is trained.
        inputs: Pictures or activations.
        labels: Their labels.
        batch_size: How many are computed together, in training mode with statistics of their own.
    """
    layers = normalisations(made)
    if not layers:
        return None
    dropouts = [layer for layer in made.layers if kind(layer) in ("AlphaDropout", "Dropout")]
    rates = [layer.rate for layer in dropouts]
    kept = [(variable, keras.ops.convert_to_numpy(variable).copy())
            for layer in layers for variable in layer.non_trainable_variables]  # fmt: skip

    def accuracy(training: bool) -> float:
        right = 0
        for start in range(0, len(inputs), batch_size):
            output = made(np.asarray(inputs[start : start + batch_size], np.float32), training=training)
            logits = keras.ops.convert_to_numpy(output[0] if isinstance(output, list) else output)
            right += int((logits.argmax(-1) == labels[start : start + batch_size]).sum())
        return right / len(inputs)

    trainable = [layer.trainable for layer in layers]
    try:
        for layer in dropouts:
            layer.rate = 0.0
        inference = accuracy(False)
        for layer in layers:
            layer.trainable = True  # a frozen one is in inference mode always
        return Probe(inference, accuracy(True))
    finally:
        for layer, trained in zip(layers, trainable, strict=True):
            layer.trainable = trained
        for layer, rate in zip(dropouts, rates, strict=True):
            layer.rate = rate
        for variable, value in kept:
            variable.assign(value)
