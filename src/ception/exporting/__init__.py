"""A trained classifier for other runtimes, with the proof that it says there what it says here: `export`."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Unpack

from ception import backends, hub
from ception.artefacts import FORMATS, FormatName, files_of, metadata, size_of
from ception.errors import InputError, RunError, nearest, reason
from ception.exporting import gate, mixed, rounding, targets
from ception.exporting.private import described_without_paths, without_paths
from ception.exporting.writing import with_probabilities, write
from ception.files import write_json
from ception.model_file import describe, keras_file
from ception.options import ExportOptions
from ception.predictor import Predictor
from ception.reporting import Reporter, counted, or_default
from ception.results import ExportReport
from ception.settings import ExportSettings
from ception.validation import settings_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ception.engines.operations import Operations
    from ception.model_file import ModelDescription

_CALIBRATED_ON = 300  # pictures


@dataclass(frozen=True)
class _Job:
    """An export.

    Attributes:
        model: The model file.
        to: The format.
        out: Where the artefact goes.
        settings: What was asked for.
        samples: The pixels that int8 takes its ranges from.
        compared_on: The pictures that the artefact is compared on.
        reporter: Receives notes, warnings and progress.
    """

    model: Path
    to: FormatName
    out: Path
    settings: ExportSettings
    samples: NDArray[np.uint8] | None
    compared_on: gate.Sample
    reporter: Reporter

    @property
    def allowed(self) -> float:
        """Share of the pictures, 0..1, that may get another label."""
        asked = self.settings.max_disagreement
        return targets.BUDGETS[self.settings.dtype] if asked is None else asked


def export(
    model: str | Path,
    to: FormatName | Literal["huggingface"],
    *,
    reporter: Reporter | None = None,
    **options: Unpack[ExportOptions],
) -> ExportReport:
    """Write a model for another runtime, open it there, and compare it with the model in Keras on real pictures.

    Neither the artefact nor the report beside it names a folder of this machine: paths are cut to their last names.
    What is written takes uint8 pictures (batch, height, width, channels) of the size that the model takes, and gives
    calibrated probabilities (batch, classes). It says of itself what the model file says: classes, how pictures are
    made ready, provenance.

    Args:
        model: A model file or run folder.
        to: The format, one of `ception.artefacts.FORMATS`, or `huggingface` for a folder to be pushed to the hub.
        reporter: Receives notes, warnings and progress; None for what `ception.reporting.default` gives.
        options: Fields of `ExportSettings`.

    Returns:
        The comparison, which also lies beside the artefact as `ARTEFACT.report.json`.

    Raises:
        InputError: the model, the data or an option cannot be used, or a package is missing.
        RunError: the artefact says something else than the model on more pictures than are allowed, and is not left; or
            it cannot be written.
    """
    settings = settings_of(ExportSettings, options)
    reporter = or_default(reporter)
    if to == "huggingface":
        from ception.exporting.publishing import publish

        return publish(model, settings, reporter)
    return _artefact(model, to, settings, reporter)


def _artefact(model: str | Path, to: FormatName, settings: ExportSettings, reporter: Reporter) -> ExportReport:
    """As `export`, to a format of a single artefact."""
    if to not in FORMATS:
        raise InputError(f"'{to}' is no format: {nearest(to, [*FORMATS, 'huggingface'])}")
    path = keras_file(model, reporter=reporter)
    description = describe(path)
    description.require_weights()
    targets.target_of(to, settings.dtype)
    named = Path(f"{hub.named(model)}.keras") if hub.is_named(model) else path
    out = targets.out_of(named, to, settings.dtype, settings.out)
    compared_on = gate.sample(
        description, settings.data, settings.pictures, split="test", cache_limit=settings.cache_limit,
        reporter=reporter,
    )  # fmt: skip
    samples = _samples(description, settings, reporter) if settings.dtype == "int8" else None
    job = _Job(path, to, out, settings, samples, compared_on, reporter)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".export-") as folder:
            unfinished = Path(folder) / out.name
            report = _written(job, unfinished)
            _put(unfinished, out)
    except OSError as error:
        raise RunError(f"{out} cannot be written: {reason(error)}") from None
    write_json(out.with_name(out.name + ".report.json"), without_paths(report.as_dict()))
    return report


def _samples(description: ModelDescription, settings: ExportSettings, reporter: Reporter) -> NDArray[np.uint8]:
    """The pixels that int8 takes its ranges from."""
    chosen = gate.sample(
        description, settings.calibrate, _CALIBRATED_ON, split="train", cache_limit=settings.cache_limit,
        reporter=reporter, option="--calibrate",
    )  # fmt: skip
    return gate.pixels_of(chosen, description.image, reporter)


def _written(job: _Job, unfinished: Path) -> ExportReport:
    """Write the artefact and compare it; where int8 costs too much, with some layers in float32.

    Raises:
        RunError: it says something else than the model on more pictures than are allowed.
    """
    settings = job.settings
    with _in_keras(job) as (reference, network):
        public = described_without_paths(reference.description)
        prepared = _rounded(job, network)

        def attempt(kept: Sequence[str] = ()) -> gate.Agreement:
            job.reporter.note(f"Writing {job.to} in {settings.dtype} ...")
            written = rounding.with_exact(prepared, network, kept)
            write(written, job.to, unfinished, settings.dtype, job.samples, kept)
            metadata.write(
                unfinished, job.to, precision=settings.dtype, described=public.as_json(),
                min_confidence=settings.min_confidence,
            )  # fmt: skip
            with _read_back(job, unfinished) as ours:
                return gate.agreement(ours, reference, job.compared_on, job.reporter)

        found = attempt()
        notes: tuple[str, ...] = ()
        if job.samples is not None and mixed.costs_too_much(found, job.allowed):
            job.reporter.note("Looking for the layers that int8 costs most ...")
            layers = mixed.costly_layers(network, job.to, unfinished, job.samples)
            order = mixed.in_turn(network, job.to, layers)
            found, notes = mixed.tried(found, layers, attempt, allowed=job.allowed, order=order)
        _require_agreement(job, found, notes)
        return _report(job, unfinished, reference, found, notes)


@contextmanager
def _in_keras(job: _Job) -> Iterator[tuple[Predictor, Operations]]:
    """The model in Keras, and its operations up to calibrated probabilities."""
    backends.start(job.settings.backend, job.reporter)
    from ception.classifier import Classifier
    from ception.engines.keras_backend import KerasEngine
    from ception.engines.translating import operations

    classifier = Classifier.load(job.model)
    with Predictor(classifier, KerasEngine(classifier.network), batch_size=16, reporter=job.reporter) as reference:
        yield reference, with_probabilities(operations(classifier.network), classifier.temperature)


def _rounded(job: _Job, network: Operations) -> Operations:
    """The network with weights that int8 keeps exactly, where that brings it nearer."""
    if job.samples is None or job.to not in rounding.FORMATS:
        return network
    job.reporter.note("Rounding weights by what they do to pictures ...")
    return rounding.compensated(network, job.to, job.samples)


def _read_back(job: _Job, unfinished: Path) -> Predictor:
    """The artefact in its own runtime, from its files."""
    artefact = metadata.read(unfinished)
    return Predictor.of_artefact(artefact, dtype=artefact.precision, batch_size=16, reporter=job.reporter)


def _require_agreement(job: _Job, found: gate.Agreement, notes: Sequence[str]) -> None:
    """Raise a RunError where an artefact says something else on more pictures than are allowed."""
    if found.disagreement > job.allowed:
        raise RunError(
            f"{job.to} in {job.settings.dtype} gives {found.differing:,} of "
            f"{counted(found.pictures, 'picture')} another label ({found.disagreement:.1%}, allowed "
            f"{job.allowed:.1%}; largest difference of a probability {found.largest_gap:.2g}): nothing is left; "
            "take another --dtype, or allow it with --max-disagreement" + (f". {notes[0]}" if notes else "")
        )


def _report(
    job: _Job, unfinished: Path, reference: Predictor, found: gate.Agreement, notes: tuple[str, ...]
) -> ExportReport:
    """What is told of an artefact that may stay, with the time that it and the model take."""
    job.reporter.note("Timing both ...")
    shape = reference.description.image.shape
    with _read_back(job, unfinished) as ours:
        speeds = gate.speed(ours.engine, shape), gate.speed(reference.engine, shape)
    accuracy = found.accuracy or (None, None)
    return ExportReport(
        artefact=str(job.out), format=job.to, precision=job.settings.dtype, model=str(job.model),
        data=job.compared_on.told, pictures=found.pictures, differing=found.differing,
        disagreement=round(found.disagreement, 6), allowed=job.allowed,
        largest_gap=float(f"{found.largest_gap:.3g}"), accuracy=accuracy[0], accuracy_in_keras=accuracy[1],
        size=size_of(unfinished), size_of_model=job.model.stat().st_size, speed=speeds[0], speed_in_keras=speeds[1],
        notes=notes,
    )  # fmt: skip


def _put(unfinished: Path, out: Path) -> None:
    """Give the artefact its name, in the place of an earlier one."""
    if unfinished.is_dir():
        if out.exists():
            shutil.rmtree(out)
        os.replace(unfinished, out)
        return
    # what lies beside a file first, so that the file never stands without it
    for source, target in reversed(list(zip(files_of(unfinished), files_of(out), strict=True))):
        os.replace(source, target)
