"""From a data set to a trained classifier: `train` and `resume` read top to bottom what happens."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Unpack

from ception import backends
from ception.data import sources
from ception.distributed import Team, joined
from ception.options import TrainOptions
from ception.reporting import Reporter, or_default
from ception.run_list import require_run
from ception.settings import TrainSettings
from ception.training import preparation, run_folder
from ception.training.run import Run as Run
from ception.training.run_folder import RunFolder
from ception.training.state import Decisions
from ception.validation import settings_of


def train(data: str | Path, *, reporter: Reporter | None = None, **options: Unpack[TrainOptions]) -> Run:
    """Train a network on a data set, score it on the test pictures, and save everything in a new run folder.

    The run folder `001-<model>-<data>` holds `model.keras`, `settings.json`, `scores.json`, `log.csv`, `curves.png`,
    `confusion.png`, `predictions.csv`, `report.html` and `tensorboard/`; while the training runs, its state lies in
    `checkpoints/`. The weights kept are those of the epoch with the lowest validation loss.

    Args:
        data: A data set as `ception.data.sources.load` takes it.
        reporter: Receives notes, warnings and progress; None for what `ception.reporting.default` gives.
        options: Fields of `TrainSettings`, such as `epochs=3`.

    Raises:
        InputError: the data or a setting cannot be used.
        RunError: the training failed, say by a loss of NaN, or a file cannot be written.
    """
    began, given = time.monotonic(), settings_of(TrainSettings, options)
    with joined(lambda: given.backend, or_default(reporter)) as (team, reporter):
        with team.agreed():
            dataset, settings, recipes = preparation.opened(data, given, reporter)
            listed = preparation.read(dataset, str(data), settings, reporter)  # what is wrong is told before Keras is
        backend = backends.start(settings.backend, reporter)
        with backends.on(settings.device), backends.standard_settings():
            from ception.training import carrying_out, planning

            dtype = team.first(planning.dtype_of(settings))
            reporter.detail(f"Backend: {backend}, computing in {dtype}")
            with team.agreed():
                plan, network = planning.plan(listed, settings, recipes, dtype, reporter, team=team)
            plan.require_together()

            name = f"{settings.network}-{listed.dataset.name}"
            record = plan.as_dict() | run_folder.origin(data, settings, backend)
            begin = partial(run_folder.begin, settings.runs, name, record, Decisions(dtype), reporter)
            with run_folder.for_team(team, begin) as folder:
                return carrying_out.carry_out(plan, network, folder, began, reporter)


def resume(run: str | Path, data: str | Path | None = None, *, reporter: Reporter | None = None) -> Run:
    """Continue a training that was interrupted at any moment, with its own settings.

    From the last finished epoch on it does what the uninterrupted one would have done: weights, optimiser,
    schedule, random states and the order of the pictures are the same. A finished run is returned as it is. The weights
    that it fine-tunes need not be there any more once an epoch is done.

    Args:
        run: The run folder, wherever it lies by now, or a short name of it: `last`, its number, or a part of its name.
        data: Where its data set lies by now; None means where it lay. Its pictures, labels and split must be the same.
        reporter: Receives notes, warnings and progress; None for what `ception.reporting.default` gives.

    Raises:
        InputError: the folder is no interrupted run, or its data set has changed since, or is no longer there, or its
            weights are not before the first epoch is done.
        RunError: as for `train`.
    """
    began = time.monotonic()
    with (
        joined(lambda: run_folder.backend_of(run), or_default(reporter)) as (team, reporter),
        run_folder.for_team(team, lambda: RunFolder(require_run(run))) as folder,
    ):
        if team.first(folder.model.is_file()):
            run_folder.leave_finished(team, folder, run, reporter)
            backends.start(None, reporter)
            from ception.training import carrying_out

            return carrying_out.finished(folder)
        return _resumed(team, folder, run, data, began, reporter)


def _resumed(
    team: Team, folder: RunFolder, run: str | Path, data: str | Path | None, began: float, reporter: Reporter
) -> Run:
    """What `resume` gives for a training that is not finished."""
    with team.agreed():
        saved = folder.saved_plan()
        weights = folder.weights_of(saved, reporter)
        recipes = preparation.require_sense(replace(saved.settings, weights=weights), saved.backend)
        where, source = (data, str(data)) if data else (folder.data_of(saved), saved.source)
        dataset = sources.load(where, cache_limit=saved.settings.cache_limit, reporter=reporter)
        listed = preparation.read(dataset, source, saved.settings, reporter)
    backend = backends.start(saved.backend, reporter)
    with backends.on(saved.settings.device), backends.standard_settings():
        from ception.training import carrying_out, planning

        dtype = folder.progress().decisions.dtype
        reporter.detail(f"Backend: {backend}, computing in {dtype}")
        with team.agreed():
            plan, network = planning.plan(listed, saved.settings, recipes, dtype, reporter, weights=weights, team=team)
            folder.require_same(plan.as_dict(), saved, listed.source if data else saved.data)
        plan.require_together()
        if data:
            reporter.note(f"The pictures, labels and split of {data} are those that the training began with")
            folder.save_plan(plan.as_dict() | run_folder.origin(data, saved.settings, saved.backend))
        reporter.note(f"Resuming {run}")
        return carrying_out.carry_out(plan, network, folder, began, reporter)
