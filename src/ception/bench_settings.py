"""The options of a benchmark, as `ception.settings` has those of all other tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ception.settings import Dtype


@dataclass(frozen=True, kw_only=True)
class BenchSettings:
    """What to measure on this machine.

    Attributes:
        task: Measure training or inference alone; both when not given.
        runner: Measure this backend or engine alone: tensorflow, jax, torch, openvino or onnxruntime; whatever is
            installed when not given.
        dtype: Measure float32 or bfloat16 alone; when not given, float32, and bfloat16 where the processor has it.
        batch_size: Pictures in a step; when not given, 1 and 32 in inference, and 8 in training, or 32 of small
            pictures.
        image_size: Side of the square the network sees, in pixels; the network's own when not given.
        time_budget: Minutes in which the measurements shall end: what there is no time for is left out, the likely
            fastest come first.
        remember: Let predict, evaluate and whatever else runs a trained network choose its engine by these
            measurements.
    """

    task: Literal["training", "inference"] | None = None
    runner: Literal["tensorflow", "jax", "torch", "openvino", "onnxruntime"] | None = None
    dtype: Dtype | None = None
    batch_size: int | None = None
    image_size: int | None = None
    time_budget: float = 2.0
    remember: bool = False
