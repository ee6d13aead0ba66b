"""What every process wants and each computes a share of: exchanged block by block, and kept in the cache of each."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ception.data import rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ception.distributed import Team
    from ception.reporting import Reporter

_HELD = 64 << 20  # bytes of a block, which a kill loses


def collect(
    team: Team,
    name: str,
    keys: NDArray[np.void],
    shape: tuple[int, ...],
    dtype: Any,
    compute: rows.Compute,
    *,
    in_all: int,
    limit_gb: float,
    announce: Callable[[int, int, int], None],
    reporter: Reporter,
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """As `rows.collect`, for processes that all want the same arrays, of which each computes its share.

    Args:
        team: The processes.
        name: As for `rows.collect`, like all that follow.
        keys: Of the arrays.
        shape: Of one of them.
        dtype: Of its numbers.
        compute: Computes them.
        in_all: Arrays that will be wanted later.
        limit_gb: Most that the cache folder may hold.
        announce: Told what is about to be computed.
        reporter: Receives warnings and progress.

    Raises:
        InputError: a process would compute something else, or as for `rows.collect`.
        RunError: as for `rows.collect`.
    """
    into = partial(rows.collect, name, shape=shape, dtype=dtype, limit_gb=limit_gb, reporter=reporter)
    if team.count > 1:
        team.require_same(name, "computes other numbers with what stays frozen")
        wanted = np.flatnonzero(np.any(team.gathered(rows.missing(name, keys)[None]), axis=(0, 1)))
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        if len(wanted):  # told by this process, whichever of those that share a cache writes there
            announce(len(wanted), len(wanted) * size, max(in_all, len(keys)) * size)
        nothing, block = np.zeros((0, *shape), dtype), max(team.count, _HELD // size)
        for start in range(0, len(wanted), block):
            now, room = wanted[start : start + block], 0 if start else in_all
            made = _exchanged(team, now, compute, nothing)
            with team.agreed():
                into(keys=keys[now], compute=partial(_taken, made), in_all=room, announce=lambda *_: None)
    return into(keys=keys, compute=compute, in_all=in_all, announce=announce)


def _exchanged(team: Team, wanted: NDArray[np.int64], compute: rows.Compute, nothing: NDArray[Any]) -> NDArray[Any]:
    """What is wanted, of which each process computes its share.

    Nothing is exchanged while a cache is locked, so that processes may have one in common, on one machine or over a
    network.
    """
    with team.agreed():
        own = [batch for _, batch in compute(np.array_split(wanted, team.count)[team.index])]
    return np.concatenate(team.gathered(np.concatenate([nothing, *own])))


def _taken(made: NDArray[Any], indices: NDArray[np.int64]) -> list[tuple[NDArray[np.integer], NDArray[Any]]]:
    return [(indices, made[indices])]
