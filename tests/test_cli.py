from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from ception import backends
from ception.cli.app import app
from ception.data import labelled_arrays
from ception.errors import InputError
from ception.settings import (
    TRAIN_GROUPS,
    CheckSettings,
    CompareSettings,
    ConvertSettings,
    EvaluateSettings,
    PredictSettings,
    SummarySettings,
    TrainSettings,
)
from ception.training.callbacks import StepProgress
from ception.values import flag
from support.pictures import write_pictures


def one_line(text: str) -> bool:
    return text.startswith("ception: ") and text.count("\n") == 1


class TestHelp:
    @pytest.mark.parametrize(
        "command",
        ["train", "evaluate", "predict", "demo", "cache", "models", "summary", "convert", "compare", "check", "bench"],
    )
    def test_every_command_has_help(self, run_cli, command):
        code, out, _ = run_cli(command, "--help")
        assert code == 0
        assert "Usage: ception " + command in out

    def test_help_and_version_in_other_words(self, run_cli):
        assert run_cli("help")[1] == run_cli("--help")[1]
        assert run_cli("help", "train")[1] == run_cli("train", "--help")[1]
        assert run_cli("-V")[1] == run_cli("--version")[1]
        code, _, err = run_cli("help", "trian")
        assert (code, "trian" in err) == (2, True)

    def test_swapped_arguments_are_told(self, run_cli, trained):
        data = trained.parent.parent / "colours"
        for command in ("evaluate", "predict", "explain"):
            code, _, err = run_cli(command, data, trained)
            assert (code, err) == (2, f"ception: the model comes first: ception {command} {trained} {data}\n")

    def test_misspelt_paths_get_a_suggestion(self, run_cli, trained):
        data, asks = trained.parent.parent / "colours", "; did you mean 'colours'?\n"
        code, _, err = run_cli("train", data.with_name("colors"))
        assert (code, err.endswith(asks)) == (2, True)
        code, _, err = run_cli("predict", trained, data.with_name("colors") / "red" / "000.png")
        assert (code, err.endswith(asks)) == (2, True)
        code, _, err = run_cli("predict", trained, data / "*.pgn")
        assert (code, "did you mean" in err) == (2, False)

    @pytest.mark.parametrize("command", ["train", "check"])
    def test_a_model_is_no_data(self, run_cli, trained, command):
        for given in (trained, trained / "model.keras"):
            code, _, err = run_cli(command, given)
            assert (code, f"{given} is a trained model, not pictures" in err) == (2, True)

    def test_misspelt_weights_get_a_suggestion(self, run_cli, folder):
        code, _, err = run_cli("train", folder, "--model", "xception", "--weights", "imagenett")
        assert (code, "did you mean 'imagenet'" in err) == (2, True)

    def test_train_shows_every_option_with_its_default(self, run_cli):
        _, out, _ = run_cli("train", "--help")
        for name in TrainSettings.__dataclass_fields__:
            assert f"--{name.rstrip('_').replace('_', '-')} " in out
        for default in (
            "[default: squash]",
            "(article: 10, best: 66, xception: 100,",
            "[default: 10.0]",
        ):
            assert default in " ".join(out.replace("│", " ").split())

    @pytest.mark.parametrize(
        ("command", "settings"),
        [("train", TrainSettings), ("evaluate", EvaluateSettings), ("predict", PredictSettings),
         ("compare", CompareSettings), ("summary", SummarySettings), ("convert", ConvertSettings),
         ("check", CheckSettings)],
    )  # fmt: skip
    def test_every_option_is_explained(self, command, settings):
        """Also those that its settings have from what commands share, which come last."""
        arguments = app[command].assemble_argument_collection(parse_docstring=True)
        helps = {argument.name: argument.parameter.help for argument in arguments if argument.parse}
        assert all(helps[flag(field.name)] for field in fields(settings))

    @pytest.mark.parametrize("command", ["train", "demo"])
    @pytest.mark.parametrize("columns", ["80", "120"])
    def test_training_shows_its_options_in_groups(self, run_cli, monkeypatch, command, columns):
        monkeypatch.setenv("COLUMNS", columns)
        for one in (app, app[command]):  # each keeps the width that it began with
            monkeypatch.setattr(one, "_fallback_console", None)
        _, out, _ = run_cli(command, "--help")
        assert max(map(len, out.splitlines())) <= int(columns)
        _, *parts = re.split("╭─ (.+?) ─+╮", out)
        groups = {
            title: set(re.findall(r"│ (--[a-z-]+)", text)) for title, text in zip(parts[::2], parts[1::2], strict=True)
        }
        groups.pop("Arguments", None)
        assert list(groups) == ["Basics", *TRAIN_GROUPS]
        for title, names in TRAIN_GROUPS.items():
            assert groups[title] == set(map(flag, names))
        grouped = {name for names in TRAIN_GROUPS.values() for name in names}
        basic = {flag(field.name) for field in fields(TrainSettings)} - set(map(flag, grouped))
        assert basic | {"--quiet"} <= groups["Basics"]
        assert "--epochs" in basic
        assert "Basics" not in run_cli("predict", "--help")[1]

    def test_shared_options_are_shown_last(self, run_cli):
        _, out, _ = run_cli("predict", "--help")
        assert out.index("--top ") < out.index("--csv ") < out.index("--engine ")
        assert "What runs the network" in out

    def test_help_loads_no_heavy_library(self):
        code = (
            "import sys; from ception.cli import main; main(['--help']);"
            "sys.exit(' '.join({'keras', 'numpy', 'PIL', 'tensorflow', 'matplotlib'} & set(sys.modules)) or 0)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def test_version(self, run_cli):
        import keras

        import ception

        first, *others = run_cli("--version")[1].splitlines()
        assert first == ception.__version__
        assert [line.split(":")[0] for line in others] == ["Backends", "Engines"]
        assert f"{keras.backend.backend()} " in others[0]


class TestWrongUse:
    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (["trian", "x"], 'Did you mean "train"'),
            (["train"], "DATA"),
            (["train", "x", "--epohcs", "3"], "Did you mean --epochs?"),
            (["train", "x", "--epochs", "many"], "many"),
            (["train", "x", "--resize", "sqush"], 'Did you mean "squash"'),
            (["train", "no-such-data"], "no folder 'no-such-data'"),
            (["train", ""], "no folder ''"),
            (["train", "x", "y"], "too many arguments: 'y'"),
            (["train", "--hlep"], "Did you mean --help?"),
            (["export", "last", "--to", "onn"], 'Did you mean "onnx"'),
            (["train", "fashion-mnist-sample", "--epochs", "-3"], "--epochs must be at least 1, got -3"),
            (["train", "fashion-mnist-sample", "--model", "seperable_cnn"], "did you mean 'separable_cnn'"),
            (["evaluate", "none.keras", "fashion-mnist-sample"], "none.keras cannot be opened"),
            (["predict", "none.keras", "x.png"], "no picture in x.png"),
        ],
    )
    def test_is_one_line_and_exit_code_2(self, run_cli, tmp_path, monkeypatch, arguments, says):
        monkeypatch.chdir(tmp_path)
        code, out, err = run_cli(*arguments)
        assert code == 2
        assert says in err
        assert one_line(re.sub("^Backend: .*\n", "", err)), err
        assert out == ""
        assert list(tmp_path.iterdir()) == []


class TestCommands:
    def test_train(self, run_cli, folder, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        code, out, err = run_cli("train", "colours", "--epochs", "2", "--image-size", "8")
        assert code == 0
        assert "Accuracy" in out
        model = "runs/001-separable_cnn-colours/model.keras"
        told = re.fullmatch(rf"Next: ception predict {model} (colours/\S+\.png)", out.splitlines()[-2])
        assert told
        code, said, _ = run_cli("predict", model, told[1])
        assert code == 0
        assert said.splitlines()[-1] == f"Next: ception explain {model} {told[1]}"
        assert (
            out.splitlines()[-1] == f"Report: {Path('runs/001-separable_cnn-colours/report.html').absolute().as_uri()}"
        )
        assert "90 pictures" in err
        assert "epoch 2/2" in err

    def test_evaluate(self, run_cli, trained):
        code, out, _ = run_cli("evaluate", trained / "model.keras", trained.parents[1] / "colours")
        assert code == 0
        assert "95 % interval" in out
        assert "Next: ception predict" in out
        code, out, err = run_cli(
            "evaluate", trained / "model.keras", trained.parents[1] / "colours", "--json", "--quiet"
        )
        result = json.loads(out)
        assert {
            "accuracy", "accuracy_interval", "top5_accuracy", "balanced_accuracy", "log_loss", "per_class",
        } <= set(result)  # fmt: skip
        assert result["accuracy_interval"][0] < result["accuracy"] <= result["accuracy_interval"][1]
        assert result["top5_accuracy"] is None
        assert (code, err) == (0, "")

    def test_predict_in_three_ways(self, run_cli, trained, tmp_path):
        data = write_pictures(tmp_path / "d", {"red": 2, "blue": 1}, seed=9)
        (data / "blue" / "bad.png").write_text("text")
        model = trained / "model.keras"
        code, out, err = run_cli("predict", model, data, "--csv", tmp_path / "p.csv", "--top", "2")
        assert code == 2
        assert "bad.png: not a picture" in err
        assert "1 of 4 pictures could not be read" in err
        assert len(out.splitlines()) == 3
        rows = list(csv.DictReader((tmp_path / "p.csv").read_text().splitlines()))
        assert [row["class"] for row in rows if row["rank"] == "1"] == ["blue", "red", "red"]
        code, out, err = run_cli("predict", model, data / "red", "--json")
        assert [json.loads(line)["top"][0]["class"] for line in out.splitlines()] == ["red", "red"]
        assert code == 0

    def test_strange_file_names_come_through(self, run_cli, trained, tmp_path):
        data = write_pictures(tmp_path / "d", {"red": 1}, seed=9)
        picture = data / "red" / "000.png"
        odd = [os.fsencode(data / "red") + name for name in (b"/a b.png", b"/new\nline.png", b"/\xff.png")]
        for name in odd:
            Path(os.fsdecode(name)).write_bytes(picture.read_bytes())
        code, out, _ = run_cli("predict", trained / "model.keras", data, "--csv", tmp_path / "p.csv")
        assert code == 0
        assert len(out.splitlines()) == 6
        code, out, _ = run_cli("predict", trained / "model.keras", data, "--json")
        assert {os.fsencode(json.loads(line)["path"]) for line in out.splitlines()} == {*odd, os.fsencode(picture)}

    def test_cache(self, run_cli, tmp_path, monkeypatch):
        monkeypatch.setenv("CEPTION_CACHE", str(tmp_path))
        (tmp_path / f"array-{'0' * 24}.npy").write_bytes(b"x" * 2_000_000)
        (tmp_path / "thesis.txt").touch()
        (tmp_path / "folder").mkdir()
        assert "1 file, 2.0 MB" in run_cli("cache")[1]
        assert "Deleted 1 file" in run_cli("cache", "--clear")[1]
        assert {path.name for path in tmp_path.iterdir()} == {"thesis.txt", "folder"}

    @pytest.fixture
    def fewer(self, monkeypatch, tmp_path) -> None:
        """A twentieth of the pictures that come with the package."""
        real = labelled_arrays.read_npz

        def read(path, *rest):
            with np.load(path) as arrays:
                fewer = {name: array if name == "class_names" else array[::20] for name, array in arrays.items()}
            np.savez(tmp_path / "few.npz", **fewer)
            return real(tmp_path / "few.npz", *rest)

        monkeypatch.setattr(labelled_arrays, "read_npz", read)

    @pytest.mark.usefixtures("fewer")
    def test_demo_leaves_pictures_with_their_names(self, run_cli, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        code, out, err = run_cli("demo", "--epochs", "1")
        assert code == 0
        assert "expect" not in err  # which holds for the demo as it stands
        assert "Next: ception predict" in out
        run = tmp_path / "runs" / "001-separable_cnn-fashion-mnist-sample"
        assert out.splitlines()[-1] == f"Report: {(run / 'report.html').as_uri()}"
        assert (run / "demo.png").is_file()
        assert len(list((run / "pictures").iterdir())) == 20
        assert json.loads((run / "scores.json").read_text())["count"] == 100

    @pytest.mark.slow
    def test_demo_learns(self, run_cli, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert run_cli("demo", "--epochs", "1")[0] == 0
        run = tmp_path / "runs" / "001-separable_cnn-fashion-mnist-sample"
        assert json.loads((run / "scores.json").read_text())["accuracy"] > 0.7


def test_a_disk_that_fills_up_is_one_line(run_cli, folder, tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tensorboard.summary.Writer.add_scalar", full)
    code, _, err = run_cli("train", folder, "--epochs", "1", "--image-size", "8", "--runs", tmp_path / "r")
    assert code == 1
    assert err.splitlines()[-1] == "ception: a file cannot be used: No space left on device"
    assert not list(tmp_path.rglob("model.keras"))


def test_ctrl_c_ends_after_the_step(run_cli, folder, tmp_path, monkeypatch):
    real, steps = StepProgress.on_train_batch_end, []

    def pressed(progress, batch, logs=None):
        steps.append(batch)
        if len(steps) == 7:
            signal.raise_signal(signal.SIGINT)
        real(progress, batch, logs)

    monkeypatch.setattr(StepProgress, "on_train_batch_end", pressed)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        code, out, err = run_cli("train", folder, "--image-size", "8", "--batch-size", "16", "--runs", tmp_path / "r")
    finally:
        signal.signal(signal.SIGINT, before)
    assert (code, out, len(steps)) == (130, "", 7)
    assert "stopped by Ctrl-C" in err.splitlines()[-1]
    assert not list(tmp_path.rglob("model.keras")) + list(tmp_path.rglob("scores.json"))


@pytest.mark.slow  # it trains in a process of its own
def test_ctrl_c_in_the_middle(tmp_path):
    write_pictures(tmp_path / "d", {"a": 60, "b": 60})
    # a shell starts what runs in its background with Ctrl-C ignored, and these tests may run there
    listening = "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
    script = f"{listening} runpy.run_module('ception', run_name='__main__')"
    options = ["--epochs", "2000", "--patience", "2000", "--image-size", "8"]
    with (tmp_path / "err").open("w") as err:
        process = subprocess.Popen(
            [sys.executable, "-c", script, "train", "d", *options],
            cwd=tmp_path, stdout=subprocess.PIPE, stderr=err, text=True,
        )  # fmt: skip
        deadline = time.monotonic() + 120
        while "epoch 2/" not in (tmp_path / "err").read_text():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=120)
    said = (tmp_path / "err").read_text()
    assert process.returncode == 130
    assert "Traceback" not in said
    assert said.splitlines()[-1] == (
        "ception: stopped by Ctrl-C; to go on: ception train --resume runs/001-separable_cnn-d"
    )
    assert out == ""
    run = tmp_path / "runs" / "001-separable_cnn-d"
    assert not (run / "model.keras").exists()
    assert not (run / "scores.json").exists()


def test_ctrl_c_before_anything_is_kept_ends_with_the_command(run_cli, folder, monkeypatch):
    def stopped(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("ception.checking.check", stopped)
    code, _, err = run_cli("check", folder, "--image-size", 8)
    assert (code, err) == (130, f"ception: stopped by Ctrl-C; to begin again: ception check {folder} --image-size 8\n")


class TestBackends:
    @pytest.mark.parametrize(("before", "heard"), [("pass", "noise"), ("cli.main(['--version'])", "")])
    def test_only_the_command_line_mutes_the_import(self, tmp_path, before, heard):
        (tmp_path / "tensorflow.py").write_text("import os; os.write(2, b'noise')")
        (tmp_path / "keras.py").touch()
        code = (
            f"from ception import backends, cli; {before}; backends.start('tensorflow'); import os; os.write(2, b'.')"
        )
        paths = os.pathsep.join([str(tmp_path), *sys.path])
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"PYTHONPATH": paths},
        )
        assert done.stderr == heard + "."

    def test_running_one_cannot_change(self):
        other = "jax" if backends.choose() != "jax" else "torch"
        with pytest.raises(InputError, match="already runs on"):
            backends.choose(other)

    @pytest.mark.parametrize(
        ("wanted", "installed", "says"),
        [
            (None, [], r"no backend is installed: pip install 'ception\[tensorflow\]'"),
            ("jax", ["torch"], r"jax is not installed: pip install 'ception\[jax\]', or use --backend torch"),
            ("theano", ["torch"], "unknown backend 'theano'"),
        ],
    )
    def test_missing_ones_are_said_with_the_command_that_helps(self, monkeypatch, wanted, installed, says):
        monkeypatch.delitem(sys.modules, "keras")
        monkeypatch.delenv("KERAS_BACKEND", raising=False)
        monkeypatch.setattr("importlib.util.find_spec", lambda name: name if name in installed else None)
        with pytest.raises(InputError, match=says):
            backends.choose(wanted)

    def test_the_first_installed_one_is_taken(self, monkeypatch):
        monkeypatch.delitem(sys.modules, "keras")
        monkeypatch.setenv("KERAS_BACKEND", "")
        monkeypatch.setattr("importlib.util.find_spec", lambda name: name if name in ("torch", "jax") else None)
        assert backends.choose() == "jax"
