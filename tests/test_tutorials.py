"""The tutorials: each runs in small, and its page holds the same cells."""

from __future__ import annotations

import re

import pytest

from support.documents import ROOT, blocks
from support.marks import not_on_jax

FOLDER = ROOT / "docs" / "tutorials"
SOURCES = sorted(path.stem for path in FOLDER.glob("*.py"))
IN_SMALL = {"EPOCHS = 8": "EPOCHS = 1", "EPOCHS = 3": "EPOCHS = 1", "PICTURES = 8000": "PICTURES = 600",
            "PER_CLASS = 100": "PER_CLASS = 30", "KNOWN = 600": "KNOWN = 30"}  # fmt: skip


def cells(name: str) -> list[tuple[str, str]]:
    """The cells of a source: kind, and text without the marks of comments."""
    parts = re.split(r"^# %%(.*)\n", (FOLDER / f"{name}.py").read_text(encoding="utf-8"), flags=re.M)[1:]
    found = []
    for kind, text in zip(parts[::2], parts[1::2], strict=True):
        markdown = kind.strip() == "[markdown]"
        shown = re.sub(r"^# ?", "", text.strip(), flags=re.M) if markdown else text.strip()
        found.append(("markdown" if markdown else "code", shown))
    return found


def test_there_are_tutorials():
    assert "fashion_mnist" in SOURCES


@pytest.mark.parametrize("name", SOURCES)
def test_the_page_holds_the_cells_of_the_source(name):
    page = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
    code = [block.body.strip() for block in blocks(page) if block.language == "python"]
    assert code == [text for kind, text in cells(name) if kind == "code"]
    places = [page.find(text) for kind, text in cells(name) if kind == "markdown"]
    assert -1 not in places
    assert places == sorted(places)
    pictures = re.findall(r"\(pictures/([\w-]+\.png)\)", page)
    assert sorted(pictures) == sorted(path.name for path in FOLDER.glob(f"pictures/{name}-*.png"))


@not_on_jax
@pytest.mark.slow
@pytest.mark.parametrize("name", SOURCES)
def test_it_runs_in_small(name, tmp_path, monkeypatch):
    import matplotlib.pyplot as plt

    source = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    changed = [found for found in IN_SMALL if f"\n{found}\n" in source]
    assert changed, "it has none of the numbers that make it small"
    for found in changed:
        source = source.replace(f"\n{found}\n", f"\n{IN_SMALL[found]}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plt, "show", plt.close)
    exec(compile(source, f"{name}.py", "exec"), {"__name__": "a tutorial"})
    assert list(tmp_path.glob("runs/*/report.html"))
