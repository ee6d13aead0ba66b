"""Run folders by short names, and what is in them at a glance."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ception import hub
from ception.data import stores
from ception.errors import InputError, meant
from ception.files import is_own
from ception.reporting import Reporter
from ception.results import RunEntry
from ception.settings import TrainSettings
from ception.validation import saved_settings
from ception.values import as_typed, flags_of

_NUMBERED = re.compile(r"(\d{3,})-")
LAST = "last"


def run_named(name: str | Path) -> Path | None:
    """The run folder that a short name means; None where it means none.

    Args:
        name: `last`; a number, `3` or `003`; or a part of a name that only one run has. They are looked for in `runs`,
            or in the folder before it: `other/last`.

    Raises:
        InputError: several runs have it.
    """
    folder, name = os.path.split(str(name))
    names = _names(Path(folder or "runs"))
    if not name or not names:
        return None
    if name == LAST:
        return Path(folder or "runs", names[-1])
    if name.isdecimal():
        found = [one for one in names if int(_number(one)) == int(name)]
    else:
        found = [one for one in names if name in one]
    if len(found) > 1:
        raise InputError(f"'{name}' may be {', '.join(found[:-1])} or {found[-1]}: give more of the name")
    return Path(folder or "runs", found[0]) if found else None


def path_of(name: str | Path, *, reporter: Reporter | None = None) -> Path:
    """The path itself where something lies there, a copy of the model file at an address, or a run folder.

    Args:
        name: A path; `hf://USER/NAME` or another address of a model or run; or a short name of a run.
        reporter: Receives the progress of a download; None for what `ception.reporting.default` gives.

    Raises:
        InputError: several runs have the name, or there is no such repository on the hub.
        RunError: the hub cannot be reached.
    """
    if Path(name).exists():
        return Path(name)
    if hub.is_named(name):
        return hub.fetch(name, reporter=reporter)
    if stores.is_address(address := as_typed(name)):
        inside = stores.joined(address, "model.keras")
        return stores.local_copy(inside if stores.is_file(inside) else address)
    return run_named(name) or Path(name)


def runs(folder: str | Path = "runs") -> tuple[RunEntry, ...]:
    """All trainings in a folder with their scores, those on the same data beside one another, the best first.

    The trials of its searches are among them.

    Args:
        folder: Where `train` and `tune` put their folders.

    Raises:
        InputError: there is no such folder, or no run in it.
    """
    found = [place / name for place in (Path(folder), *_trials(Path(folder))) for name in _names(place)]
    if not found:
        raise InputError(f"there are no runs in {folder}: train one with ception train DATA, or name another folder")
    entries = [_entry(one) for one in found]
    return tuple(sorted(entries, key=lambda entry: (entry.data, not entry.finished, -(entry.accuracy or 0))))


def scored_picture(folder: str | Path) -> str | None:
    """A picture that a model was scored on, by the predictions in a folder; None where they name no file."""
    try:
        with Path(folder, "predictions.csv").open(newline="", errors="surrogateescape") as file:
            name = next(csv.DictReader(file), {}).get("path")
    except (OSError, ValueError, csv.Error):
        return None
    return name if name and os.path.isfile(name) else None


def require_run(name: str | Path) -> Path:
    """The run folder that a path or a short name means.

    Raises:
        InputError: there is none.
    """
    if (found := path_of(name)).exists():
        return found
    beside = names_beside(name)
    way_out = meant(str(name), beside) or (": ception runs lists those that are here" if beside else ": none is here")
    raise InputError(f"there is no run {name}{way_out}")


def names_beside(name: str | Path) -> list[str]:
    """What could have been typed for a run in place of a name that means none: `last`, and the paths of the runs."""
    folder = Path(os.path.dirname(name) or "runs")
    names = _names(folder)
    return (
        [str(folder / LAST) if os.path.dirname(name) else LAST, *(str(folder / one) for one in names)] if names else []
    )


def _names(folder: Path) -> list[str]:
    """The names of the run folders in a folder, by their numbers."""
    try:
        found = [name for name in os.listdir(folder) if _NUMBERED.match(name) and is_own(folder / name)]
    except OSError:
        return []
    return sorted(found, key=lambda name: (int(_number(name)), name))


def _trials(folder: Path) -> list[Path]:
    """The folders of the trials of searches in a folder, each of which has the run of one."""
    return sorted(one for one in folder.glob("tuning-*/trial-*") if is_own(one.parent))


def _number(name: str) -> str:
    found = _NUMBERED.match(name)
    assert found is not None
    return found[1]


def _entry(folder: Path) -> RunEntry:
    """What a run folder holds; a training that has not ended, or whose files are broken, has no scores."""
    settings, scores = _json(folder / "settings.json"), _json(folder / "scores.json")
    data, model = settings.get("data", {}), folder / "model.keras"
    planned = settings.get("settings") or _json(folder / "checkpoints" / "plan.json").get("settings", {})
    low, high = scores.get("accuracy_interval") or (None, None)
    return RunEntry(
        folder=str(folder),
        data=str(data.get("name") or folder.name.partition("-")[2]),
        model=str(planned.get("model") or "?"),
        weights=planned.get("weights"),
        options=_options(planned),
        accuracy=scores.get("accuracy"),
        accuracy_interval=None if low is None or high is None else (low, high),
        pictures=scores.get("count"),
        seconds=scores.get("training_seconds") or _seconds(folder / "log.csv"),
        model_bytes=model.stat().st_size if model.is_file() else None,
        finished=bool(scores) and model.is_file(),
    )


def _options(planned: Mapping[str, Any]) -> str:
    """The options of a training as they are typed, but for those that are told apart from them."""
    try:
        settings = saved_settings(TrainSettings, planned)
    except InputError:  # of a later version
        return ""
    return flags_of(replace(settings, model=None, weights=None, runs=TrainSettings.runs)).strip()


def _json(path: Path) -> Mapping[str, Any]:
    """The object in a file; empty where there is none."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _seconds(log: Path) -> float:
    """How long the epochs took, in seconds, by the log."""
    try:
        with log.open(newline="") as file:
            return sum(float(row.get("seconds") or 0) for row in csv.DictReader(file))
    except (OSError, ValueError, csv.Error):
        return 0.0
