"""A plan carried out in its run folder, from where that stands to the scored model."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from ception.backends import ran_out_of_memory
from ception.classifier import Classifier
from ception.data import sources
from ception.distributed import ALONE, LostError
from ception.errors import RunError
from ception.evaluation import read_log, write
from ception.evaluation.plots import curves
from ception.explaining import FILE
from ception.files import write_json
from ception.reporting import counted
from ception.results import Scores
from ception.training import run_folder
from ception.training.callbacks import best_epoch
from ception.training.fitting import fit
from ception.training.indexing import index_of, insights
from ception.training.run import Run
from ception.training.scoring import beside_thumbnails, scored

if TYPE_CHECKING:
    import keras

    from ception.explaining.neighbours import Index
    from ception.reporting import Reporter
    from ception.training.planning import Plan
    from ception.training.run_folder import RunFolder
    from ception.training.state import Progress


def carry_out(plan: Plan, network: keras.Model, folder: RunFolder, began: float, reporter: Reporter) -> Run:
    """Train to the end, score, and write the rest; `model.keras` comes last.

    Args:
        plan: What to do.
        network: The network that the plan begins with.
        folder: The run folder.
        began: When, on the clock of `time.monotonic`.
        reporter: Receives notes, warnings and progress.

    Raises:
        InputError: another process trains in the folder.
        RunError: the training failed, or a file cannot be written.
    """
    team = plan.team
    with folder.alone():
        write_json(folder.settings, plan.description.record)
        with _explained(folder):
            progress = folder.progress()
            began -= sum(row["seconds"] for row in progress.rows)  # as if there had been no interruption
            deadline = began + 60 * plan.settings.time_budget if plan.settings.time_budget else None
            progress, _ = fit(plan, network, folder, progress, deadline=deadline, reporter=reporter)
            run = None
            with team.agreed():
                if team.index == 0:
                    run = _scored(replace(plan, team=ALONE), network, folder, progress, began, reporter)
            run_folder.send(team, folder, run_folder.FINISHED)
    if run is None:
        return finished(folder)
    folder.finish()
    return run


def _scored(
    plan: Plan, network: keras.Model, folder: RunFolder, progress: Progress, began: float, reporter: Reporter
) -> Run:
    """The run, scored, with all that is kept of it; `model.keras` comes last."""
    classifier = Classifier.load(folder.best(len(plan.phases)))
    record = classifier.record | {"precision": progress.decisions.dtype}
    write_json(folder.settings, record)
    size = progress.batch_size(len(plan.phases), plan.phases[-1].recipe)
    classifier, table = scored(plan, replace(classifier, record=record), size, reporter)
    best = best_epoch(progress.rows)
    scores = replace(
        table.scores(classifier.temperature),
        model=str(folder.model), data=record["data"]["source"], split="test", output=str(folder.path),
        best_epoch=best, thumbnails=beside_thumbnails(plan, table),
        training_seconds=round(time.monotonic() - began, 1),
    )  # fmt: skip
    classifier = replace(classifier, record=record | {"scores": scores.as_dict()})
    index = _indexed(plan, classifier, network, folder, reporter) if plan.settings.neighbours else None
    curves(progress.rows, best, folder.path / "curves.png", [phase.name for phase in plan.phases])
    test, pictures = plan.data.indices(sources.TEST), plan.data.dataset.pictures
    with insights(classifier, index, reporter) as insight:
        write(
            folder.path,
            table,
            scores,
            classifier,
            lambda row: pictures.open(int(test[row])),
            progress.rows,
            insight,
        )
    classifier.save(folder.model)
    return Run(classifier, progress.rows, scores, folder.path)


def _indexed(plan: Plan, classifier: Classifier, network: keras.Model, folder: RunFolder, reporter: Reporter) -> Index:
    """The index of training pictures, which is written, and its size told."""
    index, path = index_of(plan, classifier, network, reporter), folder.path / FILE
    index.save(path)
    count = counted(len(index.labels), "training picture")
    reporter.note(f"Index of {count} for explanations: {path} ({path.stat().st_size / 1e6:,.1f} MB)")
    return index


def finished(folder: RunFolder) -> Run:
    """The run in a folder that is finished.

    Raises:
        InputError: the model file is broken.
        RunError: log or scores cannot be read.
    """
    try:
        history = read_log(folder.log)
        scores = Scores.from_dict(json.loads((folder.path / "scores.json").read_bytes()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{folder.told} is finished, but its log or scores cannot be read: {error}") from None
    return Run(Classifier.load(folder.model), tuple(history), scores, folder.told)


@contextmanager
def _explained(folder: RunFolder) -> Iterator[None]:
    """A context whose interruption, want of memory or loss of a process is told with the way to go on."""
    to_go_on = f"to go on: ception train --resume {shlex.quote(str(folder.told))}"
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(to_go_on) from None
    except LostError as error:
        raise type(error)(f"{error}; {to_go_on}, on any number of processes") from None
    except Exception as error:
        if not ran_out_of_memory(error):
            raise
        raise RunError(
            f"memory ran out: close other programs, or train with a smaller --image-size; {to_go_on}"
        ) from None
