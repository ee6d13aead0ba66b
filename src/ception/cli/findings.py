"""What `ception check` found, as a person sees it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ception.cli.terminal import MOST_CLASSES, print_table, printable
from ception.reporting import counted

if TYPE_CHECKING:
    from ception.results import CheckResult

_EXAMPLES = 5  # cases of a finding


def print_findings(result: CheckResult) -> None:
    """What a check found: a table of all findings, then each with examples and the way out."""
    from rich.table import Table

    print(f"{printable(result.name)}: {counted(result.pictures, 'picture')} in {counted(len(result.classes), 'class')}")
    if split := result.split:
        print(f"Training {split['train']:,}, validation {split['val']:,}, test {split['test']:,}")
    _print_classes(result)
    print(f"Checked for {printable(result.model)} at {' x '.join(map(str, result.image_size))} pixels")
    for unchecked in result.not_checked:
        print(f"Not checked: {unchecked}")
    if result.findings:
        table = Table("", "finding", box=None, pad_edge=False, header_style="bold")
        table.add_column("how many", justify="right")
        for finding in result.findings:
            table.add_row(finding.severity, finding.title, finding.counted)
        print_table(table)
    for finding in result.findings:
        print(f"\n{finding.severity}: {finding.title} ({finding.counted})")
        sign = {"near": " ~ ", "placeholders": " ~ ", "augmented": " + "}.get(finding.kind.partition("_")[0], " = ")
        for case in finding.items[:_EXAMPLES]:
            paths = sign.join(printable(picture.path) for picture in case.pictures[:_EXAMPLES])
            further = max(0, len(case.pictures) - _EXAMPLES) + (case.more or 0)
            more = f" and {further:,} more" if further else ""
            print("  " + ": ".join(filter(None, (paths + more, printable(case.note)))))
        if finding.count > _EXAMPLES:
            print(f"  ... and {finding.count - _EXAMPLES:,} more")
        print(f"  In training: {finding.in_training}")
        print(f"  Way out: {finding.way_out}")
    print(f"\nFound: {result.verdict}; shown in {printable(result.page)}")
    print(f"Page: {Path(result.page).absolute().as_uri()}")


def _print_classes(result: CheckResult) -> None:
    """How many pictures each class has, in all and in each split."""
    from rich.table import Table

    table = Table("class", box=None, pad_edge=False, header_style="bold")
    for column in ("pictures", *(("training", "validation", "test") if result.class_splits else ())):
        table.add_column(column, justify="right", no_wrap=True)
    rows = result.class_rows(MOST_CLASSES)
    for name, counts in rows:
        table.add_row(printable(name), *(f"{count:,}" for count in counts))
    print_table(table)
    if len(result.classes) > len(rows):
        print(f"... the {len(rows)} smallest of {len(result.classes):,} classes")
