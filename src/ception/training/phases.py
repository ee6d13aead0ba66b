"""A training as phases one after another; each trains what lies behind a layer of the network."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import keras
import numpy as np

from ception.distributed import ALONE, Team
from ception.errors import InputError, RunError
from ception.keras_internals import producer
from ception.models.endpoints import endpoints, stages, truncate
from ception.settings import BatchNorm, TrainSettings
from ception.training.batch_norm import normalisations
from ception.training.recipes import Recipe
from ception.training.trainee import Share, Spread, Trainee
from ception.weights.names import variables

INPUT, POOL = "input", "pool"
_KINDS = {"alone": Trainee, "added": Share, "spread": Spread}
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

    @property
    def summary(self) -> str:
        """What is trained, in a few words."""
        if self.after == POOL:
            verb = "solved" if self.recipe.solver else "trained"
            return f"a fresh head is {verb}, all else stays as the weights have it"
        return "all is trained" if self.after == INPUT else f"what lies after {self.after} is trained with the head"

    def describe(self, trainee: Trainee) -> str:
        """What is trained and what is frozen."""
        trained = sum(int(np.prod(weight.shape)) for weight in trainee.trainable_weights)
        told = f"{self.name}: {'solved' if self.recipe.solver else 'trained'}: {trained:,} weights"
        if self.after != INPUT:
            told += f" after {'the pooling' if self.after == POOL else self.after}; frozen: the rest"
        if normalisations(trainee):
            told += f"; batch norm there: {_NAMES[self.batch_norm]}"
        return told


def phases_of(settings: TrainSettings, recipes: Sequence[Recipe], network: keras.Model) -> tuple[Phase, ...]:
    """The phases of a training: all at once from fresh weights; else the head, then what lies after a layer.

    Args:
        settings: The settings.
        recipes: Of each phase, as `recipes_of` gives them.
        network: What is trained.

    Raises:
        InputError: the network has no such layer.
    """
    if not settings.weights:
        return (Phase(name="all", after=INPUT, recipe=recipes[0], batch_norm="train"),)
    if POOL not in [layer.name for layer in network.layers]:
        raise InputError(f"{network.name} has no pooling, after which a head could be trained")
    head = Phase(name="head", after=POOL, recipe=recipes[0], batch_norm="frozen")
    if settings.head_only:
        return (head,)
    after = _last_frozen(network, settings.from_)
    return head, Phase(name="fine-tuning", after=after, recipe=recipes[1], batch_norm=settings.batch_norm)


def _last_frozen(network: keras.Model, name: str | None) -> str:
    """The last layer that stays frozen, by a name the user gave, or what lies before the last two blocks."""
    names = [layer.name for layer in network.layers]
    if name == INPUT:
        return INPUT
    if name is None:  # docs/recipes.md
        maps = [end for end in endpoints(network) if names.index(end) < names.index(POOL)]
        return maps[-3] if len(maps) > 2 else INPUT
    layer_name = str(producer(truncate(network, name).output)[0].name)
    if names.index(layer_name) >= names.index(POOL):
        raise InputError(f"--from {name} leaves the head alone to be trained: ask for that with --head-only")
    try:
        keras.Model(network.get_layer(layer_name).output, network.output)
    except ValueError:  # another path goes round it
        known = [end for end in endpoints(network) if names.index(end) < names.index(POOL)]
        raise InputError(f"--from {name} lies inside a block: name its end (known: {', '.join(known)})") from None
    return layer_name


def start_head(network: keras.Model) -> None:
    """Give the last layer initial weights, whatever the file had there."""
    logits = network.get_layer("logits")
    logits.kernel.assign(logits.kernel_initializer(logits.kernel.shape))
    logits.bias.assign(np.zeros(logits.bias.shape, np.float32))


@contextmanager
def trainee(network: keras.Model, phase: Phase, team: Team = ALONE) -> Iterator[Trainee]:
    """The trained part of the network, which shares its weights; only for the context the rest is frozen.

    Raises:
        RunError: at the end a frozen weight is another than at the beginning.
    """
    start = network.input if phase.after == INPUT else network.get_layer(phase.after).output
    made = _KINDS[team.manner](start, network.output, name=network.name)
    made.team = team
    made.l2, made.auxiliary_weight = phase.recipe.l2, phase.recipe.auxiliary_weight
    trained = {id(layer) for layer in made.layers}
    frozen = [layer for layer in network.layers if id(layer) not in trained]
    if phase.batch_norm != "train":
        frozen += normalisations(made)
    for layer in frozen:
        layer.trainable = False
    moving = {id(variable) for variable in made.trainable_variables}
    if phase.batch_norm != "frozen":
        moving |= {id(variable) for layer in normalisations(made) for variable in layer.variables}
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


def rates(network: keras.Model, recipe: Recipe) -> dict[str, float]:
    """Factor of the learning rate by the path of each variable: 1 in the head, less the earlier the stage."""
    if recipe.stage_factor == 1:
        return {}
    names = [layer.name for layer in network.layers]
    ends = [names.index(name) for name in stages(network)]
    return {
        variable.path: recipe.stage_factor ** sum(index <= end for end in ends)
        for index, layer in enumerate(network.layers)
        for variable in layer.trainable_variables
    }
