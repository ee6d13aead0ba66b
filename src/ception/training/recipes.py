"""Recipes: how a phase is trained, as data."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

from ception.data.augmentation import Augmentation, Mixing
from ception.errors import InputError, nearest
from ception.settings import TrainSettings


@dataclass(frozen=True, kw_only=True)
class Solver:
    """How the head of a frozen network is solved by L-BFGS instead of trained in steps.

    Attributes:
        penalties: Factors of the weights' regularisation, falling; they are tried in turn until the validation loss
            rises.
        tolerance: Largest part of the gradient with which a head counts as solved.
        iterations: Most of L-BFGS for each head.
    """

    penalties: tuple[float, ...] = (3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003)
    tolerance: float = 1e-4
    iterations: int = 300


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained.

    Attributes:
        algorithm: `sgd`, `rmsprop`, `adamw` (Adam with decoupled weight decay), or `muon`, whose steps have the same
            size in all directions of a kernel, and which is `adamw` for what is no matrix and for the last layer.
        learning_rate: Step size, the largest one where it changes.
        momentum: Of `sgd` and `rmsprop`.
        nesterov: Whether the momentum of `sgd` is Nesterov's.
        decay: Of the mean of squared gradients in `rmsprop`.
        epsilon: What `rmsprop` adds to that mean under the root.
        schedule: `constant`; `cosine`: rising from 0 over `warmup_epochs`, then falling to 0 as a half cosine;
            `exponential`: multiplied by `decay_rate` every `decay_epochs`; or `inverse_time`: divided by
            1 + `decay_rate` * steps.
        warmup_epochs: Epochs over which the learning rate rises.
        decay_rate: Factor of the exponential schedule, or of the steps in that of inverse time.
        stage_factor: Factor of the learning rate for each stage further from the head; a stage is what has feature
            maps of one size.
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
        mixing: How training examples are mixed in pairs, behind a frozen part what it gives for them.
        views: Views of each training picture that a frozen part sees: plain, mirrored, then changed by `augmentation`.
        batch_size: Pictures in one step.
        epochs: Passes over the training pictures.
        patience: Epochs without a validation loss better by `min_delta` before training stops.
        min_delta: Least improvement of the validation loss that counts.
        solver: How a head is solved, for which of the above label smoothing and views alone count; None trains it in
            steps.
        source: Where the recipe is from.
    """

    algorithm: Literal["sgd", "rmsprop", "adamw", "muon"] = "sgd"
    learning_rate: float
    momentum: float = 0.0
    decay: float = 0.9
    epsilon: float = 1e-7
    nesterov: bool = False
    schedule: Literal["constant", "cosine", "exponential", "inverse_time"] = "constant"
    warmup_epochs: float = 0.0
    decay_rate: float = 1.0
    decay_epochs: float = 1.0
    stage_factor: float = 1.0
    weight_decay: float = 0.0
    l2: float = 0.0
    clip_norm: float | None = None
    averaging: float = 0.0
    label_smoothing: float = 0.0
    auxiliary_weight: float = 0.4
    augmentation: Augmentation = field(default_factory=Augmentation)
    mixing: Mixing = field(default_factory=Mixing)
    views: int = 1
    batch_size: int
    epochs: int
    patience: int
    min_delta: float = 0.0
    solver: Solver | None = None
    source: str


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
        algorithm="muon",
        learning_rate=0.003,
        schedule="cosine",
        warmup_epochs=2,
        weight_decay=0.005,
        label_smoothing=0.1,
        augmentation=Augmentation(flip=0.5, shift=0.075, erase=0.25),
        batch_size=64,
        epochs=66,
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
}

# For a network with weights: of its fresh head, and of what lies behind a layer of the network
FINE_TUNING = {
    "article": (
        _ARTICLE := Recipe(
            learning_rate=1e-3,
            momentum=0.9,
            nesterov=True,
            schedule="inverse_time",
            decay_rate=1e-6,
            augmentation=Augmentation(flip=0.5),
            views=2,
            batch_size=16,
            epochs=5,
            patience=5,
            source="a tutorial that fine-tunes Xception in Keras",
        ),
        _ARTICLE,
    ),
    "best": (
        Recipe(
            algorithm="adamw",
            learning_rate=0.003,
            schedule="cosine",
            weight_decay=0.01,
            label_smoothing=0.1,
            augmentation=Augmentation(flip=0.5),
            batch_size=64,
            epochs=30,
            patience=10,
            solver=Solver(),
            source="docs/recipes.md: a dense layer on the features of a frozen network",
        ),
        Recipe(
            algorithm="muon",
            learning_rate=0.01,
            schedule="cosine",
            warmup_epochs=1.5,
            stage_factor=0.5,
            weight_decay=0.01,
            averaging=0.99,
            label_smoothing=0.1,
            augmentation=Augmentation(flip=0.5),
            views=2,
            batch_size=32,
            epochs=7,
            patience=4,
            source="docs/recipes.md: the last two blocks on cached activations",
        ),
    ),
}


def recipes_of(settings: TrainSettings) -> tuple[Recipe, ...]:
    """The recipe of each phase, with the single options that the settings change.

    From fresh weights there is one phase; with weights, the head and what lies behind a layer, or the head alone.
    Epochs, learning rate and patience of the settings are those of the last phase, the batch size that of all.

    Raises:
        InputError: there is no recipe of that name.
    """
    last = ("epochs", "batch_size", "learning_rate", "patience")
    if not settings.weights:
        name = settings.recipe_name
        if name not in RECIPES:
            raise InputError(f"unknown recipe '{name}': {nearest(name, RECIPES)}")
        return (_changed(RECIPES[name], settings, last),)
    name = settings.recipe_name
    if name not in FINE_TUNING:
        raise InputError(f"no recipe '{name}' for fine-tuning: {nearest(name, FINE_TUNING)}")
    head, rest = FINE_TUNING[name]
    head = _changed(head, settings, last if settings.head_only else ("batch_size",))
    if settings.head_epochs:
        head = replace(head, epochs=settings.head_epochs)
    if _in_steps(head, settings, last):
        head = replace(head, solver=None)
    return (head,) if settings.head_only else (head, _changed(rest, settings, last))


def _in_steps(head: Recipe, settings: TrainSettings, last: tuple[str, ...]) -> bool:
    """Whether something is asked for that a head has only where it is trained in steps.

    Those are options of these steps, and what changes the examples from one to the next: MixUp, CutMix and dropout.
    """
    steps = ("head_epochs", "dropout", *(last if settings.head_only else ()))
    return head.mixing != Mixing() or any(getattr(settings, name) for name in steps)


def _changed(recipe: Recipe, settings: TrainSettings, names: tuple[str, ...]) -> Recipe:
    augmentation = _given(recipe.augmentation, settings, ("crop", "colour", "randaugment"))
    mixing = _given(recipe.mixing, settings, ("mixup", "cutmix"))
    views = recipe.views
    if not settings.flip:
        augmentation, views = replace(augmentation, flip=0.0), 1
    redrawn = any((augmentation.crop, augmentation.colour, augmentation.randaugment))
    if settings.weights and redrawn:  # by chance from the third view on, without a flip from the second
        least = 3 if settings.flip else 2
        if settings.views is not None and settings.views < least:
            raise InputError(f"--crop, --colour and --randaugment need --views {least} or more, got {settings.views}")
        views = max(views, _REDRAWN_VIEWS)
    return _given(replace(recipe, augmentation=augmentation, mixing=mixing, views=views), settings, ("views", *names))


_REDRAWN_VIEWS = 4  # where pictures are redrawn and nothing else is said
Fields = TypeVar("Fields", Recipe, Augmentation, Mixing)


def _given(value: Fields, settings: TrainSettings, names: tuple[str, ...]) -> Fields:
    """The value with those of its fields changed that the settings give."""
    changes: dict[str, Any] = {name: getattr(settings, name) for name in names if getattr(settings, name) is not None}
    return replace(value, **changes)
