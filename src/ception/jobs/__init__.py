"""Answers for more pictures than anybody looks at: in files, part by part, here or on a Ray cluster."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from ception import cluster
from ception.data.collecting import collected
from ception.errors import InputError
from ception.extraction import Features, extracted
from ception.files import cache_folder, locked
from ception.jobs.answering import parts
from ception.jobs.parts import Folder, Part
from ception.model_file import model_file
from ception.options import JobOptions
from ception.prediction import answers, opened
from ception.reporting import Reporter, or_default
from ception.results import JobResult
from ception.settings import JobSettings
from ception.validation import settings_of
from ception.values import as_typed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ception.data.images import Picture
    from ception.data.pictures import Pictures

_ELSEWHERE = frozenset({"on", "worker_cores", "backend", "device", "engine", "batch_size", "cache_limit", "allow_urls"})


def predict_into(
    model: str | Path,
    pictures: Picture | Iterable[Picture],
    out: str | Path,
    *,
    reporter: Reporter | None = None,
    **options: Unpack[JobOptions],
) -> JobResult:
    """Classify many pictures into a folder of files, each with the answers for some of them.

    Each file is there as a whole or not at all. A job that was interrupted goes on where they end, if it is begun again
    with the same model, pictures and options. A picture that cannot be read has a row with the reason.

    Args:
        model: A model file, run folder, export, `hf://USER/NAME`, or with `weights` the name of a network.
        pictures: As for `ception.predict`.
        out: The folder, a path or an address such as `s3://bucket/answers`: new, or that of the same job.
        reporter: Receives notes, warnings and progress; None for what `ception.reporting.default` gives.
        options: Fields of `JobSettings`.

    Raises:
        InputError: the model, an option or the folder cannot be used, a path leads nowhere, or what is asked for needs
            a library that is not installed.
        RunError: a file cannot be written, or the cluster failed.
    """
    settings, reporter, out = settings_of(JobSettings, options), or_default(reporter), as_typed(out)
    if settings.table == "parquet" and importlib.util.find_spec("pyarrow") is None:
        raise InputError("--table parquet needs pyarrow: pip install 'ception[parquet]'")
    if settings.features and settings.table != "parquet":
        raise InputError("features are columns of Parquet: give --table parquet with --features")
    cluster.require(settings, here=("weights", "backend", "device"))
    where = None if settings.weights else model_file(model, reporter=reporter)
    if where is not None and not where.exists():
        raise InputError(f"there is no model {model}")
    listed = collected(pictures, allow_urls=settings.allow_urls, cache_limit=settings.cache_limit, reporter=reporter)
    folder = Folder(out, len(listed), settings.part_size, settings.table)
    with _alone(out):
        folder.begin(_job(where or model, listed, settings))
        missing = folder.missing()
        whole = sum((folder.read(number) for number in sorted(set(range(len(folder))) - set(missing))), Part())
        if whole.pictures:
            reporter.note(f"{out} has the answers for {whole.pictures:,} of {len(listed):,} pictures")
        if missing:
            made = _here if settings.on is None else parts
            whole = sum(made(Path(where or model), listed, folder, missing, settings, reporter), whole)
    return JobResult(
        model=str(model), out=out, pictures=whole.pictures, failed=whole.failed, files=len(folder),
        classes=dict(whole.classes.most_common()),
    )  # fmt: skip


def _here(
    model: Path, pictures: Pictures, folder: Folder, missing: list[int], settings: JobSettings, reporter: Reporter
) -> Iterator[Part]:
    """The parts that are missing, made in this process as one stream of pictures."""
    indices = np.concatenate([np.arange(*_ends(folder.pictures_of(number))) for number in missing])
    stream = (
        _features(model, pictures, settings, reporter, indices)
        if settings.features
        else answers(model, pictures, settings, reporter, indices)
    )
    for number in missing:
        yield folder.write(number, islice(stream, len(folder.pictures_of(number))))
    for _ in stream:  # what it has to say at its end
        pass


def _features(
    model: Path, pictures: Pictures, settings: JobSettings, reporter: Reporter, indices: NDArray[np.integer]
) -> Iterator[Features]:
    with opened(model, settings, len(indices), reporter, features=True) as predictor:
        yield from extracted(predictor, pictures, indices, reporter)


def _ends(indices: range) -> tuple[int, int]:
    return indices.start, indices.stop


def _job(model: str | Path, pictures: Pictures, settings: JobSettings) -> Mapping[str, Any]:
    """What the answers follow from."""
    names = hashlib.blake2b(digest_size=16)
    for index in range(len(pictures)):
        names.update(pictures.name(index).encode("utf-8", "surrogateescape") + b"\0")
    options = {one.name: getattr(settings, one.name) for one in fields(settings) if one.name not in _ELSEWHERE}
    return {"model": _digest(Path(model)), "pictures": names.hexdigest(), "count": len(pictures), **options}


def _digest(model: Path) -> str:
    """Of a file, or of all in a folder; the name itself where there is none."""
    if not model.exists():
        return str(model)
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(one for one in model.rglob("*") if one.is_file()) if model.is_dir() else [model]:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "blake2b").digest())
    return digest.hexdigest()


def _alone(out: str) -> Any:
    """A context in which no other process of this machine fills the folder."""
    digest = hashlib.blake2b(os.fsencode(os.path.abspath(out)), digest_size=8).hexdigest()
    return locked(cache_folder() / f"job-{digest}.lock", f"another process fills {out}: wait, or name another folder")
