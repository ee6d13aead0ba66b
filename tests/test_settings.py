"""Options: what is unknown, was called otherwise before, or is out of its range is told here, once for all tasks."""

from __future__ import annotations

import inspect
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest

import ception
from ception import settings
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
)
from ception.validation import saved_settings, settings_of

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
        ("summary", "batchsize", "did you mean 'batch_size'"),
        (
            "check",
            "zzz",
            "unknown option 'zzz': known: on, worker_cores, cache_limit, model, weights, final_endpoint, partial, "
            "image_size, group, out$",
        ),
    ],
)
def test_an_unknown_option_names_the_nearest(task, option, says):
    with pytest.raises(InputError, match=says):
        TASKS[task](**{option: 3})


RENAMED = [
    ("train", "precision", "dtype"),
    ("demo", "precision", "dtype"),
    ("evaluate", "precision", "target_precision"),
    ("evaluate", "output", "out"),
    ("compare", "output", "out"),
    ("summary", "precision", "dtype"),
    ("summary", "size", "image_size"),
]


@pytest.mark.parametrize(("task", "old", "new"), [*RENAMED, ("find_learning_rate", "precision", "dtype")])
def test_an_option_by_its_former_name_is_refused_with_the_new_one(task, old, new):
    with pytest.raises(InputError, match=f"^the option '{old}' is called '{new}' now$"):
        TASKS[task](**{old: "x"})


@pytest.mark.parametrize(("command", "old", "new"), RENAMED)
@pytest.mark.parametrize("typed", ["--{} x", "--{}=x"])
def test_a_flag_by_its_former_name_is_refused_with_the_new_one(run_cli, command, old, new, typed):
    arguments = {"demo": [], "compare": ["one", "other"], "evaluate": ["model", "data"]}.get(command, ["data"])
    code, out, err = run_cli(command, *arguments, *typed.format(old).split())
    new = new.replace("_", "-")
    assert (code, out, err) == (2, "", f"ception: --{old} is called --{new} now  See: ception {command} --help\n")


def test_a_run_folder_may_hold_former_names():
    saved = {"precision": "bfloat16", "epochs": 3}
    assert saved_settings(TrainSettings, saved) == TrainSettings(dtype="bfloat16", epochs=3)


@pytest.mark.parametrize(
    ("kind", "option", "bad", "says"),
    [
        (TrainSettings, "epochs", 0, "--epochs must be at least 1, got 0"),
        (TrainSettings, "mixup", float("nan"), "--mixup must be at least 0, got nan"),
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
        (EvaluateSettings, "target_precision", 1.1, "--target-precision must be from 0 to 1, got 1.1"),
        (EvaluateSettings, "batch_size", -2, "--batch-size must be at least 1, got -2"),
        (PredictSettings, "top", 0, "--top must be at least 1, got 0"),
        (PredictSettings, "min_confidence", -0.1, "--min-confidence must be from 0 to 1, got -0.1"),
        (CompareSettings, "cache_limit", -1, "--cache-limit must be at least 0, got -1"),
        (SummarySettings, "image_size", 0, "--image-size must be at least 1, got 0"),
        (CheckSettings, "image_size", 0, "--image-size must be at least 1, got 0"),
    ],
)
def test_a_number_out_of_its_range_is_refused(kind: Any, option: str, bad: float, says: str):
    with pytest.raises(InputError) as caught:
        settings_of(kind, {option: bad})
    assert str(caught.value) == says


@pytest.mark.parametrize(
    ("kind", "option", "bad", "says"),
    [
        (PredictSettings, "engine", "onnx", "--engine cannot be 'onnx': did you mean 'onnxruntime' or 'openvino'? "
         "(known: openvino, onnxruntime, keras)"),
        (EvaluateSettings, "split", "tset", "--split cannot be 'tset': did you mean 'test'? "
         "(known: train, val, test, all)"),
        (TrainSettings, "dtype", "float23", "--dtype cannot be 'float23': did you mean 'float32' or 'bfloat16'? "
         "(known: float32, bfloat16)"),
        (TrainSettings, "resize", "sqush", "--resize cannot be 'sqush': did you mean 'squash'? "
         "(known: squash, crop, pad)"),
        (TrainSettings, "batch_norm", "forzen", "--batch-norm cannot be 'forzen': did you mean 'frozen'? "
         "(known: frozen, adapt, train)"),
        (TrainSettings, "channels", 2, "--channels cannot be 2: known: 1, 3"),
        (TrainSettings, "channels", True, "--channels cannot be True: known: 1, 3"),
        (CompareSettings, "backend", "theano", "--backend cannot be 'theano': did you mean 'tensorflow'? "
         "(known: tensorflow, jax, torch)"),
        (TrainSettings, "resize", None, "--resize cannot be None: known: squash, crop, pad"),
        (TrainSettings, "epochs", "3", "--epochs must be a whole number, got '3'"),
        (TrainSettings, "epochs", 3.0, "--epochs must be a whole number, got 3.0"),
        (TrainSettings, "epochs", True, "--epochs must be a whole number, got True"),
        (TrainSettings, "seed", None, "--seed must be a whole number, got None"),
        (TrainSettings, "dropout", "0.5", "--dropout must be a number, got '0.5'"),
        (TrainSettings, "dropout", False, "--dropout must be a number, got False"),
        (TrainSettings, "flip", 1, "--flip must be True or False, got 1"),
        (TrainSettings, "model", 3, "--model must be a text, got 3"),
        (TrainSettings, "runs", 3, "--runs must be a path, got 3"),
        (TrainSettings, "runs", "s3://bucket/runs", "--runs must be a path on this machine, not the address s3://bucket/runs"),
        (TrainSettings, "every", "inner=elu", "--every must be a list of texts, got 'inner=elu'"),
        (TrainSettings, "every", [3], "--every must be a list of texts, got [3]"),
    ],
)  # fmt: skip
def test_a_value_of_another_type_is_refused(kind: Any, option: str, bad: Any, says: str):
    with pytest.raises(InputError) as caught:
        settings_of(kind, {option: bad})
    assert str(caught.value) == says


@pytest.mark.parametrize(
    ("option", "given", "kept"),
    [
        ("dropout", 0, 0), ("epochs", np.int64(3), 3), ("dropout", np.float32(0.5), 0.5), ("runs", "r", Path("r")),
        ("weights", Path("w.h5"), "w.h5"), ("every", ["inner=elu"], ("inner=elu",)), ("epochs", None, None),
    ],
)  # fmt: skip
def test_a_value_is_kept_as_its_type_has_it(option: str, given: Any, kept: Any):
    value = getattr(settings_of(TrainSettings, {option: given}), option)
    assert value == kept
    assert type(value) is type(kept)


def test_the_types_of_inherited_fields_are_found_where_a_task_is_declared():
    """What the command line looks up them by: the namespace of the class that is made, not that of its base."""
    for kind in vars(settings).values():
        if inspect.isclass(kind) and is_dataclass(kind):
            assert get_type_hints(kind.__init__).keys() >= {field.name for field in fields(kind)}
