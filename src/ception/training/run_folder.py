"""A training's folder: its results and, as long as it runs, what a resumed one goes on from."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ception.data import stores
from ception.data.sources import NAMES
from ception.distributed import Team
from ception.errors import InputError, RunError, reason
from ception.files import locked, mark, write_json
from ception.reporting import Reporter
from ception.run_list import require_run
from ception.settings import TrainSettings
from ception.training import state
from ception.training.state import Decisions, Progress
from ception.validation import saved_settings
from ception.weights.published import is_there


@dataclass(frozen=True)
class SavedPlan:
    """What an interrupted training was to do.

    Attributes:
        data: Where its data set lies, or its name.
        source: What the user called it.
        fingerprint: Of the data set.
        settings: Its settings.
        backend: The backend it began on.
        phases: Its phases in plain values.
    """

    data: str
    source: str
    fingerprint: str
    settings: TrainSettings
    backend: str
    phases: list[dict[str, Any]]


@dataclass(frozen=True)
class RunFolder:
    """A run folder.

    Attributes:
        path: Where it lies.
        shown: Where the one lies that this is a copy of, for a process that is not the first.
    """

    path: Path
    shown: Path | None = None

    @property
    def told(self) -> Path:
        """Where a person finds it."""
        return self.shown or self.path

    @property
    def model(self) -> Path:
        """The model file, which is written last."""
        return self.path / "model.keras"

    @property
    def settings(self) -> Path:
        """Where the model comes from: its record, as the model file has it."""
        return self.path / "settings.json"

    @property
    def log(self) -> Path:
        """The log, a CSV with a row for each epoch."""
        return self.path / "log.csv"

    @property
    def state(self) -> Path:
        """What the next epoch depends on."""
        return self._checkpoint("last.npz")

    def best(self, number: int) -> Path:
        """The classifier of the best epoch up to a phase, where the next phase begins."""
        return self._checkpoint(f"best-{number}.keras")

    def progress(self) -> Progress:
        """How far the training has come.

        Raises:
            RunError: a file is broken.
        """
        return Progress(state.rows(self.state), Decisions.load(self._checkpoint("decided.json")))

    def save_decisions(self, decisions: Decisions) -> None:
        """Keep what was decided."""
        decisions.save(self._checkpoint("decided.json"))

    def save_plan(self, plan: Mapping[str, Any]) -> None:
        """Keep the plan in plain values, as `saved_plan` reads them."""
        write_json(self._checkpoint("plan.json"), dict(plan))

    def saved_plan(self) -> SavedPlan:
        """What `save_plan` kept, of this version or an earlier one.

        Raises:
            InputError: the folder is no interrupted run, or its plan is broken.
        """
        path = self._checkpoint("plan.json")
        try:
            plan = json.loads(path.read_bytes())
            settings = saved_settings(TrainSettings, plan["settings"])
            return SavedPlan(plan["data"], plan["said"], plan["fingerprint"], settings, plan["backend"], plan["phases"])
        except InputError:
            raise
        except OSError:
            raise InputError(f"{self.path} is no interrupted run: name a folder such as runs/001-...") from None
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{path} is broken: start the training anew") from None

    def data_of(self, saved: SavedPlan) -> str:
        """Where to read the data from: as the user called it where that still leads there, so that names stay.

        Raises:
            InputError: it is no longer where it was.
        """
        where = saved.source if Path(saved.source).resolve() == Path(saved.data) else saved.data
        if where not in NAMES and not stores.is_address(where) and not Path(where).exists():
            raise InputError(
                f"the data of {self.path} are no longer in {saved.data}: name where they are now, "
                f"ception train --resume {shlex.quote(str(self.path))} DATA"
            )
        return where

    def weights_of(self, saved: SavedPlan, reporter: Reporter) -> str | None:
        """Where to read the weights from: what the user named; the run's own model where that is gone.

        What is frozen is in it as they have it, and what is trained comes from the state.

        Args:
            saved: What the training was to do.
            reporter: Receives a note where they are gone.

        Raises:
            InputError: they are gone and no epoch is done.
        """
        weights = saved.settings.weights
        if not weights or is_there(saved.settings.network, weights):
            return weights
        name = shlex.quote(saved.source)
        if not self.progress().rows or not self.best(1).is_file():
            raise InputError(
                f"the weights of {self.path} are no longer in {weights}, and no epoch is done: train anew, with "
                f"ception train {name} --weights and their new place"
            )
        reporter.note(f"{weights} is no longer there: the epochs that are done have kept what stays of it")
        return str(self.best(1))

    def require_same(self, plan: Mapping[str, Any], saved: SavedPlan, data: str) -> None:
        """Raise an InputError if the plan, in plain values, made of some data, is another one than was kept."""
        if plan["fingerprint"] != saved.fingerprint:
            raise InputError(f"pictures, labels or split of {data} have changed since {self.path} began: train anew")
        if json.loads(json.dumps(plan["phases"])) != saved.phases:  # which has lists for tuples
            raise InputError(f"the recipe is not what it was when {self.path} began: train anew")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """A context in which no other process trains here; what a killed one left half written is removed first.

        Raises:
            InputError: another process does.
        """
        with locked(self._checkpoint("lock"), f"another process is training in {self.path}: wait for it"):
            for unfinished in self.path.rglob(".*.tmp"):
                unfinished.unlink(missing_ok=True)
            yield

    def finish(self) -> None:
        """Remove what only a training that runs needs."""
        shutil.rmtree(self.path / "checkpoints", ignore_errors=True)

    def _checkpoint(self, name: str) -> Path:
        return self.path / "checkpoints" / name


def create(runs: Path, name: str) -> RunFolder:
    """Make the next run folder, `001-<name>` in an empty `runs`; two processes never get the same.

    Raises:
        RunError: it cannot be made.
    """
    name = plain_name(name)
    try:
        runs.mkdir(parents=True, exist_ok=True)
        while True:
            taken = [int(entry.split("-")[0]) for entry in os.listdir(runs) if re.match(r"\d{3,}-", entry)]
            folder = runs / f"{max(taken, default=0) + 1:03d}-{name}"
            try:
                folder.mkdir()
                mark(folder)
                return RunFolder(folder)
            except FileExistsError:
                continue
    except OSError as error:
        raise RunError(f"the folder {runs} cannot be written: {reason(error)}; choose another with --runs") from None


def leave_finished(team: Team, folder: RunFolder, run: str | Path, reporter: Reporter) -> None:
    """Say that a training is finished, and remove what was left where its last moment was interrupted."""
    reporter.note(f"{run} is finished: there is nothing to resume")
    folder.finish()
    send(team, folder, FINISHED)


_TO_GO_ON = ("checkpoints/*.json", "checkpoints/*.npz", "checkpoints/*.keras")
FINISHED = ("model.keras", "scores.json", "log.csv")


def begin(runs: Path, name: str, record: Mapping[str, Any], decisions: Decisions, reporter: Reporter) -> RunFolder:
    """Make a new run folder that keeps what a training is to do and has decided.

    Raises:
        RunError: it cannot be created.
    """
    folder = create(runs, name)
    folder.save_decisions(decisions)
    folder.save_plan(record)
    reporter.note(f"Run folder: {folder.path}")
    return folder


def backend_of(run: str | Path) -> str | None:
    """The backend that a training began on, as far as this process can see its folder."""
    try:
        return RunFolder(require_run(run)).saved_plan().backend
    except InputError:
        return None


@contextmanager
def for_team(team: Team, folder: Callable[[], RunFolder]) -> Iterator[RunFolder]:
    """The run folder, which the first process makes or finds; each of the others has a copy for as long as it needs it.

    Args:
        team: The processes.
        folder: Makes or finds it.
    """
    with team.agreed():
        found = folder() if team.index == 0 else None
    told = team.first(str(found.path) if found else "")
    if found:
        send(team, found, _TO_GO_ON)
        yield found
        return
    with tempfile.TemporaryDirectory(prefix="ception-") as path:
        copy = RunFolder(Path(path), Path(told))
        send(team, copy, _TO_GO_ON)
        yield copy


def send(team: Team, folder: RunFolder, patterns: Sequence[str]) -> None:
    """Copy some files of the first process's folder into those of the others."""
    if team.count == 1:
        return
    here = [path for pattern in patterns for path in sorted(folder.path.glob(pattern))] if team.index == 0 else []
    sizes = team.first([(path.relative_to(folder.path).as_posix(), path.stat().st_size) for path in here])
    for name, size in sizes:
        path = folder.path / name
        (content,) = team.arrays([np.fromfile(path, np.uint8) if team.index == 0 else np.empty(size, np.uint8)])
        if team.index:
            path.parent.mkdir(parents=True, exist_ok=True)
            content.tofile(path)


def origin(data: str | Path, settings: TrainSettings, backend: str) -> dict[str, Any]:
    """What a plan is kept with: data, settings and backend in plain values, files by their whole paths.

    Args:
        data: What the user calls the data set.
        settings: The settings.
        backend: The backend that runs.
    """
    weights = settings.weights
    if weights and Path(weights).exists():
        weights = str(Path(weights).resolve())
    where = Path(data).resolve() if Path(data).exists() else data
    return {"data": str(where), "said": str(data), "backend": backend,
            "settings": plain_settings(settings) | {"weights": weights}}  # fmt: skip


def plain_settings(settings: TrainSettings) -> dict[str, Any]:
    """The settings as JSON has them."""
    return {key: str(value) if isinstance(value, Path) else value for key, value in asdict(settings).items()}


def plain_name(text: str) -> str:
    """The text as part of a file's name."""
    return re.sub(r"[^\w.-]+", "-", text).strip("-.")[:80] or "run"
