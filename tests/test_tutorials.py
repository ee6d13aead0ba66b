"""The tutorials: each runs in small, and its page holds the same cells."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise

import pytest

from support.documents import ROOT, blocks
from support.marks import not_on_jax

FOLDER = ROOT / "docs" / "tutorials"
SOURCES = sorted(path.stem for path in FOLDER.glob("*.py"))
IN_SMALL = {"EPOCHS = 8": "EPOCHS = 1", "EPOCHS = 6": "EPOCHS = 1",
            "EPOCHS = 3": "EPOCHS = 1", "PICTURES = 8000": "PICTURES = 600", "PICTURES = 4000": "PICTURES = 64",
            "SEEDS = 3": "SEEDS = 1", "PER_CLASS = 100": "PER_CLASS = 30", "PER_CLASS = 600": "PER_CLASS = 40",
            "KNOWN = 600": "KNOWN = 30", "SIZE = 128": "SIZE = 71"}  # fmt: skip
# what one needs beside a backend, and what it leaves that no other does
NEEDS = {"deploy": ("tensorflow", "onnx", "onnxruntime", "openvino", "nncf", "ai_edge_litert", "fastapi", "uvicorn")}
LEAVES = {"deploy": "clothes-int8.tflite.report.json", "inception_to_xception": "extreme_inception.png",
          "weights": "ours.certificate.json"}  # fmt: skip

SHOWS_NOTHING = "import matplotlib.pyplot as plt\nplt.show = plt.close\n"


def cells(name: str) -> list[tuple[str, str]]:
    """The cells of a source: kind, and text without the marks of comments."""
    parts = re.split(r"^# %%(.*)\n", (FOLDER / f"{name}.py").read_text(encoding="utf-8"), flags=re.M)[1:]
    found = []
    for kind, text in zip(parts[::2], parts[1::2], strict=True):
        markdown = kind.strip() == "[markdown]"
        shown = re.sub(r"^# ?", "", text.strip(), flags=re.M) if markdown else text.strip()
        found.append(("markdown" if markdown else "code", shown))
    return found


def calls(node: ast.AST) -> Iterator[str]:
    """The names of what is called where a piece of code runs, in its functions not."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda):
        return
    if isinstance(node, ast.Call):
        yield getattr(node.func, "attr", getattr(node.func, "id", ""))
    for child in ast.iter_child_nodes(node):
        yield from calls(child)


def tells(code: list[str], what: str) -> list[bool]:
    """Whether each of a tutorial's cells calls something, itself or by a function that it or one before it defines."""
    names, found = {what}, []
    for tree in map(ast.parse, code):
        for defined in (node for node in tree.body if isinstance(node, ast.FunctionDef)):
            if names & {name for part in defined.body for name in calls(part)}:
                names.add(defined.name)
        found.append(bool(names & set(calls(tree))))
    return found


def test_there_are_tutorials():
    assert "fashion_mnist" in SOURCES


def test_what_tells_is_found_in_cells():
    code = [
        "def say(x):\n    print(x)\ndef mute(x):\n    return x",
        "for x in 'ab':\n    say(x)",
        "mute(1)",
        "print(2)",
    ]
    assert tells(code, "print") == [False, True, False, True]


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


@pytest.mark.parametrize("name", SOURCES)
def test_every_cell_that_prints_or_draws_shows_it(name):
    """A kernel that is busy may lose what a cell prints."""
    page = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
    code = [text for kind, text in cells(name) if kind == "code"]
    places = [page.index(f"```python\n{text}\n```") for text in code] + [len(page)]
    for text, prints, draws, (begins, ends) in zip(
        code, tells(code, "print"), tells(code, "show"), pairwise(places), strict=True
    ):
        behind = re.split(r"\n\n(?!```text|!\[)", page[begins + len(f"```python\n{text}\n```") : ends])[0]
        assert ("```text" in behind) >= prints, f"what this prints is missing:\n{text}"
        assert ("](pictures/" in behind) >= draws, f"what this draws is missing:\n{text}"


@pytest.mark.parametrize(
    "page", sorted((ROOT / "docs").glob("**/tutorials/*.md")), ids=lambda page: page.relative_to(ROOT).as_posix()
)
def test_pictures_that_a_page_shows_are_there(page):
    shown = re.findall(r"!\[[^\n]*\]\(([^)]+)\)", page.read_text(encoding="utf-8"))
    assert [picture for picture in shown if not (page.parent / picture).is_file()] == []


@not_on_jax
@pytest.mark.slow
@pytest.mark.timeout(1200)  # whole tutorials, of which some start processes: minutes where others work as well
@pytest.mark.parametrize("name", SOURCES)
def test_it_runs_in_small(name, tmp_path):
    if lacking := [one for one in NEEDS.get(name, ()) if not importlib.util.find_spec(one)]:
        pytest.skip(f"{', '.join(lacking)} not installed")
    source = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    changed = [found for found in IN_SMALL if f"\n{found}\n" in source]
    assert changed, "it has none of the numbers that make it small"
    for found in changed:
        source = source.replace(f"\n{found}\n", f"\n{IN_SMALL[found]}\n")
    # in a process of its own: what a tutorial opens beside Ception, OpenVINO above all, must not outlive it here
    running = subprocess.Popen(
        [sys.executable, "-c", SHOWS_NOTHING + source], cwd=tmp_path, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        said, _ = running.communicate(timeout=1100)
    finally:
        with suppress(ProcessLookupError):  # and the server that a tutorial may have left
            os.killpg(running.pid, signal.SIGKILL)
    assert running.returncode == 0, said
    assert list(tmp_path.glob(LEAVES.get(name, "runs/*/report.html")))
