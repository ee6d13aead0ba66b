from __future__ import annotations

import errno
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ception.errors import InputError
from ception.files import locked

HOLDER = """
import sys
from pathlib import Path
from ception.files import locked
with locked(Path(sys.argv[1]), ""):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock `tmp_path / "lock"` until it is told to end."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


class TestLocked:
    def test_another_process_is_refused_with_the_message(self, tmp_path, holder):
        with pytest.raises(InputError, match="it is busy"), locked(tmp_path / "lock", "it is busy"):
            pytest.fail("both are in")

    def test_it_is_free_after_a_kill_and_stays_where_it_is(self, tmp_path, holder):
        holder.kill()
        holder.wait()
        for _ in range(2):
            with locked(tmp_path / "lock", "it is busy"):
                assert (tmp_path / "lock").is_file()
        assert [path.name for path in tmp_path.iterdir()] == ["lock"]

    def test_it_tells_once_that_it_waits_and_then_enters(self, tmp_path, holder):
        told = []

        def tell(text: str) -> None:
            told.append(text)
            holder.stdin.close()  # upon which the other one leaves

        with locked(tmp_path / "lock", "waiting for it", wait=tell):
            assert holder.wait(10) == 0
        assert told == ["waiting for it"]

    def test_one_that_need_not_wait_says_nothing(self, tmp_path):
        with locked(tmp_path / "lock", "", wait=pytest.fail):
            pass

    def test_another_thread_waits_as_well(self, tmp_path):
        waiting, order = threading.Event(), []

        def enter() -> None:
            with locked(tmp_path / "lock", "", wait=lambda _: waiting.set()):
                order.append("second")

        thread = threading.Thread(target=enter)
        with locked(tmp_path / "lock", ""):
            thread.start()
            assert waiting.wait(10)
            order.append("first")
        thread.join()
        assert order == ["first", "second"]

    def test_what_fails_within_frees_it(self, tmp_path):
        with pytest.raises(KeyError), locked(tmp_path / "lock", "it is busy"):
            raise KeyError
        with locked(tmp_path / "lock", "it is busy"):
            pass

    @pytest.mark.parametrize("answer", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
    def test_a_file_system_without_locks_lets_all_in(self, tmp_path, monkeypatch, answer):
        fcntl = pytest.importorskip("fcntl")

        def flock(*_):
            raise OSError(answer, "no locks")

        monkeypatch.setattr(fcntl, "flock", flock)
        entered = []
        with locked(tmp_path / "lock", "it is busy"), locked(tmp_path / "lock", "it is busy"):
            entered.append(True)
        assert entered

    def test_a_folder_that_is_not_there_is_an_error(self):
        with pytest.raises(OSError, match="nowhere"), locked(Path("/proc/nowhere/lock"), ""):
            pytest.fail("there is no lock")
