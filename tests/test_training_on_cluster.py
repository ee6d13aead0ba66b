"""One training by the workers of a Ray cluster: the same as by as many processes that anything else starts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import pytest

import ception
from ception.errors import InputError, RunError
from ception.jobs import training as on_ray
from support.cluster import told_by_ray
from support.pictures import COLOURS, write_pictures
from support.reporters import Notes
from support.runs import assert_same_run
from support.teams import run

BACKEND = keras.backend.backend()
several = pytest.mark.skipif(BACKEND == "tensorflow", reason="several processes need PyTorch or JAX")
FLAGS = ["--model=separable_cnn", "--epochs=6", "--batch-size=16", "--image-size=16", "--no-neighbours"]


@pytest.fixture
def data(tmp_path) -> Path:
    return write_pictures(tmp_path / "colours", dict.fromkeys(COLOURS, 40))


@pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow cannot")
def test_tensorflow_is_refused_before_anything_is_started(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="with --backend torch or jax, not with tensorflow"):
        ception.train_on("ray", data)
    assert not Path("runs").exists()


def test_what_cannot_be_is_one_line(data, tmp_path, monkeypatch, run_cli):
    monkeypatch.chdir(tmp_path)
    code, _, err = run_cli("train", data, "--on", "slurm")
    assert (code, "--on must be ray or ray://HOST:PORT, got 'slurm'" in err) == (2, True)
    code, _, err = run_cli("train", data, "--on", "ray", "--find-lr")
    assert (code, "leave out --on" in err) == (2, True)
    with pytest.raises(InputError, match="there is no run nowhere"):
        ception.train_on("ray", resume="nowhere")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install 'ception\\[ray\\]'"):
        ception.train_on("ray", data)


@several
def test_what_is_nowhere_is_told_before_anything_is_started(data, tmp_path, monkeypatch):
    pytest.importorskip("ray.train", reason="Ray is not installed")
    monkeypatch.setattr(on_ray.cluster, "connected", None)
    with pytest.raises(InputError, match=r"there is no file or folder .*nowhere"):
        ception.train_on("ray", tmp_path / "nowhere")
    with pytest.raises(InputError, match="--from belongs to --weights"):
        ception.train_on("ray", data, model="xception", from_="block12")


@several
@pytest.mark.slow
def test_one_that_is_interrupted_says_how_to_go_on(data, tmp_path):
    pytest.importorskip("ray.train", reason="Ray is not installed")
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    flags = [*FLAGS, "--on", "ray"]
    flags[1] = "--epochs=500"
    command = [sys.executable, "-m", "ception", "train", str(data), *flags]
    with (tmp_path / "err").open("w+") as err:
        begun = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=err, text=True)
        while begun.poll() is None and not any(
            len(log.read_text().splitlines()) > 2 for log in (tmp_path / "runs").glob("*/log.csv")
        ):
            time.sleep(0.1)
        begun.send_signal(signal.SIGINT)
        begun.communicate(timeout=120)
        err.seek(0)
        said = err.read()
    assert begun.returncode == 130, said
    (found,) = (tmp_path / "runs").iterdir()
    assert said.splitlines()[-1] == (
        f"ception: stopped by Ctrl-C; to go on: ception train --resume {found.relative_to(tmp_path)} --on ray"
    )


@several
@pytest.mark.slow
def test_a_worker_that_is_killed_is_replaced_and_the_result_is_the_same(data, tmp_path):
    pytest.importorskip("ray.train", reason="Ray is not installed")
    (tmp_path / "alone").mkdir()
    (code, _, err), _ = run(["train", str(data), *FLAGS], tmp_path / "alone")
    assert code == 0, err
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    command = [sys.executable, "-m", "ception", "train", str(data), *FLAGS, "--on", "ray"]
    with (tmp_path / "err").open("w+") as err:
        begun = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=err, text=True)
        killed = False
        while begun.poll() is None and not killed:
            logs = list((tmp_path / "runs").glob("*/log.csv"))
            if logs and len(logs[0].read_text().splitlines()) > 2:
                os.kill(_workers(begun.pid)[-1], signal.SIGKILL)
                killed = True
            time.sleep(0.01)
        out, _ = begun.communicate()
        err.seek(0)
        said = err.read()
    assert killed, said
    assert begun.returncode == 0, said
    assert "Resuming" in said
    assert told_by_ray(said) == []
    assert "Accuracy" in out
    (found,) = (tmp_path / "runs").iterdir()  # and nothing of Ray's
    assert_same_run(next((tmp_path / "alone" / "runs").iterdir()), found)


def _workers(of: int) -> list[int]:
    """The processes of a cluster that a process has started which train."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            title = (place / "cmdline").read_bytes()
            parents = _parents(int(place.name))
        except (OSError, IndexError):
            continue
        if b"RayTrainWorker" in title and of in parents:
            found.append(int(place.name))
    return sorted(found)


def _parents(pid: int) -> set[int]:
    """All processes above one."""
    above = set()
    while pid > 1:
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        above.add(pid)
    return above


@several
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Ray gives some to itself
def test_a_failure_is_told_in_its_own_words_and_not_tried_again(data, tmp_path, monkeypatch):
    pytest.importorskip("ray.train", reason="Ray is not installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(on_ray, "require_run", lambda name: Path("gone"))
    monkeypatch.setattr(on_ray.run_folder, "backend_of", lambda run: BACKEND)
    with pytest.raises((InputError, RunError), match="there is no run"):
        ception.train_on("ray", resume="gone", reporter=Notes())
