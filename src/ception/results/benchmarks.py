"""How fast a network runs on a machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ception.results.result import Result, html_table

BenchTask = Literal["training", "inference"]


@dataclass(frozen=True, kw_only=True)
class Measurement(Result):
    """What one thing takes that runs a network, or why it does not.

    Attributes:
        task: `training` or `inference`.
        runner: What runs it: a backend of Keras, or an engine without Keras.
        dtype: Numbers that it computes with.
        layers: What the network's layers are: `stock`, Keras's own, or `quicker`, which trainings have.
        batch_size: Pictures in a step.
        ms: Milliseconds that a step takes, in the median.
        images_per_s: Pictures in a second.
        ceiling_share: Its arithmetic, as a share of what a matrix product of the same numbers reaches; None where no
            product of these was measured.
        peak_bytes: Most memory that its process took, the libraries included; None where the system does not tell.
        error: Why there are no figures.
    """

    _OMITTED = frozenset({"error"})

    task: BenchTask
    runner: str
    dtype: str
    layers: str
    batch_size: int
    ms: float | None = None
    images_per_s: float | None = None
    ceiling_share: float | None = None
    peak_bytes: int | None = None
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class Benchmark(Result):
    """How fast a network is trained and run on this machine.

    Attributes:
        model: The network.
        input_shape: (height, width, channels).
        macs: Multiply-accumulates for one picture; None where nothing could be measured.
        machine: The processor and its cores.
        ceilings: GFLOP/s of a matrix product by the numbers that it computes with; its best here.
        measurements: Whatever was measured, or failed.
        left_out: Measurements that there was no time for.
        recommended: By task, the options with which it is the fastest here.
        remembered: Whether `predict`, `evaluate` and others choose by these measurements from now on.
    """

    model: str
    input_shape: tuple[int, ...]
    macs: int | None
    machine: str
    ceilings: Mapping[str, float]
    measurements: tuple[Measurement, ...]
    left_out: int
    recommended: Mapping[str, str]
    remembered: bool

    def _repr_html_(self) -> str:
        """A small table for notebooks."""
        rows = [["task", "runs on", "dtype", "layers", "batch", "images/s", "ms"]]
        rows += [[one.task, one.runner, one.dtype, one.layers, str(one.batch_size),
                  one.error or f"{one.images_per_s:.1f}", "" if one.ms is None else f"{one.ms:.1f}"]
                 for one in self.measurements]  # fmt: skip
        return html_table(f"{self.model} on {self.machine}", rows)
