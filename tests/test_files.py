from __future__ import annotations

import errno
import os
import pwd
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from ception.errors import InputError
from ception.files import cache_folder, cache_is_temporary, locked

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
            assert holder.wait(60) == 0
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
            assert waiting.wait(60)
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


class TestCacheFolder:
    @pytest.fixture(autouse=True)
    def elsewhere(self, monkeypatch, tmp_path):
        """No folder is named, and temporary files lie in the test's own."""
        monkeypatch.delenv("CEPTION_CACHE")
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    @pytest.fixture
    def nameless(self, monkeypatch):
        """A user whose number has no name, without HOME."""
        monkeypatch.delenv("HOME", raising=False)
        monkeypatch.setattr(pwd, "getpwuid", lambda number: {}[number])

    def test_lies_in_the_home_folder(self, monkeypatch, tmp_path):
        monkeypatch.setenv("HOME", str(tmp_path))
        assert cache_folder() == tmp_path / ".cache" / "ception"
        assert not cache_is_temporary()

    @pytest.mark.usefixtures("nameless")
    def test_without_a_home_folder_it_is_temporary_and_ones_own(self, tmp_path):
        assert cache_is_temporary()
        assert cache_folder() == cache_folder() == tmp_path / f"ception-{os.getuid()}"
        assert cache_folder().stat().st_mode & 0o777 == 0o700

    def test_so_it_is_where_the_home_folder_is_read_only(self, monkeypatch, tmp_path):
        monkeypatch.setenv("HOME", "/")  # as Docker sets it
        monkeypatch.setattr(os, "access", lambda path, mode: False)
        assert cache_folder() == tmp_path / f"ception-{os.getuid()}"
        monkeypatch.setenv("HOME", str(tmp_path))
        (tmp_path / ".cache" / "ception").mkdir(parents=True)  # one that another user fills
        assert cache_folder() == tmp_path / ".cache" / "ception"

    @pytest.mark.usefixtures("nameless")
    def test_a_named_one_is_taken(self, monkeypatch, tmp_path):
        monkeypatch.setenv("CEPTION_CACHE", str(tmp_path / "x"))
        assert cache_folder() == tmp_path / "x"
        assert not cache_is_temporary()

    @pytest.mark.usefixtures("nameless")
    def test_that_of_another_user_is_not_trusted(self, monkeypatch, tmp_path):
        cache_folder()
        monkeypatch.setattr(os, "getuid", lambda: os.stat(tmp_path).st_uid + 1)
        (tmp_path / f"ception-{os.getuid()}").mkdir()
        with pytest.raises(InputError, match="belongs to another user: set CEPTION_CACHE"):
            cache_folder()

    @pytest.mark.usefixtures("nameless")
    def test_with_no_temporary_folder_it_is_one_line(self, monkeypatch, tmp_path):
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
        with pytest.raises(InputError, match=r"No such file or directory.*: set CEPTION_CACHE to a folder"):
            cache_folder()

    @pytest.mark.usefixtures("nameless")
    def test_the_command_line_says_which_was_taken(self, run_cli, tmp_path, monkeypatch):
        (tmp_path / "a").mkdir()
        monkeypatch.chdir(tmp_path)
        code, _, err = run_cli("check", tmp_path / "a")
        assert code == 2  # there is no picture in it
        assert f"the cache lies in {cache_folder()}, or where CEPTION_CACHE says" in " ".join(err.split())
