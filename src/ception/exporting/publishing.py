"""A model as a folder that can be pushed to the Hugging Face hub as it stands."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ception import hub
from ception.errors import InputError, RunError, reason
from ception.exporting import card, export, targets
from ception.exporting.private import described_without_paths, name_only, without_paths
from ception.files import write_json
from ception.model_file import MEMBER, describe, keras_file, name_of

if TYPE_CHECKING:
    from ception.model_file import ModelDescription
    from ception.reporting import Reporter
    from ception.results import ExportReport
    from ception.settings import ExportSettings

_ONNX, _CONFIG, _CARD, _CERTIFICATE = "model.onnx", "config.json", "README.md", "certificate.json"
_MODEL_TYPE = "ception"


def publish(model: str | Path, settings: ExportSettings, reporter: Reporter) -> ExportReport:
    """Write the folder: the model file, its ONNX export with the comparison, a model card, and what the hub reads.

    No path of this machine goes into it, and no digest of a training picture into what is read without our package.

    Args:
        model: A model file or run folder.
        settings: Of the export to ONNX; `out` is the folder.
        reporter: Receives notes, warnings and progress.

    Returns:
        The comparison of the ONNX export, with the folder as its artefact.

    Raises:
        InputError: the model cannot be used, or something else lies in the folder.
        RunError: the export says something else than the model, or the folder cannot be written.
    """
    path = keras_file(model, reporter=reporter)
    described = describe(path)
    described.require_weights()
    targets.target_of("onnx", settings.dtype)
    out = settings.out or Path(f"{name_of(model, file=path)}-huggingface")
    _require_free(out)
    public = described_without_paths(described)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".export-") as unfinished:
            folder = Path(unfinished)
            _copy(path, folder / hub.FILE, public)
            report = _exported(folder, described, settings, reporter)
            _add_what_lies_beside(path, folder)
            write_json(folder / _CONFIG, _config(public))
            (folder / _CARD).write_text(card.card_of(public, report, folder), "utf-8")
            out.mkdir(exist_ok=True)
            for file in folder.iterdir():  # one by one: the folder may be a clone of the repository
                os.replace(file, out / file.name)
    except OSError as error:
        raise RunError(f"{out} cannot be written: {reason(error)}") from None
    return replace(report, artefact=str(out), format="huggingface", model=str(path))


def _require_free(out: Path) -> None:
    """Raise an InputError where files of the folder's names lie that are no earlier export."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file: name a folder with --out")
    names = [name for name in (hub.FILE, _ONNX, _CONFIG, _CARD) if (out / name).exists()]
    if not names or names == [_CARD]:  # the hub begins a repository with a card
        return
    try:
        earlier = json.loads((out / _CONFIG).read_bytes())["model_type"] == _MODEL_TYPE
    except (OSError, ValueError, KeyError, TypeError):
        earlier = False
    if not earlier:
        raise InputError(f"{out} holds {names[0]} and is no export of ception: name another folder with --out")


def _copy(path: Path, target: Path, public: ModelDescription) -> None:
    """The model file, saying of itself what may be public."""
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w") as copy:
        for item in source.infolist():
            if item.filename != MEMBER:
                copy.writestr(item.filename, source.read(item))
        copy.writestr(MEMBER, json.dumps(public.as_json()), zipfile.ZIP_DEFLATED)


def _exported(folder: Path, described: ModelDescription, settings: ExportSettings, reporter: Reporter) -> ExportReport:
    """The ONNX export of the folder's model file, compared on what the model was trained with, where that still is."""
    trained_on = (described.record.get("data") or {}).get("source")
    data = settings.data or (trained_on if trained_on and Path(trained_on).exists() else None)
    options = {name: value for name, value in vars(settings).items() if name not in ("out", "data")}
    report = export(folder / hub.FILE, "onnx", reporter=reporter, out=folder / _ONNX, data=data, **options)
    report = replace(report, artefact=_ONNX, model=hub.FILE, data=name_only(report.data))
    write_json(folder / f"{_ONNX}.report.json", report.as_dict())
    return report


def _add_what_lies_beside(path: Path, folder: Path) -> None:
    """The picture of the confusion matrix and the certificate, where there are some."""
    if (path.parent / "settings.json").is_file() and (path.parent / card.CONFUSION).is_file():
        shutil.copyfile(path.parent / card.CONFUSION, folder / card.CONFUSION)
    certificate = path.with_suffix(".certificate.json")
    if certificate.is_file():
        try:
            write_json(folder / _CERTIFICATE, without_paths(json.loads(certificate.read_bytes())))
        except ValueError as error:
            raise InputError(f"{certificate} is no JSON: {error}") from None


def _config(public: ModelDescription) -> Mapping[str, Any]:
    """What the model file says, and what the hub reads, as plain values."""
    said = {key: value for key, value in public.as_json().items() if not key.startswith("training_")}
    names = {str(number): name for number, name in enumerate(public.class_names)}
    return {
        "model_type": _MODEL_TYPE, "library_name": "keras", "pipeline_tag": "image-classification",
        "tags": list(card.TAGS), "id2label": names, **said,
    }  # fmt: skip
