"""Values that come from a person's script, where no type checker has to have seen them."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import fields
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from ception.errors import InputError, nearest

_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/", re.IGNORECASE)


def typed(option: str, value: Any, wanted: Any) -> Any:
    """A value as a type has it: numbers of NumPy as Python's, lists as tuples, texts as paths and the other way.

    Args:
        option: What the value is called.
        value: What was given.
        wanted: A plain type, a `Literal` or `tuple[str, ...]`, or one of them or None.

    Raises:
        InputError: it is of another type, or none of the literals.
    """
    kinds = get_args(wanted) if get_origin(wanted) in (Union, UnionType) else (wanted,)
    kind = kinds[0]
    if value is None and NoneType in kinds:
        return None
    if get_origin(kind) is Literal:
        return _one_of(option, value, get_args(kind))
    accepts, made, called = _PLAIN[get_origin(kind) or kind]
    if not accepts(value):
        raise InputError(f"{option} must be {called}, got {value!r}")
    if kind is Path:
        require_here(option, value)
    return made(value)


def require_here(option: str, path: str | os.PathLike[str]) -> None:
    """Refuse an address such as `s3://bucket/runs` where only a path leads anywhere.

    Args:
        option: What the path is called.
        path: What was given.

    Raises:
        InputError: it is an address.
    """
    if _ADDRESS.match(os.fspath(path)) and not os.path.exists(path):
        raise InputError(f"{option} must be a path on this machine, not the address {as_typed(path)}")


def as_typed(path: str | os.PathLike[str]) -> str:
    """An address, such as a model's on the hub, as it was typed: a path keeps one of its two slashes."""
    return re.sub(f"^{_ADDRESS.pattern}(?=[^/])", r"\1://", os.fspath(path), flags=re.IGNORECASE)


def _one_of(option: str, value: Any, known: Sequence[str | int]) -> str | int:
    """The literal that is meant; True is not 1."""
    for one in known:
        if type(one) is type(value) and one == value:
            return one
    raise InputError(f"{option} cannot be {value!r}: {nearest(str(value), map(str, known))}")


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str | os.PathLike)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(one, str) for one in value)


_PLAIN: dict[type[Any], tuple[Callable[[Any], bool], Callable[[Any], Any], str]] = {
    bool: (lambda value: isinstance(value, bool), bool, "True or False"),
    int: (_is_whole, int, "a whole number"),
    float: (_is_number, lambda value: value if isinstance(value, int) else float(value), "a number"),
    str: (_is_text, os.fspath, "a text"),
    Path: (_is_text, Path, "a path"),
    tuple: (_are_texts, tuple, "a list of texts"),
}


def flag(name: str) -> str:
    """An option as it is typed: `--batch-size`."""
    return f"--{name.rstrip('_').replace('_', '-')}"


def flags_of(settings: Any) -> str:
    """The settings that are not the defaults as they are typed, each with a blank before it."""
    given = ""
    for field in fields(settings):
        name, value = field.name, getattr(settings, field.name)
        if value == field.default:
            continue
        if isinstance(value, bool):
            given += f" {flag(name)}" if value else f" --no-{flag(name).removeprefix('--')}"
        else:
            values = value if isinstance(value, tuple) else (value,)
            given += "".join(f" {flag(name)} {shlex.quote(str(one))}" for one in values)
    return given
