"""What a phase is trained on: pictures, or what the frozen part gives for them; and batches of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ception.data import sources
from ception.data.augmentation import Mixing
from ception.data.batches import Batches
from ception.distributed import ALONE, Team
from ception.training.activations import Activations, Views, activations
from ception.training.phases import INPUT, POOL, Phase

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

    from ception.data.augmentation import Augmentation
    from ception.engines import Precision
    from ception.reporting import Reporter
    from ception.training.planning import Plan
    from ception.training.recipes import Recipe


@dataclass(frozen=True)
class Examples:
    """What is trained on.

    Attributes:
        inputs: By index, pictures (height, width, channels) or activations.
        labels: By index.
        training: Indices to train on.
        validation: Indices to validate on.
        augmentation: How training inputs are changed; None leaves them as they are.
        class_weights: Factor of each class's loss; None weighs every picture the same.
        views: Views of each picture among the inputs, as `Batches` counts them.
    """

    inputs: Any
    labels: NDArray[np.int32]
    training: NDArray[np.int64]
    validation: NDArray[np.int64]
    augmentation: Augmentation | None = None
    class_weights: dict[int, float] | None = None
    views: int = 1


def examples_of(plan: Plan, phase: Phase, network: keras.Model, reporter: Reporter) -> Examples:
    """What the phase is trained on.

    Args:
        plan: The training.
        phase: One of its phases.
        network: With the weights that the phase begins with.
        reporter: Receives notes and progress.

    Raises:
        InputError: the activations are larger than the cache's limit.
        RunError: they cannot be computed or kept.
    """
    data, settings, recipe = plan.data, plan.settings, phase.recipe
    labels, training = data.dataset.labels, data.indices(sources.TRAIN)
    validation = data.indices(sources.VAL)
    factors = balanced(labels[training]) if settings.balance else None
    if phase.after == INPUT:
        return Examples(data.pixels, labels, training, validation, recipe.augmentation, factors)
    last, count = plan.phases[-1], len(data.splits)
    precision: Precision | None = "float32" if settings.dtype == "float32" else None
    names = [name for name in (last.after, POOL) if name != INPUT]  # the head's features by way of the last phase's
    source: Views | Activations = Views(data, last.recipe.augmentation)
    for name in dict.fromkeys(names[: names.index(phase.after) + 1]):
        wanted = np.concatenate([*(training + view * count for view in range(recipe.views)), validation])
        views = max(one.recipe.views for one in plan.phases if name in (one.after, last.after))
        source = activations(
            network, name, source, wanted, plan.description.config,
            in_all=views * len(training) + len(validation), precision=precision,
            cache_limit=settings.cache_limit, team=plan.team, reporter=reporter,
        )  # fmt: skip
    return Examples(source, labels, training, validation, None, factors, recipe.views)


def balanced(labels: NDArray[np.int32]) -> dict[int, float]:
    """Factors that give every class the same weight in the loss, and every picture 1 in the mean."""
    classes, counts = np.unique(labels, return_counts=True)
    return {int(label): len(labels) / (len(classes) * int(count)) for label, count in zip(classes, counts, strict=True)}


def plain_batches(examples: Examples, batch_size: int) -> Iterator[NDArray[np.float32]]:
    """The training inputs as they are, for statistics."""
    training = examples.training
    for start in range(0, len(training), batch_size):
        yield np.asarray(examples.inputs[training[start : start + batch_size]], np.float32)


def batches_of(
    examples: Examples, recipe: Recipe, *, classes: int, seed: int, parts: int = 1, team: Team = ALONE
) -> tuple[Batches, Batches]:
    """Training and validation batches of a phase for `keras.Model.fit`; each in so many parts, of each a process's."""
    inputs, labels, size = examples.inputs, examples.labels, -(-recipe.batch_size // parts)
    mixes = recipe.mixing != Mixing()
    factors = examples.class_weights or {}
    even = team.manner == "spread"
    weight_of = np.array([factors.get(label, 1.0) for label in range(classes)], np.float32)
    training = Batches(
        inputs, labels, examples.training, size, seed=seed, augmentation=examples.augmentation, views=examples.views,
        mixing=recipe.mixing, weight_of=weight_of if mixes else None, shard=team.shard, even=even,
    )  # fmt: skip
    validation = Batches(
        inputs, labels, examples.validation, size, seed=None,
        weight_of=np.ones(classes, np.float32) if mixes else None, shard=team.shard, even=even,
    )  # fmt: skip
    return training, validation
