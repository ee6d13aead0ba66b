"""The arithmetic of docs/planning.md: from figures that rows have, or that are told as assumed."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "planning.md").read_text(encoding="utf-8")


@pytest.fixture
def planning(monkeypatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("planning")


def row_of(table: str, *cells: str) -> list[str]:
    """The cells of the row of a table that begins with some."""
    (row,) = [line for line in table.splitlines() if line.startswith(f"| {' | '.join(cells)} |")]
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_every_figure_is_of_a_row_or_told_as_assumed(planning):
    stated = planning.read(PAGE)
    assert stated.keys() == planning.MEASURED.keys() | planning.ASSUMED.keys()
    for name, one in planning.MEASURED.items():
        assert f"{stated[name]:.4g}" in [f"{value:.4g}" for value in one.values()], name
    for name, (value, _, _) in planning.ASSUMED.items():
        assert stated[name] == value, name


def test_the_tables_follow_from_the_figures_beside_them(planning):
    assert planning.written(PAGE, planning.read(PAGE)) == PAGE
    assert set(planning.tables(planning.read(PAGE))) == {name for _, name in planning._TABLE.findall(PAGE)}


def test_another_figure_gives_other_tables(planning):
    stated = planning.read(PAGE)
    for name in stated:
        changed = planning.tables(stated | {name: stated[name] * 3})
        others = [table for table, text in changed.items() if text != planning.tables(stated)[table]]
        assert len(others) > 1, name  # that of the figures, and what follows


def test_the_arithmetic(planning):
    figures = dict.fromkeys(planning.MEASURED, 1.0) | dict.fromkeys(planning.ASSUMED, 1.0)
    made = planning.tables(figures | {
        "decoding, small photos": 100.0, "predicting on a core": 50.0, "training on a core": 5.0, "small photos": 100.0,
        "epochs of a whole training": 90.0, "price of a core": 0.1, "writing shards": 1000.0,
        "training on an accelerator": 5000.0, "network between accelerators": 100.0, "price of an accelerator": 2.0,
        "listing shards": 10.0,
    })  # fmt: skip
    name, photos = "ImageNet", 1_281_167
    sizes = row_of(made["bytes"], name)[2:]
    assert sizes == ["0.13", "0.34", "0.01", "0.028", "13"]  # TB of files, pixels and activations; hours; seconds
    hours = float(row_of(made["cores"], name, "prediction, or a head alone")[2])
    assert hours == pytest.approx(photos * (1 / 100 + 1 / 50) / 3600, rel=0.05)
    hours, of_a_day, price = (
        float(cell.replace(",", "")) for cell in row_of(made["cores"], name, "whole training")[2:]
    )
    assert hours == pytest.approx(photos * (1 / 100 + 90 / 5) / 3600, rel=0.05)
    assert (of_a_day, price) == (pytest.approx(hours / 24, rel=0.05), pytest.approx(hours / 10, rel=0.05))
    training = row_of(made["accelerators"], name, "whole training")
    assert float(training[2]) == pytest.approx(photos * 90 / 5000 / 3600, rel=0.05)
    assert training[4:6] == ["50", "4"]  # cores that decode 5,000 a second, and 5,000 x 100 kB
    exchange = 22_855_952 * 4 * 8 / 100e9
    assert row_of(made["efficiency"], "2")[2] == f"{1 / (1 + exchange / (256 / 5000)):.0%}"


@pytest.mark.parametrize(("value", "told"), [(0.0123, "0.012"), (7.86, "7.9"), (12.3, "12"), (45_678.0, "46,000")])
def test_two_digits_are_told(planning, value, told):
    assert planning.short(value) == told


def test_a_figure_of_ones_own(planning):
    script = [sys.executable, str(ROOT / "benchmarks/planning.py"), "--set"]
    said = subprocess.run([*script, "price of a core=0.07"], capture_output=True, text=True, check=True).stdout
    assert "| price of a core | 0.07 |" in said
    wrong = subprocess.run([*script, "price=312"], capture_output=True, text=True)
    assert (wrong.returncode, "there is no figure 'price': choose from decoding" in wrong.stderr) == (2, True)
