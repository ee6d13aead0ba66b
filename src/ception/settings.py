"""Every option of every task, once: name, default, unit and help. Flags, saved records and docs derive from here.

So do the typed keywords of `ception.options`: after a change, run `python tools/write_options.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Backend = Literal["tensorflow", "jax", "torch"]
Resize = Literal["squash", "crop", "pad"]
BatchNorm = Literal["frozen", "adapt", "train"]
Dtype = Literal["float32", "bfloat16"]
Precision = Literal["float32", "bfloat16", "float16", "int8"]
EngineName = Literal["openvino", "onnxruntime", "keras"]
ExplainMethod = Literal["gradcam", "integrated-gradients", "occlusion", "all"]
Split = Literal["train", "val", "test", "all"]


@dataclass(frozen=True, kw_only=True)
class CacheSettings:
    """What may be kept.

    Attributes:
        cache_limit: Most that the cache folder may hold, in GB.
    """

    cache_limit: float = 10.0


@dataclass(frozen=True, kw_only=True)
class BackendSettings:
    """What Keras computes with.

    Attributes:
        backend: Keras's backend; the first installed of tensorflow, jax, torch when not given.
    """

    backend: Backend | None = None


@dataclass(frozen=True, kw_only=True)
class DeviceSettings(BackendSettings):
    """Where it computes.

    Attributes:
        device: Processor to use, such as cpu or gpu:0; the backend's own choice when not given.
    """

    device: str | None = None


@dataclass(frozen=True, kw_only=True)
class EngineSettings(DeviceSettings, CacheSettings):
    """What runs a trained network.

    Attributes:
        engine: What runs the network: openvino, onnxruntime or keras; the fastest installed one when not given, or
            Keras's where a backend or device is named.
        dtype: Numbers to compute with: float32 or bfloat16, which is quicker where the processor has it, and coarser.
    """

    engine: EngineName | None = None
    dtype: Dtype = "float32"


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
            best: 30).
        batch_norm: What batch normalisation does where the network is fine-tuned: frozen, adapt (the statistics of
            the training pictures, then frozen) or train (those of each batch).
        final_endpoint: End the network there, such as mixed8, with a head of its own; at its own end when not given.
        partial: Accept weights that lack some of the network's tensors.
        recipe: Named set of training options: article, best, or the published one for ImageNet of xception or
            inception_v3; with weights article or best. When not given, article, or with weights best. The options
            below change single ones of it, with weights those of the last phase.
        epochs: Passes over the training pictures; the recipe's when not given (article: 10, best: 24, xception: 100,
            inception_v3: 100; with weights article: 5, best: 10).
        batch_size: Pictures in one step; the recipe's when not given (article: 32, best: 64, xception: 32,
            inception_v3: 32; with weights article: 16, best: 32).
        learning_rate: Step size of the optimiser; the recipe's when not given (article: 0.01, best: 0.003,
            xception: 0.045, inception_v3: 0.045; with weights article: 0.001, best: 0.003).
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
        mixup: Mix training examples in pairs, by shares from Beta distributions of this parameter (MixUp); 0 for none.
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


TRAIN_GROUPS = {  # what help shows together, in this order; what it does not name is basic
    "Fine-tuning": ("from_", "head_only", "head_epochs", "batch_norm", "final_endpoint", "partial"),
    "Augmentation": ("flip", "crop", "colour", "randaugment", "mixup", "cutmix", "views"),
    "Network and optimiser": (
        "batch_size", "learning_rate", "patience", "dropout", "channels", "resize", "auxiliary", "depth_multiplier",
        "every",
    ),
    "Machine": ("time_budget", "dtype", "stock_layers", "backend", "device", "cache_limit"),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings(EngineSettings):
    """How to score a model.

    Attributes:
        split: Split of the data to score on: train, val, test or all. When not given, the test set that the data state;
            else, of the data that the model was trained on, the test pictures that the training left out; else all.
            By hand, data that state no split are split as a training on them would do it.
        batch_size: Pictures in one step.
        target_precision: Share of right answers, 0..1, that is wished for: the confidence from which on the validation
            pictures promise it is tried here, and told as --min-confidence for predict.
        by: Score groups of pictures too: a further column of the CSV, or `size` (the picture's shorter side).
        out: Folder for the scores, the predictions and the report; when not given,
            evaluations/ in the model's run folder, or evaluation-DATA here when the model lies in no run.
    """

    split: Split | None = None
    batch_size: int = 64
    target_precision: float | None = None
    by: str | None = None
    out: Path | None = None


@dataclass(frozen=True, kw_only=True)
class PredictSettings(EngineSettings):
    """How to classify pictures.

    Attributes:
        top: Number of classes to name for each picture.
        min_confidence: Probability, 0..1, below which the answer is `unknown`; the best guess is told all the same.
            When not given, what an exported model was exported with, else 0.
        calibration: Divide the logits by the model's temperature, so that probabilities mean what they say.
        weights: Take a network's name for MODEL, with these weights: imagenet, a name that ception models --weights
            lists, or a weight file.
        batch_size: Pictures in one step.
        allow_urls: Read pictures from http:// and https:// addresses too, each at most 64 MB and 30 seconds.
    """

    top: int = 5
    min_confidence: float | None = None
    calibration: bool = True
    weights: str | None = None
    batch_size: int = 32
    allow_urls: bool = False


@dataclass(frozen=True, kw_only=True)
class CompareSettings(EngineSettings):
    """How to compare two models.

    Attributes:
        split: Split of the data to compare on, as for evaluate.
        out: Folder for the numbers and the pictures that changed sides; when not given, comparison-ONE-OTHER with the
            name of DATA and, other than what is compared without --split, the split.
    """

    split: Split | None = None
    out: Path | None = None


@dataclass(frozen=True, kw_only=True)
class SummarySettings(BackendSettings):
    """What to tell of a network.

    Attributes:
        image_size: Side of the square the network sees, in pixels; the network's own when not given.
        every: Column of an Xception's table to change in every row, as for train.
        batch_size: Pictures in a training step, for the estimate of its memory.
        dtype: Numbers that training computes with: float32, or mixed_bfloat16 with weights in float32.
        graph: Draw the network into this file, .svg or .png.
        expand: Draw the layers inside each block too.
    """

    image_size: int | None = None
    every: tuple[str, ...] = ()
    batch_size: int = 32
    dtype: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    graph: Path | None = None
    expand: bool = False


@dataclass(frozen=True, kw_only=True)
class ConvertSettings(BackendSettings):
    """How to convert weights.

    Attributes:
        model: Network that the weights are for.
        out: File to write; named after the network, or after the model file, when not given.
        image_size: Side of the square the network sees, in pixels; what the file says, else the network's own, when not
            given.
        scaling: How pixels 0..255 are scaled: inception (to -1..1), unit (to 0..1), imagenet (by the mean and std of
            each channel), none, or MEAN,STD for (pixel - MEAN) / STD; what the file says, else what the published
            network expects, when not given.
        classes: Names of the classes in the order of the outputs, as cat,dog or a text file with one a line; numbers
            when not given.
        final_endpoint: End the network there, such as mixed8, for a file that ends there; its own end when not given.
        partial: Accept a file that lacks some of the network's tensors.
        to: Write the weights of a model file as keras-applications or timm loads them.
    """

    model: str | None = None
    out: Path | None = None
    image_size: int | None = None
    scaling: str | None = None
    classes: str | None = None
    final_endpoint: str | None = None
    partial: bool = False
    to: Literal["keras-applications", "timm"] | None = None


@dataclass(frozen=True, kw_only=True)
class ExportSettings(BackendSettings, CacheSettings):
    """How to write a model for other runtimes, and how it is compared with the model.

    Attributes:
        out: File to write, of openvino the .xml beside which a .bin lies, of saved-model and huggingface a folder;
            named after the model when not given.
        dtype: Numbers that it computes with: float32, float16, bfloat16 or int8; not every format has each.
        data: Pictures to compare on, a data set or a folder of pictures; the test pictures that the model was trained
            with when not given.
        pictures: How many of them at most.
        calibrate: Pictures that int8 takes its ranges from, a data set or a folder of pictures; the model's training
            pictures when not given.
        max_disagreement: Share of pictures, 0..1, that may get another label than in Keras, above which nothing is
            left: 0 for float32, 0.005 for float16 and bfloat16, 0.01 for int8 when not given.
        min_confidence: Probability, 0..1, below which the exported model's answer is `unknown`.
    """

    out: Path | None = None
    dtype: Precision = "float32"
    data: str | None = None
    pictures: int = 256
    calibrate: str | None = None
    max_disagreement: float | None = None
    min_confidence: float = 0.0


@dataclass(frozen=True, kw_only=True)
class ExplainSettings(BackendSettings):
    """How to show which parts of a picture speak for a class.

    Attributes:
        method: How to find out: gradcam, by the feature maps of a layer; integrated-gradients, by each pixel;
            occlusion, by covering parts; or all of them.
        layer: Endpoint or layer that gradcam looks at; the last one with more than one place when not given.
        out: Folder for the pictures and explanations.json; explanations-MODEL here when not given.
        checks: Check each map against one of the network with its weights shuffled, and by uncovering and covering what
            it marks.
    """

    method: ExplainMethod = "gradcam"
    layer: str | None = None
    out: Path | None = None
    checks: bool = True


@dataclass(frozen=True, kw_only=True)
class ServeSettings(EngineSettings):
    """How to answer requests over HTTP.

    Attributes:
        host: Address to listen on; 127.0.0.1 is this machine alone, 0.0.0.0 all that reach it.
        port: Port to listen on; 0 takes a free one.
        token_file: File with a token that requests have to bear, as Authorization: Bearer TOKEN.
        min_confidence: Probability, 0..1, below which an answer is `unknown`; what an exported model was exported with,
            else 0, when not given.
        batch_size: Pictures that are computed at once at most.
        max_bytes: Largest body of a request, in MB.
        max_pixels: Largest picture, in millions of pixels.
        max_pictures: Most pictures in a request.
        max_requests: Most requests at work; more are asked to come again.
        timeout: Seconds that a body may take to come, and its answer to be computed.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token_file: Path | None = None
    min_confidence: float | None = None
    batch_size: int = 16
    max_bytes: float = 32.0
    max_pixels: float = 64.0
    max_pictures: int = 64
    max_requests: int = 128
    timeout: float = 30.0


@dataclass(frozen=True, kw_only=True)
class CheckSettings(CacheSettings):
    """How to check a data set.

    Attributes:
        model: Network whose own size the pictures should have, or model file or run folder, whose classes are compared
            too; the network that train takes when not given.
        weights: Look for wrong labels too, by what the network sees in the pictures with these weights: imagenet, a
            name that ception models --weights lists, or a weight file. A model file is looked through by its own.
            Without either, nothing is downloaded and no label is doubted.
        final_endpoint: End the network there, as for train.
        partial: Accept weights that lack some of the network's tensors.
        image_size: Side of the square that training will use, in pixels; the network's own when not given.
        group: What keeps pictures in one split, as for train.
        out: Page to write, .html; check-DATA.html here when not given.
    """

    model: str | None = None
    weights: str | None = None
    final_endpoint: str | None = None
    partial: bool = False
    image_size: int | None = None
    group: str | None = None
    out: Path | None = None
