"""The command line: parse, call one library function, print. The only file that prints or exits."""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import shlex
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import cyclopts
from cyclopts import Parameter

from ception.errors import InputError, RunError, reason
from ception.reporting import Reporter, Task
from ception.settings import (
    CheckSettings,
    CompareSettings,
    ConvertSettings,
    EvaluateSettings,
    PredictSettings,
    SummarySettings,
    TrainSettings,
)

if TYPE_CHECKING:
    from rich.progress import Progress

_MOST_CLASSES = 40  # rows of the table of classes
_EXAMPLES = 5  # cases of a finding

app = cyclopts.App(
    name="ception",
    help="From a folder of pictures to a classifier with the Inception to Xception family.\n\nStart with: ception demo",
    suppress_keyboard_interrupt=False,
    help_epilogue="Exit codes: 0 done, 2 wrong input or usage, 1 a run that failed or faults that check found, "
    "130 stopped by Ctrl-C.",
)
Flat = Parameter(name="*")
Quiet = Annotated[bool, Parameter(name="--quiet", negative="", help="Show warnings and the result only.")]
AsJson = Annotated[
    bool, Parameter(name="--json", negative="", help="Write JSON to standard output, all else to standard error.")
]


@app.command
def train(
    data: Annotated[str | None, Parameter(
        help="Folder per class, train/val/test folders of those, CSV (path,label[,split]), .npz, folder with MNIST's "
        "IDX files, fashion-mnist, or fashion-mnist-sample.", show_default=False)] = None,
    /, *, settings: Annotated[TrainSettings, Flat] = TrainSettings(),
    resume: Annotated[Path | None, Parameter(
        help="Go on with an interrupted training, by its run folder, with its own settings.")] = None,
    find_lr: Annotated[bool, Parameter(name="--find-lr", negative="",
        help="Look for the learning rate instead of training: try rising ones and draw the loss.")] = False,
    quiet: Quiet = False, json: AsJson = False,
) -> int:  # fmt: skip
    """Train a network on DATA, score it on test pictures and save all in a new run folder."""
    from ception.training import find_learning_rate, train
    from ception.training import resume as go_on

    if (data is None) == (resume is None):
        raise InputError("train needs either DATA or --resume RUN" + (", not both" if data else ""))
    if resume and (changed := _flags(settings).split()):
        raise InputError(f"a resumed training keeps its settings: leave out {changed[0]}")
    if find_lr:
        if resume:
            raise InputError("--find-lr is for a new training: leave out --resume")
        with terminal(quiet) as reporter:
            found = find_learning_rate(str(data), reporter=reporter, **_fields(settings))
        if json:
            _print_json(vars(found) | {"picture": str(found.picture)})
        else:
            print(
                f"Learning rate {found.suggestion:g} for the phase '{found.phase}': there the loss falls most steeply"
            )
            print(f"Drawn in {found.picture}")
        chosen = _flags(replace(settings, learning_rate=float(f"{found.suggestion:g}")))
        _next(f"ception train {shlex.quote(str(data))}{chosen}", quiet or json)
        return 0
    with terminal(quiet) as reporter:
        new = _fields(settings)
        run = go_on(resume, reporter=reporter) if resume else train(str(data), reporter=reporter, **new)
    if json:
        _print_json(run.scores)
    else:
        _print_scores(run.scores)
        _print_where(run.folder)
    _next(f"ception predict {_quoted(run.folder / 'model.keras')} PICTURES", quiet or json)
    return 0


@app.command
def evaluate(
    model: Annotated[Path, Parameter(help="Model file or run folder, such as runs/001-...")],
    data: Annotated[str, Parameter(help="Data set, as for train.")],
    /, *, settings: Annotated[EvaluateSettings, Flat] = EvaluateSettings(), quiet: Quiet = False, json: AsJson = False,
) -> int:  # fmt: skip
    """Score a model on DATA: accuracy with its interval, each class, the most confused pairs."""
    from ception.evaluation import evaluate

    with terminal(quiet) as reporter:
        result = evaluate(model, data, reporter=reporter, **_fields(settings))
    if json:
        _print_json(result)
    else:
        _print_scores(result)
        _print_where(Path(result["output"]))
    _next(f"ception predict {_quoted(model)} PICTURES", quiet or json)
    return 0


@app.command
def predict(
    model: Annotated[Path, Parameter(help="Model file or run folder, such as runs/001-...")],
    pictures: Annotated[list[str], Parameter(help="Pictures, folders of pictures, patterns such as 'photos/*.jpg'.")],
    /, *, settings: Annotated[PredictSettings, Flat] = PredictSettings(),
    csv: Annotated[Path | None, Parameter(help="Also write path, class, probability and rank to this CSV.")] = None,
    quiet: Quiet = False, json: AsJson = False,
) -> int:  # fmt: skip
    """Name the most probable classes of each picture. With --json, one JSON object per line."""
    from ception.prediction import predictions

    count = failed = 0
    with terminal(quiet) as reporter, _csv_of_predictions(csv) as write_row:
        for result in predictions(model, pictures, reporter=reporter, **_fields(settings)):
            count += 1
            write_row(result)
            if json:
                reporter.line(json_line(result))
            elif "top" in result:
                named = "  ".join(f"{top['class']} {top['probability']:.1%}" for top in result["top"])
                guess = f"unknown (best guess: {named})" if result.get("unknown") else named
                reporter.line(_printable(f"{result['path']}: {guess}"))
            if "error" in result:
                failed += 1
                reporter.warn(f"{_printable(result['path'])}: {result['error']}")
    if failed:
        _complain(f"{failed:,} of {count:,} pictures could not be read")
        return 2
    _next(
        f"ception evaluate {_quoted(model)} DATA" + ("" if csv is None else f"   (predictions: {csv})"), quiet or json
    )
    return 0


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
        result = compare(one, other, data, reporter=reporter, **_fields(settings))
    if json:
        _print_json(result)
    else:
        _print_comparison(result)
        _print_where(Path(result["output"]))
    if result["different"]:
        better = other if result["difference"] > 0 else one
        _next(f"ception predict {_quoted(better)} PICTURES", quiet or json)
    else:
        _next(f"ception compare {_quoted(one)} {_quoted(other)} DATA, with more pictures", quiet or json)
    return 0


@app.command
def demo(*, settings: Annotated[TrainSettings, Flat] = TrainSettings(), quiet: Quiet = False) -> int:
    """Train on 10,000 pictures that come with the package, score the model, and let it name some pictures."""
    from ception.demo import EXPECTED_ACCURACY, SAMPLE, demo

    low, high = EXPECTED_ACCURACY
    with terminal(quiet) as reporter:
        if settings == TrainSettings():
            reporter.note(f"Fashion-MNIST in small: expect a test accuracy of {low} to {high} in one to two minutes")
        done = demo(reporter=reporter, **_fields(settings))
    _print_scores(done.run.scores)
    for result in done.predictions:
        first = result["top"][0]
        print(f"{Path(result['path']).name:24} {first['class']} {first['probability']:.1%}")
    print(f"\nPictures with names: {done.sheet}")
    _print_where(done.run.folder)
    model = done.run.folder / "model.keras"
    _next(
        f"ception predict {_quoted(model)} {_quoted(done.pictures)}\n      ception evaluate {_quoted(model)} {SAMPLE}",
        quiet,
    )
    return 0


@app.command
def check(
    data: Annotated[str, Parameter(help="Data set, as for train.")],
    /, *, settings: Annotated[CheckSettings, Flat] = CheckSettings(), quiet: Quiet = False, json: AsJson = False,
) -> int:  # fmt: skip
    """Find what may be wrong with DATA, without changing a file. Exit code 1 if something would hurt training."""
    from ception.checking import check

    with terminal(quiet) as reporter:
        result = check(data, reporter=reporter, **_fields(settings))
    if json:
        _print_json(result)
    else:
        _print_findings(result)
    page = shlex.quote(result["page"])
    if not result["ok"]:
        _next(f"mend what {page} shows, then ception check {shlex.quote(data)}", quiet or json)
        return 1
    if settings.model and Path(settings.model).exists():
        _next(f"ception evaluate {shlex.quote(settings.model)} {shlex.quote(data)}", quiet or json)
        return 0
    same = TrainSettings(model=settings.model or TrainSettings().model, image_size=settings.image_size)
    _next(f"ception train {shlex.quote(data)}{_flags(same)}", quiet or json)
    return 0


@app.command
def models(
    *, weights: Annotated[bool, Parameter(negative="", help="List the published weights instead.")] = False,
    json: AsJson = False,
) -> int:  # fmt: skip
    """List the networks with their parameters, multiply-accumulates, own size, published accuracy and source."""
    from ception import MODELS

    if weights:
        from ception.models.weights import WEIGHTS

        if json:
            _print_json({name: vars(record) for name, record in WEIGHTS.items()})
            return 0
        _print_weights(WEIGHTS)
        _next("ception predict xception --weights imagenet PICTURES", silent=False)
        return 0
    columns = (
        "parameters",
        "trainable",
        "macs",
        "image_size",
        "channels",
        "classes",
        "accuracy",
        "accuracy_on",
        "source",
    )
    if json:
        _print_json({name: {column: getattr(entry, column) for column in columns} for name, entry in MODELS.items()})
        return 0
    _print_models(MODELS)
    _next("ception summary xception", silent=False)
    return 0


@app.command
def summary(
    model: Annotated[str, Parameter(help="Network, as ception models lists them, module of the walk from Inception to "
                                    "Xception, model file, or run folder.")],
    /, *, settings: Annotated[SummarySettings, Flat] = SummarySettings(), quiet: Quiet = False, json: AsJson = False,
) -> int:  # fmt: skip
    """Show what each layer of a network costs, and what training it takes; draw it with --graph."""
    from ception import backends
    from ception.settings import checked

    options = checked(settings)
    if options.expand and not options.graph:
        raise InputError("--expand needs --graph FILE.svg or FILE.png")
    backends.choose(options.backend)
    from ception.inspection import network_of, summary
    from ception.inspection.drawing import draw
    from ception.models import columns

    network = network_of(model, image_size=options.size, every=columns(options.every), precision=options.precision)
    result = summary(network, batch_size=options.batch_size)
    if options.graph:
        draw(network, options.graph, expand=options.expand)
    if json:
        _print_json(result | ({"graph": str(options.graph)} if options.graph else {}))
        return 0
    _print_summary(result)
    if not options.graph:
        _next(f"ception summary {shlex.quote(model)} --graph {network.name}.svg", quiet)
        return 0
    print(f"Drawn in {options.graph}")
    if options.expand:
        _next("ception models", quiet)
    else:
        opened = options.graph.with_stem(f"{options.graph.stem}-expanded")
        _next(f"ception summary {shlex.quote(model)} --graph {_quoted(opened)} --expand", quiet)
    return 0


@app.command
def convert(
    source: Annotated[str, Parameter(help="Weight file of Keras, PyTorch, timm, torchvision or TF-Slim, name of "
                                     "published weights, or with --to a model file.")],
    /, *, settings: Annotated[ConvertSettings, Flat] = ConvertSettings(), quiet: Quiet = False, json: AsJson = False,
) -> int:  # fmt: skip
    """Turn weights of any origin into a model file, with a certificate of what it computes; or the other way."""
    from ception import backends
    from ception.settings import checked

    options = checked(settings)
    if (options.model is None) == (options.to is None):
        raise InputError("convert needs either --model NAME or --to keras-applications|timm")
    backends.choose(options.backend)
    from ception.conversion import convert, export_weights

    if options.to and options.partial:
        raise InputError("--partial belongs to --model: what --to writes is always whole")
    if options.to:
        result = export_weights(source, options.to, out=options.out)
        if json:
            _print_json(result)
        else:
            print(f"{result['tensors']} tensors for {options.to} in {result['out']}")
            print(f"It takes pixels 0..255 times {result['scaling']['scale']} plus {result['scaling']['offset']}")
            _next(result["use"], quiet)
        return 0
    with terminal(quiet) as reporter:
        result = convert(source, str(options.model), out=options.out, partial=options.partial, reporter=reporter)
    if json:
        _print_json(result)
        return 0
    _print_certificate(result)
    use = "summary" if result["missing"] else "predict"
    _next(f"ception {use} {shlex.quote(result['out'])}" + ("" if result["missing"] else " PICTURES"), quiet)
    return 0


@app.command
def cache(*, clear: Annotated[bool, Parameter(negative="", help="Delete every cached file.")] = False) -> int:
    """Show what the cache folder holds: pictures, activations, arrays and weights that can be had again."""
    from ception.data import cache
    from ception.files import cache_folder

    entries = cache.entries()
    total = sum(size for _, size, _ in entries)
    if clear:
        cache.clear()
        print(f"Deleted {len(entries)} files, {total / 1e6:,.1f} MB, from {cache_folder()}")
    else:
        print(f"{cache_folder()} holds {len(entries)} files, {total / 1e6:,.1f} MB")
        _next("ception cache --clear", not entries)
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # whatever the terminal's encoding
    warnings.filterwarnings("ignore", module="matplotlib")  # a letter that its font lacks
    warnings.filterwarnings("ignore", module="PIL")  # what is wrong with a picture is told in our words
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    try:
        result = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except cyclopts.CycloptsError as error:
        command = " ".join(["ception", *_command(error)])
        _complain(f"{' '.join(str(error).split())}  See: {command} --help")
        return 2
    except InputError as error:
        _complain(str(error))
        return 2
    except RunError as error:
        _complain(str(error))
        return 1
    except KeyboardInterrupt:
        _complain("stopped by Ctrl-C")
        return 130
    except BrokenPipeError:  # the reader of our output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # wherever a disk is full or a folder goes away
        _complain(f"{error.filename or 'a file'} cannot be used: {reason(error)}")
        return 1


def _fields(settings: Any) -> dict[str, Any]:
    return {field.name: getattr(settings, field.name) for field in fields(settings)}


def _flags(settings: Any) -> str:
    """The settings that are not the defaults as they are typed, each with a blank before it."""
    given = ""
    for name, value in _fields(settings).items():
        if value == getattr(type(settings)(), name):
            continue
        flag = name.rstrip("_").replace("_", "-")
        if isinstance(value, bool):
            given += f" --{flag}" if value else f" --no-{flag}"
        else:
            values = value if isinstance(value, tuple) else (value,)
            given += "".join(f" --{flag} {shlex.quote(str(one))}" for one in values)
    return given


def _command(error: cyclopts.CycloptsError) -> list[str]:
    return [name for name in error.command_chain or () if name in app]


@contextmanager
def _csv_of_predictions(path: Path | None) -> Iterator[Callable[[dict[str, Any]], None]]:
    """A function that writes one prediction to the CSV, which is whole when the context ends well."""
    if path is None:
        yield lambda result: None
        return
    from ception.files import whole

    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file with --csv")
    with (
        whole(path) as unfinished,
        unfinished.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        rows = csv.writer(file)
        rows.writerow(["path", "rank", "class", "probability", "error"])

        def write(result: dict[str, Any]) -> None:
            for rank, top in enumerate(result.get("top", []), 1):
                rows.writerow([result["path"], rank, top["class"], top["probability"], ""])
            if "error" in result:
                rows.writerow([result["path"], "", "", "", result["error"]])

        yield write


# What a person sees


@dataclass
class Terminal(Reporter):
    """Notes, warnings and progress on standard error; bars only where that is a terminal."""

    progress: Progress
    quiet: bool

    def note(self, text: str) -> None:
        if not self.quiet:
            self._print(text)

    def warn(self, text: str) -> None:
        self.progress.console.print(
            f"warning: {text}", markup=False, emoji=False, highlight=False, soft_wrap=True, style="yellow"
        )

    def line(self, text: str) -> None:
        """A line of the result, on standard output."""
        if self.progress.live.is_started and sys.stdout.isatty():
            self._print(text)
        else:
            print(text)

    def _print(self, text: str, style: str | None = None) -> None:
        """Write the text as it is: whatever stands in a class or file name is no markup."""
        self.progress.console.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True, style=style)

    @contextmanager
    def task(self, label: str, total: int) -> Iterator[Task]:
        number = self.progress.add_task(label, total=total, detail="")
        yield _Bar(self.progress, number)
        self.progress.remove_task(number)


@dataclass
class _Bar(Task):
    progress: Progress
    number: Any

    def advance(self, steps: int = 1, detail: str = "") -> None:
        self.progress.advance(self.number, steps)
        if detail:
            self.progress.update(self.number, detail=detail)


@contextmanager
def terminal(quiet: bool) -> Iterator[Terminal]:
    """A reporter that writes to standard error for as long as the context lasts."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        TextColumn("{task.fields[detail]}"),
    )  # fmt: skip
    hidden = quiet or not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as progress:
        yield Terminal(progress, quiet)


def _print_scores(scores: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    low, high = scores["accuracy_interval"]
    plain = scores["uncalibrated"]["calibration_error"]
    print(f"Accuracy {scores['accuracy']:.4f} on {scores['count']:,} {scores['split']} pictures "
          f"(95 % interval {low:.4f} to {high:.4f})")  # fmt: skip
    top5 = "" if scores["top5_accuracy"] is None else f"   top-5 {scores['top5_accuracy']:.4f}"
    print(f"Balanced accuracy {scores['balanced_accuracy']:.4f}   log loss {scores['log_loss']:.4f}{top5}")
    print(f"Calibration error {scores['calibration_error']:.4f} with temperature {scores['temperature']:.3f} "
          f"({plain:.4f} without)")  # fmt: skip
    table = Table("class", box=None, pad_edge=False, header_style="bold")
    for column in ("precision", "recall", "F1", "pictures"):
        table.add_column(column, justify="right")
    shown = sorted(scores["per_class"].items(), key=lambda item: item[1]["f1"])[:_MOST_CLASSES]
    for name, of_class in shown:
        table.add_row(_printable(name), *(f"{of_class[key]:.3f}" for key in ("precision", "recall", "f1")),
                      f"{of_class['support']:,}")  # fmt: skip
    if len(scores["per_class"]) > len(shown):
        table.add_row(f"... the {len(shown)} lowest of {len(scores['per_class'])}")
    Console(markup=False, emoji=False, highlight=False).print(table)
    if "slices" in scores:
        print(f"By {scores['slices']['by']}:")
        for name, of in scores["slices"]["groups"].items():
            low, high = of["accuracy_interval"]
            print(f"  {_printable(name)}: {of['accuracy']:.4f} ({low:.4f} to {high:.4f}) on {of['count']:,}")
    if scores["confused"]:
        pairs = [f"{pair['label']} as {pair['predicted']} ({pair['count']})" for pair in scores["confused"][:5]]
        print(f"Most confused: {', '.join(map(_printable, pairs))}")
    if wished := scores.get("selective"):
        low, high = wished["precision_interval"]
        print(f"With --min-confidence {wished['min_confidence']:.6f} (wished precision {wished['wished']}): precision "
              f"{wished['precision']:.4f} ({low:.4f} to {high:.4f}), answering {wished['coverage']:.1%}")  # fmt: skip


def _print_comparison(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    low, high = result["difference_interval"]
    verdict = "a real difference" if result["different"] else "no difference that these pictures show"
    for name, accuracy in zip(result["models"], result["accuracy"], strict=True):
        print(f"{accuracy:.4f}  {_printable(name)}")
    print(f"Difference {result['difference']:+.4f} on {result['count']:,} pictures "
          f"(95 % interval {low:+.4f} to {high:+.4f}; McNemar p = {result['p_value']:.2g}): {verdict}")  # fmt: skip
    print(f"Right only in the first: {result['only_one_right']:,}; only in the second: {result['only_other_right']:,}")
    table = Table("class", box=None, pad_edge=False, header_style="bold")
    for column in ("recall, first", "second", "p", "pictures"):
        table.add_column(column, justify="right")
    ranked = sorted(result["per_class"].items(), key=lambda item: -abs(item[1]["recall"][1] - item[1]["recall"][0]))
    for name, of_class in ranked[:_MOST_CLASSES]:
        recalls = [f"{recall:.3f}" for recall in of_class["recall"]]
        table.add_row(_printable(name), *recalls, f"{of_class['p_value']:.2g}", f"{of_class['support']:,}")
    Console(markup=False, emoji=False, highlight=False).print(table)


def _print_findings(result: dict[str, Any]) -> None:
    from rich.table import Table

    print(f"{_printable(result['name'])}: {result['pictures']:,} pictures in {len(result['classes'])} classes")
    if split := result["split"]:
        print(f"Training {split['train']:,}, validation {split['val']:,}, test {split['test']:,}")
    print(f"Checked for {_printable(result['model'])} at {' x '.join(map(str, result['image_size']))} pixels")
    for unchecked in result["not_checked"]:
        print(f"Not checked: {unchecked}")
    if result["findings"]:
        table = Table("", "finding", box=None, pad_edge=False, header_style="bold")
        table.add_column("how many", justify="right")
        for finding in result["findings"]:
            table.add_row(finding["severity"], finding["title"], finding["counted"])
        _print_table(table)
    for finding in result["findings"]:
        print(f"\n{finding['severity']}: {finding['title']} ({finding['counted']})")
        sign = " ~ " if finding["kind"].startswith("near") else " = "
        for item in finding["items"][:_EXAMPLES]:
            paths = sign.join(_printable(picture["path"]) for picture in item["pictures"][:_EXAMPLES])
            more = f" and {len(item['pictures']) - _EXAMPLES} more" if len(item["pictures"]) > _EXAMPLES else ""
            print("  " + ": ".join(filter(None, (paths + more, _printable(item["note"])))))
        if finding["count"] > _EXAMPLES:
            print(f"  ... and {finding['count'] - _EXAMPLES:,} more")
        print(f"  In training: {finding['in_training']}")
        print(f"  Way out: {finding['way_out']}")
    print(f"\nFound: {result['verdict']}; shown in {_printable(result['page'])}")


def _print_models(entries: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table("model", box=None, pad_edge=False, header_style="bold")
    for column in ("parameters", "MACs", "size", "top-1"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, entry in entries.items():
        size = " x ".join(map(str, (*entry.image_size, entry.channels)))
        accuracy = "-" if entry.accuracy is None else f"{entry.accuracy:.1%}"
        table.add_row(name, f"{entry.parameters:,}", f"{entry.macs:,}", size, accuracy)
    _print_table(table)
    print("\nFrom where, and what the accuracy was measured on:")
    for name, entry in entries.items():
        print(f"{name}: {entry.source}" + (f" ({entry.accuracy_on})" if entry.accuracy_on else ""))


def _print_weights(records: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table("weights", "network", box=None, pad_edge=False, header_style="bold")
    for column in ("top-1", "MB", "crop"):
        table.add_column(column, justify="right")
    for column in ("licence", "paper", "where"):
        table.add_column(column)
    for name, record in records.items():
        accuracy = "-" if record.accuracy is None else f"{record.accuracy:.1%}"
        table.add_row(name, record.network, accuracy, str(record.megabytes), f"{record.crop:g}", record.licence,
                      record.paper, record.url)  # fmt: skip
    _print_table(table)


def _print_certificate(result: dict[str, Any]) -> None:
    print(f"{result['matched']} tensors of {result['source']} loaded into {result['model']} "
          f"(names of {result['scheme']})")  # fmt: skip
    for what in ("missing", "unused"):
        if names := result[what]:
            shown = ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")
            print(f"{len(names)} {what}: {shown}")
    for how in dict.fromkeys(result["adapted"].values()):
        print(f"Adapted: {how}")
    if result["original"]:
        print(f"Compared with {result['original']}, filled by {result['filled_by']}, on two photographs: "
              "largest difference relative to the largest value")  # fmt: skip
        rows = result["endpoints"] | ({} if result["logits"] is None else {"logits": result["logits"]})
        for name, relative in rows.items():
            print(f"  {name:10} {relative:.1e}")
    else:
        print(f"Note: {result['note']}")
    print(f"Model in {result['out']}, certificate in {Path(result['out']).with_suffix('.certificate.json')}")


def _print_summary(result: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table("layer", "kind", box=None, pad_edge=False, header_style="bold")
    for column in ("output", "parameters", "MACs", "activation"):
        table.add_column(column, justify="right", no_wrap=True)
    for layer in result["layers"]:
        table.add_row(layer["name"], layer["kind"], " x ".join(map(str, layer["output_shape"])),
                      f"{layer['parameters']:,}", f"{layer['macs']:,}", _size(layer["activation_bytes"]))  # fmt: skip
    _print_table(table)
    fixed, training = result["parameters"] - result["trainable"], result["training"]
    print(f"\n{result['model']} at {' x '.join(map(str, result['input_shape']))}")
    print(f"Parameters {result['parameters']:,}: {result['trainable']:,} trained, {fixed:,} statistics of batch norm")
    print(f"Multiply-accumulates {result['macs']:,} a picture, {2 * result['macs'] / 1e9:,.2f} GFLOPs")
    print(f"Activations {_size(result['activation_bytes'])} a picture")
    memory = _size(training["memory_bytes"])
    print(f"Training with batches of {training['batch_size']} in {training['precision']}: "
          f"about {memory} of memory with TensorFlow, the library itself not counted")  # fmt: skip


def _print_table(table: Any) -> None:
    """Print a table in its full width: a narrow terminal wraps its lines, and nothing is cut off."""
    from rich.console import Console
    from rich.measure import Measurement

    console = Console(markup=False, emoji=False, highlight=False)
    needed = Measurement.get(console, console.options.update(max_width=1000), table).maximum
    console.width = max(console.width, needed)
    console.print(table)


def _size(count: int) -> str:
    """A number of bytes in units that suit it."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:,.1f} {unit}"
    return f"{count} B"


def _print_where(folder: Path) -> None:
    names = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    print(f"Everything is in {folder}: {', '.join(names)}")


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2))


def json_line(value: Any) -> str:
    """The value as one line of JSON."""
    return json.dumps(value)


def _next(command: str, silent: bool) -> None:
    if not silent:
        print(f"Next: {command}")


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


def _complain(text: str) -> None:
    print(f"ception: {_printable(text)}", file=sys.stderr)


def _printable(text: str) -> str:
    """The text in one line that any terminal can show: control characters and broken Unicode are escaped."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
    encoding = sys.stdout.encoding or "utf-8"
    return shown.encode(encoding, "backslashreplace").decode(encoding)
