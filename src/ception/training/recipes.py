"""Recipes: how a network is trained, as data."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import keras

from ception.data.augmentation import Augmentation
from ception.errors import InputError, nearest
from ception.settings import TrainSettings


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained.

    Attributes:
        algorithm: `sgd`, `rmsprop`, or `adamw` (Adam with decoupled weight decay).
        learning_rate: Step size, the largest one where it changes.
        momentum: Of `sgd` and `rmsprop`.
        decay: Of the mean of squared gradients in `rmsprop`.
        epsilon: What `rmsprop` adds to that mean under the root.
        schedule: `constant`; `cosine`: rising from 0 over `warmup_epochs`, then falling to 0 as a half cosine; or
            `exponential`: multiplied by `decay_rate` every `decay_epochs`.
        warmup_epochs: Epochs over which the learning rate rises.
        decay_rate: Factor of the exponential schedule.
        decay_epochs: Epochs between two of its steps.
        weight_decay: Decoupled weight decay, as a share per step of learning rate 1.
        l2: Factor of the sum of the squared kernels, which is added to the loss.
        clip_norm: Largest norm that all gradients together may have; None leaves them as they are.
        averaging: Decay of the running average of the weights that is validated and kept, after n steps at most
            (1 + n) / (10 + n); 0 keeps the weights themselves. Batch-norm statistics, averages already, stay as they
            are (TF-Slim averages them once more).
        label_smoothing: Share, 0..1, of each label that is spread over all classes.
        auxiliary_weight: Factor of the auxiliary head's loss, where it is trained.
        augmentation: How training pictures are changed.
        batch_size: Pictures in one step.
        epochs: Passes over the training pictures.
        patience: Epochs without a validation loss better by `min_delta` before training stops.
        min_delta: Least improvement of the validation loss that counts.
        source: Where the recipe is from.
    """

    algorithm: Literal["sgd", "rmsprop", "adamw"] = "sgd"
    learning_rate: float
    momentum: float = 0.0
    decay: float = 0.9
    epsilon: float = 1e-7
    schedule: Literal["constant", "cosine", "exponential"] = "constant"
    warmup_epochs: float = 0.0
    decay_rate: float = 1.0
    decay_epochs: float = 1.0
    weight_decay: float = 0.0
    l2: float = 0.0
    clip_norm: float | None = None
    averaging: float = 0.0
    label_smoothing: float = 0.0
    auxiliary_weight: float = 0.4
    augmentation: Augmentation = field(default_factory=Augmentation)
    batch_size: int
    epochs: int
    patience: int
    min_delta: float = 0.0
    source: str

    def optimizer(self, steps_per_epoch: int) -> keras.Optimizer:
        """A fresh Keras optimiser for a training of that many steps an epoch."""
        options: dict[str, Any] = {"weight_decay": self.weight_decay or None, "global_clipnorm": self.clip_norm}
        if self.averaging:
            options |= {"use_ema": True, "ema_momentum": self.averaging}
        kind: Any = keras.optimizers.AdamW
        if self.algorithm == "sgd":
            kind, options = keras.optimizers.SGD, options | {"momentum": self.momentum}
        elif self.algorithm == "rmsprop":
            rmsprop = {"rho": self.decay, "momentum": self.momentum, "epsilon": self.epsilon}
            kind, options = keras.optimizers.RMSprop, options | rmsprop
        else:
            options["weight_decay"] = self.weight_decay
        return (averaged(kind) if self.averaging else kind)(self._rate(steps_per_epoch), **options)

    def _rate(self, steps_per_epoch: int) -> Any:
        schedules = keras.optimizers.schedules
        if self.schedule == "exponential":
            steps = max(1, round(self.decay_epochs * steps_per_epoch))
            return schedules.ExponentialDecay(self.learning_rate, steps, self.decay_rate, staircase=True)
        if self.schedule == "constant":
            return self.learning_rate
        warmup = round(min(self.warmup_epochs, self.epochs / 2) * steps_per_epoch)
        return schedules.CosineDecay(
            0.0 if warmup else self.learning_rate,
            max(1, self.epochs * steps_per_epoch - warmup),
            warmup_target=self.learning_rate if warmup else None,
            warmup_steps=warmup,
        )

    def loss(self) -> Any:
        """Cross-entropy of integer labels and logits, with the recipe's label smoothing, for each picture."""
        share = self.label_smoothing

        def smoothed(labels: Any, logits: Any) -> Any:
            """Cross-entropy against (1 - share) of the label and share spread over all classes."""
            label = keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
            if not share:
                return label
            even = -keras.ops.mean(keras.ops.log_softmax(logits), axis=-1)
            return (1 - share) * label + share * even

        return smoothed


def averaged(kind: Any) -> Any:
    """The optimiser class whose running average of the weights is not held back by the first ones.

    Source: the rule of `tf.train.ExponentialMovingAverage` with `num_updates`.
    """

    class Averaged(kind):
        def _update_model_variables_moving_average(self, trainable_variables: Any) -> None:
            steps = keras.ops.cast(self.iterations, "float32")
            keep = keras.ops.minimum(self.ema_momentum, (1 + steps) / (10 + steps))
            for variable, average in zip(trainable_variables, self._model_variables_moving_average, strict=True):
                average.assign(keep * average + (1 - keep) * variable)

    return Averaged


RECIPES = {
    "article": Recipe(
        learning_rate=0.01,
        batch_size=32,
        epochs=10,
        patience=5,
        min_delta=1e-3,
        source="Depthwise separable convolution networks: theory and practice (TF 2.0), a tutorial",
    ),
    "best": Recipe(
        algorithm="adamw",
        learning_rate=0.003,
        schedule="cosine",
        warmup_epochs=2,
        weight_decay=0.02,
        label_smoothing=0.1,
        augmentation=Augmentation(flip=0.5, shift=0.075, erase=0.5),
        batch_size=64,
        epochs=24,
        patience=24,
        source="docs/recipes.md: what was tried, and what it gave",
    ),
    "xception": Recipe(
        learning_rate=0.045,
        momentum=0.9,
        schedule="exponential",
        decay_rate=0.94,
        decay_epochs=2,
        l2=1e-5,
        averaging=0.9999,
        augmentation=Augmentation(flip=0.5),
        batch_size=32,
        epochs=100,
        patience=100,
        source="arXiv:1610.02357, sections 4.2 and 4.3 (on ImageNet); batch size, epochs and the average's "
        "decay, which it does not give, are those of Inception V3",
    ),
    "inception_v3": Recipe(
        algorithm="rmsprop",
        learning_rate=0.045,
        momentum=0.9,
        decay=0.9,
        epsilon=1.0,
        schedule="exponential",
        decay_rate=0.94,
        decay_epochs=2,
        clip_norm=2.0,
        averaging=0.9999,
        label_smoothing=0.1,
        auxiliary_weight=0.4,
        augmentation=Augmentation(flip=0.5),
        batch_size=32,
        epochs=100,
        patience=100,
        source="arXiv:1512.00567, sections 7 and 8 (on ImageNet); momentum, the auxiliary head's weight and the "
        "average's decay as in TF-Slim",
    ),
    "head": Recipe(
        algorithm="adamw",
        learning_rate=0.003,
        schedule="cosine",
        weight_decay=0.01,
        label_smoothing=0.1,
        augmentation=Augmentation(flip=0.5),
        batch_size=64,
        epochs=40,
        patience=40,
        source="docs/recipes.md: a dense layer on the features of a frozen network",
    ),
}


def chosen(settings: TrainSettings) -> Recipe:
    """The recipe of the settings, with the single options that the settings change.

    Raises:
        InputError: there is no recipe of that name.
    """
    name = settings.recipe or ("head" if settings.weights else "article")
    if name not in RECIPES:
        raise InputError(f"unknown recipe '{name}': {nearest(name, RECIPES)}")
    changes: dict[str, Any] = {
        name: getattr(settings, name)
        for name in ("epochs", "batch_size", "learning_rate", "patience")
        if getattr(settings, name) is not None
    }
    recipe = replace(RECIPES[name], **changes)
    if settings.weights and (recipe.augmentation.shift or recipe.augmentation.erase):
        raise InputError(f"the recipe '{name}' shifts and erases, which a frozen network cannot follow: take head")
    return recipe if settings.flip else replace(recipe, augmentation=replace(recipe.augmentation, flip=0.0))
