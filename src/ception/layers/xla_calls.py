"""Calls of the compiled kernels by programs of XLA: for a whole batch, or for the share of each of several devices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ception.layers.compiled import are_known_to_xla

are_known_to_xla()  # or XLA could not call them

Shape = tuple[int, ...]
_MESHES: list[jax.sharding.Mesh] = []  # of the devices over which the batch lies that is traced; none where it is whole


@contextmanager
def spread_over(mesh: jax.sharding.Mesh) -> Iterator[None]:
    """A context in which programs are traced whose batches lie on all devices of a mesh, along its axis `batch`."""
    _MESHES.append(mesh)
    try:
        yield
    finally:
        _MESHES.pop()


_Completed = Callable[[list[Any], tuple[Any, ...]], list[Any]]


def call(
    name: str, spread: str, arguments: tuple[Any, ...], shapes: Sequence[tuple[Shape, Any]],
    completed: _Completed | None = None, **attributes: Any,
) -> list[Any]:  # fmt: skip
    """The results of an operation, whose shapes and kinds of numbers are given.

    Args:
        name: Of the operation.
        spread: A letter for each argument, a colon, one for each result: `b` where a device has its share of the batch,
            `.` where each has all, which `completed` sees to for results, `+` for those that are sums over the shares.
        arguments: What it takes.
        shapes: Of the results, and their kinds of numbers.
        completed: Makes the results for a share right that sums over all shares belong to; of them and the arguments.
        attributes: Of the operation.
    """
    given = {
        key: np.float32(value) if isinstance(value, float) else np.int32(value) for key, value in attributes.items()
    }

    def computed(arguments: tuple[Any, ...], shapes: Sequence[tuple[Shape, Any]]) -> list[Any]:
        results = [jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in shapes]
        made: list[Any] = jax.ffi.ffi_call(f"ception_{name}", results, vmap_method="sequential")(*arguments, **given)
        return made

    if not _MESHES:
        return computed(arguments, shapes)
    mesh, (takes, gives) = _MESHES[-1], spread.split(":")

    def of_share(*share: Any) -> tuple[Any, ...]:
        own = [
            ((shape[0] // mesh.size, *shape[1:]) if how == "b" else shape, dtype)
            for how, (shape, dtype) in zip(gives, shapes, strict=True)
        ]
        made = computed(share, own)
        made = completed(made, share) if completed else made
        return tuple(_added(one) if how == "+" else one for how, one in zip(gives, made, strict=True))

    inputs, outputs = (
        tuple(jax.sharding.PartitionSpec(*["batch"][: how == "b"]) for how in each) for each in (takes, gives)
    )
    spread_out = jax.shard_map(of_share, mesh=mesh, in_specs=inputs, out_specs=outputs, check_vma=False)
    return list(spread_out(*arguments))


def _added(value: Any) -> Any:
    """The sum over the shares of a batch."""
    return lax.psum(value.astype(jnp.float32), "batch").astype(value.dtype)


def is_computed(x: Any, *kinds: Any) -> bool:
    """Whether numbers of the right kind are there, any that the library knows where none is named, and all of them.

    Of several devices each may have a part of an array. XLA cannot cut an operation that it does not know: it would
    gather the whole batch on each. So that is done here, where it is known that a batch lies on all of them.
    """
    whole = x.shape[0] % _MESHES[-1].size == 0 if _MESHES else jax.device_count() == 1
    return x.dtype in (kinds or (jnp.float32, jnp.bfloat16)) and x.size > 0 and whole
