"""Options as they are given -> a task's settings, or a refusal in words."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields, replace
from typing import Any, TypeVar, get_type_hints

from ception.errors import InputError, nearest
from ception.ranges import require_in_range
from ception.settings import (
    BenchSettings,
    CheckSettings,
    CompareSettings,
    ConvertSettings,
    EvaluateSettings,
    ExplainSettings,
    ExportSettings,
    JobSettings,
    PredictSettings,
    ServeSettings,
    ShardSettings,
    SummarySettings,
    TrainSettings,
    TuneSettings,
)
from ception.values import flag, typed

Settings = TypeVar(
    "Settings", TrainSettings, EvaluateSettings, PredictSettings, CompareSettings, SummarySettings, ConvertSettings,
    CheckSettings, ExplainSettings, ExportSettings, ServeSettings, ShardSettings, BenchSettings,
    JobSettings, TuneSettings,
)  # fmt: skip

RENAMED: dict[type[Any], dict[str, str]] = {  # what options were called before -> what they are called
    TrainSettings: {"precision": "dtype"},
    EvaluateSettings: {"precision": "target_precision", "output": "out"},
    CompareSettings: {"output": "out"},
    SummarySettings: {"precision": "dtype", "size": "image_size"},
}


def settings_of(kind: type[Settings], options: Mapping[str, Any]) -> Settings:
    """The settings that the keyword arguments of a public function mean.

    Args:
        kind: The task's settings.
        options: Some of its fields, by name.

    Raises:
        InputError: there is no such option, or it cannot have that value.
    """
    refuse_unknown(options, [field.name for field in fields(kind)], RENAMED.get(kind, {}))
    return checked(kind(**options))


def saved_settings(kind: type[Settings], saved: Mapping[str, Any]) -> Settings:
    """The settings that a run folder keeps, whatever its options were called when it was written.

    Raises:
        InputError: as for `settings_of`.
    """
    renamed = RENAMED.get(kind, {})
    return settings_of(kind, {renamed.get(name, name): value for name, value in saved.items()})


def refuse_unknown(names: Iterable[str], known: Collection[str], renamed: Mapping[str, str]) -> None:
    """Refuse the first option that is not known.

    Args:
        names: Options that are given.
        known: Options that there are.
        renamed: What some of them were called before -> what they are called.

    Raises:
        InputError: there is one; the message names what it is called now, or the nearest.
    """
    for name in names:
        if name in renamed:
            raise InputError(f"the option '{name}' is called '{renamed[name]}' now")
        if name not in known:
            raise InputError(f"unknown option '{name}': {nearest(name, known)}")


def checked(settings: Settings) -> Settings:
    """The settings with every value as its option's type has it: paths as `Path`, lists as tuples.

    Raises:
        InputError: a value is of another type, none of those that the option knows, or out of its range.
    """
    types = get_type_hints(type(settings))
    settings = replace(
        settings, **{name: typed(flag(name), getattr(settings, name), wanted) for name, wanted in types.items()}
    )
    for field in fields(settings):
        require_in_range(field.name, flag(field.name), getattr(settings, field.name))
    return settings
