"""What writing a data set as shards gave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ception.results.result import Result


@dataclass(frozen=True, kw_only=True)
class ShardResult(Result):
    """A data set written as tar shards.

    Attributes:
        data: The data set, as it was named.
        out: The folder.
        pictures: How many were written.
        classes: How many there are.
        split: Pictures of `train`, `val` and `test`.
        shards: Number of archives.
        size: Their bytes.
        left_out: Names of the pictures that cannot be read, each with the reason.
        errors: How many errors `ception.check` found in the data set.
        warnings: How many warnings.
        verdict: What it found, in words.
        page: The HTML page that shows what it found.
    """

    data: str
    out: str
    pictures: int
    classes: int
    split: Mapping[str, int]
    shards: int
    size: int
    left_out: tuple[str, ...]
    errors: int
    warnings: int
    verdict: str
    page: str
