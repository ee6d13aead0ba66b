"""A training as phases one after another; each trains what lies behind a place of the network."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from ception.errors import InputError, RunError
from ception.models.endpoints import endpoints, stages, truncate
from ception.settings import BatchNorm, TrainSettings
from ception.training import recipes
from ception.training.recipes import Recipe
from ception.training.trainee import Trainee
from ception.weights.names import variables

if TYPE_CHECKING:
    from numpy.typing import NDArray

INPUT, POOL = "input", "pool"
_APART = 0.1  # of accuracy between training and inference mode, from which on the probe warns
_NAMES = {"frozen": "frozen", "adapt": "statistics of these pictures, then frozen", "train": "trained"}


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One stretch of a training.

    Attributes:
        name: What it is called.
        after: `input`, or the layer on whose cached output it trains; that layer and all before it are frozen.
        recipe: How it trains.
        batch_norm: What batch normalisation does in the trained part: `frozen`, with statistics and scales as they
            are; `adapt`, with the statistics of the training pictures (arXiv:1603.04779), then frozen; `train`, with
            those of each batch.
    """

    name: str
    after: str
    recipe: Recipe
    batch_norm: BatchNorm

    def describe(self, trainee: Trainee) -> str:
        """What is trained and what is frozen."""
        trained = sum(int(np.prod(weight.shape)) for weight in trainee.trainable_weights)
        told = f"{self.name}: trained: {trained:,} weights"
        if self.after != INPUT:
            told += f" after {'the pooling' if self.after == POOL else self.after}; frozen: the rest"
        if _normalisations(trainee):
            told += f"; batch norm there: {_NAMES[self.batch_norm]}"
        return told


def planned(settings: TrainSettings, network: keras.Model) -> list[Phase]:
    """The phases of a training: all at once from fresh weights; else the head, then what lies after a place.

    Raises:
        InputError: the recipe is unknown, or the network has no such place.
    """
    if not settings.weights:
        return [Phase(name="all", after=INPUT, recipe=recipes.chosen(settings), batch_norm="train")]
    head, rest = recipes.fine_tuning(settings)
    phases = [Phase(name="head", after=POOL, recipe=head, batch_norm="frozen")]
    names = [layer.name for layer in network.layers]
    if POOL not in names:
        raise InputError(f"{network.name} has no pooling, after which a head could be trained")
    if not settings.head_only:
        after = _place(network, settings.from_)
        phases.append(Phase(name="fine-tuning", after=after, recipe=rest, batch_norm=settings.batch_norm))
    return phases


def _place(network: keras.Model, name: str | None) -> str:
    names = [layer.name for layer in network.layers]
    if name == INPUT:
        return INPUT
    if name is None:  # what lies before the last two blocks: docs/recipes.md
        maps = [place for place in endpoints(network) if names.index(place) < names.index(POOL)]
        return maps[-3] if len(maps) > 2 else INPUT
    place = str(truncate(network, name).output._keras_history.operation.name)
    if names.index(place) >= names.index(POOL):
        raise InputError(f"--from {name} leaves the head alone to be trained: ask for that with --head-only")
    try:
        keras.Model(network.get_layer(place).output, network.output)
    except ValueError:  # another path goes round it
        known = [end for end in endpoints(network) if names.index(end) < names.index(POOL)]
        raise InputError(f"--from {name} lies inside a block: name its end (known: {', '.join(known)})") from None
    return place


def start_head(network: keras.Model) -> None:
    """Give the last layer initial weights, whatever the file had there."""
    logits = network.get_layer("logits")
    logits.kernel.assign(logits.kernel_initializer(logits.kernel.shape))
    logits.bias.assign(np.zeros(logits.bias.shape, np.float32))


@contextmanager
def trainee(network: keras.Model, phase: Phase) -> Iterator[Trainee]:
    """The trained part of the network, which shares its weights; only for the context the rest is frozen.

    Raises:
        RunError: at the end a frozen weight is another than at the beginning.
    """
    start = network.input if phase.after == INPUT else network.get_layer(phase.after).output
    made = Trainee(start, network.output, name=network.name)
    made.l2, made.auxiliary_weight = phase.recipe.l2, phase.recipe.auxiliary_weight
    trained = {id(layer) for layer in made.layers}
    frozen = [layer for layer in network.layers if id(layer) not in trained]
    if phase.batch_norm != "train":
        frozen += _normalisations(made)
    for layer in frozen:
        layer.trainable = False
    moving = {id(variable) for variable in made.trainable_variables}
    if phase.batch_norm != "frozen":
        moving |= {id(variable) for layer in _normalisations(made) for variable in layer.variables}
    try:
        before = _digest(network, moving)
        yield made
        if _digest(network, moving) != before:
            raise RunError("a frozen weight moved: please report this")
    finally:
        for layer in frozen:
            layer.trainable = True


def _digest(network: keras.Model, moving: set[int]) -> bytes:
    """Of all weights and statistics that must not move."""
    digest = hashlib.blake2b()
    for name, variable in variables(network).items():
        if id(variable) not in moving:
            digest.update(name.encode() + np.ascontiguousarray(keras.ops.convert_to_numpy(variable)).tobytes())
    return digest.digest()


def _normalisations(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    return [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]


def rates(network: keras.Model, recipe: Recipe) -> dict[str, float]:
    """Factor of the learning rate by the path of each variable: 1 in the head, less the earlier the stage."""
    if recipe.stage_factor == 1:
        return {}
    names = [layer.name for layer in network.layers]
    ends = [names.index(name) for name in stages(network)]
    return {
        variable.path: recipe.stage_factor ** sum(place <= end for end in ends)
        for place, layer in enumerate(network.layers)
        for variable in layer.trainable_variables
    }


def adapt(made: keras.Model, batches: Callable[[], Iterator[NDArray[Any]]]) -> None:
    """Give batch normalisation the statistics of the given inputs: the mean over the batches.

    Source: Li et al., Revisiting batch normalization for practical domain adaptation, arXiv:1603.04779.
    """
    layers = _normalisations(made)
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
    layers = _normalisations(made)
    if not layers:
        return None
    dropouts = [layer for layer in made.layers if isinstance(layer, keras.layers.Dropout)]
    rates = [layer.rate for layer in dropouts]
    kept = [(variable, keras.ops.convert_to_numpy(variable).copy())
            for layer in layers for variable in layer.non_trainable_variables]  # fmt: skip

    def accuracy(training: bool) -> float:
        right = 0
        for start in range(0, len(inputs), batch_size):
            found = made(np.asarray(inputs[start : start + batch_size], np.float32), training=training)
            logits = keras.ops.convert_to_numpy(found[0] if isinstance(found, list) else found)
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
