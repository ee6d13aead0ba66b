"""Which pictures look like placeholders: what a photo host shows where it has no picture, and what is all but empty.

A placeholder is drawn, not photographed: one colour almost everywhere, and few others in a word or an icon. So its grey
levels have little entropy. Line drawings and things on a plain ground have little too; what tells a placeholder is
that it stands in the data again and again. Alone, a picture counts only if it is of one colour all over.

Measured: none of TrashNet's 2,527 photos is that flat, one of 1,484 crops of traffic lights and 133 of the 70,000
pictures of Fashion-MNIST are, and none of these is a copy of another. Of 360 drawn placeholders (five sizes, six pairs
of colours, a text, an icon, both or a cross, JPEG of quality 40 and 85 and PNG) 99 % are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ception.checking.groups import Groups, groups, joined

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LEAST_ENTROPY = 1.1  # bits of the grey levels in steps of 8, from which on a picture is none
_LEAST_GROUND = 0.75  # share of the pixels that have its most common grey level
_EMPTY = 0.995  # that share where there is nothing else


def is_flat(facts: NDArray[np.void]) -> NDArray[np.bool_]:
    """Whether each picture is drawn with few colours, most of it with one."""
    return np.asarray((facts["entropy"] < _LEAST_ENTROPY) & (facts["ground"] >= _LEAST_GROUND) & (facts["width"] > 0))


def find(facts: NDArray[np.void], equal: Groups, near: Groups) -> tuple[Groups, Groups, Groups]:
    """Placeholders, each with its copies, the largest groups first, and the groups of equal and near pictures without.

    Args:
        facts: What `ception.checking.scan.scan` found.
        equal: Groups of equal pictures.
        near: Groups of pictures that show nearly the same, one of each equal ones.
    """
    flat = is_flat(facts)
    members = np.unique(np.concatenate([equal.members, near.members]))
    one = np.concatenate([np.repeat(found.first, found.sizes) for found in (equal, near)])
    other = np.concatenate([equal.members, near.members])
    number_of = joined(np.arange(len(members)), np.searchsorted(members, one), np.searchsorted(members, other))
    again = groups(number_of).of(members)
    again = again.where(again.all(flat))
    again = again.some(np.argsort(-again.sizes, kind="stable"))
    held = np.zeros(len(facts), bool)
    held[again.members] = True
    empty = np.flatnonzero(flat & ~held & (facts["ground"] >= _EMPTY))
    alone = len(again.members) + np.arange(len(empty))
    found = Groups(np.concatenate([again.members, empty]), np.concatenate([again.starts, alone]))
    return found, equal.where(~held[equal.first]), near.where(~held[near.first])
