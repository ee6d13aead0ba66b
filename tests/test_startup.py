"""What is done before Keras is imported, and what is never done to the caller."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec

import pytest

import ception
from support.pictures import COLOURS, write_pictures

HEAVY = (
    "keras", "tensorflow", "torch", "jax", "openvino", "onnxruntime", "optuna", "ray", "pyarrow", "pandas", "fsspec",
    "s3fs", "aiohttp", "botocore", "huggingface_hub", "fastapi",
)  # fmt: skip


def imported(code: str, *arguments: object) -> tuple[str, list[str]]:
    """What a script prints to standard error, and which heavy modules it has imported at its end."""
    code = f"{code}\nimport sys; print('IMPORTED', *(name for name in {HEAVY} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stderr, done.stdout.splitlines()[-1].split()[1:]


COMMAND = "import sys; from ception.cli import main; code = main(sys.argv[1:])"


WRONG = [
    (["train", "nowhere/"], "there is no file or folder nowhere/"),
    (["train", "DATA", "--model", "xzeption"], "did you mean 'xception'"),
    (["train", "DATA", "--model", "xception", "--image-size", "40"], "needs at least 71 x 71"),
    (["train", "DATA", "--model", "xception", "--weights", "none.h5"], "neither a file nor published weights"),
    (["train", "DATA", "--recipe", "bset"], "did you mean 'best'"),
    (["train", "DATA", "--auxiliary"], "has no auxiliary head"),
    (["train", "DATA", "--every", "inner"], "must be COLUMN=VALUE"),
    (["train", "--resume", "DATA"], "is no interrupted run"),
    (["evaluate", "none.keras", "DATA"], "none.keras cannot be opened"),
    (["predict", "none.keras", "DATA"], "none.keras cannot be opened"),
    (["predict", "xception", "DATA", "--weights", "none.h5"], "neither a file nor published weights"),
    (["predict", "xzeption", "DATA", "--weights", "imagenet"], "did you mean 'xception'"),
    (["compare", "none.keras", "none.keras", "DATA"], "none.keras cannot be opened"),
    (["summary", "none.keras"], "none.keras is neither a model file nor a network"),
    (["summary", "extreme_incepton"], "did you mean 'extreme_inception'"),
    (["summary", "xception", "--image-size", "40"], "needs at least 71 x 71"),
    (["convert", "none.h5", "--model", "xception"], "neither a file nor published weights"),
    (["convert", "none.h5", "--model", "xzeption"], "did you mean 'xception'"),
    (["convert", "none.keras", "--to", "timm"], "none.keras cannot be opened"),
    (["convert", "none.keras", "--to", "timm", "--out", "w.pth"], "must be named .safetensors"),
    (["convert", "none.keras", "--to", "timm", "--partial"], "--partial belongs to --model"),
]
if find_spec("optuna"):
    WRONG += [
        (["tune", "nowhere/"], "there is no file or folder nowhere/"),
        (["tune", "DATA", "--model", "xception", "--image-size", "40"], "needs at least 71 x 71"),
    ]
if find_spec("ray"):
    WRONG += [
        (["check", "nowhere/", "--on", "ray"], "there is no file or folder nowhere/"),
        (["evaluate", "none.keras", "DATA", "--on", "ray"], "none.keras cannot be opened"),
        (["predict", "none.keras", "DATA", "--on", "ray", "--out", "none/"], "there is no model none.keras"),
    ]
EACH = """
import contextlib, io, json, sys
from ception.cli import main
for arguments in json.loads(sys.argv[1]):
    with contextlib.redirect_stderr(io.StringIO()) as said:
        code = main(arguments)
    print(code, repr(said.getvalue()), file=sys.stderr)
"""


class TestWithoutKeras:
    def test_what_is_wrong_is_told(self, tmp_path):
        data = str(write_pictures(tmp_path / "data", dict.fromkeys(COLOURS, 3)))
        commands = [[data if argument == "DATA" else argument for argument in arguments] for arguments, _ in WRONG]
        said, modules = imported(EACH, json.dumps(commands))
        lines = said.splitlines()
        assert [line[:2] for line in lines] == ["2 "] * len(WRONG)
        assert [(arguments, says in line) for line, (arguments, says) in zip(lines, WRONG, strict=True)] == [
            (arguments, True) for arguments, _ in WRONG
        ]
        assert modules == []

    @pytest.mark.parametrize("arguments", [["models"], ["models", "--weights"], ["--help"], ["train", "--help"],
                                           ["cache"]])  # fmt: skip
    def test_fixed_tables_are_shown(self, arguments):
        assert imported(COMMAND, *arguments)[1] == []

    def test_a_data_set_is_checked(self, tmp_path):
        data = write_pictures(tmp_path / "data", dict.fromkeys(COLOURS, 12))
        assert imported(COMMAND, "check", data, "--model", "xception", "--out", tmp_path / "page.html")[1] == []

    def test_public_names_that_need_none(self):
        names = "MODELS, check, compare, evaluate, predict, train, InputError, RunError"
        assert imported(f"from ception import {names}")[1] == []


@pytest.mark.slow
def test_the_import_is_told(tmp_path):
    """It takes seconds."""
    data = write_pictures(tmp_path / "data", dict.fromkeys(COLOURS, 3))
    said, modules = imported(COMMAND, "train", data, "--image-size", "4")
    assert "Loading Keras" not in said  # the size is wrong, which needs no Keras
    assert modules == []
    said, _ = imported(COMMAND, "summary", "separable_cnn")
    assert "Loading Keras on" in said


class TestTheCaller:
    def test_importing_sets_nothing(self):
        code = (
            "import logging, warnings, numpy, PIL.Image, scipy.stats, matplotlib.figure;"
            "state = lambda: (list(warnings.filters), logging.root.level, logging.root.handlers[:]); before = state();"
            "import ception; from ception import checking, data, downloads, evaluation, prediction, training;"
            "from ception.data import images, loading, sources;"
            "assert before == state()"
        )
        imported(code)

    def test_no_generator_is_reseeded(self, tmp_path):
        import random

        import numpy as np

        data = write_pictures(tmp_path / "data", dict.fromkeys(COLOURS, 12))
        random.seed(5)
        np.random.seed(6)
        expected = random.random(), np.random.random()
        random.seed(5)
        np.random.seed(6)
        run = ception.train(data, epochs=1, image_size=8, runs=tmp_path / "runs")
        ception.predict(run.classifier, data)
        ception.build("separable_cnn", seed=3)
        assert (random.random(), np.random.random()) == expected

    @pytest.mark.slow
    def test_nothing_of_the_callers_streams(self, tmp_path):
        """What the caller writes to standard error while TensorFlow is imported arrives."""
        code = (
            "import os, threading, time; from ception import backends;"
            "run, beats, begun = [True], [], threading.Event();"
            "beat = lambda: [(os.write(2, b'x'), beats.append(1), begun.set(), time.sleep(0.005))"
            " for _ in iter(lambda: run[0], False)];"
            "thread = threading.Thread(target=beat); thread.start(); begun.wait(); before = len(beats);"
            "backends.start(); run[0] = False; thread.join(); print(before, len(beats))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        before, written = map(int, done.stdout.split()[-2:])
        assert before < written, "some were written meanwhile"
        assert done.stderr.count("x") >= written
