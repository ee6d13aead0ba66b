"""The named tensors of a weight file, and what several of its readers need."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from ception.errors import InputError
from ception.weights.tensors import Tensors

DOWNLOAD_AGAIN = "download or copy it again"
READABLE = "Keras (.h5, .weights.h5, .keras), safetensors, PyTorch (.pth) and TF-Slim (.ckpt) files"


@dataclass(frozen=True)
class Checkpoint:
    """Named tensors of a weight file, as its writer named and laid them out.

    Attributes:
        path: The file.
        layout: Who named the tensors and ordered their axes; "ception" is Keras's, described by this package.
        tensors: float32 by name, all finite, in the order of the file; for Keras `<layer>/<variable>`, layer by layer.
            A legacy `.h5` has its layers in the order of the network's `layers`; of a network that is one of these
            layers, those that train come first. Keras 3 stores its layers by class: there the order is that of the
            classes, and within one class that of the layers; its first versions wrote no names of layers, which here
            have the name of their class with a number in that order.
        described: For layout "ception" what the file's `model.json` says, not checked any further.
        configuration: What a file of Keras says of its network's graph, `class_name` and `config`; likewise.
        found: Where among other things in the file the tensors were; "" where there was nothing else.
        others: Other sets of tensors in the file, by where they were: the moving average of the weights, say.
    """

    path: Path
    layout: Literal["keras", "torch", "slim", "ception"]
    tensors: Tensors
    described: Mapping[str, Any] = field(default_factory=dict)
    configuration: Mapping[str, Any] = field(default_factory=dict)
    found: str = ""
    others: Mapping[str, Tensors] = field(default_factory=dict)


def one_line(said: Exception | str) -> str:
    """What an error or a file says, cut to one printable line."""
    text = " ".join(str(said).split()) or type(said).__name__
    return "".join(character for character in text if character.isprintable())[:200]


def imported(module: str, path: Path, package: str) -> ModuleType:
    """A module that a file needs to be read.

    Raises:
        InputError: it is not installed; the message says which package to install.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise InputError(f"{path} needs {module} to be read: pip install '{package}'") from None
