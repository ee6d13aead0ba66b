"""Which pictures look like placeholders: what a photo host shows where it has no picture, and what is all but empty.

A placeholder is drawn, not photographed: one colour almost everywhere, and few others in a word or an icon. So its grey
levels have little entropy. Line drawings and things on a plain ground have little too; what tells a placeholder is
that it stands in the data again and again. Alone, a picture counts only if it is of one colour all over.

Measured: none of TrashNet's 2,527 photos is that flat, one of 1,484 crops of traffic lights and 133 of the 70,000
pictures of Fashion-MNIST are, and none of these is a copy of another. Of 360 drawn placeholders (five sizes, six pairs
of colours, a text, an icon, both or a cross, JPEG of quality 40 and 85 and PNG) 99 % are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ception.checking.duplicates import groups, joined

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LEAST_ENTROPY = 1.1  # bits of the grey levels in steps of 8, from which on a picture is none
_LEAST_GROUND = 0.75  # share of the pixels that have its most common grey level
_EMPTY = 0.995  # that share where there is nothing else
Groups = Sequence["NDArray[np.intp]"]


def is_flat(facts: NDArray[np.void]) -> NDArray[np.bool_]:
    """Whether each picture is drawn with few colours, most of it with one."""
    return np.asarray((facts["entropy"] < _LEAST_ENTROPY) & (facts["ground"] >= _LEAST_GROUND) & (facts["width"] > 0))


def find(
    facts: NDArray[np.void], equal: Groups, near: Groups
) -> tuple[list[NDArray[np.intp]], list[NDArray[np.intp]], list[NDArray[np.intp]]]:
    """Placeholders, each with its copies, the largest groups first, and the groups of equal and near pictures without.

    Args:
        facts: What `ception.checking.scan.scan` found.
        equal: Groups of equal pictures.
        near: Groups of pictures that show nearly the same, one of each equal ones.
    """
    flat = is_flat(facts)
    group_of = np.arange(len(facts))
    for group in (*equal, *near):
        group_of = joined(group_of, group[:1].repeat(len(group)), group)
    again = [group for group in groups(group_of) if flat[group].all()]
    held = np.zeros(len(facts), bool)
    for group in again:
        held[group] = True
    empty = np.flatnonzero(flat & ~held & (facts["ground"] >= _EMPTY))
    found = sorted(again, key=len, reverse=True) + list(empty[:, None])
    return found, [group for group in equal if not held[group[0]]], [group for group in near if not held[group[0]]]
