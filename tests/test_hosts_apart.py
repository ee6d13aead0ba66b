"""One training on two hosts, each a network namespace with an address of its own, and a cable that is cut."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import keras
import pytest

import ception
from support.hosts import FIRST, Hosts, apart, ip
from support.pictures import COLOURS, write_pictures
from support.reporters import Notes
from support.runs import assert_near, losses

pytestmark = [
    pytest.mark.slow,  # trainings, and a silence of 40 seconds
    pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="there, a training is one process"),
]
PORT = 29500
FLAGS = ["--model=separable_cnn", "--batch-size=16", "--image-size=16", "--no-neighbours"]


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    with apart() as made:
        yield made


def train(hosts: Hosts, place: Path, *words: str) -> None:
    """Start a training on both, by torchrun on PyTorch, each in a folder of its own."""
    backend = keras.backend.backend()
    for index, name in enumerate(hosts.names):
        folder = place / f"host{index}"
        folder.mkdir(exist_ok=True)
        started = ["-m", "ception", "train", *words, f"--backend={backend}"]
        if backend == "torch":
            started = ["-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", f"--node-rank={index}",
                       f"--master-addr={FIRST}", f"--master-port={PORT}", *started]  # fmt: skip
        else:
            started.append(f"--process={index}/2@{FIRST}:{PORT}")
        own = {"CEPTION_CACHE": str(folder / "cache")}
        if backend == "torch":  # which takes what the machine's name leads to
            own["GLOO_SOCKET_IFNAME"] = f"{name}d"
        hosts.start(index, started, folder=folder, environment=own)


@pytest.fixture
def data(tmp_path) -> Path:
    return write_pictures(tmp_path / "colours", dict.fromkeys(COLOURS, 20))


def test_two_hosts_train_what_one_process_does(hosts, data, tmp_path):
    train(hosts, tmp_path, str(data), "--epochs=2", "--dropout=0", *FLAGS)
    for code, said in hosts.told():
        assert code == 0, said
    (made,) = (tmp_path / "host0/runs").glob("*")
    assert not (tmp_path / "host1/runs").exists()
    alone = ception.train(
        data, model="separable_cnn", batch_size=16, image_size=16, neighbours=False, epochs=2, dropout=0.0,
        runs=tmp_path / "alone", reporter=Notes(),
    ).folder  # fmt: skip
    assert_near(made, alone)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="PyTorch takes what the machine's name leads to")
def test_another_host_reaches_both_processes_of_one_that_calls_itself_localhost(hosts, data, tmp_path):
    addresses = "192.168.77.1", "192.168.77.2"  # above 127.0.0.1: of two, gloo lets the lower one listen
    for name, address in zip(hosts.names, addresses, strict=True):
        ip("-n", name, "addr", "add", f"{address}/24", "dev", f"{name}d")
    for index, (host, first) in enumerate(((0, "localhost"), (0, "localhost"), (1, addresses[0]))):
        folder = tmp_path / f"process{index}"
        folder.mkdir()
        words = ["train", data, "--backend=jax", "--epochs=1", "--model=separable_cnn", "--batch-size=15",
                 "--image-size=16", "--no-neighbours", f"--process={index}/3@{first}:{PORT}"]  # fmt: skip
        hosts.start(
            host, ["-m", "ception", *words], folder=folder, environment={"CEPTION_CACHE": str(folder / "cache")}
        )
    for code, said in hosts.told():
        assert code == 0, said


def test_a_cable_that_is_cut_is_told_in_a_line_on_either_side_and_it_goes_on(hosts, data, tmp_path):
    train(hosts, tmp_path, str(data), "--epochs=60", "--patience=60", *FLAGS)
    while not any(len(path.read_text().splitlines()) > 2 for path in (tmp_path / "host0/runs").glob("*/log.csv")):
        assert all(process.poll() is None for process in hosts.processes), hosts.told()
        time.sleep(0.05)
    hosts.cut()
    began = time.monotonic()
    ended = hosts.told()
    assert time.monotonic() - began < 60
    for code, said in ended:
        (line,) = [line for line in said.splitlines() if line.startswith("ception: ")]
        assert code == 1, (code, said)
        assert "another process of the training is gone, or cannot be reached (told by process" in line
    (left,) = (tmp_path / "host0/runs").glob("*")
    before = losses(left)
    ception.resume(left, reporter=Notes())
    after = losses(left)
    assert (len(before) < 60, len(after)) == (True, 60)
    assert (after[: len(before)] == before).all()
