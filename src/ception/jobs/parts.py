"""The folder that a job fills: what it is a job of, and a file for each part, whole or not there."""

from __future__ import annotations

import csv
import io
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ception.data import stores
from ception.errors import InputError, RunError, reason
from ception.extraction import Features
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
    def of(cls, answers: Iterable[Prediction | Features]) -> Part:
        """The sum of some answers; features have no class."""
        whole = cls()
        for one in answers:
            named = [_class_of(one)] if isinstance(one, Prediction) and not one.error else []
            whole += cls(1, bool(one.error), Counter(named))
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
                as_before = ", or the pictures by the same paths as before" if "pictures" in differing else ""
                raise InputError(
                    f"{self.out} has the answers of another job, which differs in: {', '.join(differing)}; "
                    f"name another folder{as_before}"
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

    def write(self, number: int, answers: Iterable[Prediction | Features]) -> Part:
        """Write a part, which is there as a whole or not at all.

        Raises:
            RunError: it cannot be written.
        """
        listed = list(answers)
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


def _csv(answers: Iterable[Prediction | Features]) -> bytes:
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(COLUMNS)
    for one in answers:
        if isinstance(one, Prediction):  # features are for Parquet alone
            table.writerows(rows(one))
    return text.getvalue().encode("utf-8", "surrogateescape")


def _of_csv(data: bytes) -> Iterator[Prediction]:
    """The answers, each with its best class alone."""
    for row in csv.DictReader(io.StringIO(data.decode("utf-8", "surrogateescape"), newline="")):
        if row["error"]:
            yield Prediction(path=row["path"], error=row["error"])
        elif row["rank"] == "1":
            guess = Guess(class_name=row["class"], probability=float(row["probability"]))
            yield Prediction(path=row["path"], top=(guess,), unknown=row["unknown"] == "yes")


def _class_of(prediction: Prediction) -> str:
    return UNKNOWN if prediction.unknown else prediction.top[0].class_name if prediction.top else ""


def _parquet(answers: Sequence[Prediction | Features]) -> bytes:
    """A row for each picture."""
    import pyarrow as pa
    from pyarrow import parquet

    if any(isinstance(one, Features) for one in answers):
        columns = [("features", pa.list_(pa.float32()))]
    else:
        columns = [
            ("class", pa.string()), ("probability", pa.float64()), ("unknown", pa.bool_()),
            ("classes", pa.list_(pa.string())), ("probabilities", pa.list_(pa.float64())),
        ]  # fmt: skip
    table = [
        {"path": one.path.encode("utf-8", "surrogateescape").decode("utf-8", "replace"), "error": one.error or None}
        | _told(one)
        for one in answers
    ]
    sink = pa.BufferOutputStream()
    schema = pa.schema([("path", pa.string()), *columns, ("error", pa.string())])
    parquet.write_table(pa.Table.from_pylist(table, schema), sink)
    return bytes(sink.getvalue())


def _told(one: Prediction | Features) -> dict[str, object]:
    """What an answer says, by column."""
    if isinstance(one, Features):
        return {"features": one.values}
    return {
        "class": one.top[0].class_name if one.top else None,
        "probability": one.top[0].probability if one.top else None,
        "unknown": None if one.error else one.unknown,
        "classes": [guess.class_name for guess in one.top],
        "probabilities": [guess.probability for guess in one.top],
    }


def _of_parquet(data: bytes) -> Iterator[Prediction | Features]:
    """The answers, each with its best class alone; of features what they are of."""
    import pyarrow as pa
    from pyarrow import parquet

    table = parquet.read_table(pa.BufferReader(data))
    if "features" in table.column_names:
        for row in table.select(["path", "error"]).to_pylist():
            yield Features(path=row["path"], error=row["error"])
        return
    for row in table.to_pylist():
        guess = () if row["error"] else (Guess(class_name=row["class"], probability=row["probability"]),)
        yield Prediction(path=row["path"], top=guess, unknown=bool(row["unknown"]), error=row["error"])
