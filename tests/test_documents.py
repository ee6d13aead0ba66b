"""The pages: every command that they show exists with its options, blocks run in small, and nothing is out of step."""

from __future__ import annotations

import csv
import re
import shutil
import sys
from functools import cache
from io import StringIO
from pathlib import Path

import pytest
from cyclopts import CycloptsError
from cyclopts.exceptions import MissingArgumentError

import ception
from ception.cli.app import app
from support.documents import (
    NAMES,
    PAGES,
    ROOT,
    SHELL,
    Block,
    arguments,
    blocks,
    headings,
    spans,
    thin_out,
    write_stage,
)
from support.marks import not_on_jax

DOCS = ROOT / "docs"
# what stands for something, and a precision that a model of some pictures can promise
IN_SMALL = {"MODEL": "last", "DATA": "clothes", "PICTURES": "new", "NAME": "xception", "0.97": "0.1"}
ENGLISH = [name for name in NAMES if not name.startswith("docs/zh/")]


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def parsed(command: str, *, whole: bool) -> str | None:
    """What the command line says against a command; None for nothing.

    Args:
        command: The command.
        whole: Whether what it must have may not be left out.
    """
    words = arguments(command)
    if not words or words[0] == "COMMAND" or "--help" in words:
        return None
    if words[0] not in list(app):
        return f"there is no command {words[0]}"
    try:
        app.parse_args(words, exit_on_error=False, print_error=False)
    except MissingArgumentError as error:
        return str(error) if whole else None
    except CycloptsError as error:
        return str(error)
    return None


def test_commands_are_found_in_pages():
    page = (
        "`ception train X`\n\n```\nls | ception predict M -\n# no\npip install ception\nception a \\\n  --b  # c\n```\n"
    )
    page += "\n<!-- not run: because -->\n```python\nx = 1\n```\n"
    first, second = blocks(page)
    assert first == Block(
        3, "", "ls | ception predict M -\n# no\npip install ception\nception a \\\n  --b  # c\n", None
    )
    assert first.commands == ["ception predict M -", "ception a    --b  # c"]
    assert (second.language, second.reason, second.commands) == ("python", "because", [])
    assert (spans(page), arguments(first.commands[1])) == (["ception train X"], ["a", "--b"])


@pytest.mark.parametrize(("command", "said"), [
    ("ception train photos/ --epochs 3", None),
    ("ception train photos/ --epoch 3", "Unknown option"),
    ("ception export runs/001 --to onyx", "Invalid value"),
    ("ception export runs/001", "requires an argument"),
    ("ception fly", "there is no command fly"),
    ("ception help train", None),
])  # fmt: skip
def test_what_is_wrong_with_a_command_is_said(command, said):
    found = parsed(command, whole=True)
    assert found == said if said is None else said in found


@pytest.mark.parametrize("name", NAMES)
def test_every_command_exists_with_its_options(name):
    text = text_of(name)
    fenced = [command for block in blocks(text) for command in block.commands]
    said = {command: parsed(command, whole=True) for command in fenced}
    said |= {command: parsed(command, whole=False) for command in spans(text)}
    assert {command: what for command, what in said.items() if what} == {}


@pytest.mark.parametrize("name", NAMES)
def test_every_line_for_a_shell_is_a_command_of_ception_or_marked(name):
    for block in blocks((ROOT / name).read_text(encoding="utf-8")):
        if block.language in SHELL and block.reason is None:
            lines = block.body.replace("\\\n", " ").splitlines()
            others = [line for line in lines if line.strip() and not line.startswith("#")]
            assert len(block.commands) == len(others), f"line {block.line}: {others}"


def test_there_are_many_commands_to_look_at():
    assert sum(len(block.commands) for page in PAGES for block in blocks(page.read_text())) > 120


@pytest.mark.parametrize("name", NAMES)
def test_python_blocks_are_python(name):
    for block in blocks(text_of(name)):
        if block.language == "python":
            compile(block.body, f"{name}:{block.line}", "exec")


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("docs/")])
def test_every_page_ends_with_a_next_step(name):
    end = re.split(r"\n\n(?=#)|\n\n(?=Next:|下一步)", text_of(name).rstrip())[-1]
    assert re.match(r"(## )?(Next|下一步)", end), end
    assert "](" in end


def test_each_trouble_has_its_cause_what_ception_does_and_a_command():
    entries = re.split(r"^## ", text_of("docs/troubleshooting.md"), flags=re.M)[1:-1]
    assert len(entries) > 15
    has = ("\n**Cause.** ", "\n**Ception**", "\n```\nception ")
    assert [entry for entry in entries if not all(one in entry for one in has)] == []


class TestReference:
    def test_is_what_its_tool_writes(self):
        import write_reference

        for path, text in write_reference.written().items():
            assert (DOCS / "reference" / path).read_text(encoding="utf-8") == text, path

    def test_has_every_command_and_every_public_name(self):
        import write_reference

        commands = set(re.findall(r"^## (.+)$", text_of("docs/reference/commands.md"), re.M))
        assert commands == {name for name in app if not name.startswith("-")} - {"help"}
        names = set(re.findall(r"^### (\w+)$", text_of("docs/reference/python.md"), re.M))
        assert names == (set(ception.__all__) | set(write_reference.result_names())) - {"__version__"}

    def test_a_name_of_no_group_comes_last(self):
        import write_reference

        assert write_reference.grouped({"one": ("a", "b")}, "bca") == {"one": ("a", "b"), "More": ("c",)}
        assert write_reference.grouped({"one": ("a", "b")}, "ba") == {"one": ("a", "b")}

    def test_every_variable_of_the_environment_is_told(self):
        source = "".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
        named = set(re.findall(r'environ(?:\.get\(|\[)"([A-Z_]+)"', source))
        assert named >= {"CEPTION_CACHE", "CEPTION_KERNELS", "KERAS_BACKEND"}
        page = text_of("docs/reference/environment.md")
        assert {name for name in named if f"`{name}`" not in page} == set()


CITING = [
    "README.md",
    "docs/figures.md",
    *(name for name in ENGLISH if name.startswith(("docs/how-to/", "docs/you-have-read/"))),
]

# settings, bounds that rows lie within, and means of a few rows
NOT_ROWS = {
    "docs/design.md": {"1e-6"},
    "docs/export.md": {"2e-5"},
    "docs/guide.md": {"1e-4", "0.924", "0.9002", "0.870"},
    "docs/recipes.md": {"1e-6"},
    "docs/you-have-read/separable-convolutions.md": {"0.9002"},
}
# what planning.py computes from rows, what tutorials print, and what is generated
COMPUTED = ("docs/planning.md", "docs/tutorials/", "docs/reference/")


class TestFigures:
    def test_every_benchmark_and_every_file_of_rows_is_listed(self):
        page = text_of("docs/figures.md")
        scripts = {path.name for path in (ROOT / "benchmarks").glob("*.py")} - {"results.py"}
        rows = {path.name for path in (ROOT / "benchmarks" / "results").glob("*.csv")}
        assert {name for name in scripts | rows if f"/{name})" not in page} == set()

    @pytest.mark.parametrize("name", ENGLISH)
    def test_files_of_rows_that_pages_name_are_there(self, name):
        named = set(re.findall(r"benchmarks/results/(\w+\.csv)", text_of(name)))
        assert {one for one in named if not (ROOT / "benchmarks" / "results" / one).is_file()} == set()

    @pytest.mark.parametrize("name", [name for name in ENGLISH if not name.startswith(COMPUTED)])
    def test_figures_of_three_digits_are_in_rows_that_the_page_names(self, name):
        text = text_of(name)
        rows = {path.name for path in (ROOT / "benchmarks" / "results").glob("*.csv")}
        named = sorted(rows.intersection(re.findall(r"\w+\.csv", text)))
        figures = re.findall(r"(?<![\w.:/-])(?:\d+\.\d{3,}|\d+(?:\.\d+)?e-\d+)(?![\w.])", " ".join(parts(text)))
        without = {figure for figure in figures if not in_rows(figure, named)}
        assert without == NOT_ROWS.get(name, set())

    @pytest.mark.parametrize("name", CITING)
    def test_decimals_beside_rows_are_in_these_rows(self, name):
        """In each paragraph, entry or row of a table that names files of rows; a row without has those above it."""
        cited: list[str] = []
        for part in parts(text_of(name)):
            named = re.findall(r"results/(\w+\.csv)", part)
            cited = named or (cited if part.startswith("|") else [])
            figures = re.findall(r"(?<![\w.:/-])\d+\.\d+(?:e-\d+)?(?![\w.])", part) if cited else []
            assert {figure for figure in figures if not in_rows(figure, cited)} == set(), part


def parts(text: str) -> list[str]:
    """The paragraphs, entries of lists and rows of tables of a page."""
    without = re.sub(r"^```.*?^```|`[^`\n]+`", "", text, flags=re.M | re.S)
    return [" ".join(part.split()) for part in re.split(r"\n\n|\n(?=\||- )", without)]


@cache
def numbers(name: str) -> tuple[float, ...]:
    """Every number of a file of rows."""
    text = (ROOT / "benchmarks" / "results" / name).read_text(encoding="utf-8")
    values = (value for row in csv.reader(StringIO(text)) for value in row)
    return tuple(float(value) for value in values if re.fullmatch(r"-?\d+(\.\d+)?(e-?\d+)?", value))


def in_rows(figure: str, names: list[str]) -> bool:
    """Whether a number, or that share in percent, is a value of some files of rows, rounded as it is."""
    digits = len(figure.partition(".")[2].partition("e")[0])
    kind = "e" if "e" in figure else "f"
    return any(
        figure in (f"{number:.{digits}{kind}}", f"{100 * number:.{digits}f}")
        for name in names
        for number in numbers(name)
    )


CHINESE = [name for name in NAMES if name.startswith("docs/zh/")]
COMPLETE = ("start.md", "troubleshooting.md", "tutorials/", "you-have-read/")


class TestChinese:
    def test_what_shall_be_there_in_chinese_is(self):
        english = {name.removeprefix("docs/") for name in ENGLISH}
        chinese = {name.removeprefix("docs/zh/") for name in CHINESE}
        assert {name for name in english if name.startswith(COMPLETE)} <= chinese <= english

    @pytest.mark.parametrize("name", CHINESE)
    def test_a_page_is_in_step_with_the_english_one(self, name):
        other = text_of(name.replace("docs/zh/", "docs/"))
        text = text_of(name)
        assert [level(heading) for heading in headings(text)] == [level(heading) for heading in headings(other)]
        assert [(one.language, one.body, one.reason) for one in blocks(text)] == [
            (one.language, one.body, one.reason) for one in blocks(other)
        ]
        assert tables(text) == tables(other)
        assert len(re.findall(r"!\[", text)) == len(re.findall(r"!\[", other))

    @pytest.mark.parametrize("name", CHINESE)
    def test_figures_are_those_of_the_english_page(self, name):
        figures = [set(re.findall(r"\d+\.\d{3,}|\d+(?:,\d{3})+|\de-\d+", text_of(one)))
                   for one in (name, name.replace("docs/zh/", "docs/"))]  # fmt: skip
        assert figures[0] - figures[1] <= {"2,290", "2,390"}  # of ten thousands, as Chinese counts
        assert figures[1] <= figures[0]


def level(heading: str) -> int:
    """How deep a heading stands."""
    return len(heading) - len(heading.lstrip("#"))


def tables(text: str) -> list[int]:
    """The numbers of cells of all rows of tables."""
    return [line.count("|") for line in text.splitlines() if line.startswith("|")]


@pytest.fixture(scope="module")
def stage(tmp_path_factory) -> Path:
    """A folder with all that the pages' commands want, two short trainings among it."""
    folder = tmp_path_factory.mktemp("stage")
    write_stage(folder)
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        for seed in (1, 2):
            ception.train("clothes", epochs=2, seed=seed)
        shutil.move(ception.train("photos", model="separable_cnn", epochs=1, image_size=32).folder, "photos-run")
    return folder


# of the pages whose blocks need what a small folder has; each begins anew
RUNNABLE = [name for name in ENGLISH if any(block.reason is None and (block.commands or block.language == "python")
                                            for block in blocks(text_of(name)))]  # fmt: skip


@not_on_jax
@pytest.mark.slow
@pytest.mark.parametrize("name", RUNNABLE)
def test_blocks_run_in_small(name, stage, run_cli, tmp_path, monkeypatch):
    place = tmp_path / "stage"
    shutil.copytree(stage, place)
    if "runs/001-xception-photos" in text_of(name):
        shutil.rmtree(place / "runs")
        shutil.copytree(place / "photos-run", place / "runs" / "001-xception-photos")
    monkeypatch.chdir(place)
    monkeypatch.setattr(ception.reporting, "default", ception.reporting.default)
    monkeypatch.setattr(sys, "argv", ["a page"])
    names = {"__name__": "a page"}  # a block may use what those before it have defined
    for block in blocks(text_of(name)):
        if block.reason is None and block.language == "python":
            exec(compile(block.body, f"{name}:{block.line}", "exec"), names)
            thin_out(place)
        elif block.reason is None:
            for command in block.commands:
                words = [IN_SMALL.get(word, word) for word in arguments(command)]
                code, _, said = run_cli(*words)
                # what check finds wrong is its answer
                assert code == 0 or (code, words[0]) == (1, "check"), f"{name}:{block.line}: {command}\n{said}"
