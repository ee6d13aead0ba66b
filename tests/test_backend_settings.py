"""Settings of the libraries below the backends are made, and what the user has set up is left alone."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys

import pytest

from ception import backends


class Library:
    """The C library, which notes what is asked of it."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, int]] = []

    def mallopt(self, parameter: int, value: int) -> int:
        self.calls.append((parameter, value))
        return 1


@pytest.fixture
def library(monkeypatch) -> Library:
    """The C library in a process without PyTorch, in which nobody has set it up."""
    made = Library()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: made)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    for name in list(os.environ):
        if name in ("GLIBC_TUNABLES", "GOMP_SPINCOUNT", "OMP_WAIT_POLICY") or name.startswith("MALLOC_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("GOMP_SPINCOUNT", "1")  # so that what is set is undone
    monkeypatch.delenv("GOMP_SPINCOUNT")
    return made


@pytest.fixture
def without_keras(monkeypatch) -> None:
    """A process that has PyTorch and TensorFlow installed, and has not imported Keras."""
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.setattr(backends, "installed_backends", lambda: ["tensorflow", "torch"])
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")


def test_large_blocks_are_kept_where_pytorch_is_chosen(library, without_keras):
    assert backends.choose("torch") == "torch"
    assert library.calls == [(-4, 0), (-1, -1)]


def test_other_backends_leave_the_library_alone(library, without_keras):
    assert backends.choose("tensorflow") == "tensorflow"
    assert library.calls == []


@pytest.mark.parametrize("name", ["GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_", "MALLOC_ARENA_MAX"])
def test_what_the_user_has_set_up_stays(library, monkeypatch, name):
    monkeypatch.setenv(name, "")
    backends._settle_torch()
    assert library.calls == []


def test_threads_of_openmp_sleep_soon(library):
    backends._settle_torch()
    assert os.environ["GOMP_SPINCOUNT"] == "10000"


@pytest.mark.parametrize(("name", "value"), [("GOMP_SPINCOUNT", "7"), ("OMP_WAIT_POLICY", "ACTIVE")])
def test_unless_the_user_has_told_them(library, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    backends._settle_torch()
    assert os.environ.get("GOMP_SPINCOUNT") == {"GOMP_SPINCOUNT": "7"}.get(name)


@pytest.mark.parametrize(("threads", "expected"), [(1, "1"), (2, "1"), (3, None)])
def test_with_two_threads_operations_of_tensorflow_follow_each_other(monkeypatch, threads, expected):
    monkeypatch.setenv("TF_NUM_INTEROP_THREADS", "2")
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", str(threads))
    backends._settle_tensorflow()
    assert os.environ["TF_NUM_INTEROP_THREADS"] == "2"
    monkeypatch.delenv("TF_NUM_INTEROP_THREADS")
    backends._settle_tensorflow()
    assert os.environ.get("TF_NUM_INTEROP_THREADS") == expected


def test_once_pytorch_is_there_and_elsewhere_nothing_is_set(library, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", object())
    backends._settle_torch()
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setattr(sys, "platform", "darwin")
    backends._settle_torch()
    assert library.calls == []


def test_a_library_without_the_function_is_no_error(library, monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    backends._settle_torch()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_pages_are_cleared_once():
    code = (
        "import ctypes, resource; from ception import backends\n"
        "library = ctypes.CDLL(None); library.malloc.restype = ctypes.c_void_p\n"
        "def faults():\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "    block = library.malloc(ctypes.c_size_t(1 << 26))\n"
        "    ctypes.memset(block, 1, 1 << 26); library.free(ctypes.c_void_p(block))\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before\n"
        "print(faults(), faults()); backends._settle_torch(); print(faults(), faults())"
    )
    left_alone = {name: value for name, value in os.environ.items()
                  if name != "GLIBC_TUNABLES" and not name.startswith("MALLOC_")}  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], env=left_alone, capture_output=True, text=True, check=True)
    before, after = (list(map(int, line.split())) for line in done.stdout.splitlines())
    assert before[1] > 50 * max(1, after[1])
