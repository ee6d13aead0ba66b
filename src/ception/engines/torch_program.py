"""Networks in PyTorch alone, from the programs of `torch.export`."""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ception.engines import Precision
from ception.engines.torch_archive import safe
from ception.reporting import silenced

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAME = f"torch {torch.__version__}"


class TorchEngine:
    """A program on this machine's CPU.

    Args:
        path: The .pt2 file; it is looked at before PyTorch opens it, so that nothing in it is run as code.
        precision: Numbers that it was written with.

    Raises:
        UnsafeError: it holds something else than tensors and plain operations.
    """

    any_thread = True

    def __init__(self, path: Path, precision: Precision) -> None:
        archive = safe(path)
        with silenced("torch.export"):  # it logs what it raises
            module = torch.export.load(archive).module()
        self._module: Any = module.to(memory_format=torch.channels_last)  # as the feature maps are
        self.name = NAME
        self.precision = precision
        self._lock = Lock()  # its threads are shared by all runs

    def run(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """As `Engine.run`."""
        pictures = np.require(batch, np.uint8, ["C", "W"])  # PyTorch warns of arrays that it must not change
        with self._lock, torch.inference_mode():
            if self._module is None:
                raise RuntimeError("the engine is closed")
            return np.array(self._module(torch.from_numpy(pictures)).numpy(), np.float32)

    def close(self) -> None:
        """As `Engine.close`."""
        with self._lock:
            self._module = None
