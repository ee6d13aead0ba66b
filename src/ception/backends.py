"""Which of Keras's backends runs: chosen once, before Keras is imported."""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from ception.errors import InputError, nearest
from ception.reporting import Reporter

BACKENDS = ("tensorflow", "jax", "torch")  # in the order of preference on a CPU
# TensorFlow leaves oneDNN off where a processor has neither AVX-512 VNNI nor AMX, and gives large tensors back to the
# system at every step; both cost more than they save: benchmarks/results/backend_settings.csv
_TENSORFLOW = {"TF_ENABLE_ONEDNN_OPTS": "1", "TF_CPU_ALLOCATOR_USE_BFC": "true", "TF_CPP_MIN_LOG_LEVEL": "3"}
# Threads that look out for more work keep the compiled kernels' from a core. TensorFlow has one of them less where its
# operations do not run beside each other, each of which uses two cores anyway; OpenMP's, which PyTorch computes with,
# look out for milliseconds, and do as well with a thirtieth of it: benchmarks/results/backend_settings.csv
_OF_FEW_THREADS = {"TF_NUM_INTEROP_THREADS": "1"}
_OPENMP = {"GOMP_SPINCOUNT": "10000"}
# The C library of Linux maps each large tensor of PyTorch anew and gives it back, so that the system clears pages at
# every step; without mappings and trimming the heap keeps them: benchmarks/results/backend_memory.csv
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of mallopt, in glibc's malloc.h
# What surrounds the import of TensorFlow, and what else of it or of LiteRT logs to standard error at any log level:
# nothing here, for the process belongs to the caller. The command line, whose process is its own, mutes it.
importing: Callable[[], AbstractContextManager[None]] = nullcontext
# And what surrounds a download by Keras, which tells of it on standard output
downloading: Callable[[], AbstractContextManager[Any]] = nullcontext


def choose(wanted: str | None = None) -> str:
    """Settle Keras's backend, without importing it, and return its name.

    TensorFlow's settings that the user has not made are made, too.

    Args:
        wanted: `tensorflow`, `jax` or `torch`; None takes `KERAS_BACKEND` from the environment, or else what
            Keras's configuration names if it is installed, or else the first installed one.

    Raises:
        InputError: no backend is installed, the wanted one is unknown or not installed, Keras refuses its
            configuration, or it already runs on another one (it cannot change within a process).
    """
    wanted = wanted or None
    if "keras" in sys.modules:
        import keras

        running: str = keras.backend.backend()
        if wanted not in (None, running):
            raise InputError(f"Keras already runs on {running} in this process; start a new one for {wanted}")
        return running
    wanted = wanted or os.environ.get("KERAS_BACKEND") or None
    if wanted is not None and wanted not in BACKENDS:
        raise InputError(f"unknown backend '{wanted}': {nearest(wanted, BACKENDS)}")
    installed = installed_backends()
    if wanted is not None and wanted not in installed:
        others = f", or use --backend {installed[0]}" if installed else ""
        raise InputError(f"the backend {wanted} is not installed: pip install 'ception[{wanted}]'{others}")
    if not installed:
        raise InputError("no backend is installed: pip install 'ception[tensorflow]' (or [jax], or [torch])")
    configured = _configured()
    name = wanted or (configured if configured in installed else installed[0])
    os.environ["KERAS_BACKEND"] = name
    if name == "tensorflow":
        _settle_tensorflow()
    elif name == "torch":
        _settle_torch()
    return name


def _settle_torch() -> None:
    """Set up the libraries below PyTorch, unless it is there by now or the user has set them up.

    The C library keeps large blocks, and OpenMP's threads sleep sooner.
    """
    if sys.platform != "linux" or "torch" in sys.modules:
        return
    if "OMP_WAIT_POLICY" not in os.environ:
        _settle(_OPENMP)
    if any(name == "GLIBC_TUNABLES" or name.startswith("MALLOC_") for name in os.environ):
        return
    with suppress(OSError, AttributeError):  # another C library has no such function
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_MAX, 0)
        library.mallopt(_M_TRIM_THRESHOLD, -1)


def _settle_tensorflow() -> None:
    """Make the settings of TensorFlow that the user has not made; it reads them when it is imported."""
    _settle(_TENSORFLOW if threads("TF_NUM_INTRAOP_THREADS") > 2 else _TENSORFLOW | _OF_FEW_THREADS)


def _settle(settings: Mapping[str, str]) -> None:
    for variable, value in settings.items():
        os.environ.setdefault(variable, value)


def import_tensorflow() -> None:
    """Import TensorFlow, whether it is Keras's backend or not, with the settings that it has as one.

    Keras's backend is settled before, for TensorFlow imports Keras where that is installed.

    Raises:
        InputError: as for `choose`.
    """
    if "tensorflow" not in sys.modules:
        choose()
        _settle_tensorflow()
        with importing():
            importlib.import_module("tensorflow")


def installed_backends() -> list[str]:
    """The backends that are installed, in the order of preference; none is imported."""
    return [name for name in BACKENDS if importlib.util.find_spec(name) is not None]


def likely() -> str:
    """The backend that `choose` would settle, or `none`; nothing is settled."""
    if "keras" in sys.modules:
        return choose()
    installed, configured = installed_backends(), _configured()
    return os.environ.get("KERAS_BACKEND") or (configured if configured in installed else [*installed, "none"][0])


def keras_json() -> Path:
    """Where Keras reads its configuration from.

    Source: keras/src/backend/config.py of Keras 3.15.
    """
    if "KERAS_HOME" in os.environ:
        return Path(os.path.expanduser(os.environ["KERAS_HOME"]), "keras.json")
    home = os.path.expanduser("~")
    return Path(home if os.access(home, os.W_OK) else "/tmp", ".keras", "keras.json")


_CONFIGURABLE: dict[str, Callable[[Any], bool]] = {  # what Keras and TensorFlow take, which else end in a traceback
    "floatx": lambda value: value in ("float16", "float32", "float64"),
    "epsilon": lambda value: isinstance(value, float),
    "image_data_format": lambda value: value in ("channels_last", "channels_first"),
}


def _configuration() -> Mapping[str, Any]:
    """What Keras's configuration says; nothing where there is none, or it is no JSON, as Keras takes it.

    Raises:
        InputError: Keras would refuse it.
    """
    try:
        read = json.loads(keras_json().read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(read, dict):
        raise InputError(f"{keras_json()} is no configuration of Keras: remove it")
    for name, fits in _CONFIGURABLE.items():
        if name in read and not fits(read[name]):
            raise InputError(f"{keras_json()} says {name} {read[name]!r}, which Keras refuses: mend or remove it")
    return read


def _configured() -> str | None:
    """The backend that Keras's configuration names, if it does."""
    named = _configuration().get("backend")
    return None if named is None else str(named)


def start(wanted: str | None = None, reporter: Reporter | None = None) -> str:
    """Settle Keras's backend and import both; the backend's name.

    Args:
        wanted: As for `choose`.
        reporter: Told before the import, which takes seconds.

    Raises:
        InputError: as for `choose`.
    """
    asked = wanted or os.environ.get("KERAS_BACKEND")
    name = choose(wanted)
    if "keras" not in sys.modules:
        configured = _configured()
        if reporter and not asked and configured not in (None, name, "tensorflow"):  # which Keras itself writes there
            reporter.note(f"{keras_json()} names {configured}, which is not installed: {name} is used")
        if reporter:
            reporter.note(f"Loading Keras on {name} ...")
        with importing():
            importlib.import_module(name)
        importlib.import_module("keras")
    return name


@contextmanager
def standard_settings() -> Iterator[None]:
    """A context in which Keras's global settings are those it comes with; after it, the user's are back.

    What networks are made of states its settings itself. This is for what Keras lets nobody state: in what the loss,
    the learning rate and metrics are computed, whether a training ends early, and how networks of Keras are built.
    """
    import keras

    config = keras.config
    settings: tuple[tuple[Callable[[], Any], Callable[[Any], None], Any], ...] = (
        (config.dtype_policy, config.set_dtype_policy, "float32"),
        (config.floatx, config.set_floatx, "float32"),
        (config.epsilon, config.set_epsilon, 1e-7),
        (config.image_data_format, config.set_image_data_format, "channels_last"),
        (config.max_epochs, config.set_max_epochs, None),
        (config.max_steps_per_epoch, config.set_max_steps_per_epoch, None),
    )
    before = [read() for read, _, _ in settings]
    try:
        for _, write, standard in settings:
            write(standard)
        yield
    finally:
        for (_, write, _), value in zip(settings, before, strict=True):
            write(value)


def on(device: str | None, backend: str | None = None) -> AbstractContextManager[Any]:
    """A context in which Keras computes on a device such as `cpu` or `gpu:0`; None means its own choice.

    Args:
        device: The device; where one is named, Keras is imported.
        backend: As for `choose`.

    Raises:
        InputError: there is no such backend, or it has no such device.
    """
    if device is None:
        return nullcontext()
    start(backend)
    import keras

    kind, _, number = device.partition(":")
    present = devices()
    name = f"{kind}:{number or 0}"
    if kind not in ("cpu", "gpu", "tpu", "mps") or not (number or "0").isdigit():
        raise InputError(f"unknown device '{device}': use cpu, gpu or gpu:1, for instance")
    if name not in present:
        raise InputError(f"{keras.backend.backend()} sees no {name} here, only {', '.join(present) or 'cpu'}")
    context: AbstractContextManager[Any] = keras.device(name)
    return context


def devices() -> list[str]:
    """The devices that the backend sees, such as `cpu:0` and `gpu:0`."""
    import keras

    if keras.backend.backend() == "torch":  # whose part of keras.distribution is empty
        import torch

        gpus = [f"gpu:{number}" for number in range(torch.cuda.device_count())]
        return ["cpu:0", *gpus, *(["mps:0"] if torch.backends.mps.is_available() else [])]
    devices: list[str] = keras.distribution.list_devices()
    return devices


def has_accelerator() -> bool:
    """Whether the backend sees a faster processor than the CPU; Keras is imported only where one may be there."""
    if "keras" not in sys.modules:
        if not may_have_accelerator():
            return False
        start()
    return not all(device.startswith("cpu") for device in devices())


def may_have_accelerator() -> bool:
    """Whether a look at the system, without any backend, lets one expect a GPU or TPU."""
    if sys.platform == "darwin":
        return likely() == "torch" or importlib.util.find_spec("tensorflow-plugins") is not None
    signs = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg", "/dev/accel0", "/dev/vfio/0")
    return shutil.which("nvidia-smi") is not None or any(os.path.exists(sign) for sign in signs)


_OUT_OF_MEMORY = (
    "out of memory", "resource exhausted", "resource_exhausted", "can't allocate memory", "failed to allocate",
)  # fmt: skip


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads(*variables: str) -> int:
    """How many threads may compute: what the environment says, or one for each core.

    Args:
        variables: Those of the environment that say it, before `OMP_NUM_THREADS`, which the backends keep to as well.
    """
    for variable in (*variables, "OMP_NUM_THREADS"):
        told = os.environ.get(variable, "").partition(",")[0].strip()
        if told.isdecimal() and int(told):
            return int(told)
    return cores()


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether an error is a backend's way to say that memory is exhausted."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if kinds & {"MemoryError", "OutOfMemoryError", "ResourceExhaustedError"}:
        return True
    told = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in told for words in _OUT_OF_MEMORY)


def fast_at_bfloat16(device: str | None = None) -> bool:
    """Whether training in bfloat16 is quicker than in float32 here: the processor has it, and the backend uses it.

    Args:
        device: As for `on`; None means the backend's own choice.

    Source: benchmarks/results/loader.csv for CPUs; NVIDIA's from compute capability 8.0 on.
    """
    import keras

    backend = keras.backend.backend()
    if not any(name.startswith("gpu") for name in devices()) or (device or "gpu").startswith("cpu"):
        return backend == "tensorflow" and cpu_has_bfloat16()
    with suppress(ImportError, AttributeError, IndexError, KeyError, RuntimeError, ValueError):
        if backend == "torch":
            import torch

            return bool(torch.cuda.is_bf16_supported())
        if backend == "jax":
            import jax

            return float(jax.devices("gpu")[0].compute_capability) >= 8
        import tensorflow as tf

        details = tf.config.experimental.get_device_details(tf.config.list_physical_devices("GPU")[0])
        return bool(details["compute_capability"] >= (8, 0))
    return False


def cpu_has_bfloat16() -> bool:
    """Whether the processor computes in bfloat16 itself."""
    return bool({"amx_bf16", "avx512_bf16"} & cpu_flags())


def cpu_flags() -> set[str]:
    """What the processor can do, as the system calls it, such as `avx2`; empty where it does not tell."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("flags", "Features")):
                return set(line.split())
    return set()
