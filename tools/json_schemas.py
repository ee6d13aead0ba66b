"""JSON schemas of what commands write, from the types of the results, for docs/reference/schemas/."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal

from docstring_parser import parse

from ception import results
from ception.results.result import Result
from ception.settings import TrainSettings
from ception.training.state import Decisions

DRAFT = "https://json-schema.org/draft/2020-12/schema"
_PLAIN = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}
TYPES: dict[str, tuple[type, str]] = {  # by the name of the schema: the type, and what it is the schema of
    "scores": (results.Scores, "scores.json of a run or an evaluation, and train and evaluate --json"),
    "prediction": (results.Prediction, "a line of predict --json"),
    "check": (results.CheckResult, "check --json"),
    "comparison": (results.Comparison, "comparison.json, and compare --json"),
    "run": (results.RunEntry, "one of the list of runs --json"),
    "export": (results.ExportReport, "the report beside an export, and export --json"),
    "explanation": (results.Explanation, "one of the list of explanations.json, and explain --json"),
    "summary": (results.NetworkSummary, "summary --json"),
    "shards-written": (results.ShardResult, "shard --json"),
    "benchmark": (results.Benchmark, "bench --json"),
    "job": (results.JobResult, "predict --out --json"),
    "tuning": (results.TuneResult, "tune --json"),
    "diagnosis": (results.Diagnosis, "doctor --json"),
    "certificate": (results.Certificate, "the certificate beside a converted model, and convert --json"),
    "exported-weights": (results.ExportedWeights, "convert --to --json"),
}


def schemas() -> dict[str, dict[str, Any]]:
    """Every schema that follows from a type, by its name."""
    made = {name: _headed(name, told, of_type(kind)) for name, (kind, told) in TYPES.items()}
    made["decided"] = _headed("decided", "decided.json in the checkpoints of a run", of_decisions())
    made["settings-of-train"] = _headed(
        "settings-of-train", "`settings` in settings.json and in a model file's record", of_settings(TrainSettings)
    )
    return made


def _headed(name: str, told: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"$schema": DRAFT, "$id": f"{name}.schema.json", "title": told, **schema}


def of_type(kind: Any) -> dict[str, Any]:
    """The schema of the plain values of a type."""
    if kind is Any:
        return {}
    if kind in _PLAIN:
        return {"type": _PLAIN[kind]}
    if inspect.isclass(kind) and issubclass(kind, Result) and is_dataclass(kind):
        return _of_result(kind)
    return _of_many(kind, typing.get_origin(kind), typing.get_args(kind))


def _of_many(kind: Any, origin: Any, inside: tuple[Any, ...]) -> dict[str, Any]:
    """The schema of a type that is made of others."""
    if origin is Literal:
        return {"enum": list(inside)}
    if origin in (types.UnionType, typing.Union):
        return {"anyOf": [of_type(one) for one in inside]}
    if origin is tuple and inside[-1:] != (...,):
        return {"type": "array", "prefixItems": [of_type(one) for one in inside], "minItems": len(inside),
                "maxItems": len(inside)}  # fmt: skip
    if origin is not None and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": of_type(inside[1])}
    if origin is not None:
        return {"type": "array", "items": of_type(inside[0])}
    raise TypeError(f"there is no schema of {kind}")


def _of_result(kind: type[Result]) -> dict[str, Any]:
    """The schema of a result: its fields, and what is derived from them, under the keys that they have there."""
    told = _told(kind)
    hints = typing.get_type_hints(kind)
    values = {field.name: of_type(hints[field.name]) for field in fields(kind)}  # type: ignore[arg-type]
    for name in kind._DERIVED:
        values[name] = of_type(typing.get_type_hints(getattr(kind, name).fget)["return"])
        told[name] = " ".join((inspect.getdoc(getattr(kind, name)) or "").split())
    properties = {kind._KEYS.get(name, name): _with(told.get(name), value) for name, value in values.items()}
    return {
        "type": "object",
        "properties": properties,
        "required": [kind._KEYS.get(name, name) for name in values if name not in kind._OMITTED],
        "additionalProperties": False,
    }


def of_settings(kind: type) -> dict[str, Any]:
    """The schema of settings as they are kept: paths are texts."""
    told = {name: text for base in reversed(kind.__mro__) for name, text in _told(base).items()}
    properties = {}
    for field in fields(kind):
        hint = typing.get_type_hints(kind)[field.name]
        value = {"type": "string"} if "Path" in str(hint) else of_type(hint)
        default = {} if field.default is MISSING else {"default": _plain(field.default)}
        properties[field.name] = _with(told.get(field.name), value | default)
    return {"type": "object", "properties": properties, "additionalProperties": False}


def of_decisions() -> dict[str, Any]:
    """The schema of what the machine has decided in a training; phases are counted from 1, as texts."""
    told = _told(Decisions)
    by_phase = {"type": "object", "patternProperties": {"^[0-9]+$": {"type": "integer", "minimum": 1}},
                "additionalProperties": False}  # fmt: skip
    return {
        "type": "object",
        "properties": {
            "precision": {"enum": ["float32", "bfloat16"], "description": told["dtype"]},
            "epochs": _with(told["epochs"], by_phase),
            "parts": _with(told["parts"], by_phase),
        },
        "required": ["precision", "epochs", "parts"],
        "additionalProperties": False,
    }


def _told(kind: type) -> dict[str, str]:
    """What a docstring says of each attribute."""
    found = parse(inspect.getdoc(kind) or "").params if kind is not object else []
    return {one.arg_name: " ".join((one.description or "").split()) for one in found}


def _with(description: str | None, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {**schema, "description": description} if description else dict(schema)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value if type(value) in _PLAIN else str(value)
