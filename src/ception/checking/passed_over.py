"""What lies in a folder of pictures without becoming part of the data set."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from ception.data.formats import SUFFIXES, kind_of_file
from ception.files import is_own

_SYSTEM = frozenset({"__MACOSX", "@eaDir"})  # folders that archives and network drives leave behind


@dataclass
class PassedOver:
    """What the data set leaves out, by path.

    Attributes:
        hidden: Hidden folders with pictures and folders of the system, with the number of pictures in each.
        empty: Class folders without a picture.
        outside: Pictures that lie outside the class folders.
        foreign: Pictures whose suffix is none of a picture, with their format.
    """

    hidden: dict[str, int] = field(default_factory=dict)
    empty: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    foreign: dict[str, str] = field(default_factory=dict)


def passed_over(root: Path, loaded: Collection[str], depth: int) -> PassedOver:
    """What a folder holds beside the pictures that were loaded from it; folders with results of Ception do not count.

    Args:
        root: The folder.
        loaded: Paths of the loaded pictures, as they come from `root`.
        depth: How far below the root the class folders lie: 1, or 2 where there are train and test folders.
    """
    passed = PassedOver()
    loaded = frozenset(map(os.path.normpath, loaded))
    counts: dict[str, int] = {}
    for parent, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not is_own(Path(parent, name)))
        below = Path(parent).relative_to(root).parts
        veiled = next((n for n, name in enumerate(below) if name.startswith(".") or name in _SYSTEM), None)
        hidden = None if veiled is None else os.path.join(root, *below[: veiled + 1])
        for name in sorted(files):
            path = os.path.normpath(os.path.join(parent, name))
            if (path in loaded or _noted(passed, path, hidden)) and len(below) >= depth:
                folder = os.path.join(root, *below[:depth])
                counts[folder] = counts.get(folder, 0) + 1
        if len(below) == depth and hidden is None:
            counts.setdefault(parent, 0)
    passed.empty = [folder for folder, count in counts.items() if not count]
    return passed


def _noted(passed: PassedOver, path: str, hidden: str | None) -> bool:
    """Note a file that was not loaded, below the hidden folder if there is one; whether it is a picture."""
    name = os.path.basename(path)
    picture = os.path.splitext(name)[1].lower() in SUFFIXES
    if hidden is not None:
        if picture or os.path.basename(hidden) in _SYSTEM:
            passed.hidden[hidden] = passed.hidden.get(hidden, 0) + (picture and not name.startswith("._"))
    elif name.startswith("."):  # such as what macOS writes beside each file
        return False
    elif picture:
        passed.outside.append(path)
    elif kind := kind_of_file(path):
        passed.foreign[path] = kind
    return picture
