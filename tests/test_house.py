"""What the source tree keeps to beyond what the linters see: short functions and files, few loose dictionaries."""

from __future__ import annotations

import ast
import re
import runpy
import tomllib
from collections.abc import Iterator
from functools import cache
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
ROOMS = ("src", "tests", "benchmarks", "examples", "tools")
LONGEST_FUNCTION, LONGEST_FILE = 50, 400

# Longer than they should be: each is to be cut, and no other may come
LONG_FILES_TO_CUT: set[str] = set()
LONG_FUNCTIONS_TO_CUT: set[str] = set()
LOOSE_DICTIONARIES = 40  # dict[str, Any] in the package: only fewer


@cache
def sources() -> dict[str, str]:
    """The text of every Python file of the tree by its path."""
    paths = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
    return {path.relative_to(ROOT).as_posix(): path.read_text() for path in paths}


def functions(text: str) -> Iterator[tuple[str, int]]:
    """Name and number of lines of every function, from `def` to its end."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node.end_lineno - node.lineno + 1


def imported(text: str) -> Iterator[str]:
    """The first part of the name of every module that a file imports."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


def test_the_rooms_are_there():
    assert {path.split("/")[0] for path in sources()} == set(ROOMS)
    assert len(sources()) > 100


def test_no_function_is_longer_than_a_page():
    found = {f"{path} {name}" for path, text in sources().items() for name, lines in functions(text)
             if lines > LONGEST_FUNCTION}  # fmt: skip
    assert found == LONG_FUNCTIONS_TO_CUT


def test_no_file_is_too_long():
    found = {path for path, text in sources().items() if len(text.splitlines()) > LONGEST_FILE}
    assert found == LONG_FILES_TO_CUT


def test_loose_dictionaries_become_fewer():
    found = sum(text.count("dict[str, Any]") for path, text in sources().items() if path.startswith("src/"))
    assert found <= LOOSE_DICTIONARIES
    assert found > LOOSE_DICTIONARIES - 5, f"lower the ceiling to {found}"


@pytest.mark.parametrize("path", [path for path in sources() if path.startswith("tests/")])
def test_no_test_module_is_imported(path):
    modules = {Path(other).stem for other in sources() if other.startswith("tests/") and other.count("/") == 1}
    assert not modules & set(imported(sources()[path]))


def test_constraints_pin_all_that_is_required():
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines()[1:])
    assert all(re.fullmatch(r"\d[\w.]*", version) for version in pinned.values()), "a version, no address"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for line in chain(project["dependencies"], *project["optional-dependencies"].values()):
        required = Requirement(line)
        if required.name != "ception" and (required.marker is None or "!=" not in str(required.marker)):
            assert required.specifier.contains(pinned[required.name]), line


def test_constraints_are_written_from_what_environments_hold():
    tool = runpy.run_path(str(ROOT / "tools" / "write_constraints.py"))
    written = tool["text"]([["B_c==1.0", "pip==25.0"], ["b-c==2.0", "a==2.13.0+cpu"]])
    assert written == tool["HEAD"] + "a==2.13.0\nb-c==1.0\n"
    assert (ROOT / "constraints.txt").read_text().startswith(tool["HEAD"])


@pytest.mark.parametrize("name", ["utils", "common", "core", "base", "manager", "helpers", "misc"])
def test_no_room_without_a_name_of_its_own(name):
    assert not [path for path in sources() if name in path.removesuffix(".py").split("/")]


def test_the_version_is_in_one_place_and_where_it_has_to_be_written():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
