"""The options of what uses a trained model here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ception.settings.shared import Backend as Backend  # of the bases' fields, whose types are looked up here
from ception.settings.shared import BackendSettings, ClusterSettings, EngineSettings, ExplainMethod, Split, TableFormat
from ception.settings.shared import Dtype as Dtype  # of the bases' fields, whose types are looked up here
from ception.settings.shared import EngineName as EngineName  # of the bases' fields, whose types are looked up here


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings(EngineSettings, ClusterSettings):
    """How to score a model.

    Attributes:
        split: Split of the data to score on: train, val, test or all. When not given, the test set that the data state;
            else, of the data that the model was trained on, the test pictures that the training left out; else all.
            By hand, data that state no split are split as a training on them would do it.
        batch_size: Pictures in one step.
        target_precision: Share of right answers, 0..1, that is wished for: the confidence from which on the validation
            pictures promise it is tried here, and told as --min-confidence for predict.
        explain: Show in the report what spoke for the worst mistakes, and the training pictures most like them.
        by: Score groups of pictures too: a further column of the CSV, or `size` (the picture's shorter side).
        out: Folder for the scores, the predictions and the report; when not given,
            evaluations/ in the model's run folder, or evaluation-DATA here when the model lies in no run.
    """

    split: Split | None = None
    batch_size: int = 64
    target_precision: float | None = None
    explain: bool = False
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
        allow_urls: Read pictures from http:// and https:// addresses too, each at most 64 MB and 30 seconds; a folder
            there ends in a slash.
    """

    top: int = 5
    min_confidence: float | None = None
    calibration: bool = True
    weights: str | None = None
    batch_size: int = 32
    allow_urls: bool = False


@dataclass(frozen=True, kw_only=True)
class JobSettings(PredictSettings, ClusterSettings):
    """How to classify many pictures into files.

    Attributes:
        table: Format of the files: csv, a row for each class that is named; parquet, a row for each picture.
        part_size: Pictures in a file. An interrupted job goes on where whole files end.
        features: Write what the network gives for each picture before its head, its features, instead of classes; with
            --table parquet.
    """

    table: TableFormat = "csv"
    part_size: int = 1000
    features: bool = False


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
class ExplainSettings(BackendSettings):
    """How to show which parts of a picture speak for a class.

    Attributes:
        method: How to find out: gradcam, by the feature maps of a layer; integrated-gradients, by each pixel;
            occlusion, by covering parts; or all of them.
        layer: Endpoint or layer that gradcam looks at; the last one with more than one place when not given.
        out: Folder for the pictures and explanations.json; explanations-MODEL here when not given.
        checks: Check each map against one of the network with its weights shuffled, and by uncovering and covering what
            it marks.
        neighbours: Training pictures to show beside each picture, those that the network sees as most like it; 3 where
            the model has an index of them, when not given.
    """

    method: ExplainMethod = "gradcam"
    layer: str | None = None
    out: Path | None = None
    checks: bool = True
    neighbours: int | None = None
