"""How good models are, as a person sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ception.cli.terminal import MOST_CLASSES, printable
from ception.reporting import counted

if TYPE_CHECKING:
    from ception.results import Comparison, Scores


def print_scores(scores: Scores) -> None:
    """The scores of a model: accuracy with its interval, a row per class, the most confused pairs."""
    from rich.console import Console
    from rich.table import Table

    low, high = scores.accuracy_interval
    first, after = (scores.cautions[:1], scores.cautions[1:]) if scores.all_seen else ((), scores.cautions)
    for line in first:
        print(printable(line))
    print(f"Accuracy {scores.accuracy:.4f} on {scores.pictures_scored} "
          f"(95 % interval {low:.4f} to {high:.4f})")  # fmt: skip
    for line in after:
        print(printable(line))
    top5 = "" if scores.top5_accuracy is None else f"   top-5 {scores.top5_accuracy:.4f}"
    print(f"Balanced accuracy {scores.balanced_accuracy:.4f}   log loss {scores.log_loss:.4f}{top5}")
    print(f"Calibration error {scores.calibration_error:.4f} with temperature {scores.temperature:.3f} "
          f"({scores.uncalibrated.calibration_error:.4f} without)")  # fmt: skip
    table = Table("class", box=None, pad_edge=False, header_style="bold")
    for column in ("precision", "recall", "F1", "pictures"):
        table.add_column(column, justify="right")
    shown = sorted(scores.per_class.items(), key=lambda item: item[1].f1)[:MOST_CLASSES]
    for name, of in shown:
        table.add_row(printable(name), f"{of.precision:.3f}", f"{of.recall:.3f}", f"{of.f1:.3f}", f"{of.support:,}")
    if len(scores.per_class) > len(shown):
        table.add_row(f"... the {len(shown)} lowest of {len(scores.per_class)}")
    Console(markup=False, emoji=False, highlight=False).print(table)
    if scores.slices:
        print(f"By {scores.slices.by}:")
        for name, group in scores.slices.groups.items():
            low, high = group.accuracy_interval
            print(f"  {printable(name)}: {group.accuracy:.4f} ({low:.4f} to {high:.4f}) on {group.count:,}")
    if scores.confused:
        pairs = [f"{pair.label} as {pair.predicted} ({pair.count})" for pair in scores.confused[:5]]
        print(f"Most confused: {', '.join(map(printable, pairs))}")
    if one := scores.selective:
        low, high = one.precision_interval
        print(f"With --min-confidence {one.min_confidence:g} (target precision {one.wished}): precision "
              f"{one.precision:.4f} ({low:.4f} to {high:.4f}), answering {one.coverage:.1%}")  # fmt: skip


def print_comparison(result: Comparison) -> None:
    """Both accuracies, the verdict on their difference, and a row per class."""
    from rich.console import Console
    from rich.table import Table

    low, high = result.difference_interval
    verdict = "a real difference" if result.different else "no difference that these pictures show"
    for line in result.cautions:
        print(line)
    for name, accuracy in zip(result.models, result.accuracy, strict=True):
        print(f"{accuracy:.4f}  {printable(name)}")
    print(f"Difference {result.difference:+.4f} on {counted(result.count, 'picture')} "
          f"(95 % interval {low:+.4f} to {high:+.4f}; McNemar p = {result.p_value:.2g}): {verdict}")  # fmt: skip
    print(f"Right only in the first: {result.only_one_right:,}; only in the second: {result.only_other_right:,}")
    table = Table("class", box=None, pad_edge=False, header_style="bold")
    for column in ("recall, first", "second", "p", "pictures"):
        table.add_column(column, justify="right")
    ranked = sorted(result.per_class.items(), key=lambda item: -abs(item[1].recall[1] - item[1].recall[0]))
    for name, of_class in ranked[:MOST_CLASSES]:
        recalls = [f"{recall:.3f}" for recall in of_class.recall]
        table.add_row(printable(name), *recalls, f"{of_class.p_value:.2g}", f"{of_class.support:,}")
    Console(markup=False, emoji=False, highlight=False).print(table)
