"""What `doctor` says of the machine and of what is installed, and what it advises."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

import ception
from ception import backends
from ception import diagnosis as module
from ception.engines import choosing


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine on which nothing is to be said: TensorFlow and OpenVINO, bfloat16, and room."""
    monkeypatch.setattr(backends, "likely", lambda: "tensorflow")
    monkeypatch.setattr(backends, "installed_backends", lambda: ["tensorflow", "jax"])
    monkeypatch.setattr(backends, "cpu_flags", lambda: {"avx2", "avx512_bf16", "sse2"})
    monkeypatch.setattr(backends, "may_have_accelerator", lambda: False)
    monkeypatch.setattr(choosing.Runtime, "installed", True)
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    monkeypatch.delenv("TF_CPU_ALLOCATOR_USE_BFC", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    monkeypatch.setattr(module, "_kernels", lambda: ("0.1.0 (avx2)", []))
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 50e9}))
    return monkeypatch


def test_it_names_what_is_there(plain):
    told = ception.doctor()
    assert told.version == ception.__version__
    assert told.features == ("avx2", "avx512_bf16")
    assert told.backend == "tensorflow"
    assert told.backends["torch"] is None
    assert told.advice == ()
    assert told.cores >= 1
    assert {"openvino", "serve", "onnx", "heif"} <= set(told.extras)
    assert not {"dev", "test", "tensorflow", "jax", "torch"} & set(told.extras)


@pytest.mark.parametrize(("change", "words"), [
    (lambda p: p.setattr(choosing.Runtime, "installed", False), "pip install 'ception[openvino]'"),
    (lambda p: p.setattr(backends, "likely", lambda: "jax"), "TensorFlow trains faster than jax: --backend tensorflow"),
    (lambda p: p.setattr(backends, "cpu_flags", lambda: {"avx2"}), "bfloat16 no faster than in float32"),
    (lambda p: (p.setattr(backends, "cores", lambda: 4), p.setenv("OMP_NUM_THREADS", "3")),
     "OMP_NUM_THREADS=3 keeps Ception to 3 of 4 cores"),
    (lambda p: p.setenv("TF_ENABLE_ONEDNN_OPTS", "0"), "TF_ENABLE_ONEDNN_OPTS=0 is set, with which TensorFlow"),
    (lambda p: p.setattr(module.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1e9})), "1.0 GB free"),
    (lambda p: p.setattr(module, "cache_is_temporary", lambda: True), "may be gone tomorrow: set CEPTION_CACHE"),
    (lambda p: p.setattr(backends, "installed_backends", list), "pip install 'ception[tensorflow]'"),
])  # fmt: skip
def test_it_advises(plain, change, words):
    change(plain)
    (line,) = ception.doctor().advice
    assert words in line


class TestKernels:
    @pytest.fixture
    def found(self, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
        """A machine with compiled kernels that can be used."""
        there = type("Module", (), {"instructions": staticmethod(lambda: "avx2")})
        monkeypatch.setattr(module, "kernels", lambda: there)
        monkeypatch.setattr(module, "version", lambda package: "1.2.3")
        monkeypatch.delenv("CEPTION_KERNELS", raising=False)
        return monkeypatch

    def test_their_version_and_instructions(self, found):
        assert module._kernels() == ("1.2.3 (avx2)", [])

    def test_those_of_another_version(self, found):
        found.setattr(module, "kernels", lambda: None)
        used, (told,) = module._kernels()
        assert used is None
        assert told.startswith("the compiled kernels 1.2.3 are of another version or another machine, and not used")

    def test_those_that_are_left_out(self, found):
        found.setenv("CEPTION_KERNELS", "none")
        assert module._kernels() == (None, [])

    @pytest.mark.parametrize(("backend", "told"), [("torch", "PyTorch"), ("jax", "JAX")])
    def test_backends_without_them(self, plain, backend, told):
        plain.setattr(module, "_kernels", lambda: (None, []))
        plain.setattr(module, "version", lambda package: "1" if package != "ception-kernels" else missing())
        plain.setattr(backends, "likely", lambda: backend)
        assert [line for line in ception.doctor().advice if "kernels" in line] == [
            f"{told} trains in less time and memory with the compiled kernels: docs/kernels.md"
        ]


def missing() -> str:
    raise PackageNotFoundError


def test_a_configuration_that_keras_refuses(plain):
    def refuse() -> str:
        raise ception.InputError("keras.json says floatx 'x', which Keras refuses")

    plain.setattr(backends, "likely", refuse)
    told = ception.doctor()
    assert told.backend is None
    assert told.advice[0].startswith("keras.json says")


def test_it_finds_no_folder_for_the_cache(plain):
    def refuse() -> Path:
        raise ception.InputError("there is no home folder: set CEPTION_CACHE")

    plain.setattr(module, "cache_folder", refuse)
    assert ception.doctor().advice == ("there is no home folder: set CEPTION_CACHE",)


def test_the_command(run_cli):
    code, out, _ = run_cli("doctor")
    assert code == 0
    lines = (f"Ception        {ception.__version__} on Python", "\nBackends ", "\nKernels ", "\nCache ",
             "\nA fault of Ception? Report it with these lines", "\nNext: ception demo")  # fmt: skip
    for words in lines:
        assert words in out
    code, out, _ = run_cli("doctor", "--json")
    assert code == 0
    assert json.loads(out)["version"] == ception.__version__


def test_it_imports_no_backend():
    code = (
        "import sys; from ception.cli import main; main(['doctor']);"
        "assert not {'keras', 'tensorflow', 'jax', 'torch', 'openvino'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
