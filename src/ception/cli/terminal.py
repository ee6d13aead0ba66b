"""What a person sees: notes, warnings and progress bars, tables, and the results of every command."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ception import hub
from ception.errors import InputError, RunError
from ception.files import cache_folder, cache_is_temporary
from ception.reporting import Display, counted, duration
from ception.results import plain
from ception.values import as_typed

if TYPE_CHECKING:
    from ception.models.catalog import Architecture
    from ception.results import (
        Benchmark,
        Certificate,
        Explanation,
        ExportReport,
        NetworkSummary,
        RunEntry,
    )
    from ception.weights.published import PublishedWeights

MOST_CLASSES = 40  # rows of the table of classes


class Terminal(Display):
    """Notes, warnings and progress on standard error; bars where that is a terminal, a line now and then elsewhere."""

    def line(self, text: str) -> None:
        """A line of the result, on standard output."""
        if self.busy and sys.stdout.isatty():
            self.print(text)
        else:
            print(text)


@contextmanager
def terminal(quiet: bool, verbose: bool = False) -> Iterator[Terminal]:
    """A reporter that writes to standard error for as long as the context lasts.

    Raises:
        InputError: it shall be quiet and verbose.
    """
    if quiet and verbose:
        raise InputError("--quiet and --verbose exclude each other: leave out one of them")
    from rich.console import Console

    console = Console(stderr=True)
    reporter = Terminal(console, bars=not quiet and console.is_terminal, quiet=quiet, verbose=verbose, redirect=True)
    if cache_is_temporary():
        reporter.note(f"There is no home folder: the cache lies in {cache_folder()}, or where CEPTION_CACHE says")
    yield reporter


@contextmanager
def muted() -> Iterator[None]:
    """A context in which nothing reaches the terminal, not even what C++ code writes to the file descriptors."""
    sys.stdout.flush()
    kept = [(stream, os.dup(stream)) for stream in (1, 2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for stream, _ in kept:
            os.dup2(nowhere, stream)
        yield
    finally:
        for stream, before in kept:
            os.dup2(before, stream)
            os.close(before)
        os.close(nowhere)


def print_runs(entries: Sequence[RunEntry]) -> None:
    """A row per run: the data, what was trained, how good it is, how long it took, how large it is, and how."""
    from rich.table import Table

    table = Table("run", "data", "network", box=None, pad_edge=False, header_style="bold")
    for column in ("accuracy", "95 % interval", "pictures", "time", "model"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("options")
    for entry in entries:
        interval = entry.accuracy_interval
        table.add_row(
            printable(entry.folder), printable(entry.data),
            entry.model + (f", {printable(Path(entry.weights).name)}" if entry.weights else ""),
            "-" if entry.accuracy is None else f"{entry.accuracy:.1%}" if entry.finished else "not finished",
            f"{interval[0]:.1%} to {interval[1]:.1%}" if interval else "",
            f"{entry.pictures:,}" if entry.pictures else "", duration(entry.seconds),
            _size(entry.model_bytes) if entry.model_bytes else "-", printable(entry.options),
        )  # fmt: skip
    print_table(table)


def print_models(entries: Mapping[str, Architecture], default_for: Mapping[str, str]) -> None:
    """A row per network, a column of accuracies per data set, then where each is from."""
    from rich.table import Table

    data_sets = list(dict.fromkeys(_data_set(entry) for entry in entries.values() if entry.accuracy is not None))
    table = Table("model", box=None, pad_edge=False, header_style="bold")
    for column in ("parameters", "MACs", "size", *(f"{name} top-1" for name in data_sets)):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("default for")
    for name, entry in entries.items():
        size = " x ".join(map(str, (*entry.image_size, entry.channels)))
        accuracies = [
            f"{entry.accuracy:.1%}" if entry.accuracy is not None and _data_set(entry) == one else "-"
            for one in data_sets
        ]  # fmt: skip
        macs = _in_units(entry.macs, (("G", 1e9), ("M", 1e6), ("k", 1e3)))
        table.add_row(name, f"{entry.parameters:,}", macs, size, *accuracies, default_for.get(name, ""))
    print_table(table)
    print("\nFrom where, and what the accuracy was measured on:")
    for name, entry in entries.items():
        print(f"{name}: {entry.source}" + (f" ({entry.accuracy_on})" if entry.accuracy_on else ""))


def _data_set(entry: Architecture) -> str:
    """The data set that a published accuracy was measured on."""
    return entry.accuracy_on.partition(",")[0]


def print_weights(records: Mapping[str, PublishedWeights]) -> None:
    """A row per published checkpoint."""
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
    print_table(table)


def print_certificate(result: Certificate) -> None:
    """What of converted weights was loaded, and how far the network is from the original."""
    print(f"{result.matched} tensors of {result.source} loaded into {result.model} (names of {result.scheme})")
    for what, names in (("missing", result.missing), ("unused", result.unused)):
        if names:
            shown = ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")
            print(f"{len(names)} {what}: {shown}")
    for how in dict.fromkeys(result.adapted.values()):
        print(f"Adapted: {how}")
    for what, how in result.taken.items():
        print(f"{what.replace('_', ' ').capitalize()}: {how}")
    if result.original:
        print(f"Compared with {result.original}, filled by {result.filled_by}, on two photographs: "
              "largest difference relative to the largest value")  # fmt: skip
        rows = dict(result.endpoints) | ({} if result.logits is None else {"logits": result.logits})
        for name, relative in rows.items():
            print(f"  {name:10} {relative:.1e}")
    else:
        print(f"Note: {result.note}")
    print(f"Model in {result.out}, certificate in {Path(result.out).with_suffix('.certificate.json')}")


def print_explanations(explained: Sequence[Explanation]) -> None:
    """For each picture and method the class, where it is drawn, and whether the drawing means something."""
    last = ""
    for one in explained:
        if one.error:
            print(printable(f"{one.path}: {one.error}"))
            continue
        print(printable(f"{one.path}: {one.class_name} {one.probability:.1%}, {one.method} in {one.picture}"))
        if one.evidence:
            verdict, *tests = one.evidence.told
            print("\n    ".join([f"  {verdict}", *tests]))
        if one.nearest and one.path != last:
            near = ", ".join(f"{near.class_name} ({near.distance:.2f}, {near.path})" for near in one.nearest)
            print(printable(f"  most like it in the training: {near}"))
        last = one.path
        if one.completeness is not None:
            print(f"  the pixels' shares miss the logit's change by {one.completeness:.1%}")


def print_export(result: ExportReport) -> None:
    """What was written, how far it is from the model in Keras, and how fast both are."""
    labels = (
        "every label is the same"
        if not result.differing
        else (f"{result.differing:,} got another label ({result.disagreement:.2%}, allowed {result.allowed:.2%})")
    )
    print(f"Compared with Keras on {counted(result.pictures, 'picture')} of {result.data}: {labels}, largest "
          f"difference of a probability {result.largest_gap:.1e}")  # fmt: skip
    width = max(len(name) for name, _, _ in result.rows()), max(len(ours) for _, ours, _ in result.rows())
    for name, ours, theirs in result.rows():
        print(f"  {name:{width[0]}}  {ours:>{width[1]}}  (Keras: {theirs})")
    for note in result.notes:
        print(note)
    beside = "/model.onnx" if result.format == "huggingface" else ""
    print(f"Exported to {result.artefact}, report in {result.artefact}{beside}.report.json")


def print_summary(result: NetworkSummary) -> None:
    """A row per layer, then the totals and the memory that training takes."""
    from rich.table import Table

    table = Table("layer", "kind", box=None, pad_edge=False, header_style="bold")
    for column in ("output", "parameters", "MACs", "activation"):
        table.add_column(column, justify="right", no_wrap=True)
    for layer in result.layers:
        table.add_row(layer.name, layer.kind, " x ".join(map(str, layer.output_shape)),
                      f"{layer.parameters:,}", f"{layer.macs:,}", _size(layer.activation_bytes))  # fmt: skip
    print_table(table)
    fixed, training = result.parameters - result.trainable, result.training
    print(f"\n{result.model} at {' x '.join(map(str, result.input_shape))}")
    print(f"Parameters {result.parameters:,}: {result.trainable:,} trained, {fixed:,} statistics of batch norm")
    print(f"Multiply-accumulates {result.macs:,} a picture, {2 * result.macs / 1e9:,.2f} GFLOPs")
    print(f"Activations {_size(result.activation_bytes)} a picture")
    memory = _size(training.memory_bytes)
    print(f"Training with batches of {training.batch_size} in {training.dtype}: "
          f"about {memory} of memory with TensorFlow, the library itself not counted")  # fmt: skip


def print_benchmark(result: Benchmark) -> None:
    """A row per measurement, the ceilings, and with what the network is fastest."""
    from rich.table import Table

    table = Table("task", "runs on", "dtype", "layers", box=None, pad_edge=False, header_style="bold")
    for column in ("batch", "images/s", "ms", "of the ceiling", "peak memory"):
        table.add_column(column, justify="right", no_wrap=True)
    for one in sorted(result.measurements, key=lambda one: (one.task, one.batch_size, -(one.images_per_s or 0))):
        figures = ["-"] * 4
        if one.images_per_s is not None:
            share = "-" if one.ceiling_share is None else f"{one.ceiling_share:.0%}"
            memory = "-" if one.peak_bytes is None else _size(one.peak_bytes)
            figures = [f"{one.images_per_s:,.1f}", f"{one.ms:,.1f}", share, memory]
        table.add_row(one.task, one.runner, one.dtype, one.layers, str(one.batch_size), *figures)
    print(f"{result.model} at {' x '.join(map(str, result.input_shape))} on {result.machine}")
    print_table(table)
    reached = ", ".join(f"{rate:,.0f} GFLOP/s in {dtype}" for dtype, rate in result.ceilings.items())
    print(f"\nThe ceiling is what a matrix product reaches here: {reached or 'none was measured'}")
    for one in result.measurements:
        if one.error:
            print(f"No {one.task} by {one.runner} in {one.dtype}: {one.error}")
    if result.left_out:
        print(f"{counted(result.left_out, 'measurement')} left out for want of time: give more with --time-budget")
    for task, options in result.recommended.items():
        print(f"Use here for {task}: {options}")
    if result.remembered:
        print("Remembered: engines for inference are chosen by these times from now on")


def print_table(table: Any) -> None:
    """Print a table in its full width: a narrow terminal wraps its lines, and nothing is cut off."""
    from rich.console import Console
    from rich.measure import Measurement

    console = Console(markup=False, emoji=False, highlight=False)
    needed = Measurement.get(console, console.options.update(max_width=1000), table).maximum
    console.width = max(console.width, needed)
    console.print(table)


def _size(count: int) -> str:
    """A number of bytes in units that suit it."""
    return _in_units(count, (("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("B", 1)))


def _in_units(count: int, units: Sequence[tuple[str, float]]) -> str:
    """A number in the largest of the units that it has one of, rounded to a tenth; the smallest number is exact."""
    unit, scale = next(((unit, scale) for unit, scale in units if count >= scale), ("", 1.0))
    return f"{count / scale:,.1f} {unit}" if scale > 1 else f"{count} {unit or units[-1][0]}"


def print_where(folder: Path) -> None:
    """The folder with the results and what lies in it."""
    names = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    print(f"Everything is in {folder}: {', '.join(names)}")


def print_report(folder: Path, silent: bool) -> None:
    """The address of the report in a folder, as the last line, which terminals open on a click; unless silent."""
    report = folder / "report.html"
    if not silent and report.is_file():
        print(f"Report: {report.absolute().as_uri()}")


def print_json(value: Any) -> None:
    """The value as indented JSON."""
    print(json.dumps(plain(value), indent=2))


def json_line(value: Any) -> str:
    """The value as one line of JSON."""
    return json.dumps(plain(value))


def print_next(command: str, silent: bool) -> None:
    """The command that comes next, unless silent."""
    if not silent:
        print(f"Next: {command}")


def print_next_prediction(model: Path, silent: bool, scored: Path, otherwise: str | None = None) -> None:
    """The command that lets a model name one of the pictures that it was scored on by the results in a folder.

    Args:
        model: The model.
        silent: Whether nothing is printed.
        scored: The folder with the results.
        otherwise: Data to name where the results name no picture, if they are a folder.
    """
    from ception.run_list import scored_picture

    pictures = scored_picture(scored) or (otherwise if otherwise and os.path.isdir(otherwise) else None)
    print_next(f"ception predict {quoted(model)} {typed(pictures, 'PICTURES')}", silent)


def typed(path: str | None, otherwise: str) -> str:
    """The path as it is typed in a shell; another word where there is none, or where no terminal can show it."""
    return otherwise if path is None or printable(path) != path else shlex.quote(path)


def data_of(model: str | Path) -> str:
    """The data that a model was trained with, as they are typed, where they are still there; else `DATA`."""
    from ception.data.sources import NAMES
    from ception.model_file import describe

    if hub.is_named(model):  # which may be the name of a folder of somebody else
        return "DATA"
    try:
        data = describe(model).record.get("data", {}).get("source")
    except (InputError, RunError, AttributeError):
        data = None
    there = isinstance(data, str) and (data in NAMES or os.path.exists(data))
    return typed(data if there else None, "DATA")


def quoted(path: Path) -> str:
    """The path, address or name of a model on the hub as a shell takes it."""
    return shlex.quote(as_typed(path))


def complain(text: str) -> None:
    """One line of an error, on standard error."""
    print(f"ception: {printable(text)}", file=sys.stderr)


def printable(text: str) -> str:
    """The text in one line that any terminal can show: control characters and broken Unicode are escaped."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
    encoding = sys.stdout.encoding or "utf-8"
    return shown.encode(encoding, "backslashreplace").decode(encoding)
