"""A Ray cluster of two hosts, each a network namespace with an address of its own, and a cable that is cut."""

from __future__ import annotations

import csv
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import keras
import pytest

import ception
from support.cluster import told_by_ray
from support.hosts import SECOND, Hosts, apart, ray_across
from support.pictures import COLOURS, write_pictures
from support.reporters import Notes
from support.runs import assert_near, losses

pytestmark = pytest.mark.slow  # clusters, and a silence of a minute
FLAGS = {"model": "separable_cnn", "batch_size": 16, "image_size": 16, "neighbours": False}
LOST = (
    f"warning: host {SECOND} of the cluster is gone, or cannot be reached: "
    "once Ray gives it up, what it was at goes on by the 1 worker left\n"
)
on_torch = pytest.mark.skipif(keras.backend.backend() != "torch", reason="trainings on Ray need PyTorch here")


@dataclass
class Cluster:
    """A Ray cluster over two hosts.

    Attributes:
        hosts: These.
        environment: In which a process is led to the cluster.
        place: Where commands run.
    """

    hosts: Hosts
    environment: dict[str, str]
    place: Path

    def begun(self, *words: object) -> subprocess.Popen[str]:
        """A command that is begun on the first host."""
        own = self.environment | {"CEPTION_CACHE": str(self.place / "cache")}
        return self.hosts.start(0, ["-m", "ception", *words], folder=self.place, environment=own)

    def cut_while(self, process: subprocess.Popen[str], is_time: Callable[[], bool]) -> list[str]:
        """The lines that a command writes beside its results once the first host is unplugged, the loss in a minute.

        Args:
            process: The command, which is to end well.
            is_time: Whether to cut now.
        """
        lines: list[str] = []
        told: list[float] = []

        def read() -> None:
            for line in process.stderr:
                lines.append(line)
                if line == LOST:
                    told.append(time.monotonic())

        reader = threading.Thread(target=read)
        reader.start()
        while not is_time():
            assert process.poll() is None, lines
            time.sleep(0.02)
        before = len(lines)
        self.hosts.cut()
        cut = time.monotonic()
        process.wait(timeout=250)
        reader.join()
        assert process.returncode == 0, lines
        assert [moment - cut < 60 for moment in told] == [True], (told, cut)
        return lines[before:]


@pytest.fixture
def cluster(tmp_path) -> Iterator[Cluster]:
    pytest.importorskip("ray", reason="Ray is not installed")
    with apart() as hosts:
        with ray_across(hosts) as environment:
            yield Cluster(hosts, environment, tmp_path)
        assert hosts.running() == []


@pytest.fixture
def data(tmp_path) -> Path:
    return write_pictures(tmp_path / "colours", dict.fromkeys(COLOURS, 20))


def flags(**options: object) -> list[str]:
    """Options as a training takes them in Python, as words."""
    return [
        f"--no-{name}" if value is False else f"--{name.replace('_', '-')}={value}" for name, value in options.items()
    ]


def rows(out: Path) -> list[dict[str, str]]:
    """Of all files, in their order."""
    return [row for path in sorted(out.glob("part-*.csv")) for row in csv.DictReader(path.read_text().splitlines())]


def many(data: Path, folder: Path, times: int) -> Path:
    """A folder with each picture so often."""
    folder.mkdir()
    for path in data.rglob("*.png"):
        for number in range(times):
            (folder / f"{number}-{path.parent.name}-{path.name}").symlink_to(path)
    return folder


def test_both_hosts_answer_what_one_process_does(cluster, trained, tmp_path):
    photos = many(trained.parent.parent / "colours", tmp_path / "photos", 4)
    done = cluster.begun("predict", trained, photos, "--out", "there", "--part-size", 8, "--on", "ray")
    seen: set[int] = set()
    while done.poll() is None:
        seen |= {index for index in (0, 1) if working(cluster.hosts.names[index])}
        time.sleep(0.05)
    ((code, said),) = cluster.hosts.told()
    assert code == 0, said
    assert seen == {0, 1}
    assert "Ray: 2 workers with 1 core each" in said
    assert told_by_ray(said) == []
    ception.predict_into(trained, photos, tmp_path / "here", part_size=8)
    assert rows(tmp_path / "there") == rows(tmp_path / "here")


def working(host: str) -> bool:
    """Whether a process of Ray Data's is at work on a host at this moment."""
    told = subprocess.run(["ip", "netns", "pids", host], capture_output=True, text=True).stdout.split()
    titles = []
    for process in told:
        try:
            titles.append(Path(f"/proc/{process}/cmdline").read_bytes())
        except OSError:  # gone meanwhile
            continue
    return any(b"MapWorker" in title and b"submit" in title for title in titles)


def test_predictions_go_on_without_a_host_that_is_cut_off_and_it_is_told(cluster, trained, tmp_path):
    photos = many(trained.parent.parent / "colours", tmp_path / "photos", 10)
    out = tmp_path / "there"
    process = cluster.begun("predict", trained, photos, "--out", out, "--part-size", 4, "--on", "ray")
    said = cluster.cut_while(process, lambda: len(list(out.glob("part-*"))) > 30)
    assert [line for line in said if not line.startswith("Predicting: ")] == [LOST]  # beside how far it is
    ception.predict_into(trained, photos, tmp_path / "here", part_size=4)
    assert rows(out) == rows(tmp_path / "here")


@on_torch
def test_two_hosts_train_what_one_process_does(cluster, data, tmp_path):
    cluster.begun("train", data, *flags(epochs=2, dropout=0, backend="torch", on="ray", **FLAGS))
    ((code, said),) = cluster.hosts.told()
    assert code == 0, said
    assert "2 processes train together on torch" in said
    assert told_by_ray(said) == []
    (made,) = (tmp_path / "runs").iterdir()
    alone = ception.train(data, epochs=2, dropout=0.0, runs=tmp_path / "alone", reporter=Notes(), **FLAGS).folder
    assert_near(made, alone)


@on_torch
def test_a_training_goes_on_without_a_host_that_is_cut_off_and_it_is_told(cluster, data, tmp_path):
    words = flags(epochs=60, patience=60, dropout=0, backend="torch", on="ray", **FLAGS)
    log = tmp_path / "runs/001-separable_cnn-colours/log.csv"
    process = cluster.begun("train", data, *words)
    said = cluster.cut_while(process, lambda: log.exists() and len(log.read_text().splitlines()) > 2)
    assert said.count(LOST) == 1
    assert said.index(LOST) < next(number for number, line in enumerate(said) if line.startswith("Resuming"))
    assert told_by_ray("".join(said)) == []
    assert len(losses(log.parent)) == 60
    options = {"epochs": 60, "patience": 60, "dropout": 0.0, **FLAGS}
    alone = ception.train(data, runs=tmp_path / "alone", reporter=Notes(), **options).folder
    assert_near(log.parent, alone, 1e-2)
