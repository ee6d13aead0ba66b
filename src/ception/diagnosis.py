"""What is installed here and what the machine can do, what that makes slow, and what would help."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from ception import backends
from ception.data import cache
from ception.engines.choosing import RUNTIMES
from ception.errors import InputError
from ception.files import cache_folder, cache_is_temporary
from ception.layers.compiled import kernels
from ception.results import Diagnosis

_SPEED = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "asimd", "bf16")
_LITTLE_FREE_GB = 2.0
_BY_KERNELS = {"jax": "JAX", "torch": "PyTorch"}  # what gains much by the compiled kernels


def doctor() -> Diagnosis:
    """Look at this machine and at what is installed.

    Returns:
        Versions, processor, backends, engines, extras and cache, and what is slow or missing here with the way out.
    """
    found, used, refused = _backends()
    engines = _engines()
    features = tuple(name for name in _SPEED if name in backends.cpu_flags())
    folder, held, free, problem = _cache()
    compiled, broken = _kernels()
    advice = [*refused, *problem, *broken, *_about_backends(found, used), *_about_engines(engines)]
    advice += [*_about_kernels(compiled, used), *_about_settings(used), *_about_threads()]
    return Diagnosis(
        version=version("ception"),
        python=platform.python_version(),
        system=platform.platform(),
        processor=_processor(),
        cores=backends.cores(),
        memory_gb=_memory_gb(),
        features=features,
        accelerator=backends.may_have_accelerator(),
        backends=found,
        backend=used,
        engines=engines,
        kernels=compiled,
        extras=_extras(),
        cache=str(folder),
        cache_gb=held,
        free_gb=free,
        advice=tuple(advice),
    )


def what_runs() -> str:
    """What `ception --version` shows: the version, and on lines of their own the backends and engines there are."""
    found, _, _ = _backends()
    return f"{version('ception')}\nBackends: {told(found)}\nEngines: {told(_engines())}"


def told(packages: Mapping[str, str | None]) -> str:
    """Those that are installed with their versions, in a line."""
    return ", ".join(f"{name} {known}" for name, known in packages.items() if known) or "none"


def _engines() -> dict[str, str | None]:
    """The version of each runtime, None for what is not installed."""
    return {runtime.told: _version(runtime.packages[0]) if runtime.installed else None for runtime in RUNTIMES}


def _kernels() -> tuple[str | None, list[str]]:
    """The version of the compiled kernels with the instructions they use, and why those that are there are not used."""
    there = _version("ception-kernels")
    if there is None or os.environ.get("CEPTION_KERNELS") == "none":
        return None, []
    module = kernels()
    if module is None:
        way = "install those of this version"
        return None, [f"the compiled kernels {there} are of another version or another machine, and not used: {way}"]
    return f"{there} ({module.instructions()})", []


def _backends() -> tuple[dict[str, str | None], str | None, list[str]]:
    """The version of each backend, the one that runs, and why none does."""
    packages = {"tensorflow": ("tensorflow-cpu", "tensorflow"), "jax": ("jax",), "torch": ("torch",)}
    installed = backends.installed_backends()
    found = {
        name: next((known for package in packages[name] if (known := _version(package))), "of an unknown version")
        if name in installed else None
        for name in backends.BACKENDS
    }  # fmt: skip
    try:
        return found, backends.likely() if installed else None, []
    except InputError as error:
        return found, None, [str(error)]


def _cache() -> tuple[Path | str, float, float, list[str]]:
    """The cache folder, the GB that it holds and that its disk has free, and what is wrong with it."""
    try:
        folder = cache_folder()
    except InputError as error:
        return "", 0.0, 0.0, [str(error)]
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    free = shutil.disk_usage(there).free / 1e9
    held = sum(size for _, size, _ in cache.entries()) / 1e9
    problem = []
    if cache_is_temporary():
        problem.append("the cache lies among temporary files and may be gone tomorrow: set CEPTION_CACHE to a folder")
    elif not os.access(there, os.W_OK):
        problem.append(f"{there} cannot be written: set CEPTION_CACHE to another folder")
    if free < _LITTLE_FREE_GB:
        problem.append(f"the disk of the cache has {free:.1f} GB free: ception cache --clear, or set CEPTION_CACHE")
    return folder, round(held, 3), round(free, 1), problem


def _about_backends(found: Mapping[str, str | None], used: str | None) -> list[str]:
    if used is None:
        return [] if any(found.values()) else ["no backend is installed: pip install 'ception[tensorflow]'"]
    if used != "tensorflow" and not backends.may_have_accelerator():
        way = "--backend tensorflow" if found["tensorflow"] else "pip install 'ception[tensorflow]'"
        return [f"on a CPU TensorFlow trains faster than {used}: {way}"]
    return []


def _about_engines(engines: Mapping[str, str | None]) -> list[str]:
    told = []
    if not engines["OpenVINO"]:
        told.append("predict, evaluate and fine-tuning are faster with OpenVINO: pip install 'ception[openvino]'")
    if not {"avx512_bf16", "amx_bf16", "bf16"} & backends.cpu_flags() and not backends.may_have_accelerator():
        told.append("this processor computes in bfloat16 no faster than in float32: it trains in float32")
    return told


def _about_kernels(compiled: str | None, used: str | None) -> list[str]:
    if compiled or used not in _BY_KERNELS or backends.may_have_accelerator() or _version("ception-kernels"):
        return []
    return [f"{_BY_KERNELS[used]} trains in less time and memory with the compiled kernels: docs/kernels.md"]


def _about_threads() -> list[str]:
    """Where a variable holds the computing to fewer threads than there are cores."""
    names = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
    number, cores = backends.threads(*names), backends.cores()
    if number >= cores:
        return []
    found = " and ".join(f"{name}={os.environ[name]}" for name in names if name in os.environ)
    return [f"{found} keeps Ception to {number} of {cores} cores: unset it to use all"]


def _about_settings(used: str | None) -> list[str]:
    if used != "tensorflow":
        return []
    return [
        f"{name}={os.environ[name]} is set, with which TensorFlow is slower here: unset it"
        for name, value in (("TF_ENABLE_ONEDNN_OPTS", "0"), ("TF_CPU_ALLOCATOR_USE_BFC", "false"))
        if os.environ.get(name, "").lower() in (value, "0")
    ]


def _extras() -> dict[str, bool]:
    """Whether all packages of each extra are installed, those of development and the backends' apart."""
    extras: dict[str, bool] = {}
    for line in requires("ception") or []:
        requirement, _, marker = line.partition(";")
        _, named, extra = marker.partition("extra == ")
        name = extra.strip(" '\"")
        if named and name not in ("dev", "docs", "test", *backends.BACKENDS) and "platform_machine" not in marker:
            package = requirement.split(">")[0].split("[")[0].strip()
            extras[name] = extras.get(name, True) and _version(package) is not None
    return extras


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    """What the processor is called."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    return name or platform.processor() or platform.machine()


def _memory_gb() -> float | None:
    """The machine's memory; None where the system does not tell."""
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1)
