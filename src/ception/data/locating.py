"""The files that a table names, also where it spells them as another system or tool does."""

from __future__ import annotations

import os
import posixpath
from collections import Counter
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

from ception.data import naming, stores

_NOTES = {
    "backslashes": "backslashes in paths are taken for slashes",
    "letter case": "names of files are found in other letters, large or small",
    "suffix": "the suffix that the paths leave out is that of the files there",
}


class Locator:
    """Finds the files that a table names, and remembers what it had to change.

    Args:
        folder: Where paths begin that are not absolute: a path or an address.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._is_there = frozenset(stores.files_below(folder)).__contains__ if stores.is_address(folder) else None
        self._names: dict[str, dict[str, list[str]]] = {}
        self._changed: Counter[str] = Counter()

    def asked(self, written: str) -> str:
        """The path that is written, from where it begins."""
        if written.startswith("file:"):
            written = unquote(urlsplit(written).path)
        return written if stores.is_address(written) else stores.joined(self._folder, written)

    def find(self, written: str) -> str | None:
        """The file that is meant; None if there is none, or more than one could be."""
        path = self.asked(written)
        if stores.is_address(written):
            return path  # asking for each would take a while; what is not there is told when it is read
        if self._is_there is not None:
            return path if self._is_there(posixpath.normpath(written)) else None
        if os.path.isfile(path):
            return path
        changes = []
        if "\\" in written:
            path = self.asked(written.replace("\\", "/"))
            changes.append("backslashes")
        if not os.path.isfile(path):
            found = self._alike(path)
            if found is None:
                return None
            path, change = found
            changes.append(change)
        self._changed.update(changes)
        return path

    def notes(self) -> Iterator[str]:
        """What had to be changed to find the files, and how often."""
        for change, count in self._changed.items():
            yield f"{_NOTES[change]} ({count:,} pictures)"

    def _alike(self, path: str) -> tuple[str, str] | None:
        """The one file of that name in other letter case, or with the suffix of a picture; and which of the two."""
        folder, name = os.path.split(path)
        if folder not in self._names:
            self._names[folder] = _by_plain_name(folder)
        for change, plain in (("letter case", name.casefold()), ("suffix", name.casefold() + ".*")):
            if len(found := self._names[folder].get(plain, [])) == 1:
                return os.path.join(folder, found[0]), change
        return None


def _by_plain_name(folder: str) -> dict[str, list[str]]:
    """The files in a folder by their names in small letters, and by those of pictures with `.*` for the suffix."""
    names: dict[str, list[str]] = {}
    try:
        with os.scandir(folder) as entries:
            files = [entry.name for entry in entries if entry.is_file()]
    except OSError:
        return {}
    for name in files:
        names.setdefault(name.casefold(), []).append(name)
        if naming.has_picture_suffix(name):
            names.setdefault(os.path.splitext(name)[0].casefold() + ".*", []).append(name)
    return names
