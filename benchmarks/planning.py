"""What ImageNet and a hundred million photos take: bytes, cores, accelerators, network, hours and money.

    python benchmarks/planning.py                          # the figures, and the tables that follow from them
    python benchmarks/planning.py --set "training on an accelerator=900" --set "price of a core=0.03"
    python benchmarks/planning.py --write                  # into docs/planning.md, with the latest rows

What was measured comes from rows of results/*.csv, the latest of each kind; the rest is assumed, and told as such. The
arithmetic is that of docs/planning.md, which has the formulas.
"""

from __future__ import annotations

import argparse
import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ception.models.catalog import MODELS

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[1] / "docs" / "planning.md"
SIDE, FEATURES, BYTES = 299, 2048, 4  # Xception's input, its last activations, and a float32
PARAMETERS = MODELS["xception"].trainable
DATA = {  # photos, and which of the sizes they have
    "ImageNet": (1_281_167, "small"),
    "100 million of the web": (100_000_000, "small"),
    "100 million of telephones": (100_000_000, "large"),
}
_TABLE = re.compile(r"(<!-- (\w+): benchmarks/planning\.py -->\n\n)(?:\|[^\n]*\n)+")


@dataclass(frozen=True)
class Measured:
    """A figure that a row has.

    Attributes:
        file: Of the rows, without `.csv`.
        column: Which of its values.
        unit: In words.
        where: What the row must say.
        per: What the value is divided by.
    """

    file: str
    column: str
    unit: str
    where: Mapping[str, str] = field(default_factory=dict)
    per: float = 1.0

    def values(self) -> list[float]:
        """What the rows say, the latest last."""
        with (RESULTS / f"{self.file}.csv").open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if self.where.items() <= row.items()]
        return [float(row[self.column]) / self.per for row in rows]


def _many(task: str) -> Measured:
    return Measured("many_pictures", "microseconds_each", "µs a picture", {"task": task})


_XCEPTION = {"network": "xception"}
MEASURED = {
    "decoding, small photos": Measured("decoding", "photos_per_processor_s", "a second and core", {"width": "500"}),
    "decoding, large photos": Measured("decoding", "photos_per_processor_s", "a second and core", {"width": "4000"}),
    "predicting on a core": Measured("inference", "images_per_s", "a second and core", _XCEPTION | {
        "batch": "16", "way": "OpenVINO", "dtype": "bfloat16"}, per=2),
    "training on a core": Measured("layers", "images_per_processor_s", "a second and core", _XCEPTION | {
        "backend": "tensorflow", "layers": "compiled", "dtype": "mixed_bfloat16"}),
    "listing shards": _many("load"),
    "writing shards": _many("shard"),
}  # fmt: skip
_TIMM = (
    "[timm's figures](https://github.com/huggingface/pytorch-image-models/tree/main/results) for an RTX 3090, AMP, "
    "channels last, PyTorch 1.12"
)
ASSUMED = {
    "small photos": (108.0, "kB", "ImageNet's training photos, 138 GB"),
    "large photos": (3000.0, "kB", "of a telephone, 12 megapixels"),
    "epochs of a whole training": (90.0, "", "usual for ImageNet"),
    "predicting on an accelerator": (1578.0, "a second", f"{_TIMM}, xception, 299 px, inference"),
    "training on an accelerator": (497.6, "a second", f"{_TIMM}, xception, 299 px, training"),
    "network between cores' machines": (10.0, "Gbit/s", ""),
    "network between accelerators": (100.0, "Gbit/s", ""),
    "price of a core": (0.05, "$ an hour", "put in your own"),
    "price of an accelerator": (0.4, "$ an hour", "put in your own"),
}


class Plan:
    """What follows from figures.

    Args:
        figures: All of `MEASURED` and `ASSUMED` by name.
    """

    def __init__(self, figures: Mapping[str, float]) -> None:
        self.figures = figures
        self.train, self.predict = figures["training on a core"], figures["predicting on a core"]
        self.trained, self.predicted = figures["training on an accelerator"], figures["predicting on an accelerator"]

    def decoding(self, size: str) -> float:
        """Photos of a size that a core decodes in a second."""
        return self.figures[f"decoding, {size} photos"]

    def kilobytes(self, size: str) -> float:
        """Of a photo of a size."""
        return self.figures[f"{size} photos"]

    def bytes(self) -> Iterator[tuple[str, ...]]:
        """What data sets take on disks."""
        yield (
            "data",
            "photos",
            "files, TB",
            "decoded to 299 px, TB",
            "last activations, TB",
            "read at 10 Gbit/s in, h",
            "listed from shards in, s",
        )
        for name, (count, size) in DATA.items():
            files = count * self.kilobytes(size) * 1e3
            sizes = files, count * SIDE * SIDE * 3, count * FEATURES * BYTES
            listed = count * self.figures["listing shards"] / 1e6
            yield (name, f"{count:,}", *(short(one / 1e12) for one in sizes), short(files * 8 / 10e9 / 3600),
                   short(listed))  # fmt: skip

    def cores(self) -> Iterator[tuple[str, ...]]:
        """What tasks take on cores like those that were measured."""
        yield "data", "task", "core-hours", "cores for a day", "$"
        for name, (count, size) in DATA.items():
            decode = 1 / self.decoding(size)
            epochs = self.figures["epochs of a whole training"]
            tasks = {
                "shards, checked": decode + self.figures["writing shards"] / 1e6,
                "prediction, or a head alone": decode + 1 / self.predict,
                "whole training": decode + epochs / self.train,
            }
            for task, seconds in tasks.items():
                hours = count * seconds / 3600
                yield name, task, short(hours), short(hours / 24), short(hours * self.figures["price of a core"])

    def accelerators(self) -> Iterator[tuple[str, ...]]:
        """What tasks take on accelerators, and the cores that feed them."""
        yield ("data", "task", "accelerator-hours", "accelerators for a day", "cores that decode for each",
               "Gbit/s into each", "$ with these cores")  # fmt: skip
        price = self.figures["price of an accelerator"]
        for name, (count, size) in DATA.items():
            tasks = {"prediction, or a head alone": (1.0, self.predicted),
                     "whole training": (self.figures["epochs of a whole training"], self.trained)}  # fmt: skip
            for task, (epochs, rate) in tasks.items():
                hours = count * epochs / rate / 3600
                cores = rate / self.decoding(size)
                each = price + cores * self.figures["price of a core"]
                yield (name, task, short(hours), short(hours / 24), short(cores),
                       short(rate * self.kilobytes(size) * 8e3 / 1e9), short(hours * each))  # fmt: skip

    def efficiency(self) -> Iterator[tuple[str, ...]]:
        """What share of n processes' time is left for pictures where each step ends with an exchange of gradients."""
        yield "processes", "on cores, 16 pictures each", "on accelerators, 256 pictures each", "of 32 each"
        near, far = "network between accelerators", "network between cores' machines"
        ways = [(16, self.train, far), (256, self.trained, near), (32, self.trained, near)]
        for count in (2, 4, 8, 16, 64, 256):
            shares = []
            for batch, rate, network in ways:
                exchange = 2 * (count - 1) / count * PARAMETERS * BYTES * 8 / (self.figures[network] * 1e9)
                shares.append(f"{1 / (1 + exchange * rate / batch):.0%}")
            yield str(count), *shares


def figures() -> dict[str, float]:
    """What was measured last, and what is assumed."""
    return {name: one.values()[-1] for name, one in MEASURED.items()} | {name: one[0] for name, one in ASSUMED.items()}


def told(values: Mapping[str, float]) -> Iterator[tuple[str, ...]]:
    """The figures as a table: each with where it comes from."""
    yield "figure", "value", "unit", "from"
    for name, one in MEASURED.items():
        said = ", ".join(one.where.values())
        divided = f", divided by {one.per:g}" if one.per != 1 else ""
        file = f"[{one.file}.csv](../benchmarks/results/{one.file}.csv)"
        yield name, f"{values[name]:.4g}", one.unit, f"{file}: {said}{divided}"
    for name, (_, unit, why) in ASSUMED.items():
        yield name, f"{values[name]:.4g}", unit, f"assumed{': ' + why if why else ''}"


def tables(values: Mapping[str, float]) -> dict[str, str]:
    """Each table of the page by its name, in Markdown."""
    plan = Plan(values)
    rows = {"figures": told(values), "bytes": plan.bytes(), "cores": plan.cores(), "accelerators": plan.accelerators(),
            "efficiency": plan.efficiency()}  # fmt: skip
    return {name: _markdown(list(table)) for name, table in rows.items()}


def read(page: str) -> dict[str, float]:
    """The figures that a page states."""
    lines = re.findall(r"^\| ([^|]+) \| ([\d.e+-]+) \|[^|]*\| (?:\[|assumed)", page, re.M)
    return {name: float(value) for name, value in lines}


def written(page: str, values: Mapping[str, float]) -> str:
    """A page with the tables that follow from figures in place of its own."""
    made = tables(values)
    return _TABLE.sub(lambda found: found[1] + made[found[2]], page)


def short(value: float) -> str:
    """Two digits, and no more than are known."""
    rounded = float(f"{value:.2g}")
    return f"{rounded:,.0f}" if rounded >= 10 else f"{rounded:g}"


def _markdown(rows: list[tuple[str, ...]]) -> str:
    lines = [rows[0], ("---",) * len(rows[0]), *rows[1:]]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines).replace("|  |", "| |")


def main() -> None:
    """Print the tables, or put them into the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", action="append", default=[], metavar="FIGURE=VALUE", help="your own figure")
    parser.add_argument("--write", action="store_true", help="into docs/planning.md")
    options = parser.parse_args()
    values = figures()
    for one in options.set:
        name, _, value = one.partition("=")
        if name not in values:
            parser.error(f"there is no figure {name!r}: choose from {', '.join(values)}")
        try:
            values[name] = float(value)
        except ValueError:
            parser.error(f"{one} is no number")
    if options.write:
        PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), values), encoding="utf-8")
        return
    for name, table in tables(values).items():
        print(f"{name}\n\n{table}")


if __name__ == "__main__":
    main()
