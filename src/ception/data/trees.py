"""Folders and what is in them, on this machine or at an address, for those that read data sets from folders."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeAlias
from urllib.parse import unquote

from ception.data import stores
from ception.errors import InputError
from ception.files import MARK, is_own


class Entry(NamedTuple):
    """Something in a folder.

    Attributes:
        name: Its name there.
        path: Its path or address.
        is_folder: Whether it is a folder, or a link to one.
    """

    name: str
    path: str
    is_folder: bool


@dataclass(frozen=True)
class Stored:
    """A folder at an address, with what was listed there.

    Attributes:
        address: Where it is.
        listing: By the address of every folder below the first one, what is in it.
    """

    address: str
    listing: dict[str, list[Entry]] = field(repr=False, compare=False, hash=False)

    @property
    def name(self) -> str:
        """Of the folder."""
        return _shown(self.address, self.address.rpartition("/")[2])

    def __str__(self) -> str:
        return self.address

    def __lt__(self, other: Stored) -> bool:
        return self.address < other.address


Folder: TypeAlias = "Path | Stored"


def opened(address: str) -> Stored:
    """A folder at an address, listed with all folders in it.

    Raises:
        InputError: it cannot be listed, or nothing is there.
    """
    address = address.rstrip("/")
    listing: dict[str, dict[str, Entry]] = {address: {}}
    for name in stores.files_below(address):
        *folders, file = name.split("/")
        within = address
        for folder in folders:
            inner = f"{within}/{folder}"
            listing[within].setdefault(folder, Entry(_shown(address, folder), inner, True))
            within = inner
            listing.setdefault(within, {})
        listing[within][file] = Entry(_shown(address, file), f"{within}/{file}", False)
    if not listing[address]:
        raise InputError(f"there is nothing at {address}{_unless(address)}")
    return Stored(address, {folder: sorted(entries.values()) for folder, entries in listing.items()})


def _unless(address: str) -> str:
    """What may be meant by an address where nothing is listed."""
    if stores.is_of_the_web(address):
        return ", or its server lists no folders: name a .tar, .parquet, .csv or .npz file there"
    if re.match("hf://(?!datasets/)", address):
        return ": the hub's data sets are at hf://datasets/USER/NAME"
    return ""


def _shown(address: str, name: str) -> str:
    """What a person calls a file or folder below an address, where that of the web has `%20` for a space."""
    return unquote(name) if stores.is_of_the_web(address) else name


def entries(folder: Folder) -> list[Entry]:
    """What is in a folder, by name.

    Raises:
        OSError: it cannot be read.
    """
    if isinstance(folder, Stored):
        return folder.listing[folder.address]
    with os.scandir(folder) as listed:
        return sorted(Entry(one.name, one.path, one.is_dir()) for one in listed)


def below(folder: Folder) -> Iterator[str]:
    """The paths of all files in a folder and the folders in it."""
    if isinstance(folder, Path):
        yield from (str(path) for path in folder.rglob("*") if path.is_file())
        return
    for inside in folder.listing.values():
        yield from (one.path for one in inside if not one.is_folder)


def inner(folder: Folder, entry: Entry) -> Folder:
    """A folder that is in another one."""
    return Stored(entry.path, folder.listing) if isinstance(folder, Stored) else Path(entry.path)


def name_of(folder: Folder) -> str:
    """What a person calls a folder."""
    if isinstance(folder, Path) and folder.name in ("", ".."):
        return folder.resolve().name
    return folder.name


def real(folder: Folder) -> str:
    """What is the same for a folder and for links to it."""
    return folder.address if isinstance(folder, Stored) else os.path.realpath(folder)


def is_result(folder: Folder) -> bool:
    """Whether a folder holds results of this package."""
    if isinstance(folder, Path):
        return is_own(folder)
    return any(one.name == MARK for one in folder.listing.get(folder.address, ()))
