"""What lies in a folder of pictures without becoming part of the data set."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from ception.data import naming
from ception.data.formats import kind_of_file
from ception.data.layouts import layout
from ception.files import is_own


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


def passed_over(root: Path, loaded: Collection[str]) -> PassedOver:
    """What a folder holds beside the pictures that were loaded from it; folders with results of Ception do not count.

    Args:
        root: The folder.
        loaded: Paths of the loaded pictures, as they come from `root`.
    """
    passed = PassedOver()
    loaded = frozenset(map(os.path.normpath, loaded))
    filled = {str(parent) for folder in {*map(os.path.dirname, loaded)} for parent in (folder, *Path(folder).parents)}
    for parent, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not is_own(Path(parent, name)))
        below = Path(parent).relative_to(root).parts
        veiled = next((n for n, name in enumerate(below) if naming.is_hidden(name) or naming.is_system(name)), None)
        hidden = None if veiled is None else os.path.join(root, *below[: veiled + 1])
        for name in sorted(files):
            path = os.path.normpath(os.path.join(parent, name))
            if path not in loaded and _noted(passed, path, hidden):
                filled.update(map(str, Path(path).parents))  # a class folder with passed over pictures is not empty
    passed.empty = [str(folder) for folder, _ in layout(root).class_folders() if str(folder) not in filled]
    return passed


def _noted(passed: PassedOver, path: str, hidden: str | None) -> bool:
    """Note a file that was not loaded, below the hidden folder if there is one; whether it is a picture."""
    name = os.path.basename(path)
    picture = naming.has_picture_suffix(name)
    if hidden is not None:
        if picture or naming.is_system(os.path.basename(hidden)):
            passed.hidden[hidden] = passed.hidden.get(hidden, 0) + (picture and not naming.is_hidden(name))
    elif naming.is_hidden(name):  # such as what macOS writes beside each file
        return False
    elif picture:
        passed.outside.append(path)
    elif kind := kind_of_file(path):
        passed.foreign[path] = kind
    return picture
