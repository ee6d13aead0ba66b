from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import pytest

import ception
from ception.cli import main
from ception.training import run_folder
from ception.training.callbacks import patience_is_over
from support.pictures import COLOURS, write_pictures
from support.reporters import Notes
from support.runs import assert_same_run, killed

OPTIONS = ["--epochs", "5", "--batch-size", "4", "--image-size", "8"]
EACH_EPOCH = (
    "ception.training.state.save", "ception.training.callbacks.write_log", "ception.classifier.Classifier.save",
)  # fmt: skip
SETTINGS = {"epochs": 4, "batch_size": 8, "image_size": 8}
AT_THE_END = ("ception.training.carrying_out.curves", "ception.training.carrying_out.write", "shutil.rmtree")
pytestmark = pytest.mark.usefixtures("undrawn")


def train(data: Path, runs: Path, **settings) -> Path:
    return ception.train(data, runs=runs, reporter=Notes(), **SETTINGS | settings).folder


def interrupted(data: Path, runs: Path, **settings) -> Path:
    """The folder of a training that was killed after its last epoch."""
    with killed("ception.training.carrying_out.curves", 1):
        train(data, runs, **settings)
    return next(runs.iterdir())


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("resume") / "colours", dict.fromkeys(COLOURS, 30))


@pytest.fixture(scope="module")
def whole(data) -> Path:
    return train(data, data.parent / "whole")


@pytest.fixture(scope="module")
def once_interrupted(data) -> Path:
    return interrupted(data, data.parent / "runs", epochs=1)


@pytest.fixture
def broken_off(once_interrupted, tmp_path) -> Path:
    """An interrupted run of the test's own."""
    return shutil.copytree(once_interrupted, tmp_path / once_interrupted.name)


class TestWithinTheProcess:
    @pytest.mark.parametrize(("place", "when"), [
        *(pytest.param(place, 1, marks=pytest.mark.slow) for place in EACH_EPOCH),
        (EACH_EPOCH[0], 3),
        *(pytest.param(place, 3, marks=pytest.mark.slow) for place in EACH_EPOCH[1:]),
        *(pytest.param(place, 1, marks=pytest.mark.slow) for place in AT_THE_END[:-1]),
        (AT_THE_END[-1], 1),
    ])  # fmt: skip
    def test_killed_before_or_after_any_write(self, data, tmp_path, whole, place, when):
        with killed(place, when):
            train(data, tmp_path / "runs")
        (run,) = (tmp_path / "runs").iterdir()
        ception.resume(run, reporter=Notes())
        assert_same_run(whole, run)

    def test_a_finished_run_is_returned_as_it_is(self, whole):
        before = (whole / "model.keras").stat().st_mtime_ns
        run = ception.resume(whole, reporter=Notes())
        assert len(run.history) == 4
        assert run.scores.accuracy == json.loads((whole / "scores.json").read_text())["accuracy"]
        assert (whole / "model.keras").stat().st_mtime_ns == before

    def test_changed_pictures_are_refused(self, folder, tmp_path):
        run = interrupted(folder, tmp_path / "runs", epochs=1)
        (folder / "red" / "000.png").unlink()
        with pytest.raises(ception.InputError, match="have changed since"):
            ception.resume(run, reporter=Notes())

    def test_a_changed_split_is_refused(self, folder, tmp_path):
        rows = [
            f"{path},{path.parent.name},{('train', 'val', 'test', 'train', 'train')[number % 5]}"
            for number, path in enumerate(sorted(folder.rglob("*.png")))
        ]
        (tmp_path / "list.csv").write_text("\n".join(["path,label,split", *rows]))
        run = interrupted(tmp_path / "list.csv", tmp_path / "runs", epochs=1)
        text = (tmp_path / "list.csv").read_text()
        (tmp_path / "list.csv").write_text(text.replace(",val", ",x").replace(",test", ",val").replace(",x", ",test"))
        with pytest.raises(ception.InputError, match="have changed since"):
            ception.resume(run, reporter=Notes())

    def test_a_changed_recipe_is_refused(self, broken_off):
        plan = json.loads((broken_off / "checkpoints" / "plan.json").read_text())
        plan["phases"][0]["recipe"]["weight_decay"] = 0.5
        (broken_off / "checkpoints" / "plan.json").write_text(json.dumps(plan))
        with pytest.raises(ception.InputError, match="the recipe is not what it was"):
            ception.resume(broken_off, reporter=Notes())

    def test_a_run_of_an_earlier_version_goes_on(self, broken_off):
        path = broken_off / "checkpoints" / "plan.json"
        plan = json.loads(path.read_text())
        plan["settings"]["precision"] = plan["settings"].pop("dtype")
        path.write_text(json.dumps(plan))
        assert ception.resume(broken_off, reporter=Notes()).scores.count

    def test_a_run_that_is_still_going_is_refused(self, broken_off):
        from ception.files import locked

        with (
            locked(broken_off / "checkpoints" / "lock", ""),
            pytest.raises(ception.InputError, match="another process"),
        ):
            ception.resume(broken_off, reporter=Notes())
        assert ception.resume(broken_off, reporter=Notes()).scores.count

    def test_a_broken_state_is_one_clear_error(self, broken_off):
        state = broken_off / "checkpoints" / "last.npz"
        state.write_bytes(state.read_bytes()[:1000])
        with pytest.raises(ception.RunError, match=r"last\.npz is broken"):
            ception.resume(broken_off, reporter=Notes())

    def test_what_a_kill_left_half_written_is_removed(self, broken_off):
        left = [broken_off / ".curves.png.123.tmp", broken_off / "checkpoints" / ".last.npz.123.tmp"]
        for path in left:
            path.write_bytes(b"half")
        ception.resume(broken_off, reporter=Notes())
        assert not any(path.exists() for path in left)

    def test_what_is_no_run(self, tmp_path):
        with pytest.raises(ception.InputError, match="no interrupted run"):
            ception.resume(tmp_path)


class TestCommand:
    def test_takes_data_or_a_run(self, run_cli):
        assert run_cli("train")[0] == 2
        code, _, err = run_cli("train", "--resume", "y", "--epochs", "3")
        assert (code, "leave out --epochs" in err) == (2, True)


def died_after_two_epochs(data: Path, runs: Path) -> Path:
    """The folder of a training of four epochs that was killed before its third was written."""
    with killed("ception.training.state.save", 3):
        train(data, runs)
    return next(runs.iterdir())


def assert_same_but_for_paths(one: Path, other: Path, data: Path) -> None:
    """As `assert_same_run`, for pictures that the other run found in `data`, which it has to name."""
    moved = shutil.copytree(other, other.parent / "compared")
    rows = (moved / "predictions.csv").read_bytes()
    first = (one / "predictions.csv").read_text().splitlines()[1].split(",")[0]
    old = first.rpartition("/")[0].rpartition("/")[0]
    assert f"\n{data}/".encode() in rows
    (moved / "predictions.csv").write_bytes(rows.replace(f"\n{data}/".encode(), f"\n{old}/".encode()))
    assert_same_run(one, moved)


@pytest.fixture(scope="module", params=["absolute", pytest.param("relative", marks=pytest.mark.slow)])
def left(request, data, tmp_path_factory) -> Path:
    """The run folder of a training that knew its data, which lie there no more, by a path of that kind."""
    place = tmp_path_factory.mktemp("left")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(place)
        shutil.copytree(data, "first")
        first = place / "first" if request.param == "absolute" else Path("first")
        run = died_after_two_epochs(first, Path("runs"))
        shutil.rmtree("first")
    return place / run


class TestMoved:
    """Data and run folder that lie elsewhere by now."""

    @pytest.fixture
    def moved(self, left, data, tmp_path, monkeypatch) -> tuple[Path, Path]:
        """The run folder and the data, in other places than the training knew them."""
        monkeypatch.chdir(tmp_path)
        return Path(shutil.copytree(left, "new/run")), Path(shutil.copytree(data, "new/colours"))

    def test_goes_on_as_if_nothing_had_moved(self, moved, whole):
        run, data = moved
        notes = Notes()
        ception.resume(run, data, reporter=notes)
        assert f"The pictures, labels and split of {data} are those that the training began with" in notes.notes
        assert_same_but_for_paths(whole, run, data)
        assert ception.Classifier.load(run).record["data"]["source"] == str(data)

    def test_what_is_gone_is_told_with_the_way_out(self, moved):
        run, _ = moved
        with pytest.raises(ception.InputError, match=r"no longer in .*first: .*train --resume new/run DATA"):
            ception.resume(run)

    def test_other_pictures_are_refused(self, moved):
        run, data = moved
        before = (run / "checkpoints" / "plan.json").read_bytes()
        (data / "red" / "000.png").unlink()
        with pytest.raises(ception.InputError, match=f"split of {data} have changed since"):
            ception.resume(run, data, reporter=Notes())
        assert (run / "checkpoints" / "plan.json").read_bytes() == before

    def test_the_new_place_is_remembered(self, moved, whole):
        run, data = moved
        with killed("ception.training.carrying_out.curves", 1):
            ception.resume(run, data, reporter=Notes())
        ception.resume(run, reporter=Notes())
        assert_same_but_for_paths(whole, run, data)

    @pytest.mark.parametrize("order", [["--resume", "RUN", "DATA"], ["DATA", "--resume", "RUN"]])
    @pytest.mark.parametrize("left", ["relative"], indirect=True)
    def test_either_order_is_understood(self, moved, order, run_cli):
        places = dict(zip(("RUN", "DATA"), map(str, moved), strict=True))
        code, _, err = run_cli("train", *(places.get(word, word) for word in order))
        assert code == 0, err
        assert f"Resuming {moved[0]}" in err
        assert (moved[0] / "model.keras").is_file()

    @pytest.mark.parametrize("left", ["relative"], indirect=True)
    def test_a_table_that_has_moved(self, moved):
        run, data = moved
        shutil.rmtree(run)
        rows = [f"{path.relative_to(data.parent)},{path.parent.name}" for path in sorted(data.rglob("*.png"))]
        table = data.parent / "list.csv"
        table.write_text("\n".join(["path,label", *rows]))
        run = died_after_two_epochs(table, Path("others"))
        shutil.move(data.parent, "newer")
        assert ception.resume(run, Path("newer") / "list.csv", reporter=Notes()).scores.count


def start(place: Path) -> subprocess.Popen[bytes]:
    """A training in a process of its own, which has just made its run folder."""
    command = [sys.executable, "-m", "ception", "train", "d", *OPTIONS, "--quiet"]
    process = subprocess.Popen(command, cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list(place.glob("runs/*/checkpoints/plan.json")):
        assert process.poll() is None
        time.sleep(0.01)
    return process


def kills(tmp_path: Path, count: int) -> list[str]:
    """Kill trainings at random moments, resume each to its end here and compare; what each kill left behind."""
    write_pictures(tmp_path / "d", {"a": 150, "b": 150}, size=(9, 9))
    begun = time.monotonic()
    assert main(["train", "d", *OPTIONS, "--quiet"]) == 0
    longest = time.monotonic() - begun
    run, whole = tmp_path / "runs" / "001-separable_cnn-d", tmp_path / "whole"
    shutil.move(run, whole)
    left = []
    for _ in range(count):
        process = start(tmp_path)
        time.sleep(random.uniform(0, longest))
        process.kill()
        process.wait()
        left.append("finished" if (run / "model.keras").exists() else "in the middle")
        assert main(["train", "--resume", str(run), "--quiet"]) == 0
        assert_same_run(whole, run)
        shutil.rmtree(run)
    return left


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_twenty_killed_processes_resume_to_the_same_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    left = kills(tmp_path, 20)
    assert left.count("in the middle") >= 10, left


def test_every_run_gets_a_folder_of_its_own(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: run_folder.create(tmp_path / "runs", "x").path, range(40)))
    assert sorted(folder.name for folder in folders) == [f"{number:03d}-x" for number in range(1, 41)]


@pytest.mark.slow
def test_two_runs_started_at_once(tmp_path):
    write_pictures(tmp_path / "d", {"a": 60, "b": 60}, size=(9, 9))
    command = [sys.executable, "-m", "ception", "train", "d", *OPTIONS, "--quiet"]
    processes = [subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    first, second = sorted((tmp_path / "runs").iterdir())
    assert_same_run(first, second)


class TestPatience:
    @pytest.mark.parametrize("seed", range(30))
    def test_stops_where_keras_stops(self, seed):
        losses = np.random.default_rng(seed).normal(1, 0.02, 40).cumsum() * -0.01 + np.abs(
            np.random.default_rng(seed + 100).normal(0, 0.05, 40)
        )
        reference = keras.callbacks.EarlyStopping(patience=3, min_delta=1e-3)
        reference.set_model(keras.Sequential())
        reference.model.stop_training = False
        reference.on_train_begin()
        rows = []
        for epoch, loss in enumerate(losses):
            rows.append({"epoch": epoch + 1, "val_loss": float(loss)})
            reference.on_epoch_end(epoch, {"val_loss": float(loss)})
            assert patience_is_over(rows, 3, 1e-3) == reference.model.stop_training
            if reference.model.stop_training:
                break
