"""Run folders by short names, and the table of them."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest

import ception
from ception.errors import InputError
from ception.files import mark
from ception.model_file import model_file
from ception.run_list import run_named


@pytest.fixture
def runs(trained, tmp_path, monkeypatch) -> Path:
    """A finished run, a better one on the same data, and one that was interrupted."""
    monkeypatch.chdir(tmp_path)
    for number, (name, accuracy) in enumerate({"separable_cnn-colours": 0.75, "xception-colours": 0.875}.items(), 1):
        folder = shutil.copytree(trained, tmp_path / "runs" / f"00{number}-{name}")
        scores = json.loads((folder / "scores.json").read_text())
        (folder / "scores.json").write_text(
            json.dumps(scores | {"accuracy": accuracy, "training_seconds": 100 * accuracy})
        )
    mark(tmp_path / "runs" / "010-xception-flowers")
    (tmp_path / "runs" / "notes").mkdir()
    return tmp_path / "runs"


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("last", "010-xception-flowers"), ("2", "002-xception-colours"), ("runs/002", "002-xception-colours"),
        ("flowers", "010-xception-flowers"), ("runs/last", "010-xception-flowers"), ("roses", None), ("12", None),
        ("elsewhere/last", None),
    ],
)  # fmt: skip
def test_short_names(runs, name, folder):
    assert run_named(name) == (Path("runs", folder) if folder else None)


def test_a_name_of_several_runs_is_not_guessed(runs):
    with pytest.raises(InputError, match="'xception' may be 002-xception-colours or 010-xception-flowers: give more"):
        run_named("xception")


def test_they_stand_for_a_model_everywhere(runs, trained, run_cli):
    assert model_file("2") == Path("runs/002-xception-colours/model.keras")
    pictures = trained.parent.parent / "colours"
    assert ception.predict("002", pictures) == ception.predict(trained, pictures)
    assert run_cli("evaluate", "002", pictures)[0] == 0
    code, _, err = run_cli("train", "--resume", "last")
    assert (code, "no interrupted run" in err) == (2, True)
    code, _, err = run_cli("train", "--resume", "roses")
    assert (code, "there is no run roses" in err) == (2, True)
    assert run_cli("train", "--resume", "1", "--quiet")[0] == 0
    assert ception.summary("2").parameters == ception.summary(trained).parameters


def test_a_misspelt_run_gets_a_suggestion(runs, trained, run_cli):
    for command in (
        ["train", "--resume", "lst"],
        ["summary", "lst"],
        ["predict", "lst", trained.parent.parent / "colours"],
    ):
        code, _, err = run_cli(*command)
        assert (code, err.endswith("; did you mean 'last'?\n")) == (2, True), err
    _, _, err = run_cli("train", "--resume", "roses")
    assert err == "ception: there is no run roses: ception runs lists those that are here\n"


def test_the_trials_of_searches_are_among_them(runs, trained):
    shutil.copytree(trained, runs / "tuning-colours-1" / "trial-2" / "001-separable_cnn-colours")
    shutil.copytree(trained, runs / "tuning-other" / "trial-1" / "001-separable_cnn-colours")  # somebody else's folder
    mark(runs / "tuning-colours-1")
    folders = [entry.folder for entry in ception.runs()]
    assert len(folders) == 4
    assert str(Path("runs/tuning-colours-1/trial-2/001-separable_cnn-colours")) in folders


def test_the_next_command_names_a_picture_that_is_there(runs, trained, run_cli):
    shutil.rmtree(runs / "010-xception-flowers")
    (told,) = [line for line in run_cli("runs")[1].splitlines() if line.startswith("Next: ")]
    words = shlex.split(told.removeprefix("Next: "))
    assert words[:3] == ["ception", "predict", "runs/002-xception-colours"]
    assert Path(words[3]).is_file()
    assert run_cli(*words[1:])[0] == 0


def test_the_table(runs, run_cli):
    entries = ception.runs()
    assert [Path(entry.folder).name[:3] for entry in entries] == ["002", "001", "010"]
    assert [entry.accuracy for entry in entries] == [0.875, 0.75, None]
    assert [entry.finished for entry in entries] == [True, True, False]
    assert [entry.seconds for entry in entries] == [87.5, 75, 0]
    assert entries[0].model_bytes == (runs / "002-xception-colours" / "model.keras").stat().st_size
    assert entries[0].options == "--epochs 3 --batch-size 16 --image-size 16"
    code, out, _ = run_cli("runs")
    assert code == 0
    assert "--epochs 3 --batch-size 16 --image-size 16" in out.splitlines()[1]
    assert "87.5%" in out.splitlines()[1]
    assert "1 min 28 s" in out.splitlines()[1]
    assert out.splitlines()[-1] == "Next: ception train --resume runs/010-xception-flowers"
    assert json.loads(run_cli("runs", "--json")[1]) == [entry.as_dict() for entry in entries]
    code, _, err = run_cli("runs", "nowhere")
    assert (code, "there are no runs in nowhere" in err) == (2, True)
