"""Code and layer tables of the articles, read from their texts, whose line breaks are lost."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import keras
import pytest

SEEDS = Path(__file__).parents[3] / "shared" / "seeds"
_START = re.compile(r"(?:def |for _ in|return |(?:x|residual|tensor|outputs?|inputs?|model) ?= ?(?!=))")
_ROW = re.compile(r"(\w+) \((\w+)\)?\s+\[?\(None((?:, \d+)+)\)?\]?\s+(\d+)\s")


def text(number: str) -> str:
    """The article whose file name begins with the number."""
    found = sorted(SEEDS.glob(f"{number}_*.txt"))
    if not found:
        pytest.skip(f"needs the articles in {SEEDS}, which are not here")
    return found[0].read_text()


def table(article: str) -> list[tuple[str, tuple[int, ...], int]]:
    """The rows of the layer table that the article prints: the class, maybe cut off, output shape and parameters."""
    rows = _ROW.findall(text(article))
    return [(kind, tuple(map(int, shape.split(",")[1:])), int(parameters)) for _, kind, shape, parameters in rows]


def functions(article: str, first: str, end: str) -> dict[str, Any]:
    """The functions in the last piece of the article's code that begins with `first` and ends before `end`."""
    code = text(article)
    code = code[code.rindex(first) :]
    code = re.sub(r"#[^\n#]*?(?=def )", "\n", code[: code.index(end)])
    lines, margin = [], 0
    for statement in _statements(_without_comments(code)):
        if statement.startswith("def "):
            margin = 0
        elif statement.startswith("return "):
            margin = 4
        lines.append(" " * margin + statement)
        if statement.endswith(":"):
            margin += 4
    names: dict[str, Any] = {"layers": keras.layers, "keras": keras, "Model": keras.Model} | vars(keras.layers)
    exec("\n".join(lines), names)
    return names


def _without_comments(code: str) -> str:
    """The code without comments, whose words are told from code by their letters or a leading bracket."""
    kept: list[str] = []
    comment = begun = False  # begun: the comment has a word already
    for word in code.split():
        if "#" in word:
            before, _, after = word.partition("#")
            kept.append(before)
            comment, begun = True, bool(after)
        elif comment and (not begun or not word.isascii() or word.startswith("[")):
            begun = True
        else:
            comment = False
            kept.append(word)
    return " ".join(kept)


def _statements(code: str) -> list[str]:
    """The code cut before every beginning of a statement outside brackets, and after the colon of a block."""
    found, depth, current = [], 0, ""
    for place, letter in enumerate(code):
        fresh = depth == 0 and (not current.strip() or current[-1] in ") \n:x")
        if fresh and _START.match(code, place) and (not current.strip() or not current[-1].isidentifier()):
            found.append(current)
            current = ""
        depth += (letter in "([") - (letter in ")]")
        current += letter if depth or letter != "\n" else " "
        if depth == 0 and letter == ":":
            found.append(current)
            current = ""
    return [statement.strip() for statement in [*found, current] if statement.strip()]
