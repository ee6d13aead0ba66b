"""The options of what is about networks, weights and machines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ception.settings.shared import Backend as Backend  # of the bases' fields, whose types are looked up here
from ception.settings.shared import BackendSettings, Dtype


@dataclass(frozen=True, kw_only=True)
class SummarySettings(BackendSettings):
    """What to tell of a network.

    Attributes:
        image_size: Side of the square the network sees, in pixels; the network's own when not given.
        every: Column of an Xception's table to change in every row, as for train.
        batch_size: Pictures in a training step, for the estimate of its memory.
        dtype: Numbers that training computes with: float32, or mixed_bfloat16 with weights in float32.
        graph: Draw the network into this file, .svg or .png.
        expand: Draw the layers inside each block too.
    """

    image_size: int | None = None
    every: tuple[str, ...] = ()
    batch_size: int = 32
    dtype: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    graph: Path | None = None
    expand: bool = False


@dataclass(frozen=True, kw_only=True)
class ConvertSettings(BackendSettings):
    """How to convert weights.

    Attributes:
        model: Network that the weights are for.
        out: File to write; named after the network, or after the model file, when not given.
        image_size: Side of the square the network sees, in pixels; what the file says, else the network's own, when not
            given.
        scaling: How pixels 0..255 are scaled: inception (to -1..1), unit (to 0..1), imagenet (by the mean and std of
            each channel), none, or MEAN,STD for (pixel - MEAN) / STD; what the file says, else what the published
            network expects, when not given.
        classes: Names of the classes in the order of the outputs, as cat,dog or a text file with one a line; numbers
            when not given.
        final_endpoint: End the network there, such as mixed8, for a file that ends there; at its own end when not
            given.
        partial: Accept a file that lacks some of the network's tensors.
        to: Write the weights of a model file as keras-applications or timm loads them.
    """

    model: str | None = None
    out: Path | None = None
    image_size: int | None = None
    scaling: str | None = None
    classes: str | None = None
    final_endpoint: str | None = None
    partial: bool = False
    to: Literal["keras-applications", "timm"] | None = None


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
