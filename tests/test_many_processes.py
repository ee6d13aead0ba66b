"""One training in several processes, against the same in one; on the backends that can."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import keras
import numpy as np
import pytest

import ception
from ception.distributed.places import Place
from support.pictures import COLOURS, write_pictures
from support.reporters import Notes
from support.runs import assert_near, assert_same_run, losses
from support.teams import Command, run

pytestmark = [
    pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="several processes need PyTorch or JAX"),
    pytest.mark.usefixtures("undrawn"),
]
PLAIN = {"model": "separable_cnn", "epochs": 2, "batch_size": 16, "image_size": 16, "dropout": 0.0, "neighbours": False}
on_jax = pytest.mark.skipif(keras.backend.backend() != "jax", reason="PyTorch has a store where processes meet")
LONG = PLAIN | {"epochs": 6, "dropout": 0.3}


def flags(settings: dict[str, object]) -> list[str]:
    return [f"--{name.replace('_', '-')}={value}" if value is not False else f"--no-{name}"
            for name, value in settings.items()]  # fmt: skip


def folder_of(place: Path) -> Path:
    (found,) = (place / "runs").glob("*-*")
    return found


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Of 84 pictures for training, so that the last of the batches of 16 has 4."""
    return write_pictures(tmp_path_factory.mktemp("many") / "colours", dict.fromkeys(COLOURS, 40))


def test_two_processes_train_what_one_does(data, tmp_path):
    alone = ception.train(data, runs=tmp_path / "alone", reporter=Notes(), **PLAIN).folder
    (code, out, err), follower = run(["train", str(data), *flags(PLAIN)], tmp_path)
    assert code == 0, err
    assert "2 processes train together" in err
    assert "Accuracy" in out
    assert follower == (0, "", "")
    assert_near(alone, folder_of(tmp_path))


def stopped_after(command: Command, epochs: int, index: int) -> list[tuple[int, str, str]]:
    """What the processes say of which one is killed once so many epochs are done."""
    command.start()
    while not any(len(path.read_text().splitlines()) > epochs for path in (command.place / "runs").glob("*/log.csv")):
        assert all(process.poll() is None for process in command.processes)
        time.sleep(0.01)
    command.processes[index].send_signal(signal.SIGKILL)
    return command.ended()


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory) -> Path:
    """The uninterrupted run of two processes."""
    place = tmp_path_factory.mktemp("whole")
    assert run(["train", str(data), *flags(LONG)], place)[0][0] == 0
    return folder_of(place)


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_a_process_that_is_killed_ends_the_training_and_it_goes_on(data, tmp_path, whole, killed):
    ended = stopped_after(Command(["train", str(data), *flags(LONG)], tmp_path), 2, killed)
    assert ended[killed][0] == -signal.SIGKILL
    code, out, err = ended[1 - killed]
    assert (bool(code), out) == (True, "")
    if keras.backend.backend() == "torch" or killed:  # JAX's service in the first one ends the others in its own words
        assert code == 1
        last = err.splitlines()[-1]
        assert "another process of the training is gone" in last
        assert "--resume runs/001-separable_cnn-colours" in last
        assert "Traceback" not in err
    left = folder_of(tmp_path)
    counts = (1, 2, 4 if keras.backend.backend() == "jax" else 3)  # JAX divides batches of 16 evenly
    copies = [shutil.copytree(left, tmp_path / f"runs{count}" / left.name) for count in counts]
    for count, copy in zip(counts, copies, strict=True):
        ended = run(["train", "--resume", str(copy)], tmp_path, count) if count > 1 else None
        assert ended is None or ended[0][0] == 0, ended
    ception.resume(copies[0], reporter=Notes())
    assert_same_run(whole, copies[1])
    for copy in (copies[0], copies[2]):
        assert len(losses(copy)) == len(losses(whole))
        np.testing.assert_array_equal(losses(copy)[:2], losses(whole)[:2])


@pytest.mark.slow
def test_batch_norm_sees_the_whole_batch(data, tmp_path):
    settings = PLAIN | {
        "model": "xception", "depth_multiplier": 0.0625, "image_size": 71, "epochs": 1, "batch_size": 42,
        "learning_rate": 1e-3, "flip": False, "stock_layers": True,
    }  # fmt: skip
    alone = ception.train(data, runs=tmp_path / "alone", reporter=Notes(), **settings).folder
    (code, _, err), _ = run(["train", str(data), *[f for f in flags(settings) if "stock" not in f], "--stock-layers"],
                            tmp_path)  # fmt: skip
    assert code == 0, err
    # the weights of each batch follow from its statistics, so that roundings grow faster than where these are frozen
    np.testing.assert_allclose(losses(alone), losses(folder_of(tmp_path)), rtol=1e-2)


@pytest.mark.slow
def test_the_frozen_part_is_computed_in_shares(data, tmp_path):
    first = PLAIN | {"model": "xception", "depth_multiplier": 0.0625, "image_size": 71, "epochs": 1}
    weights_file = ception.train(data, runs=tmp_path / "first", reporter=Notes(), **first).folder / "model.keras"
    settings = {
        "model": "xception", "depth_multiplier": 0.0625, "image_size": 71, "epochs": 1, "head_epochs": 1,
        "recipe": "article", "dropout": 0.0, "dtype": "float32", "neighbours": False,
    }  # fmt: skip
    alone = ception.train(data, weights=str(weights_file), runs=tmp_path / "alone", reporter=Notes(), **settings).folder
    arguments = ["train", str(data), f"--weights={weights_file}", *flags(settings)]
    (code, _, err), follower = run(arguments, tmp_path, caches=[tmp_path / "one", tmp_path / "two"])
    assert code == 0, err
    assert follower == (0, "", "")
    assert_near(alone, folder_of(tmp_path))
    sizes = [{path.name: path.stat().st_size for path in (tmp_path / name).glob("features-*.rows")}
             for name in ("one", "two")]  # fmt: skip
    assert sizes[0] == sizes[1] != {}


@pytest.mark.slow
def test_wrong_data_are_told_once(tmp_path):
    (code, _, err), (other, *rest) = run(["train", "nowhere", "--model", "separable_cnn"], tmp_path)
    assert (code, other, rest) == (2, 1, ["", ""])
    assert err.count("there is no folder 'nowhere'") == 1


@pytest.mark.slow
def test_a_learning_rate_is_found_by_both(data, tmp_path):
    (code, out, err), follower = run(["train", str(data), "--find-lr", *flags(PLAIN)], tmp_path)
    assert code == 0, err
    assert "Learning rate 0.0" in out
    assert follower == (0, "", "")
    assert [path.name for path in tmp_path.glob("*.png")] == ["find-lr-colours.png"]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@on_jax
def test_who_is_gone_or_a_stranger_is_not_waited_with():
    from ception.distributed import jax as meeting

    port = free_port()
    until = time.monotonic() + 20
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(meeting._meet, Place(0, 3, "127.0.0.1", port))
        for knock in (b"00000001", b"00000007", b"GET / HT", b""):  # one that is killed, and three that do not belong
            stranger = None
            while stranger is None and time.monotonic() < until:
                with suppress(OSError):
                    stranger = socket.create_connection(("127.0.0.1", port))
            stranger.sendall(knock)
            time.sleep(0.3)
            stranger.close()
            time.sleep(0.3)
            assert not first.done()
        others = [pool.submit(meeting._meet, Place(index, 3, "127.0.0.1", port)) for index in (1, 2)]
        for one in (first, *others):
            one.result(10)


@on_jax
def test_who_comes_from_the_first_ones_machine_has_an_address_that_others_reach():
    from ception.distributed import jax as meeting

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        try:
            way.connect(("192.0.2.1", 1))  # sends nothing
        except OSError:
            pytest.skip("this machine has no address that others reach")
        own = way.getsockname()[0]
    port, hosts = free_port(), ("127.0.0.1", "127.0.0.1", own)
    with ThreadPoolExecutor(3) as pool:
        all_ = [pool.submit(meeting._meet, Place(index, 3, host, port)) for index, host in enumerate(hosts)]
        assert [one.result(20) for one in all_] == [own] * 3


@pytest.mark.slow
def test_who_never_comes_is_told(data, tmp_path, monkeypatch):
    monkeypatch.setenv("CEPTION_GATHERING_S", "5")
    command = Command(["train", str(data), *flags(PLAIN)], tmp_path, by_hand=True).start()
    os.kill(command.processes[1].pid, signal.SIGKILL)
    (code, _, err), _ = command.ended()
    assert code == 1
    assert "start all 2 of them" in err.splitlines()[-1]
