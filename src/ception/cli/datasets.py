"""Commands about what lies on the disk: check a data set, list the runs, and what the cache holds."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from ception.cli.app import AsJson, Flat, Quiet, app, options_of
from ception.cli.findings import print_findings
from ception.cli.terminal import print_json, print_next, print_next_prediction, print_runs, quoted, terminal
from ception.reporting import counted
from ception.settings import CheckSettings, ShardSettings
from ception.values import flags_of

if TYPE_CHECKING:
    from ception.results import CheckResult


@app.command
def check(
    data: Annotated[str, Parameter(help="Data set, as for train.")],
    /, *, settings: Annotated[CheckSettings, Flat] = CheckSettings(), quiet: Quiet = False, json: AsJson = False,
) -> int:  # fmt: skip
    """Find what may be wrong with DATA, without changing a file. Exit code 1 if something would hurt training."""
    from ception.checking import check

    with terminal(quiet) as reporter:
        result = check(data, reporter=reporter, **options_of(settings))
    if json:
        print_json(result)
    else:
        print_findings(result)
    print_next(_after_check(data, settings, result), quiet or json)
    return 0 if result.ok else 1


def _after_check(data: str, settings: CheckSettings, result: CheckResult) -> str:
    """The check anew where something must be mended, else what the check was for: to score a model, or to train one."""
    from ception.checking.features import as_trained, is_trained

    page = shlex.quote(result.page)
    if result.errors:
        return f"ception check {shlex.quote(data)}{flags_of(settings)}   # once what {page} shows is mended"
    if settings.model and is_trained(settings):
        command = f"ception evaluate {shlex.quote(settings.model)} {shlex.quote(data)}"
    else:
        command = f"ception train {shlex.quote(data)}{flags_of(as_trained(settings))}"
    return command + (f"   # better once what {page} warns of is mended" if result.warnings else "")


@app.command
def shard(
    data: Annotated[str, Parameter(help="Data set, as for train.")],
    out: Annotated[Path, Parameter(help="New folder for the archives.")],
    /, *, settings: Annotated[ShardSettings, Flat] = ShardSettings(), quiet: Quiet = False, json: AsJson = False,
) -> int:  # fmt: skip
    """Write DATA as a few tar archives, checked and split, which train, evaluate and predict take in its place."""
    from ception.sharding import shard

    with terminal(quiet) as reporter:
        result = shard(data, out, reporter=reporter, **options_of(settings))
    if json:
        print_json(result)
    else:
        split = ", ".join(f"{count:,} {name}" for name, count in result.split.items())
        archives = f"{counted(result.shards, 'archive')}, {result.size / 1e6:,.1f} MB"
        print(f"{counted(result.pictures, 'picture')} ({split}) in {archives}")
        print(f"check: {result.verdict}; {quoted(Path(result.page))} shows it")
    print_next(f"ception train {shlex.quote(result.out)}", quiet or json)
    return 0


@app.command
def runs(
    folder: Annotated[Path, Parameter(help="Folder of the run folders.")] = Path("runs"),
    /, *, quiet: Quiet = False, json: AsJson = False,
) -> int:  # fmt: skip
    """List the trainings in a folder with their scores, those on the same data together and the best first."""
    from ception.run_list import runs

    entries = runs(folder)
    if json:
        print_json([entry.as_dict() for entry in entries])
    else:
        print_runs(entries)
    broken_off = next((entry for entry in entries if not entry.finished), None)
    if broken_off:
        print_next(f"ception train --resume {shlex.quote(broken_off.folder)}", quiet or json)
    else:
        print_next_prediction(Path(entries[0].folder), quiet or json, Path(entries[0].folder))
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
        print(f"Deleted {counted(len(entries), 'file')}, {total / 1e6:,.1f} MB, from {cache_folder()}")
    else:
        print(f"{cache_folder()} holds {counted(len(entries), 'file')}, {total / 1e6:,.1f} MB")
        print_next("ception cache --clear", not entries)
    return 0
