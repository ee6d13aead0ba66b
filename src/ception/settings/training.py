"""The options of a training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ception.settings.shared import Backend as Backend  # of the bases' fields, whose types are looked up here
from ception.settings.shared import BatchNorm, CacheSettings, DeviceSettings, Dtype, Resize


@dataclass(frozen=True, kw_only=True)
class TrainSettings(DeviceSettings, CacheSettings):
    """How to train a network.

    Attributes:
        model: Network to train, as ception models lists them; when not given, xception with the weights imagenet for
            colour photos, separable_cnn with fresh weights for grey or small pictures.
        weights: Fine-tune these weights: imagenet, a name that ception models --weights lists, or a weight file. First
            a fresh head is trained, then what lies after an endpoint of the network (see --from); all before it stays
            frozen. Fresh weights, all trained, when not given beside --model.
        from_: Endpoint after which the network is fine-tuned, such as block13, or input for all of it; the last two
            blocks are when not given.
        head_only: Train the fresh head alone; the rest of the network stays as the weights have it.
        head_epochs: Passes over the training pictures for the fresh head; the recipe's when not given (article: 5,
            best: 30), of which best has need with --dropout, --mixup or --cutmix alone: else it solves the head.
        batch_norm: What batch normalisation does where the network is fine-tuned: frozen, adapt (the statistics of
            the training pictures, then frozen) or train (those of each batch).
        final_endpoint: End the network there, such as mixed8, with a head of its own; at its own end when not given.
        partial: Accept weights that lack some of the network's tensors.
        recipe: Named set of training options: article, best, or the published one for ImageNet of xception or
            inception_v3; with weights article or best. When not given, article, or with weights best. The options
            below change single ones of it, with weights those of the last phase.
        epochs: Passes over the training pictures; the recipe's when not given (article: 10, best: 66, xception: 100,
            inception_v3: 100; with weights article: 5, best: 7). Beside --head-only it asks for a head in epochs.
        batch_size: Pictures in one step; the recipe's when not given (article: 32, best: 64, xception: 32,
            inception_v3: 32; with weights article: 16, best: 32).
        learning_rate: Step size of the optimiser; the recipe's when not given (article: 0.01, best: 0.003,
            xception: 0.045, inception_v3: 0.045; with weights article: 0.001, best: 0.01).
        patience: Epochs without a better validation loss before training stops; the recipe's when not given
            (article: 5, best: 24, xception: 100, inception_v3: 100; with weights article: 5, best: 4).
        dropout: Share of hidden units that dropout hides in training; the network's own when not given.
        auxiliary: Train the auxiliary head of inception_v3 too; the saved model is without it.
        depth_multiplier: Factor of every number of filters: below 1 the network is thinner and faster.
        every: Column of an Xception's table to change in every row, as COLUMN=VALUE: shortcut=none, inner=elu or
            segments=4 are the paper's experiments.
        balance: Weigh every class the same in the loss, however many pictures it has.
        flip: Let the recipe mirror pictures left to right (all but article from fresh weights do); not where that
            changes the class, as of digits.
        image_size: Side of the square the network sees, in pixels; the network's own when not given.
        channels: 1 for grey, 3 for colour; when not given, 1 if the pictures are stored as grey, else 3.
        resize: How a picture becomes a square: squashed, its centre cropped, or padded with black.
        crop: Largest share of the area, 0..1, that random crops of the training pictures cut away; the recipe's when
            not given, as for the next four.
        colour: Largest change of the training pictures' brightness, contrast and saturation, as a share of each.
        randaugment: Magnitude, 0..30, of two operations of RandAugment; 0 makes none.
        mixup: Mix training examples in pairs, by shares from a Beta distribution with this parameter (MixUp); 0: none.
        cutmix: The same for rectangles of one in another (CutMix); 0 for none.
        views: Views of each training picture that a frozen part sees: plain, mirrored, then changed by chance; when not
            given, the recipe's (1 for the head, then 2), or 4 with --crop, --colour or --randaugment.
        dtype: Numbers that training computes with, float32 or bfloat16 (weights stay float32); when not given,
            with --weights bfloat16 where this machine is quicker with it, else float32.
        stock_layers: Train with Keras's own layers, not the quicker ones that compute the same.
        time_budget: Minutes in which the training shall end, by fewer epochs where they take longer. The frozen part's
            work and one epoch of each phase take what they take, and scoring comes after.
        group: Keep pictures in one split that belong together, such as the frames of one track: folder (those in one
            folder), original (a picture and its augmented copies, by names such as a_flipped.jpg), a column of the CSV,
            or a regular expression that is searched in each path, whose group in brackets names the picture's group,
            such as '(.+)_'.
        neighbours: Keep small copies of the training pictures, and what the network sees in them, in the run's folder:
            explain, the report and the server's page then show those that are most like a picture.
        skip_unreadable: Leave out pictures that cannot be read instead of stopping.
        seed: Start of every random choice: initial weights, order of the pictures, dropout.
        runs: Folder that receives the run's folder.
    """

    model: str | None = None
    weights: str | None = None
    final_endpoint: str | None = None
    from_: str | None = None
    head_only: bool = False
    head_epochs: int | None = None
    batch_norm: BatchNorm = "frozen"
    partial: bool = False
    recipe: str | None = None
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    patience: int | None = None
    dropout: float | None = None
    auxiliary: bool = False
    depth_multiplier: float = 1.0
    every: tuple[str, ...] = ()
    balance: bool = False
    flip: bool = True
    image_size: int | None = None
    channels: Literal[1, 3] | None = None
    resize: Resize = "squash"
    crop: float | None = None
    colour: float | None = None
    randaugment: int | None = None
    mixup: float | None = None
    cutmix: float | None = None
    views: int | None = None
    dtype: Dtype | None = None
    stock_layers: bool = False
    time_budget: float | None = None
    group: str | None = None
    neighbours: bool = True
    skip_unreadable: bool = False
    seed: int = 0
    runs: Path = Path("runs")

    @property
    def network(self) -> str:
        """The network's name, once it is settled."""
        assert self.model is not None
        return self.model

    @property
    def recipe_name(self) -> str:
        """The recipe's name, where none is given that of the default."""
        return self.recipe or ("best" if self.weights else "article")


@dataclass(frozen=True, kw_only=True)
class TuneSettings(TrainSettings):
    """How to look for the options that train best.

    Attributes:
        minutes: For the whole search; a trial that has begun then is stopped, unless none has come to its end.
        trials: Most trainings to try; as many as there is time for, when not given.
        networks: Network to try, given once for each; --model alone, or what train would take, when not given.
    """

    minutes: float = 30.0
    trials: int | None = None
    networks: tuple[str, ...] = ()


TRAIN_GROUPS = {  # what help shows together, in this order; what it does not name is basic
    "Fine-tuning": ("from_", "head_only", "head_epochs", "batch_norm", "final_endpoint", "partial"),
    "Augmentation": ("flip", "crop", "colour", "randaugment", "mixup", "cutmix", "views"),
    "Network and optimiser": (
        "batch_size", "learning_rate", "patience", "dropout", "channels", "resize", "auxiliary", "depth_multiplier",
        "every",
    ),
    "Machine": ("time_budget", "dtype", "stock_layers", "backend", "device", "cache_limit"),
}  # fmt: skip
