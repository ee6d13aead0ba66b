"""What a data set holds, wherever it lies; and archives of it."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

import ception
from ception.data import sources, splitting


def facts(data: str | Path, reporter: ception.Reporter | None = None) -> dict[bytes, tuple[str, int]]:
    """By digest each picture's class and split."""
    dataset = sources.load(data, reporter=reporter)
    digests, unreadable = sources.digests(dataset.pictures)
    assert not unreadable
    splits = splitting.split(dataset, digests)
    names = dataset.class_names
    return {
        one.tobytes(): (names[label], int(split))
        for one, label, split in zip(digests, dataset.labels, splits, strict=True)
    }


def add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def write_parquet(path: Path, pictures: Sequence[Path], names: Sequence[str]) -> None:
    """Pictures and their folders' names as a Parquet file of the hub has them, in groups of 7."""
    pa = pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    from pyarrow import parquet

    features = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
    images = [{"bytes": one.read_bytes(), "path": one.name} for one in pictures]
    table = pa.table({"image": images, "label": [names.index(one.parent.name) for one in pictures]})
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table.replace_schema_metadata({"huggingface": json.dumps(features)}), path, row_group_size=7)
