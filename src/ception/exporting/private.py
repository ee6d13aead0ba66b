"""What a model says of itself, without what tells of the machine and the person that made it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ception.model_file import ModelDescription

_WITHIN = re.compile(
    r"(?<![\w:/.~])(?:~|[A-Za-z]:)?[/\\](?:[^\s/\\'\",;:]+[/\\])*([^\s/\\'\",;:]+)[/\\]?"
)  # a path within a text, but no address and no `docs/recipes.md`
_PATHS = ("source", "weights", "runs", "model", "data", "output", "out", "artefact")  # keys of what may be a path


def without_paths(value: Any, key: str = "") -> Any:
    """Plain values in which each path is cut to its last name, so that folders and users stay private.

    Args:
        value: Texts, numbers, lists and mappings of these.
        key: What the value is called.
    """
    if isinstance(value, Mapping):
        return {name: without_paths(one, name) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [without_paths(one, key) for one in value]
    return name_only(value, key) if isinstance(value, str) else value


def described_without_paths(model: ModelDescription) -> ModelDescription:
    """What a model says of itself, with each path of its record cut to its last name."""
    return replace(model, record=without_paths(model.record))


def name_only(text: str, key: str = "") -> str:
    """The last name of a path; any other text with the paths within it cut likewise."""
    kinds = PurePosixPath, PureWindowsPath
    if any(kind(text).is_absolute() for kind in kinds) or text.startswith("~"):
        return _last(text)
    if key in _PATHS and not re.search(r"\s|://", text):
        return _last(text)
    return _WITHIN.sub(r"\1", text)


def _last(path: str) -> str:
    return PureWindowsPath(path).name or path.strip("/\\") or "data"
