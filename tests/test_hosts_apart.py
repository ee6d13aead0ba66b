"""One training on two hosts, each a network namespace with an address of its own, and a cable that is cut."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import keras
import pytest

import ception
from support.pictures import COLOURS, write_pictures
from support.reporters import Notes
from support.runs import assert_near, losses

pytestmark = [
    pytest.mark.slow,  # trainings, and a silence of 40 seconds
    pytest.mark.skipif(keras.backend.backend() != "torch", reason="it is torchrun that starts them"),
]
PORT = 29500
FLAGS = ["--model=separable_cnn", "--batch-size=16", "--image-size=16", "--no-neighbours", "--backend=torch"]


@dataclass
class Hosts:
    """Two network namespaces, joined by a pair of devices.

    Attributes:
        names: Of the namespaces.
        place: Below which each has a folder to run in.
        processes: What runs in them.
    """

    names: tuple[str, str]
    place: Path
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def train(self, *words: str) -> None:
        """Start a training by torchrun on both."""
        for index, name in enumerate(self.names):
            folder = self.place / f"host{index}"
            folder.mkdir(exist_ok=True)
            own = {"GLOO_SOCKET_IFNAME": f"{name}d", "CEPTION_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
            started = ["ip", "netns", "exec", name, sys.executable, "-m", "torch.distributed.run", "--nnodes=2",
                       "--nproc-per-node=1", f"--node-rank={index}", "--master-addr=10.77.0.1",
                       f"--master-port={PORT}", "-m", "ception", "train", *words]  # fmt: skip
            self.processes.append(subprocess.Popen(
                started, cwd=folder, env=os.environ | own, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            ))  # fmt: skip

    def cut(self) -> None:
        """Unplug the first host."""
        ip("-n", self.names[0], "link", "set", f"{self.names[0]}d", "down")

    def told(self) -> list[tuple[int, str]]:
        """Exit code and standard error of both, once they have ended."""
        said = [process.communicate(timeout=250)[1] for process in self.processes]
        codes = [process.returncode for process in self.processes]
        self.processes.clear()
        return list(zip(codes, said, strict=True))


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=20)


@pytest.fixture
def hosts(tmp_path) -> Iterator[Hosts]:
    names = f"cept{os.getpid()}a", f"cept{os.getpid()}b"
    try:
        for name in names:
            ip("netns", "add", name)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("network namespaces need Linux, ip and root")
    try:
        devices = [f"{name}d" for name in names]
        ip("link", "add", devices[0], "netns", names[0], "type", "veth", "peer", "name", devices[1], "netns", names[1])
        for number, (name, device) in enumerate(zip(names, devices, strict=True), 1):
            ip("-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", device)
            ip("-n", name, "link", "set", device, "up")
            ip("-n", name, "link", "set", "lo", "up")
        made = Hosts(names, tmp_path)
        yield made
        for process in made.processes:
            process.kill()
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, timeout=20)


@pytest.fixture
def data(tmp_path) -> Path:
    return write_pictures(tmp_path / "colours", dict.fromkeys(COLOURS, 20))


def test_two_hosts_train_what_one_process_does(hosts, data, tmp_path):
    hosts.train(str(data), "--epochs=2", "--dropout=0", *FLAGS)
    for code, said in hosts.told():
        assert code == 0, said
    (made,) = (tmp_path / "host0/runs").glob("*")
    assert not (tmp_path / "host1/runs").exists()
    alone = ception.train(
        data, model="separable_cnn", batch_size=16, image_size=16, neighbours=False, epochs=2, dropout=0.0,
        runs=tmp_path / "alone", reporter=Notes(),
    ).folder  # fmt: skip
    assert_near(made, alone)


def test_a_cable_that_is_cut_is_told_in_a_line_on_either_side_and_it_goes_on(hosts, data, tmp_path):
    hosts.train(str(data), "--epochs=60", "--patience=60", *FLAGS)
    while not any(len(path.read_text().splitlines()) > 2 for path in (tmp_path / "host0/runs").glob("*/log.csv")):
        assert all(process.poll() is None for process in hosts.processes), hosts.told()
        time.sleep(0.05)
    hosts.cut()
    for code, said in hosts.told():
        (line,) = [line for line in said.splitlines() if line.startswith("ception: ")]
        assert code == 1, said
        assert "another process of the training is gone, or cannot be reached (told by process" in line
    (left,) = (tmp_path / "host0/runs").glob("*")
    before = losses(left)
    ception.resume(left, reporter=Notes())
    after = losses(left)
    assert (len(before) < 60, len(after)) == (True, 60)
    assert (after[: len(before)] == before).all()
