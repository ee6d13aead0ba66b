"""Recipes: how a network is trained, as data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import keras

from ception.errors import InputError, nearest
from ception.settings import TrainSettings


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained.

    Attributes:
        learning_rate: Step size of stochastic gradient descent.
        momentum: Its momentum, 0..1.
        batch_size: Pictures in one step.
        epochs: Passes over the training pictures.
        patience: Epochs without a validation loss better by `min_delta` before training stops.
        min_delta: Least improvement of the validation loss that counts.
        source: Where the recipe is from.
    """

    learning_rate: float
    momentum: float = 0.0
    batch_size: int
    epochs: int
    patience: int
    min_delta: float
    source: str

    def optimizer(self) -> keras.Optimizer:
        """A fresh Keras optimiser."""
        return keras.optimizers.SGD(self.learning_rate, momentum=self.momentum)


RECIPES = {
    "article": Recipe(
        learning_rate=0.01,
        batch_size=32,
        epochs=10,
        patience=5,
        min_delta=1e-3,
        source="Depthwise separable convolution networks: theory and practice (TF 2.0), a tutorial",
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
    return replace(RECIPES[settings.recipe], **changes)
