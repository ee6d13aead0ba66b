"""From a data set to the learning rate of its training: `find_learning_rate`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from ception import backends
from ception.distributed import ALONE, joined
from ception.errors import InputError
from ception.options import TrainOptions
from ception.reporting import Reporter, or_default
from ception.settings import TrainSettings
from ception.training import preparation, run_folder
from ception.validation import settings_of

if TYPE_CHECKING:
    from ception.training.learning_rate import Search


def find_learning_rate(
    data: str | Path,
    *,
    picture: str | Path | None = None,
    reporter: Reporter | None = None,
    **options: Unpack[TrainOptions],
) -> Search:
    """Look for the learning rate of a training, or of its last phase, without training to the end.

    Args:
        data: As for `train`.
        picture: PNG to draw the losses in; `find-lr-<data>.png` in the current folder when not given.
        reporter: Receives notes, warnings and progress; None for what `ception.reporting.default` gives.
        options: As for `train`.

    Raises:
        InputError, RunError: as for `train`.
    """
    given = settings_of(TrainSettings, options)
    with joined(lambda: given.backend, or_default(reporter)) as (team, reporter):
        with team.agreed():
            dataset, settings, recipes = preparation.opened(data, given, reporter)
            if recipes[-1].solver:
                raise InputError(
                    "the head is solved, which needs no learning rate: train without --find-lr, or name --epochs"
                )
            listed = preparation.read(dataset, str(data), settings, reporter)
        backends.start(settings.backend, reporter)
        with backends.on(settings.device), backends.standard_settings():
            from ception.training import planning
            from ception.training.learning_rate import search

            dtype = team.first(planning.dtype_of(settings))
            with team.agreed():
                plan, network = planning.plan(listed, settings, recipes, dtype, reporter, team=team)
            plan.require_together()
            if team.manner == "spread":  # only whole trainings are: here each process searches for itself
                plan = replace(plan, team=ALONE)
            path = Path(picture or f"find-lr-{run_folder.plain_name(listed.dataset.name)}.png")
            return search(plan, network, path, reporter, drawn=team.index == 0)
