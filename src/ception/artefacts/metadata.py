"""What an artefact says of itself: written into it with a digest of all the rest, and read with that digest checked."""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from ception.artefacts import Artefact, FormatName, format_of
from ception.artefacts.containers import CONTAINERS, DamagedError
from ception.engines import Precision
from ception.errors import InputError, reason

VERSION = 1
_MOST_SAID = 200  # characters of an error, which may quote what a file holds


def write(
    path: Path, kind: FormatName, *, precision: Precision, described: Mapping[str, Any], min_confidence: float = 0.0
) -> None:
    """Let an artefact say what it is.

    Args:
        path: The artefact, as its own library has written it.
        kind: Its format.
        precision: Numbers that it computes with.
        described: As `ModelDescription.as_json` gives it.
        min_confidence: Probability, 0..1, below which its answer is `unknown`.
    """
    told = {
        "version": VERSION, "format": kind, "precision": precision, "min_confidence": min_confidence,
        "model": described,
    }  # fmt: skip
    CONTAINERS[kind].put(path, json.dumps({**told, "digest": _digest(path, kind, told)}))


def read(path: Path) -> Artefact:
    """What an artefact says of itself. Nothing in it is run.

    Raises:
        InputError: there is none, it is damaged or altered, a newer version wrote it, or another program.
    """
    kind = format_of(path)
    if kind is None:
        raise InputError(f"{path} is no artefact of ception export")
    try:
        text = CONTAINERS[kind].text(path)
        if text is None:
            raise InputError(f"{path} does not say what it holds: it was not written by ception export, or is cut off")
        told = json.loads(text)
        if not isinstance(told, dict) or not isinstance(told.get("version"), int):
            raise DamagedError("what it says of itself is no description")
        if told["version"] > VERSION:
            raise InputError(f"{path} was written by a newer version: update ception")
        digest = told.pop("digest", None)
        if digest != _digest(path, kind, told):
            raise DamagedError("it was altered, or is cut off: its digest is another")
        return _artefact(path, kind, told)
    except InputError:  # one of those above, which is a ValueError too
        raise
    except OSError as error:
        raise InputError(f"{error.filename or path} cannot be opened: {reason(error)}") from None
    except (DamagedError, ValueError, KeyError, TypeError, EOFError, RuntimeError, NotImplementedError,
            RecursionError, OverflowError, zipfile.BadZipFile, zlib.error) as error:  # fmt: skip
        raise InputError(f"{path} is damaged: {' '.join(str(error).split())[:_MOST_SAID]}") from None


def _artefact(path: Path, kind: FormatName, told: Mapping[str, Any]) -> Artefact:
    precision, described, least = told["precision"], told["model"], told["min_confidence"]
    if told["format"] != kind or precision not in get_args(Precision):
        raise DamagedError(f"it says that it is {told['format']} in {precision}")
    if not isinstance(described, dict) or not isinstance(least, int | float) or not 0 <= least <= 1:
        raise DamagedError("what it says of itself is no description")
    return Artefact(path, kind, precision, described, float(least))


def _digest(path: Path, kind: FormatName, told: Mapping[str, Any]) -> str:
    """Of what an artefact says, and of all else that it holds."""
    digest = hashlib.blake2b(json.dumps(dict(told), sort_keys=True).encode(), digest_size=32)
    for part in CONTAINERS[kind].rest(path):
        digest.update(part)
    return digest.hexdigest()
