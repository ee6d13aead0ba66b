"""A trained classifier for other runtimes, with the proof that it says there what it says here: `export`."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Unpack

from ception import backends, hub
from ception.artefacts import FORMATS, FormatName, files_of, metadata, size_of
from ception.errors import InputError, RunError, nearest, reason
from ception.exporting import gate, targets
from ception.exporting.writing import with_probabilities, write
from ception.files import write_json
from ception.model_file import describe, model_file
from ception.options import ExportOptions
from ception.predictor import Predictor
from ception.reporting import Reporter, counted, or_default
from ception.results import ExportReport
from ception.settings import ExportSettings
from ception.validation import settings_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ception.model_file import ModelDescription

_CALIBRATED_ON = 300  # pictures


def export(
    model: str | Path,
    to: FormatName | Literal["huggingface"],
    *,
    reporter: Reporter | None = None,
    **options: Unpack[ExportOptions],
) -> ExportReport:
    """Write a model for another runtime, open it there, and compare it with the model in Keras on real pictures.

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
    path = model_file(model, reporter=reporter)
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
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".export-") as folder:
            unfinished = Path(folder) / out.name
            reference = _written(path, to, unfinished, settings, samples, reporter)
            report = _proven(path, out, unfinished, reference, compared_on, settings, reporter)
            _put(unfinished, out)
    except OSError as error:
        raise RunError(f"{out} cannot be written: {reason(error)}") from None
    write_json(out.with_name(out.name + ".report.json"), report.as_dict())
    return report


def _samples(description: ModelDescription, settings: ExportSettings, reporter: Reporter) -> NDArray[np.uint8]:
    """The pixels that int8 takes its ranges from."""
    chosen = gate.sample(
        description, settings.calibrate, _CALIBRATED_ON, split="train", cache_limit=settings.cache_limit,
        reporter=reporter,
    )  # fmt: skip
    return gate.pixels_of(chosen, description.image, reporter)


def _written(
    path: Path, to: FormatName, unfinished: Path, settings: ExportSettings, samples: NDArray[np.uint8] | None,
    reporter: Reporter,
) -> Predictor:  # fmt: skip
    """Write the artefact with what it says of itself; the model in Keras."""
    backends.start(settings.backend, reporter)
    from ception.classifier import Classifier
    from ception.engines.keras_backend import KerasEngine
    from ception.engines.translating import operations

    classifier = Classifier.load(path)
    reporter.note(f"Writing {to} in {settings.dtype} ...")
    network = with_probabilities(operations(classifier.network), classifier.temperature)
    write(network, to, unfinished, settings.dtype, samples)
    metadata.write(
        unfinished, to, precision=settings.dtype, described=classifier.as_json(),
        min_confidence=settings.min_confidence,
    )  # fmt: skip
    return Predictor(classifier, KerasEngine(classifier.network), batch_size=16, reporter=reporter)


def _proven(
    path: Path, out: Path, unfinished: Path, reference: Predictor, compared_on: gate.Sample,
    settings: ExportSettings, reporter: Reporter,
) -> ExportReport:  # fmt: skip
    """The artefact, read back from its files, compared with the model.

    Raises:
        RunError: it says something else on more pictures than are allowed.
    """
    artefact = metadata.read(unfinished)
    with reference, Predictor.of_artefact(artefact, dtype=artefact.precision, batch_size=16, reporter=reporter) as ours:
        found = gate.agreement(ours, reference, compared_on, reporter)
        shape = reference.description.image.shape
        reporter.note("Timing both ...")
        speeds = gate.speed(ours.engine, shape), gate.speed(reference.engine, shape)
    allowed = settings.max_disagreement
    if allowed is None:
        allowed = targets.BUDGETS[settings.dtype]
    disagreement = found.differing / found.pictures
    if disagreement > allowed:
        raise RunError(
            f"{artefact.format} in {artefact.precision} gives {found.differing:,} of "
            f"{counted(found.pictures, 'picture')} another label ({disagreement:.1%}, allowed {allowed:.1%}; largest "
            f"difference of a probability {found.largest_gap:.2g}): nothing is left; take another --dtype, or allow it "
            "with --max-disagreement"
        )
    accuracy = found.accuracy or (None, None)
    return ExportReport(
        artefact=str(out), format=artefact.format, precision=artefact.precision, model=str(path),
        data=compared_on.told, pictures=found.pictures, differing=found.differing,
        disagreement=round(disagreement, 6), allowed=allowed, largest_gap=float(f"{found.largest_gap:.3g}"),
        accuracy=accuracy[0], accuracy_in_keras=accuracy[1], size=size_of(unfinished),
        size_of_model=path.stat().st_size, speed=speeds[0], speed_in_keras=speeds[1],
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
