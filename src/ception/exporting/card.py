"""The model card of a published model: what its file says, in Markdown."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from ception.errors import InputError
from ception.evaluation.calibration import short_threshold_for
from ception.evaluation.provenance import provenance
from ception.reporting import counted
from ception.results import Scores

if TYPE_CHECKING:
    from ception.model_file import ModelDescription
    from ception.results import ExportReport

TAGS = ("keras", "image-classification", "ception", "onnx")
CONFUSION = "confusion.png"
_FEW = 30  # pictures of a class, below which its numbers say little
_PRECISION = 0.95
_MARKS = re.compile(r"([\\`*_\[\]<>|#~$])")


def card_of(public: ModelDescription, report: ExportReport, folder: Path) -> str:
    """The card.

    Args:
        public: The model, without paths.
        report: The comparison of its ONNX export.
        folder: Where the files lie that belong to it.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("ception", "exporting"), trim_blocks=True, lstrip_blocks=True,
        undefined=StrictUndefined, finalize=_escaped,
    )  # fmt: skip
    scores = _scores(public)
    certificate = folder / "certificate.json"
    context = {
        "front": Markup(_front_matter(public, scores)),
        "network": public.config.name,
        "classes": public.class_names,
        "unnamed": public.unnamed,
        "image": public.image,
        "scores": scores,
        "few": [name for name, of in scores.per_class.items() if of.support < _FEW] if scores else [],
        "threshold": short_threshold_for(_PRECISION, public.coverage),
        "precision": f"{_PRECISION:.0%}",
        "temperature": public.temperature,
        "licence": _licence(public),
        "weights": public.record.get("weights") or (public.record.get("settings") or {}).get("weights"),
        "data": _data(public),
        "training": _training(public),
        "taken": public.record.get("taken") or {},
        "certificate": json.loads(certificate.read_bytes()) if certificate.is_file() else None,
        "confusion": (folder / CONFUSION).is_file(),
        "report": report,
        "compared_on": counted(report.pictures, "picture"),
        "version": version("ception"),
    }
    return environment.get_template("card.md.jinja").render(context)


def _escaped(value: Any) -> str:
    """A value as Markdown shows it, on one line; what is `Markup` stays as it is."""
    return value if isinstance(value, Markup) else _MARKS.sub(r"\\\1", re.sub(r"[\r\n\t]+", " ", str(value)))


def _scores(public: ModelDescription) -> Scores | None:
    """The scores on the test pictures; None where the model has none that can be read."""
    try:
        return Scores.from_dict(public.record["scores"])
    except (KeyError, TypeError, AttributeError):
        return None


def _data(public: ModelDescription) -> Mapping[str, Any] | None:
    """Name and counts of the data that it was trained on; None where they are not known."""
    data = public.record.get("data")
    known = isinstance(data, dict) and "name" in data and {"train", "val"} <= set(data.get("counts") or ())
    return data if known else None


def _training(public: ModelDescription) -> list[tuple[str, str]]:
    """How it was trained, in words; empty where that is not known."""
    try:
        told = provenance(public.record, public.image)
    except InputError:
        return []
    return [*told.rows(), ("Command", told.command)]


def _licence(public: ModelDescription) -> str | None:
    """The licence of the weights that it began with; None where it is not known, or all weights are its own."""
    licence = public.record.get("weights_licence")
    return licence if isinstance(licence, str) and licence != "unknown" else None


def _front_matter(public: ModelDescription, scores: Scores | None) -> str:
    """The metadata that the hub reads, as YAML.

    Source: https://huggingface.co/docs/hub/model-cards#model-card-metadata.
    """
    from huggingface_hub import EvalResult, ModelCardData

    licence, results, data = _licence(public), None, _data(public)
    name = str(data["name"] if data else "its test pictures")
    if scores:
        results = [
            EvalResult(
                task_type="image-classification", dataset_type=re.sub(r"[^\w.-]+", "-", name), dataset_name=name,
                dataset_split=scores.split, metric_type=metric, metric_name=metric.replace("_", " "),
                metric_value=round(value, 4),
            )
            for metric, value in (("accuracy", scores.accuracy), ("balanced_accuracy", scores.balanced_accuracy))
        ]  # fmt: skip
    front = ModelCardData(
        license=licence.lower() if licence else None, library_name="keras", tags=list(TAGS), metrics=["accuracy"],
        pipeline_tag="image-classification", eval_results=results,
        model_name=f"{public.config.name} on {name}" if results else None,
    )  # fmt: skip
    return str(front.to_yaml())
