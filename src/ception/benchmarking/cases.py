"""What can be measured here: tasks, what runs them, in which numbers and batches."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ception import backends
from ception.engines.choosing import RUNTIMES
from ception.errors import InputError
from ception.results.benchmarks import BenchTask

if TYPE_CHECKING:
    from ception.models.config import NetworkConfig
    from ception.settings import BenchSettings

_SMALL = 128 * 128  # pixels of a picture, up to which a training step has 32 of them
LAYERS = ("quicker", "stock")  # kinds of layers that a network is trained with; `measuring_process.classes` makes each


@dataclass(frozen=True, kw_only=True)
class Case:
    """What one process measures.

    Attributes:
        config: Of the network, in plain values.
        task: `training` or `inference`.
        runner: A backend of Keras, or an engine.
        backend: Keras's backend in that process, which an engine's network is translated from.
        dtype: `float32` or `bfloat16`.
        layers: One of `LAYERS`; inference is that of stock ones.
        batch_sizes: Pictures in a step, rising.
        remember: Whether times of inference are remembered.
    """

    config: Mapping[str, Any]
    task: BenchTask
    runner: str
    backend: str
    dtype: str
    layers: str
    batch_sizes: tuple[int, ...]
    remember: bool

    def __str__(self) -> str:
        layers = f", {self.layers} layers" if self.task == "training" else ""
        return f"{self.task}, {self.runner} in {self.dtype}{layers}"

    def text(self) -> str:
        """The case as one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, text: str) -> Case:
        """What `text` wrote."""
        values = json.loads(text)
        return cls(**values | {"batch_sizes": tuple(values["batch_sizes"])})


def cases_of(config: NetworkConfig, settings: BenchSettings) -> list[Case]:
    """What is measured, the likely fastest first.

    Raises:
        InputError: nothing is installed that runs networks, or not what is asked for.
    """
    installed = backends.installed_backends()
    likely = backends.choose()  # which refuses where there is none
    installed = [likely, *(name for name in installed if name != likely)]
    engines = [runtime for runtime in RUNTIMES if runtime.installed]
    runners = [*installed, *(runtime.name for runtime in engines)]
    if settings.runner and settings.runner not in runners:
        raise InputError(f"{settings.runner} is not installed: --runner can be {', '.join(runners)}")
    precisions: dict[str, tuple[str, ...]] = {runtime.name: runtime.precisions for runtime in engines}
    dtypes = [settings.dtype] if settings.dtype else ["float32", *(["bfloat16"] if backends.cpu_has_bfloat16() else [])]
    possible: tuple[BenchTask, ...] = ("inference", "training") if config.classes else ("inference",)
    tasks = [task for task in possible if settings.task in (None, task)]
    cases = [
        Case(
            config=config.as_dict(), task=task, runner=runner, backend=runner if runner in installed else likely,
            dtype=dtype, layers=layers, batch_sizes=_batch_sizes(task, config, settings), remember=settings.remember,
        )
        for runner in runners for dtype in dtypes for task in tasks
        for layers in (LAYERS if task == "training" else LAYERS[-1:])
        if settings.runner in (None, runner)
        and (runner in installed or (task == "inference" and dtype in precisions[runner]))
    ]  # fmt: skip
    if not cases:
        raise InputError(f"there is nothing to measure: {settings.runner or 'what is installed'} cannot do that")
    first = (likely, *(runtime.name for runtime in engines[:1]))
    return sorted(cases, key=lambda case: (case.runner not in first, case.dtype != "float32"))  # sorted keeps the rest


def _batch_sizes(task: str, config: NetworkConfig, settings: BenchSettings) -> tuple[int, ...]:
    """Pictures in the steps of a task."""
    if settings.batch_size:
        return (settings.batch_size,)
    if task == "inference":
        return (1, 32)
    height, width = config.image_size
    return (32 if height * width <= _SMALL else 8,)
