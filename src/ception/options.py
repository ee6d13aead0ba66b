"""The keywords of the public functions, for editors and type checkers: `ception.settings` explains them.

Written by tools/write_options.py: change the settings instead.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypedDict

from ception.settings import Backend, BatchNorm, Dtype, EngineName, ExplainMethod, Precision, Resize, Split, TableFormat


class TrainOptions(TypedDict, total=False):
    """Fields of `TrainSettings`."""

    cache_limit: float
    backend: Backend | None
    device: str | None
    model: str | None
    weights: str | None
    final_endpoint: str | None
    from_: str | None
    head_only: bool
    head_epochs: int | None
    batch_norm: BatchNorm
    partial: bool
    recipe: str | None
    epochs: int | None
    batch_size: int | None
    learning_rate: float | None
    patience: int | None
    dropout: float | None
    auxiliary: bool
    depth_multiplier: float
    every: tuple[str, ...]
    balance: bool
    flip: bool
    image_size: int | None
    channels: Literal[1, 3] | None
    resize: Resize
    crop: float | None
    colour: float | None
    randaugment: int | None
    mixup: float | None
    cutmix: float | None
    views: int | None
    dtype: Dtype | None
    stock_layers: bool
    time_budget: float | None
    group: str | None
    neighbours: bool
    skip_unreadable: bool
    seed: int
    runs: str | Path


class TuneOptions(TypedDict, total=False):
    """Fields of `TuneSettings`."""

    cache_limit: float
    backend: Backend | None
    device: str | None
    model: str | None
    weights: str | None
    final_endpoint: str | None
    from_: str | None
    head_only: bool
    head_epochs: int | None
    batch_norm: BatchNorm
    partial: bool
    recipe: str | None
    epochs: int | None
    batch_size: int | None
    learning_rate: float | None
    patience: int | None
    dropout: float | None
    auxiliary: bool
    depth_multiplier: float
    every: tuple[str, ...]
    balance: bool
    flip: bool
    image_size: int | None
    channels: Literal[1, 3] | None
    resize: Resize
    crop: float | None
    colour: float | None
    randaugment: int | None
    mixup: float | None
    cutmix: float | None
    views: int | None
    dtype: Dtype | None
    stock_layers: bool
    time_budget: float | None
    group: str | None
    neighbours: bool
    skip_unreadable: bool
    seed: int
    runs: str | Path
    minutes: float
    trials: int | None
    networks: tuple[str, ...]


class EvaluateOptions(TypedDict, total=False):
    """Fields of `EvaluateSettings`."""

    on: str | None
    worker_cores: int
    cache_limit: float
    backend: Backend | None
    device: str | None
    engine: EngineName | None
    dtype: Dtype
    split: Split | None
    batch_size: int
    target_precision: float | None
    explain: bool
    by: str | None
    out: str | Path | None


class PredictOptions(TypedDict, total=False):
    """Fields of `PredictSettings`."""

    cache_limit: float
    backend: Backend | None
    device: str | None
    engine: EngineName | None
    dtype: Dtype
    min_confidence: float | None
    calibration: bool
    weights: str | None
    batch_size: int
    allow_urls: bool


class JobOptions(TypedDict, total=False):
    """Fields of `JobSettings`."""

    on: str | None
    worker_cores: int
    cache_limit: float
    backend: Backend | None
    device: str | None
    engine: EngineName | None
    dtype: Dtype
    top: int
    min_confidence: float | None
    calibration: bool
    weights: str | None
    batch_size: int
    allow_urls: bool
    table: TableFormat
    part_size: int
    features: bool


class CompareOptions(TypedDict, total=False):
    """Fields of `CompareSettings`."""

    cache_limit: float
    backend: Backend | None
    device: str | None
    engine: EngineName | None
    dtype: Dtype
    split: Split | None
    out: str | Path | None


class CheckOptions(TypedDict, total=False):
    """Fields of `CheckSettings`."""

    on: str | None
    worker_cores: int
    cache_limit: float
    model: str | None
    weights: str | None
    final_endpoint: str | None
    partial: bool
    image_size: int | None
    group: str | None
    out: str | Path | None


class ShardOptions(TypedDict, total=False):
    """Fields of `ShardSettings`."""

    cache_limit: float
    shard_size: float
    group: str | None
    skip_unreadable: bool


class ExplainOptions(TypedDict, total=False):
    """Fields of `ExplainSettings`."""

    backend: Backend | None
    method: ExplainMethod
    layer: str | None
    out: str | Path | None
    checks: bool
    neighbours: int | None


class ServeOptions(TypedDict, total=False):
    """Fields of `ServeSettings`."""

    cache_limit: float
    backend: Backend | None
    device: str | None
    engine: EngineName | None
    dtype: Dtype
    host: str
    port: int
    token_file: str | Path | None
    min_confidence: float | None
    batch_size: int
    neighbours: bool
    max_bytes: float
    max_pixels: float
    max_pictures: int
    max_requests: int
    max_memory: float
    timeout: float


class ExportOptions(TypedDict, total=False):
    """Fields of `ExportSettings`."""

    cache_limit: float
    backend: Backend | None
    out: str | Path | None
    dtype: Precision
    data: str | None
    pictures: int
    calibrate: str | None
    max_disagreement: float | None
    min_confidence: float


class BenchOptions(TypedDict, total=False):
    """Fields of `BenchSettings`."""

    task: Literal["training", "inference"] | None
    runner: Literal["tensorflow", "jax", "torch", "openvino", "onnxruntime"] | None
    dtype: Dtype | None
    batch_size: int | None
    image_size: int | None
    time_budget: float
    remember: bool
