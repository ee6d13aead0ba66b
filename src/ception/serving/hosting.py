"""The models of a server: opened, looked up by name, and opened anew when their file is replaced."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from ception.artefacts import files_of, format_of
from ception.drift import Watch
from ception.errors import InputError, RunError
from ception.model_file import model_file, name_of
from ception.serving.batching import Batcher

if TYPE_CHECKING:
    from ception.model_file import ModelDescription
    from ception.predictor import Predictor
    from ception.reporting import Reporter

_State = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class Hosted:
    """A model that answers.

    Attributes:
        name: What requests call it.
        path: Its file.
        predictor: The model in its engine.
        batcher: Runs its pictures.
        state: What changes when its file does.
        watch: What the last pictures looked like that were sent to it.
    """

    name: str
    path: Path
    predictor: Predictor
    batcher: Batcher
    state: _State = field(repr=False)
    watch: Watch = field(default_factory=Watch, repr=False)

    @property
    def description(self) -> ModelDescription:
        """What it says of itself."""
        return self.predictor.description

    @property
    def picture_bytes(self) -> int:
        """Bytes of a picture as it takes it."""
        return math.prod(self.description.image.shape)


def names_of(models: Sequence[str]) -> dict[str, Path]:
    """Each model's file by the name that requests call it by: `NAME=PATH`, or the name of its run or file.

    Raises:
        InputError: two have the same name.
    """
    named: dict[str, Path] = {}
    for given in models:
        name, equals, rest = given.partition("=")
        path = model_file(rest if equals and not Path(given).exists() else given)
        if not (equals and rest and not Path(given).exists()):
            name = name_of(given, file=path)
        if name in named:
            raise InputError(f"two models are called {name}: name them, as in {name}={path} other={named[name]}")
        named[name] = path
    return named


class Hosting:
    """Models by name.

    Args:
        paths: The model files by their names; the first is the one that requests without a name mean.
        open_one: Opens a model file.
        most: Pictures in a batch.
        observe: Told of each batch: the model's name, and how many pictures it had.
        reporter: Told of models that are replaced.

    Raises:
        InputError: a model cannot be used.
    """

    def __init__(
        self,
        paths: Mapping[str, Path],
        open_one: Callable[[Path], Predictor],
        *,
        most: int,
        observe: Callable[[str, int], None],
        reporter: Reporter,
    ) -> None:
        self._open_one, self._most, self._observe, self._reporter = open_one, most, observe, reporter
        self._lock, self._refused = Lock(), dict[str, _State]()
        self._models = {name: self._opened(name, path) for name, path in paths.items()}

    def __iter__(self) -> Iterator[Hosted]:
        return iter(list(self._models.values()))

    def find(self, name: str | None) -> Hosted | None:
        """The model of a name; the first one without a name; None where there is none."""
        if name is None:
            return next(iter(self._models.values()))
        return self._models.get(name)

    def refresh(self) -> None:
        """Open each model anew that failed, or whose file was replaced.

        The old one goes on until the new one has proven itself.

        Raises:
            RunError: one failed, and cannot be opened.
        """
        with self._lock:
            for name, hosted in list(self._models.items()):
                if hosted.batcher.broken:
                    self._reopen(hosted)
                    continue
                state = state_of(hosted.path)
                if state in (hosted.state, self._refused.get(name)):
                    continue
                try:
                    self._models[name] = self._opened(name, hosted.path)
                except Exception as error:  # whatever it is, the old one goes on
                    self._refused[name] = state
                    self._reporter.warn(f"{name} was replaced, but the old one goes on: {' '.join(str(error).split())}")
                    continue
                self._reporter.note(f"{name} was replaced")
                hosted.batcher.close()

    def _reopen(self, hosted: Hosted) -> None:
        try:
            self._models[hosted.name] = self._opened(hosted.name, hosted.path)
        except Exception as error:
            why = " ".join(str(error).split())
            raise RunError(f"{hosted.name} failed and cannot be opened again: {why}") from error
        self._reporter.warn(f"{hosted.name} failed and was opened anew")
        hosted.batcher.close()

    def close(self) -> None:
        """Answer what waits, and end."""
        for hosted in self._models.values():
            hosted.batcher.close()

    def _opened(self, name: str, path: Path) -> Hosted:
        """A model that has answered once.

        Raises:
            InputError: it cannot be used, or gives no numbers.
        """
        state = state_of(path)
        predictor = self._open_one(path)
        shape = predictor.description.image.shape
        logits = predictor.engine.run(np.full((1, *shape), 128, np.uint8))
        if logits.shape != (1, len(predictor.description.class_names)) or not np.isfinite(logits).all():
            raise InputError(f"{path} does not give a number for each class: convert or train it again")
        batcher = Batcher(predictor.engine, shape, self._most, lambda size: self._observe(name, size))
        return Hosted(name, path, predictor, batcher, state)


def state_of(path: Path) -> _State:
    """What changes when a model's files do."""
    files = files_of(path) if format_of(path) else [path]
    try:
        return tuple((one.st_ino, one.st_size, one.st_mtime_ns) for one in (file.stat() for file in files))
    except OSError:
        return ()
