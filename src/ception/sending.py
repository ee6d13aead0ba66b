"""A model on its way to another process, which opens it there."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from ception.artefacts import files_of
from ception.errors import InputError
from ception.predictor import Predictor
from ception.reporting import Reporter
from ception.settings import EngineSettings


@dataclass(frozen=True)
class SentModel:
    """A model on its way to another process.

    Attributes:
        name: Of its file.
        files: This file, and what lies beside it, by name.
        settings: What runs it, with which numbers.
        batch_size: Pictures in one step.
    """

    name: str
    files: dict[str, bytes]
    settings: EngineSettings
    batch_size: int

    @classmethod
    def of(cls, model: Path, settings: EngineSettings, batch_size: int) -> SentModel:
        """A model file, or an export that is one; an InputError where it is a folder."""
        if model.is_dir():
            raise InputError(f"{model} is a folder, which workers are not sent: give the model file, or another export")
        files = {file.name: file.read_bytes() for file in files_of(model)}
        return cls(model.name, files, settings, batch_size)

    def opened(self, *, features: bool = False) -> Predictor:
        """The model, or what it gives as features, in the engine that follows from what is installed here."""
        with tempfile.TemporaryDirectory() as place:
            for name, content in self.files.items():
                Path(place, name).write_bytes(content)
            return Predictor.open(
                Path(place, self.name), engine=self.settings.engine, dtype=self.settings.dtype,
                batch_size=self.batch_size, measure=False, features=features, cache_limit=self.settings.cache_limit,
                reporter=Reporter(),
            )  # fmt: skip
