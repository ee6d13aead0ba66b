"""Commands that train: train and demo."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ception.cli.app import TRAINING, AsJson, Flat, Quiet, Verbose, app, options_of
from ception.cli.scores import print_scores
from ception.cli.terminal import (
    print_json,
    print_next,
    print_next_prediction,
    print_report,
    print_table,
    print_where,
    printable,
    quoted,
    terminal,
)
from ception.distributed import is_first
from ception.distributed.places import variables
from ception.errors import InputError
from ception.reporting import duration
from ception.results import TrialEntry
from ception.settings import ClusterSettings, TrainSettings, TuneSettings
from ception.values import flags_of


@app.command(group_parameters=TRAINING)
def train(
    data: Annotated[str | None, Parameter(
        help="Folder per class, train/val/test folders of those, CSV (path,label[,split]), .npz, folder with MNIST's "
        "IDX files, fashion-mnist, or fashion-mnist-sample; with --resume where the data lie now, if they have moved.",
        show_default=False)] = None,
    /, *, settings: Annotated[TrainSettings, Flat] = TrainSettings(),
    resume: Annotated[Path | None, Parameter(
        help="Go on with an interrupted training, by its run folder, with its own settings.")] = None,
    cluster: Annotated[ClusterSettings, Flat] = ClusterSettings(),
    process: Annotated[str | None, Parameter(
        help="Which of several processes this one is that train together, and where the first one listens, as "
        "INDEX/COUNT@HOST:PORT, INDEX from 0 on; what torchrun, SLURM or Open MPI starts knows it.")] = None,
    find_lr: Annotated[bool, Parameter(name="--find-lr", negative="",
        help="Look for the learning rate instead of training: short trainings with several, and a plot.")] = False,
    quiet: Quiet = False, verbose: Verbose = False, json: AsJson = False,
) -> int:  # fmt: skip
    """Train a network on DATA, score it on test pictures and save all in a new run folder."""
    from ception.cluster import require
    from ception.jobs.training import train_on
    from ception.training import resume as go_on
    from ception.training import train

    if data is None and resume is None:
        raise InputError("train needs DATA, or --resume RUN")
    require(cluster)
    if process is not None:
        os.environ.update(variables(process))
    if resume and (changed := flags_of(settings).split()):
        raise InputError(f"a resumed training keeps its settings: leave out {changed[0]}")
    if find_lr:
        if resume or cluster.on:
            raise InputError(f"--find-lr is for a new training here: leave out {'--resume' if resume else '--on'}")
        return _find_rate(str(data), settings, quiet, verbose, json)
    with terminal(quiet, verbose) as reporter:
        new = options_of(settings)
        if cluster.on is not None:
            run = train_on(cluster.on, data, resume=resume, worker_cores=cluster.worker_cores, reporter=reporter, **new)
        else:
            run = go_on(resume, data, reporter=reporter) if resume else train(str(data), reporter=reporter, **new)
    if not is_first():
        return 0
    if json:
        print_json(run.scores.as_dict())
    else:
        print_scores(run.scores)
        print_where(run.folder)
    print_next_prediction(run.folder / "model.keras", quiet or json, run.folder)
    print_report(run.folder, quiet or json)
    return 0


def _find_rate(data: str, settings: TrainSettings, quiet: bool, verbose: bool, json: bool) -> int:
    """The learning rate that a search finds, and the training with it; the exit code."""
    from ception.training.searching import find_learning_rate

    with terminal(quiet, verbose) as reporter:
        search = find_learning_rate(data, reporter=reporter, **options_of(settings))
    if not is_first():
        return 0
    if json:
        print_json(search.as_dict())
    else:
        print(f"Learning rate {search.suggestion:g} for the phase '{search.phase}': {search.why}")
        print(f"Drawn in {search.picture}")
    chosen = flags_of(replace(settings, learning_rate=float(f"{search.suggestion:g}")))
    print_next(f"ception train {shlex.quote(data)}{chosen}", quiet or json)
    return 0


@app.command(group_parameters=TRAINING)
def tune(
    data: Annotated[str, Parameter(help="Data set, as for train.")],
    /, *, settings: Annotated[TuneSettings, Flat] = TuneSettings(), quiet: Quiet = False, verbose: Verbose = False,
    json: AsJson = False,
) -> int:  # fmt: skip
    """Try networks, recipes, learning rates and what is fine-tuned, within a time; options that are given stay."""
    from ception.tuning import tune as search

    with terminal(quiet, verbose) as reporter:
        result = search(data, reporter=reporter, **options_of(settings))
    if json:
        print_json(result)
    else:
        _print_trials(result.trials)
        low, high = result.accuracy_interval
        print(f"Best: {result.best}")
        print(f"Accuracy {result.accuracy:.4f} on its test pictures (95 % interval {low:.4f} to {high:.4f})")
        print(f"To repeat it: {result.command}")
    print_next_prediction(Path(result.best) / "model.keras", quiet or json, Path(result.best))
    print_report(Path(result.best), quiet or json)
    return 0


@app.command(group_parameters=TRAINING)
def demo(
    *, settings: Annotated[TrainSettings, Flat] = TrainSettings(), quiet: Quiet = False, verbose: Verbose = False,
) -> int:  # fmt: skip
    """Train on 10,000 pictures that come with the package, score the model, and let it name some pictures."""
    from ception.demo import EXPECTED_ACCURACY, SAMPLE, demo

    low, high = EXPECTED_ACCURACY
    with terminal(quiet, verbose) as reporter:
        if settings == TrainSettings():
            reporter.note(f"Fashion-MNIST in small: expect a test accuracy of {low} to {high} in one to two minutes")
        done = demo(reporter=reporter, **options_of(settings))
    print_scores(done.run.scores)
    for result in done.predictions:
        first = result.top[0]
        print(f"{Path(result.path).name:24} {first.class_name} {first.probability:.1%}")
    print(f"\nPictures with names: {done.sheet}")
    print_where(done.run.folder)
    model = done.run.folder / "model.keras"
    print_next(
        f"ception predict {quoted(model)} {quoted(done.pictures)}\n      ception evaluate {quoted(model)} {SAMPLE}",
        quiet,
    )
    print_report(done.run.folder, quiet)
    return 0


def _print_trials(entries: Sequence[TrialEntry]) -> None:
    """A row per trial of a search, the best first."""
    from rich.table import Table

    table = Table("trial", box=None, pad_edge=False, header_style="bold")
    for column in ("validation", "loss", "time"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("options")
    for entry in entries:
        ended = f" ({entry.state}: {entry.reason})" if entry.reason else ""
        table.add_row(
            str(entry.number), "-" if entry.val_accuracy is None else f"{entry.val_accuracy:.1%}",
            "-" if entry.val_loss is None else f"{entry.val_loss:.4f}", duration(entry.seconds),
            printable((entry.options or "as train does it") + ended),
        )  # fmt: skip
    print_table(table)
