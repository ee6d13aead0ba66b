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
        algorithm: `sgd`, or `adamw` (Adam with decoupled weight decay).
        learning_rate: Step size, the largest one where it changes.
        schedule: `constant`, or `cosine`: rising from 0 over `warmup_epochs`, then falling to 0 as a half cosine.
        warmup_epochs: Epochs over which the learning rate rises.
        weight_decay: Decoupled weight decay, as a share per step of learning rate 1.
        label_smoothing: Share, 0..1, of each label that is spread over all classes.
        augmentation: How training pictures are changed.
        batch_size: Pictures in one step.
        epochs: Passes over the training pictures.
        patience: Epochs without a validation loss better by `min_delta` before training stops.
        min_delta: Least improvement of the validation loss that counts.
        source: Where the recipe is from.
    """

    algorithm: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_epochs: float = 0.0
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    augmentation: Augmentation = field(default_factory=Augmentation)
    batch_size: int
    epochs: int
    patience: int
    min_delta: float = 0.0
    source: str

    def optimizer(self, steps_per_epoch: int) -> keras.Optimizer:
        """A fresh Keras optimiser for a training of that many steps an epoch."""
        rate: Any = self.learning_rate
        if self.schedule == "cosine":
            warmup = round(min(self.warmup_epochs, self.epochs / 2) * steps_per_epoch)
            rate = keras.optimizers.schedules.CosineDecay(
                0.0 if warmup else rate,
                max(1, self.epochs * steps_per_epoch - warmup),
                warmup_target=rate if warmup else None,
                warmup_steps=warmup,
            )
        if self.algorithm == "adamw":
            return keras.optimizers.AdamW(rate, weight_decay=self.weight_decay)
        return keras.optimizers.SGD(rate, weight_decay=self.weight_decay or None)

    def loss(self) -> Any:
        """Cross-entropy of integer labels and logits, with the recipe's label smoothing."""
        plain = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        share = self.label_smoothing
        if not share:
            return plain

        def smoothed(labels: Any, logits: Any) -> Any:
            """Cross-entropy against (1 - share) of the label and share spread over all classes."""
            even = -keras.ops.mean(keras.ops.log_softmax(logits), axis=-1)
            label = keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
            return (1 - share) * label + share * even

        return smoothed


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
}


def chosen(settings: TrainSettings) -> Recipe:
    """The recipe of the settings, with the single options that the settings change.

    Raises:
        InputError: there is no recipe of that name.
    """
    if settings.recipe not in RECIPES:
        raise InputError(f"unknown recipe '{settings.recipe}': {nearest(settings.recipe, RECIPES)}")
    changes: dict[str, Any] = {
        name: getattr(settings, name)
        for name in ("epochs", "batch_size", "learning_rate", "patience")
        if getattr(settings, name) is not None
    }
    recipe = replace(RECIPES[settings.recipe], **changes)
    return recipe if settings.flip else replace(recipe, augmentation=replace(recipe.augmentation, flip=0.0))
