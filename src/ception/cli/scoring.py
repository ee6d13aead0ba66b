"""Commands that put a model to the test: evaluate, predict and compare."""

from __future__ import annotations

import csv
import io
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, Token, UnknownOptionError

from ception import hub
from ception.cli.app import AsJson, Flat, Quiet, app, options_of, require_order
from ception.cli.scores import print_comparison, print_scores
from ception.cli.terminal import (
    complain,
    data_of,
    json_line,
    print_json,
    print_next,
    print_next_prediction,
    print_report,
    print_where,
    printable,
    quoted,
    terminal,
)
from ception.errors import InputError
from ception.reporting import counted
from ception.results import Prediction
from ception.settings import CompareSettings, EvaluateSettings, JobSettings, PredictSettings
from ception.values import flag, require_here


@app.command
def evaluate(
    model: Annotated[Path, Parameter(help="Model file, run folder such as runs/001-..., or hf://USER/NAME.")],
    data: Annotated[str, Parameter(help="Data set, as for train.")],
    /, *, settings: Annotated[EvaluateSettings, Flat] = EvaluateSettings(), quiet: Quiet = False, json: AsJson = False,
) -> int:  # fmt: skip
    """Score a model on DATA: accuracy with its interval, each class, the most confused pairs."""
    from ception.evaluation import evaluate

    require_order("evaluate", model, data)
    with terminal(quiet) as reporter:
        result = evaluate(model, data, reporter=reporter, **options_of(settings))
    if json:
        print_json(result)
    else:
        print_scores(result)
        print_where(Path(str(result.output)))
    print_next_prediction(model, quiet or json, Path(str(result.output)))
    print_report(Path(str(result.output)), quiet or json)
    return 0


@app.command
def predict(
    model: Annotated[Path, Parameter(help="Model file, run folder such as runs/001-..., or hf://USER/NAME.")],
    pictures: Annotated[list[str], Parameter(allow_leading_hyphen=True,
        help="Pictures, folders of pictures, patterns such as 'photos/*.jpg', or - for one on standard input; with "
        "--allow-urls addresses too.")],
    /, *, settings: Annotated[JobSettings, Flat] = JobSettings(),
    csv: Annotated[Path | None, Parameter(help="Also write path, class, probability and rank to this CSV.")] = None,
    out: Annotated[str | None, Parameter(
        help="Folder for the answers for many pictures, in files: nothing is printed for each, and a job that was "
        "interrupted goes on where whole files end. A path, or an address such as s3://bucket/answers.")] = None,
    quiet: Quiet = False, json: AsJson = False,
) -> int:  # fmt: skip
    """Name the most probable classes of each picture. With --json, one JSON object per line."""
    from ception.prediction import predictions

    require_order("predict", model, *(picture for picture in pictures[:1] if picture != "-"))
    if out is not None:
        if csv is not None:
            raise InputError("--out writes tables by itself: leave out --csv")
        return _predict_into(model, pictures, out, settings, quiet, json)
    if changed := [name for name in _OF_JOBS if getattr(settings, name) != getattr(JobSettings(), name)]:
        raise InputError(f"{flag(changed[0])} is for many pictures: name a folder with --out")
    options = {name: value for name, value in options_of(settings).items() if name not in _OF_JOBS}
    count = failed = 0
    seen = None
    with terminal(quiet) as reporter, _csv_of_predictions(csv) as write_row:
        for result in predictions(model, _opened(pictures), reporter=reporter, **options):
            count += 1
            write_row(result)
            if json:
                reporter.line(json_line(result.as_dict()))
            elif result.top:
                seen = seen or result.path
                named = "  ".join(f"{guess.class_name} {guess.probability:.1%}" for guess in result.top)
                told = f"unknown (best guess: {named})" if result.unknown else named
                reporter.line(printable(f"{result.path}: {told}"))
            if result.error:
                failed += 1
                reporter.warn(f"{printable(result.path)}: {result.error}")
    if failed:
        complain(f"{failed:,} of {counted(count, 'picture')} could not be read")
        return 2
    if csv is not None and not (quiet or json):
        print(f"Predictions: {csv}")
    print_next(_after_prediction(model, seen, settings), quiet or json)
    return 0


def _after_prediction(model: Path, picture: str | None, settings: JobSettings) -> str:
    """The command that says why a picture got its class; where that cannot be, the one that scores or trains."""
    from ception.artefacts import format_of

    if settings.weights is not None:
        return f"ception train DATA --model {quoted(model)} --weights {shlex.quote(settings.weights)}"
    elsewhere = hub.is_named(model) or format_of(model) is not None
    if elsewhere or picture is None or not Path(picture).is_file() or printable(picture) != picture:
        return f"ception evaluate {quoted(model)} {data_of(model)}"
    return f"ception explain {quoted(model)} {shlex.quote(picture)}"


_OF_JOBS = {one.name for one in fields(JobSettings)} - {one.name for one in fields(PredictSettings)}


def _predict_into(model: Path, pictures: list[str], out: str, settings: JobSettings, quiet: bool, json: bool) -> int:
    """Many pictures into files, and what came of it in some lines; the exit code."""
    from ception.jobs import predict_into

    with terminal(quiet) as reporter:
        result = predict_into(model, _opened(pictures), out, reporter=reporter, **options_of(settings))
    if json:
        print_json(result)
    else:
        for name, count in result.classes.items():
            print(printable(f"{name}: {count:,} ({count / (result.pictures - result.failed):.1%})"))
        print(f"{counted(result.pictures, 'picture')} in {counted(result.files, 'file')} in {out}")
    if result.failed:
        complain(f"{result.failed:,} of {counted(result.pictures, 'picture')} could not be read: the files say why")
        return 2
    print_next(_after_prediction(model, None, settings), quiet or json)
    return 0


class _StandardInput(io.BytesIO):
    """A picture's bytes from standard input; predictions call it by its name."""

    name = "-"


def _opened(pictures: list[str]) -> list[str | io.BytesIO]:
    """The pictures, standard input read where one is `-`.

    Raises:
        UnknownOptionError: one is a misspelt option: whatever begins with a hyphen comes here, so that `-` does.
        InputError: two are `-`, or nothing comes in but from a keyboard.
    """
    for picture in pictures:
        if picture.startswith("-") and picture != "-" and not Path(picture).exists():
            options = app["predict"].assemble_argument_collection()
            raise UnknownOptionError(
                token=Token(keyword=picture.partition("=")[0], source="cli"),
                argument_collection=options,
                command_chain=("predict",),
            )
    if pictures.count("-") > 1:
        raise InputError("standard input holds one picture: give - once")
    if "-" in pictures and sys.stdin.isatty():
        raise InputError("- is a picture on standard input, which is the keyboard here: ception predict MODEL - < FILE")
    return [_StandardInput(sys.stdin.buffer.read()) if picture == "-" else picture for picture in pictures]


@app.command
def compare(
    one: Annotated[Path, Parameter(help="Run folder or model file.")],
    other: Annotated[Path, Parameter(help="Another one.")],
    data: Annotated[str | None, Parameter(
        help="Data set to evaluate both on; without it, what two runs said of their test pictures is compared.",
        show_default=False)] = None,
    /, *, settings: Annotated[CompareSettings, Flat] = CompareSettings(), quiet: Quiet = False, json: AsJson = False,
) -> int:  # fmt: skip
    """Say whether the difference between two models is real: paired interval, McNemar's test, each class."""
    from ception.evaluation.comparison import compare

    with terminal(quiet) as reporter:
        result = compare(one, other, data, reporter=reporter, **options_of(settings))
    if json:
        print_json(result)
    else:
        print_comparison(result)
        print_where(Path(str(result.output)))
    if result.different:
        better = other if result.difference > 0 else one
        scored = data_of(better) if data is None else shlex.quote(data)
        print_next(f"ception evaluate {quoted(better)} {scored}", quiet or json)
    else:
        print_next(f"ception compare {quoted(one)} {quoted(other)} DATA   # with more pictures", quiet or json)
    return 0


@contextmanager
def _csv_of_predictions(path: Path | None) -> Iterator[Callable[[Prediction], None]]:
    """A function that writes one prediction to the CSV, which is whole when the context ends well."""
    if path is None:
        yield lambda result: None
        return
    from ception.files import whole
    from ception.jobs.parts import COLUMNS, rows

    require_here("--csv", path)
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file with --csv")
    with (
        whole(path) as unfinished,
        unfinished.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        table = csv.writer(file)
        table.writerow(COLUMNS)
        yield lambda result: table.writerows(rows(result))
