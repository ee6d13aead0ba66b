"""Where the class folders of a data set lie: in the folder, in train and test folders, or one folder further in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ception.data import naming, trees
from ception.data.dataset import UNSTATED
from ception.data.trees import Folder
from ception.errors import InputError

_NAMED = 4  # folders that a message names at most


@dataclass(frozen=True)
class Layout:
    """How a folder is to be read.

    Attributes:
        parents: Folders whose folders are the classes, each with the split that it states.
        class_first: Whether train and test folders lie within each class instead.
        notes: What was taken for what, where it could be taken otherwise.
        warnings: What was left out.
    """

    parents: tuple[tuple[Folder, int], ...]
    class_first: bool = False
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def class_folders(self) -> list[tuple[Folder, int]]:
        """The folder of each class, with the split that it states."""
        return [(folder, split) for parent, split in self.parents for folder in visible_folders(parent)]


def layout(root: Folder) -> Layout:
    """How a folder is to be read, by the names of the folders in it and by what they hold.

    Raises:
        InputError: it is a folder of data sets, or what is a split and what a class cannot be told.
        OSError: a folder cannot be read.
    """
    inner = _unwrapped(root)
    notes = (f"the data are in {inner}, the one folder with pictures in {root}",) if inner != root else ()
    found = _with_splits(inner) or _with_classes(inner)
    return Layout(found.parents, found.class_first, notes + found.notes, found.warnings)


def visible_folders(folder: Folder) -> list[Folder]:
    """The folders in a folder by name, without hidden ones, the system's, and results of Ception."""
    folders = [trees.inner(folder, one) for one in trees.entries(folder) if one.is_folder and not _is_veiled(one.name)]
    return [one for one in folders if not trees.is_result(one)]


def _is_veiled(name: str) -> bool:
    return naming.is_hidden(name) or naming.is_system(name)


def _unwrapped(root: Folder) -> Folder:
    """The folder itself, or the one in it that holds class folders or splits, where it holds nothing else."""
    inner = root
    while len(full := _full(inner)) == 1 and not _pictures(inner) and naming.split_of(full[0].name) is None:
        inner = full[0]
    return inner if full and not _pictures(inner) else root


def _with_splits(inner: Folder) -> Layout | None:
    """The layout of train, val and test folders; None where there are none, or they are classes of that name."""
    full = _full(inner)
    named = {folder: split for folder in full if (split := naming.split_of(folder.name)) is not None}
    parents = [(parent, split) for folder, split in named.items() if _full(parent := _class_parent(folder, split))]
    others = [folder for folder in full if folder not in named]
    flat = [folder for folder in named if not _full(folder)]
    if not parents:
        if len(set(named.values())) > 1 and not others:
            raise InputError(
                f"the pictures in {_listed(flat)} of {inner} lie in no class folders: make one folder per class in "
                "each, or list the pictures in a CSV with path,label,split"
            )
        return None
    if others and not _are_splits(parents, others, inner):
        name = next(iter(named)).name
        return Layout(((inner, UNSTATED),), notes=(f"'{name}' is taken for a class, like the folders beside it",))
    warnings = [
        f"{folder} holds pictures in no class folders; they are left out, because nothing says what they show"
        for folder in flat
    ]
    if others:
        warnings.append(f"{_listed(others)} beside {_listed(named)} in {inner}: left out")
    moved = [parent for parent, _ in parents if parent not in named]
    notes = (f"the classes are in {', '.join(map(str, moved))}",) if moved else ()
    return Layout(tuple(parents), notes=notes, warnings=tuple(warnings))


def _are_splits(parents: Sequence[tuple[Folder, int]], others: Sequence[Folder], inner: Folder) -> bool:
    """Whether folders named as splits are such though folders of other names lie beside them.

    Raises:
        InputError: they may be a split as well as a class.
    """
    if len({split for _, split in parents}) > 1:
        return True
    if 2 * sum(bool(_full(folder)) for folder in others) > len(others):
        return False
    parent = parents[0][0]
    raise InputError(
        f"{parent} may be the training pictures, with the classes {_listed(_full(parent))}, or a class beside "
        f"{_listed(others)}: give {parent} itself for the first, rename it for the second"
    )


def _class_parent(folder: Folder, split: int) -> Folder:
    """The folder itself, or the one within it that holds the class folders, as `training_set/training_set`."""
    inner = folder
    while len(full := _full(inner)) == 1 and not _pictures(inner):
        again = full[0].name == inner.name or naming.split_of(full[0].name) == split
        if not _full(full[0]) or (_pictures(full[0]) and not again):
            break
        inner = full[0]
    return inner


def _with_classes(inner: Folder) -> Layout:
    """The layout of class folders.

    Raises:
        InputError: the folders are data sets of their own.
    """
    folders = _full(inner)
    within = {folder: _full(folder) for folder in folders if not _pictures(folder)}
    splits = {
        folder: subfolders for folder, subfolders in within.items()
        if subfolders and all(naming.split_of(one.name) is not None for one in subfolders)
    }  # fmt: skip
    for folder, subfolders in splits.items():
        if any(_full(one) for one in subfolders):
            raise InputError(
                f"{inner} holds data sets, not classes: {folder.name} has {_listed(subfolders)} of its own; did you "
                f"mean {folder}?"
            )
    stated = {naming.split_of(one.name) for subfolders in splits.values() for one in subfolders}
    if splits and len(splits) == len(folders) and len(stated) > 1:
        return Layout(((inner, UNSTATED),), class_first=True, notes=("each class folder states the split within it",))
    warnings: tuple[str, ...] = ()
    if len(within) == len(folders) > 1 and (shared := _shared(within.values())):
        warnings = (
            f"{_listed(folders)} are taken for the classes, each with folders of its own ({', '.join(shared)}); did "
            f"you mean {folders[0]}?",
        )
    return Layout(((inner, UNSTATED),), warnings=warnings)


def _shared(within: Iterable[Sequence[Folder]]) -> list[str]:
    """Names of folders, numbered ones apart, that all hold alike; empty where there are not at least two."""
    sets = [{one.name for one in subfolders} for subfolders in within]
    names = sorted(set.intersection(*sets))
    return names[:_NAMED] if len(names) > 1 and any(not any(map(str.isdigit, name)) for name in names) else []


def _full(folder: Folder) -> list[Folder]:
    """The visible folders in a folder that hold pictures."""
    return [path for path in visible_folders(folder) if next(_somewhere(path, frozenset()), None)]


def _somewhere(folder: Folder, above: frozenset[str]) -> Iterator[bool]:
    """True, once, if there is a picture in the folder or the visible ones in it."""
    real = trees.real(folder)
    if real in above:  # a link that leads back
        return
    if _pictures(folder):
        yield True
    for inner in visible_folders(folder):
        yield from _somewhere(inner, above | {real})


def _pictures(folder: Folder) -> bool:
    """Whether pictures lie in the folder itself."""
    return any(
        not one.is_folder and not _is_veiled(one.name) and naming.is_picture(one.path) for one in trees.entries(folder)
    )


def _listed(folders: Iterable[Folder]) -> str:
    names = [folder.name for folder in folders]
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
