"""The glossary: whatever pages abbreviate, and whatever the package has a name for, stands in it."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import get_args

import pytest

from ception.artefacts import FORMATS
from ception.data.augmentation import Augmentation, Mixing
from ception.engines import Precision
from ception.explaining.methods import METHODS
from ception.models.tables.xception import Row
from ception.results.scores import ClassScores, Scores, Selective
from ception.training.recipes import Recipe
from support.documents import NAMES, ROOT

GLOSSARY = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
# those of makers, libraries and places, which stand for nothing but themselves
OWN_NAMES = {"AMD", "CMake", "CONTRIBUTING", "DeepLab", "EPYC", "FastAPI", "GCC", "GoogLeNet", "LeCun", "LitServe",
             "NumPy", "PyPI", "SciPy", "TF", "TF-Slim", "TensorBoard"}  # fmt: skip
OTHER_WORDS = {"Ctrl-C", "MIT", "VS"}  # a key, a licence, a part of "VS Code"
# what fields of records are, and not what they mean to anybody who reads a report
PLAIN = {"algorithm", "count", "data", "epochs", "filters", "model", "norm", "output", "per_class", "source", "split",
         "training_seconds", "wished"}  # fmt: skip
# of pages for those who build Ception, and of pages that are made of others
NOT_READ = ("docs/zh/", "docs/reference/", "docs/design.md", "docs/glossary.md")
TERMS = ("calibration", "certificate", "contract", "drift", "endpoint", "gate", "heat map", "parity", "phase", "port",
         "recipe", "run", "share", "shard", "temperature", "threshold")  # fmt: skip


def prose(text: str) -> str:
    """A page without its blocks, its code, what its links lead to and its comments."""
    return re.sub(r"^```.*?^```|`[^`\n]+`|\]\([^)]*\)|<!--.*?-->", "", text, flags=re.M | re.S)


def abbreviations(text: str) -> set[str]:
    """The words with two capitals or more, in the singular."""
    words = re.findall(r"(?<![\w/.])[A-Za-z0-9-]*[A-Z][A-Za-z0-9-]*[A-Z][A-Za-z0-9-]*\b", prose(text))
    return {re.sub(r"(?<=[A-Z])s$", "", word) for word in words}


def is_told(term: str) -> bool:
    """Whether the glossary has a term, with blanks or dashes, in any number and case."""
    words = "[ _-]?".join(map(re.escape, re.split("[ _-]", term.removesuffix("s"))))
    return re.search(rf"(?<!\w){words}s?(?!\w)", GLOSSARY, re.I) is not None


def test_abbreviations_are_found_in_prose():
    page = "An ONNX file, `EXIF`, [a](TLS.md), GPUs and 12 MACs.\n\n```\nHTTP\n```\n<!-- CORS -->"
    assert abbreviations(page) == {"ONNX", "GPU", "MAC"}


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith(NOT_READ)])
def test_every_abbreviation_of_a_page_is_told(name):
    found = abbreviations((ROOT / name).read_text(encoding="utf-8")) - OWN_NAMES - OTHER_WORDS
    assert {word for word in found if not is_told(word)} == set()


def test_names_that_need_no_entry_are_used():
    every = set().union(*(abbreviations((ROOT / name).read_text(encoding="utf-8")) for name in NAMES))
    assert every >= OWN_NAMES | OTHER_WORDS


@pytest.mark.parametrize("record", [Recipe, Augmentation, Mixing, Row, Scores, ClassScores, Selective])
def test_whatever_a_record_holds_is_told(record):
    names = {field.name for field in fields(record)} - PLAIN
    assert {name for name in names if not is_told(name.removesuffix("_interval"))} == set()


@pytest.mark.parametrize("terms", [METHODS, tuple(FORMATS), get_args(Precision), TERMS])
def test_whatever_can_be_chosen_or_is_a_term_of_ours_is_told(terms):
    assert {term for term in terms if not is_told(term)} == set()


def test_no_word_is_told_twice():
    rows = re.findall(r"^\| ([^|]+) \|", GLOSSARY, re.M)
    words = [word.strip(" `") for row in rows for word in re.split(r"[,;]", row) if not set(row) <= set("- ")]
    doubled = {word for word in words if words.count(word) > 1}
    assert doubled <= {"term"}, doubled


def test_a_term_that_is_not_there_is_missed():
    assert is_told("label_smoothing")
    assert not is_told("focal loss")
