"""What a machine and what is installed on it can do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ception.results.result import Result


@dataclass(frozen=True, kw_only=True)
class Diagnosis(Result):
    """A machine, what is installed on it, and what would help.

    Attributes:
        version: Of Ception.
        python: Version of Python.
        system: What the system is called.
        processor: What the processor is called.
        cores: How many of its cores this process may use.
        memory_gb: The machine's memory in GB; None where the system does not tell.
        features: What of the processor makes networks fast, as the system calls it.
        accelerator: Whether there may be a GPU or the like, by a look at the system.
        backends: Keras's backends with their versions; None for what is not installed.
        backend: The one that runs where none is named; None where none can.
        engines: What runs trained networks without Keras, with versions; None for what is not installed.
        kernels: Version of the compiled kernels, with the instructions that they use; None where there are none to use.
        extras: Whether what each of Ception's extras brings is installed.
        cache: The cache folder.
        cache_gb: What it holds, in GB.
        free_gb: What its disk has free, in GB.
        advice: What is slow or missing here, with the way out.
    """

    version: str
    python: str
    system: str
    processor: str
    cores: int
    memory_gb: float | None
    features: tuple[str, ...]
    accelerator: bool
    backends: Mapping[str, str | None]
    backend: str | None
    engines: Mapping[str, str | None]
    kernels: str | None
    extras: Mapping[str, bool]
    cache: str
    cache_gb: float
    free_gb: float
    advice: tuple[str, ...]
