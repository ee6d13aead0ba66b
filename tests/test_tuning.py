"""The search for the options that train best: what it tries, stops, keeps and says."""

from __future__ import annotations

import importlib.util
import json
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import ception
from ception import tuning
from ception.errors import InputError, RunError
from ception.reporting import Reporter
from ception.results import TuneResult
from ception.training import activations
from support.pictures import write_pictures
from support.reporters import Notes

pytest.importorskip("optuna")
SMALL = {"image_size": 8, "epochs": 1, "patience": 1}


@pytest.fixture
def data(tmp_path) -> Path:
    return write_pictures(tmp_path / "d", {"red": 30, "blue": 30}, seed=1)


def tuned(data: Path, **options) -> TuneResult:
    return ception.tune(data, runs=data.parent / "runs", **{"trials": 3, **SMALL, **options})


class Trained:
    """In place of `train`: epochs without any network, that tell what the test wants them to.

    Args:
        accuracies: Of each training, that of every epoch; or what it raises.
    """

    def __init__(self, *accuracies: float | BaseException) -> None:
        self.accuracies = iter(accuracies)

    def __call__(self, data: str, *, reporter: Reporter, runs: Path, **options: object) -> SimpleNamespace:
        accuracy = next(self.accuracies)
        if isinstance(accuracy, BaseException):
            raise accuracy
        (folder := Path(runs) / "001-run").mkdir(parents=True)
        history = []
        for number in range(1, int(options["epochs"]) + 1):
            history.append({"epoch": number, "val_loss": 1 - accuracy, "val_accuracy": accuracy})
            reporter.epoch(history[-1])
        record = {"settings": json.loads(json.dumps(options | {"runs": str(runs)}))}
        scores = SimpleNamespace(accuracy=accuracy, accuracy_interval=(0.0, 1.0))
        return SimpleNamespace(folder=folder, history=history, scores=scores, classifier=SimpleNamespace(record=record))


@pytest.mark.slow  # it trains four times
def test_the_best_is_told_and_can_be_repeated(data, run_cli, own_cache):
    result = tuned(data)
    assert [one.state for one in result.trials] == ["finished"] * 3
    assert sorted(one.number for one in result.trials) == [1, 2, 3]
    order = [(-one.val_accuracy, one.val_loss) for one in result.trials]
    assert order == sorted(order)
    assert result.best == result.trials[0].folder
    scores = json.loads((Path(result.best) / "scores.json").read_text())
    assert (result.accuracy, list(result.accuracy_interval)) == (scores["accuracy"], scores["accuracy_interval"])
    code, out, _ = run_cli(*shlex.split(result.command)[1:], "--json")
    assert (code, json.loads(out)["accuracy"]) == (0, result.accuracy)
    again = json.loads((Path(result.best).parents[1] / "tuning.json").read_text())
    assert again == json.loads(json.dumps(result.as_dict()))


def test_what_is_given_stays_and_the_first_trial_is_what_train_does(data, monkeypatch):
    monkeypatch.setattr(tuning, "train", Trained(0.5, 0.5, 0.5))
    result = tuned(data, recipe="article", mixup=0.0, seed=5)
    by_number = {one.number: one.options for one in result.trials}
    assert by_number[1] == "--model separable_cnn"
    for number in (2, 3):
        assert by_number[number].startswith("--model separable_cnn --learning-rate ")
    monkeypatch.setattr(tuning, "train", Trained())  # nothing is tried before
    with pytest.raises(InputError, match="every option that tune tries is given"):
        tuned(data, recipe="article", mixup=0.0, learning_rate=0.01)


def test_what_is_worse_than_most_is_stopped_and_leaves_nothing(data, monkeypatch):
    monkeypatch.setattr(tuning, "train", Trained(0.9, 0.8, 0.9, 0.1, 0.95))
    result = tuned(data, trials=5, epochs=5)
    assert [(one.number, one.state) for one in result.trials] == [
        (5, "finished"), (1, "finished"), (3, "finished"), (2, "finished"), (4, "stopped"),
    ]  # fmt: skip
    assert (result.trials[-1].reason, result.trials[-1].val_accuracy) == ("after epoch 3 worse than most", 0.1)
    folder = Path(result.best).parents[1]
    assert sorted(path.name for path in folder.glob("trial-*")) == ["trial-1", "trial-2", "trial-3", "trial-5"]


def test_it_ends_in_time(data, monkeypatch):
    now, slower = {"seconds": 0.0}, [0, 0, 0, 0, 0, 0, 15]
    monkeypatch.setattr(tuning.time, "monotonic", lambda: now["seconds"])
    real = tuning._Watching.epoch

    def epoch(self, row):
        now["seconds"] += 25 + (slower.pop(0) if slower else 0)
        real(self, row)

    monkeypatch.setattr(tuning._Watching, "epoch", epoch)
    monkeypatch.setattr(tuning, "train", Trained(0.5, 0.6, 0.7, 0.8))
    notes = Notes()
    result = tuned(data, trials=None, minutes=1.0, reporter=notes)
    assert "No time for another trial in the 1 minutes: give more --minutes" in notes.notes
    assert [(one.number, one.state) for one in result.trials] == [(2, "finished"), (1, "finished")]
    monkeypatch.setattr(tuning, "train", Trained(0.5, 0.6))
    result = tuned(data, trials=None, minutes=1.2, epochs=2)
    assert [(one.number, one.state) for one in result.trials] == [(1, "finished")]
    monkeypatch.setattr(tuning, "train", Trained(0.5, 0.6))
    result = tuned(data, trials=None, minutes=1.7, epochs=2)
    assert [(one.number, one.state, one.reason) for one in result.trials] == [
        (1, "finished", ""), (2, "stopped", "the time is used up"),
    ]  # fmt: skip


def test_one_that_fails_does_not_end_it(data, monkeypatch):
    monkeypatch.setattr(tuning, "train", Trained(0.5, RunError("the loss became NaN"), 0.6))
    result = tuned(data)
    assert [(one.number, one.state, one.reason) for one in result.trials] == [
        (3, "finished", ""), (1, "finished", ""), (2, "failed", "the loss became NaN"),
    ]  # fmt: skip
    monkeypatch.setattr(tuning, "train", Trained(*[RunError("the disk is full")] * 3))
    with pytest.raises(RunError, match="no trial came to its end: the disk is full; give more --minutes"):
        tuned(data)


def test_what_cannot_be_trained_on_leaves_nothing(data, tmp_path):
    with pytest.raises(InputError, match="needs at least 71 x 71"):
        tuned(data, model="xception", image_size=40)
    few = write_pictures(tmp_path / "few", {"red": 1, "blue": 1})
    with pytest.raises(InputError, match="few"):
        ception.tune(few, runs=data.parent / "runs", **SMALL)
    assert not list((data.parent / "runs").glob("*"))


def test_ctrl_c_ends_it_with_what_there_is(data, monkeypatch):
    monkeypatch.setattr(tuning, "train", Trained(0.5, KeyboardInterrupt()))
    notes = Notes()
    result = tuned(data, reporter=notes)
    assert len(result.trials) == 1
    assert "Stopped by Ctrl-C: this is what there is so far" in notes.notes


def test_places_of_a_network_with_weights(data, tmp_path, monkeypatch):
    monkeypatch.setattr(tuning, "train", lambda *_, **options: (_ for _ in ()).throw(RunError(str(options["from_"]))))
    weights = tmp_path / "w.weights.h5"
    ception.build("inception_v1", classes=3, image_size=64).save_weights(weights)
    notes = Notes()
    with pytest.raises(RunError):
        ception.tune(data, model="inception_v1", weights=str(weights), image_size=64, trials=12, reporter=notes,
                     runs=tmp_path / "runs")  # fmt: skip
    told = [note for note in notes.notes if note.startswith("Trial ")]
    assert told[0] == "Trial 1: as train does it"
    places = {word for note in told for word in note.split() if word.startswith("mixed") or word == "--head-only"}
    assert {"--head-only", "mixed4e"} <= places
    assert "mixed5c" not in places


@pytest.fixture
def fine_tuned(tmp_path, own_cache, undrawn) -> dict[str, object]:
    """The options of a search among trainings of the end of a thin network, in an empty cache."""
    weights = tmp_path / "w.weights.h5"
    thin = {"final_endpoint": "mixed3b", "image_size": 32, "depth_multiplier": 0.1}
    ception.build("inception_v1", classes=3, **thin).save_weights(weights)
    return {"model": "inception_v1", "weights": str(weights), "from": "pool3a", **thin,
            "recipe": "article", "epochs": 1, "patience": 1, "head_epochs": 1}  # fmt: skip


def test_what_stays_frozen_is_computed_in_the_first_trial_alone(data, fine_tuned, own_cache, monkeypatch):
    computed, real, trainings = [], activations._computed, []

    def counted(runner, source, wanted, dtype, label, positions):
        computed.append((len(trainings), label, len(positions)))
        return real(runner, source, wanted, dtype, label, positions)

    def begun(*given, **options):
        trainings.append(options["learning_rate"])
        return train(*given, **options)

    train = tuning.train
    monkeypatch.setattr(activations, "_computed", counted)
    monkeypatch.setattr(tuning, "train", begun)
    options = {"from_" if name == "from" else name: value for name, value in fine_tuned.items()}
    result = ception.tune(data, trials=2, runs=data.parent / "runs", **options)
    assert [one.state for one in result.trials] == ["finished"] * 2
    assert len(set(trainings)) == 2
    anew = [(number, label, count) for number, label, count in computed if count]
    assert {(number, label) for number, label, _ in anew} == {(1, "Activations at pool3a"), (1, "Features")}


@pytest.mark.slow  # two processes
def test_what_stays_frozen_is_there_for_other_processes(data, fine_tuned, own_cache):
    flags = [word for name, value in fine_tuned.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    kept = []
    for number in (1, 2):
        done = subprocess.run(
            [sys.executable, "-m", "ception", "tune", str(data), "--trials", "2", *flags, "--runs",
             str(data.parent / f"runs{number}")], capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        kept.append(
            {path.name: (path.stat().st_size, path.stat().st_ino) for path in own_cache.glob("features-*.rows")}
        )
    assert len(kept[0]) == 2
    assert kept[0] == kept[1]


@pytest.mark.slow  # it trains twice
def test_the_command(data, run_cli, monkeypatch):
    code, out, err = run_cli(
        "tune", data, "--trials", "2", "--image-size", "8", "--epochs", "1", "--runs", data.parent / "runs"
    )
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0].split() == ["trial", "validation", "loss", "time", "options"]
    assert any(line.startswith("Best: ") for line in lines)
    assert any(line.startswith("To repeat it: ception train ") for line in lines)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    code, _, err = run_cli("tune", data)
    assert (code, err) == (2, "ception: tune needs Optuna: pip install 'ception[tune]'\n")
