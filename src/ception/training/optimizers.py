"""Optimiser, schedule and loss of a recipe, in Keras."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from ception.distributed import ALONE, Team
from ception.keras_internals import averaged, discriminating, muon
from ception.training.recipes import Recipe

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ception.training.trainee import Trainee


def optimizer_of(
    recipe: Recipe, steps_per_epoch: int, rates: Mapping[str, float] | None = None, *, parts: int = 1,
    team: Team = ALONE,
) -> keras.Optimizer:  # fmt: skip
    """A fresh Keras optimiser for a training of that many steps an epoch.

    Args:
        recipe: How the phase is trained.
        steps_per_epoch: Batches in an epoch.
        rates: Factor of the learning rate by the path of a variable; 1 where there is none. AdamW's decay does not
            follow it.
        parts: Batches that one step of the optimiser is made of; their gradients are averaged.
        team: The processes that make its steps together.
    """
    options: dict[str, Any] = {"weight_decay": recipe.weight_decay or None, "global_clipnorm": recipe.clip_norm}
    if parts > 1:
        options["gradient_accumulation_steps"] = parts
    if recipe.averaging:
        options |= {"use_ema": True, "ema_momentum": recipe.averaging ** (1 / parts)}
    kind: Any = keras.optimizers.AdamW
    if recipe.algorithm == "sgd":
        kind, options = keras.optimizers.SGD, options | {"momentum": recipe.momentum, "nesterov": recipe.nesterov}
    elif recipe.algorithm == "rmsprop":
        rmsprop = {"rho": recipe.decay, "momentum": recipe.momentum, "epsilon": recipe.epsilon}
        kind, options = keras.optimizers.RMSprop, options | rmsprop
    else:
        options["weight_decay"] = recipe.weight_decay
        if recipe.algorithm == "muon":
            kind, options = muon(), options | {"adam_weight_decay": recipe.weight_decay}
    kind = averaged(kind) if recipe.averaging else kind
    kind = discriminating(kind, rates) if rates else kind
    return team.sharing(kind)(schedule_of(recipe, steps_per_epoch / parts), **options)


def schedule_of(recipe: Recipe, steps_per_epoch: float) -> Any:
    """The learning rate over the steps: a schedule of Keras, or a number that stays."""
    schedules = keras.optimizers.schedules
    if recipe.schedule == "exponential":
        steps = max(1, round(recipe.decay_epochs * steps_per_epoch))
        return schedules.ExponentialDecay(recipe.learning_rate, steps, recipe.decay_rate, staircase=True)
    if recipe.schedule == "inverse_time":
        return schedules.InverseTimeDecay(recipe.learning_rate, 1, recipe.decay_rate)
    if recipe.schedule == "constant":
        return recipe.learning_rate
    warmup = round(min(recipe.warmup_epochs, recipe.epochs / 2) * steps_per_epoch)
    return schedules.CosineDecay(
        0.0 if warmup else recipe.learning_rate,
        max(1, round(recipe.epochs * steps_per_epoch) - warmup),
        warmup_target=recipe.learning_rate if warmup else None,
        warmup_steps=warmup,
    )


def smoothed_entropy(recipe: Recipe, shares: NDArray[np.float64]) -> float:
    """The least cross-entropy with the recipe's smoothed labels of a network that only knows the classes' shares.

    Of a single class it is what the best of networks has.
    """
    smoothed = (1 - recipe.label_smoothing) * shares + recipe.label_smoothing / len(shares)
    smoothed = smoothed[smoothed > 0]
    return float(-(smoothed * np.log(smoothed)).sum())


def loss_of(recipe: Recipe) -> Callable[[Any, Any], Any]:
    """Cross-entropy of labels and logits, with the recipe's label smoothing, for each picture.

    Labels are integers (batch,) or weights of the classes (batch, classes).
    """
    share = recipe.label_smoothing

    def smoothed(labels: Any, logits: Any) -> Any:
        """Cross-entropy against (1 - share) of the label and share spread over all classes."""
        if len(labels.shape) == 2 and labels.shape[-1] == logits.shape[-1] > 1:
            label = -keras.ops.sum(labels * keras.ops.log_softmax(logits), axis=-1)
            weight = keras.ops.sum(labels, axis=-1)
        else:
            label = keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
            weight = 1
        if not share:
            return label
        even = -keras.ops.mean(keras.ops.log_softmax(logits), axis=-1) * weight
        return (1 - share) * label + share * even

    return smoothed


def compile_for(made: Trainee, recipe: Recipe, optimizer: keras.Optimizer, *, at_once: int = 1) -> None:
    """Compile a network for a recipe.

    Args:
        made: The network.
        recipe: How it is trained.
        optimizer: With what.
        at_once: Steps without Python between them.
    """
    made.compile(
        optimizer=optimizer,
        loss=loss_of(recipe),
        metrics=["accuracy"],
        # XLA on a CPU computes the gradients of convolutions ten times slower than TensorFlow itself
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
        steps_per_execution=at_once,
    )
