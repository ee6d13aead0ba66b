"""What classifying many pictures into files gave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ception.results.result import Result


@dataclass(frozen=True, kw_only=True)
class JobResult(Result):
    """The answers for many pictures, in files.

    Attributes:
        model: What was asked, as it was named.
        out: The folder of the files.
        pictures: How many there are.
        failed: Those that cannot be read.
        files: How many files there are.
        classes: How many of the others were given each answer, which may be `unknown`, the most frequent first.
    """

    model: str
    out: str
    pictures: int
    failed: int
    files: int
    classes: Mapping[str, int]
