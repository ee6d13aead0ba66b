"""What options of several tasks may be, and those that several tasks share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Backend = Literal["tensorflow", "jax", "torch"]
Resize = Literal["squash", "crop", "pad"]
BatchNorm = Literal["frozen", "adapt", "train"]
Dtype = Literal["float32", "bfloat16"]
Precision = Literal["float32", "bfloat16", "float16", "int8"]
EngineName = Literal["openvino", "onnxruntime", "keras"]
ExplainMethod = Literal["gradcam", "integrated-gradients", "occlusion", "all"]
Split = Literal["train", "val", "test", "all"]
TableFormat = Literal["csv", "parquet"]


@dataclass(frozen=True, kw_only=True)
class CacheSettings:
    """What may be kept.

    Attributes:
        cache_limit: Most that the cache folder may hold, in GB.
    """

    cache_limit: float = 10.0


@dataclass(frozen=True, kw_only=True)
class ClusterSettings:
    """Where many pictures are looked at.

    Attributes:
        on: Where to compute: ray for the Ray cluster that RAY_ADDRESS names, else for one on this machine alone;
            ray://HOST:PORT for another; in this process when not given.
        worker_cores: Cores of each worker on a cluster; there are as many workers as it has room for.
    """

    on: str | None = None
    worker_cores: int = 1


@dataclass(frozen=True, kw_only=True)
class BackendSettings:
    """What Keras computes with.

    Attributes:
        backend: Keras's backend; the first installed of tensorflow, jax, torch when not given.
    """

    backend: Backend | None = None


@dataclass(frozen=True, kw_only=True)
class DeviceSettings(BackendSettings):
    """Where it computes.

    Attributes:
        device: Processor to use, such as cpu or gpu:0; the backend's own choice when not given.
    """

    device: str | None = None


@dataclass(frozen=True, kw_only=True)
class EngineSettings(DeviceSettings, CacheSettings):
    """What runs a trained network.

    Attributes:
        engine: What runs the network: openvino, onnxruntime or keras; the fastest installed one when not given, or
            Keras's where a backend or device is named.
        dtype: Numbers to compute with: float32 or bfloat16, which is quicker where the processor has it, and coarser.
    """

    engine: EngineName | None = None
    dtype: Dtype = "float32"
