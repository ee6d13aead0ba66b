"""The folder that a job fills: what it is a job of, and a file for each part, whole or not there."""

from __future__ import annotations

import csv
import io
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ception.data import stores
from ception.errors import InputError, RunError, reason
from ception.files import mark
from ception.results import Guess, Prediction

if TYPE_CHECKING:
    from ception.settings import TableFormat

COLUMNS = ("path", "rank", "class", "probability", "unknown", "error")
UNKNOWN = "unknown"
_TELLING = "job.json"


@dataclass(frozen=True)
class Part:
    """What a part of a job comes to.

    Attributes:
        pictures: How many it has.
        failed: Those that cannot be read.
        classes: The others by their answer, which may be `unknown`.
    """

    pictures: int = 0
    failed: int = 0
    classes: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: Part) -> Part:
        return Part(self.pictures + other.pictures, self.failed + other.failed, self.classes + other.classes)

    @classmethod
    def of(cls, predictions: Iterable[Prediction]) -> Part:
        """The sum of some answers."""
        whole = cls()
        for one in predictions:
            answer = UNKNOWN if one.unknown else one.top[0].class_name if one.top else ""
            whole += cls(1, bool(one.error), Counter() if one.error else Counter([answer]))
        return whole


@dataclass(frozen=True)
class Folder:
    """Where the answers go.

    Attributes:
        out: The folder: a path or an address.
        pictures: How many pictures there are.
        part_size: Pictures in a file, the last one excepted.
        format: Of the files.
    """

    out: str
    pictures: int
    part_size: int
    format: TableFormat

    def __len__(self) -> int:
        return -(-self.pictures // self.part_size)

    def pictures_of(self, number: int) -> range:
        """The indices of a part's pictures."""
        return range(number * self.part_size, min(self.pictures, (number + 1) * self.part_size))

    def path(self, number: int) -> str:
        """The file of a part."""
        return stores.joined(self.out, f"part-{number:05d}.{self.format}")

    def begin(self, job: Mapping[str, Any]) -> None:
        """Make the folder, or take it as it is where this very job has begun in it.

        Raises:
            InputError: it has another job's answers, or other files.
            RunError: it cannot be written.
        """
        path, told = stores.joined(self.out, _TELLING), json.loads(json.dumps(dict(job)))
        if stores.is_file(path):
            try:
                begun = json.loads(stores.read(path))
                differing = [name for name in told if begun.get(name) != told[name]]
            except (ValueError, AttributeError, OSError) as error:
                raise InputError(f"{path} is broken ({error}): name another folder") from None
            if differing:
                raise InputError(
                    f"{self.out} has the answers of another job, which differs in: {', '.join(differing)}; "
                    "name another folder"
                )
            return
        if self._names():
            raise InputError(f"{self.out} holds other files: name a new folder")
        if not stores.is_address(self.out):
            mark(Path(self.out))
        stores.write(path, json.dumps(told, indent=2).encode())

    def missing(self) -> list[int]:
        """The parts that are still to be made."""
        there = set(self._names())
        return [number for number in range(len(self)) if os.path.basename(self.path(number)) not in there]

    def write(self, number: int, predictions: Iterable[Prediction]) -> Part:
        """Write a part, which is there as a whole or not at all.

        Raises:
            RunError: it cannot be written.
        """
        listed = list(predictions)
        stores.write(self.path(number), _parquet(listed) if self.format == "parquet" else _csv(listed))
        return Part.of(listed)

    def read(self, number: int) -> Part:
        """What a part that was written comes to.

        Raises:
            RunError: it is broken.
        """
        path = self.path(number)
        try:
            data = stores.read(path)
            return Part.of(_of_parquet(data) if self.format == "parquet" else _of_csv(data))
        except Exception as error:  # pyarrow has many
            raise RunError(f"{path} is broken ({' '.join(str(error).split())}): remove it, and begin again") from None

    def _names(self) -> list[str]:
        if stores.is_address(self.out):
            return stores.files_below(self.out)
        try:
            return [name for name in os.listdir(self.out) if not name.startswith(".")]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise InputError(f"{self.out} cannot be used: {reason(error)}") from None


def rows(prediction: Prediction) -> Iterator[tuple[object, ...]]:
    """An answer as rows of a table with `COLUMNS`: one for each class that is named, or one with the reason."""
    for rank, guess in enumerate(prediction.top, 1):
        yield prediction.path, rank, guess.class_name, guess.probability, "yes" if prediction.unknown else "no", ""
    if prediction.error:
        yield prediction.path, "", "", "", "", prediction.error


def _csv(predictions: Iterable[Prediction]) -> bytes:
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(COLUMNS)
    for prediction in predictions:
        table.writerows(rows(prediction))
    return text.getvalue().encode("utf-8", "surrogateescape")


def _of_csv(data: bytes) -> Iterator[Prediction]:
    """The answers, each with its best class alone."""
    for row in csv.DictReader(io.StringIO(data.decode("utf-8", "surrogateescape"), newline="")):
        if row["error"]:
            yield Prediction(path=row["path"], error=row["error"])
        elif row["rank"] == "1":
            guess = Guess(class_name=row["class"], probability=float(row["probability"]))
            yield Prediction(path=row["path"], top=(guess,), unknown=row["unknown"] == "yes")


def _parquet(predictions: Iterable[Prediction]) -> bytes:
    """A row for each picture."""
    import pyarrow as pa
    from pyarrow import parquet

    table = [
        {
            "path": one.path.encode("utf-8", "surrogateescape").decode("utf-8", "replace"),
            "class": one.top[0].class_name if one.top else None,
            "probability": one.top[0].probability if one.top else None,
            "unknown": None if one.error else one.unknown,
            "classes": [guess.class_name for guess in one.top],
            "probabilities": [guess.probability for guess in one.top],
            "error": one.error or None,
        }
        for one in predictions
    ]
    schema = pa.schema([
        ("path", pa.string()), ("class", pa.string()), ("probability", pa.float64()), ("unknown", pa.bool_()),
        ("classes", pa.list_(pa.string())), ("probabilities", pa.list_(pa.float64())), ("error", pa.string()),
    ])  # fmt: skip
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.Table.from_pylist(table, schema), sink)
    return bytes(sink.getvalue())


def _of_parquet(data: bytes) -> Iterator[Prediction]:
    """The answers, each with its best class alone."""
    import pyarrow as pa
    from pyarrow import parquet

    for row in parquet.read_table(pa.BufferReader(data)).to_pylist():
        guess = () if row["error"] else (Guess(class_name=row["class"], probability=row["probability"]),)
        yield Prediction(path=row["path"], top=guess, unknown=bool(row["unknown"]), error=row["error"])
