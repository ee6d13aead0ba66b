"""Options: what is unknown, was called otherwise before, or is out of its range is told here, once for all tasks."""

from __future__ import annotations

from typing import Any

import pytest

import ception
from ception.demo import demo
from ception.errors import InputError
from ception.prediction import predictions
from ception.settings import (
    CheckSettings,
    CompareSettings,
    EvaluateSettings,
    PredictSettings,
    SummarySettings,
    TrainSettings,
    settings_of,
)

TASKS = {
    "train": lambda **options: ception.train("data", **options),
    "find_learning_rate": lambda **options: ception.find_learning_rate("data", **options),
    "demo": demo,
    "evaluate": lambda **options: ception.evaluate("model.keras", "data", **options),
    "predict": lambda **options: ception.predict("model.keras", "a.png", **options),
    "predictions": lambda **options: next(predictions("model.keras", "a.png", **options)),
    "compare": lambda **options: ception.compare("one", "other", **options),
    "check": lambda **options: ception.check("data", **options),
    "summary": lambda **options: ception.summary("xception", **options),
}


@pytest.mark.parametrize(
    ("task", "option", "says"),
    [
        ("train", "epoch", "unknown option 'epoch': did you mean 'epochs'"),
        ("find_learning_rate", "learning_rat", "did you mean 'learning_rate'"),
        ("demo", "batchsize", "did you mean 'batch_size'"),
        ("evaluate", "splits", "did you mean 'split'"),
        ("predict", "min_confidance", "did you mean 'min_confidence'"),
        ("predictions", "min_confidance", "did you mean 'min_confidence'"),
        ("compare", "spilt", "did you mean 'split'"),
        ("check", "imagesize", "did you mean 'image_size'"),
        ("check", "zzz", r"unknown option 'zzz': known: model, image_size, out, cache_limit$"),
    ],
)
def test_an_unknown_option_names_the_nearest(task, option, says):
    with pytest.raises(InputError, match=says):
        TASKS[task](**{option: 3})


@pytest.mark.parametrize(
    ("kind", "option", "bad", "says"),
    [
        (TrainSettings, "epochs", 0, "--epochs must be at least 1, got 0"),
        (TrainSettings, "epochs", float("nan"), "--epochs must be at least 1, got nan"),
        (TrainSettings, "head_epochs", 0, "--head-epochs must be at least 1, got 0"),
        (TrainSettings, "batch_size", 0, "--batch-size must be at least 1, got 0"),
        (TrainSettings, "patience", 0, "--patience must be at least 1, got 0"),
        (TrainSettings, "image_size", 0, "--image-size must be at least 1, got 0"),
        (TrainSettings, "views", 0, "--views must be at least 1, got 0"),
        (TrainSettings, "seed", -1, "--seed must be at least 0, got -1"),
        (TrainSettings, "seed", 2**32, "--seed must be below 4294967296, got 4294967296"),
        (TrainSettings, "mixup", -1, "--mixup must be at least 0, got -1"),
        (TrainSettings, "cutmix", -0.5, "--cutmix must be at least 0, got -0.5"),
        (TrainSettings, "randaugment", -1, "--randaugment must be at least 0, got -1"),
        (TrainSettings, "randaugment", 31, "--randaugment must be at most 30, got 31"),
        (TrainSettings, "crop", 1.0, "--crop must be at least 0 and below 1, got 1.0"),
        (TrainSettings, "colour", -0.1, "--colour must be at least 0 and below 1, got -0.1"),
        (TrainSettings, "dropout", 1, "--dropout must be at least 0 and below 1, got 1"),
        (TrainSettings, "learning_rate", 0, "--learning-rate must be above 0, and no infinity; got 0"),
        (TrainSettings, "learning_rate", float("inf"), "--learning-rate must be above 0, and no infinity; got inf"),
        (TrainSettings, "depth_multiplier", -1, "--depth-multiplier must be above 0, and no infinity; got -1"),
        (TrainSettings, "time_budget", 0, "--time-budget must be above 0, and no infinity; got 0"),
        (TrainSettings, "cache_limit", -1, "--cache-limit must be at least 0, got -1"),
        (EvaluateSettings, "precision", 1.1, "--precision must be from 0 to 1, got 1.1"),
        (EvaluateSettings, "batch_size", -2, "--batch-size must be at least 1, got -2"),
        (PredictSettings, "top", 0, "--top must be at least 1, got 0"),
        (PredictSettings, "min_confidence", -0.1, "--min-confidence must be from 0 to 1, got -0.1"),
        (CompareSettings, "cache_limit", -1, "--cache-limit must be at least 0, got -1"),
        (SummarySettings, "size", 0, "--size must be at least 1, got 0"),
        (CheckSettings, "image_size", 0, "--image-size must be at least 1, got 0"),
    ],
)
def test_a_number_out_of_its_range_is_refused(kind: Any, option: str, bad: float, says: str):
    with pytest.raises(InputError) as caught:
        settings_of(kind, {option: bad})
    assert str(caught.value) == says
