"""Calls of the compiled kernels by programs of XLA: for a whole batch, or for the share of each of several devices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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


Shapes = Sequence[tuple[Shape, Any]]  # of results, with their kinds of numbers


def computed(
    name: str, arguments: Sequence[Any], shapes: Shapes, in_place: Mapping[int, int] | None = None, **attributes: Any
) -> list[Any]:
    """The results of an operation on the numbers that are here.

    Args:
        name: Of the operation.
        arguments: What it takes.
        shapes: Of the results.
        in_place: Numbers of arguments that become results, with those of these.
        attributes: Of the operation.
    """
    given = {
        key: np.float32(value) if isinstance(value, float) else np.int32(value) for key, value in attributes.items()
    }
    results = [jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in shapes]
    operation = jax.ffi.ffi_call(
        f"ception_{name}", results, vmap_method="sequential", input_output_aliases=dict(in_place or {})
    )
    made: list[Any] = operation(*arguments, **given)
    return made


def call(
    name: str, spread: str, arguments: tuple[Any, ...], shapes: Shapes,
    share: Callable[..., Sequence[Any]] | None = None, **attributes: Any,
) -> list[Any]:  # fmt: skip
    """The results of an operation, whose batch may lie on several devices.

    Args:
        name: Of the operation.
        spread: A letter for each argument, a colon, one for each result: `b` where a device has its share of the batch,
            `.` where each has all, `+` for results that are sums over the shares.
        arguments: What it takes.
        shapes: Of the results.
        share: Computes the results for a share instead, where they depend on more than that; of the arguments.
        attributes: Of the operation.
    """
    if not _MESHES:
        return computed(name, arguments, shapes, **attributes)
    mesh, (takes, gives) = _MESHES[-1], spread.split(":")

    def of_share(*given: Any) -> tuple[Any, ...]:
        own = [
            ((shape[0] // mesh.size, *shape[1:]) if how == "b" else shape, dtype)
            for how, (shape, dtype) in zip(gives, shapes, strict=True)
        ]
        made = share(*given) if share else computed(name, given, own, **attributes)
        sums = iter(added([one for how, one in zip(gives, made, strict=True) if how == "+"]))
        return tuple(next(sums) if how == "+" else one for how, one in zip(gives, made, strict=True))

    inputs, outputs = (
        tuple(jax.sharding.PartitionSpec(*["batch"][: how == "b"]) for how in each) for each in (takes, gives)
    )
    spread_out = jax.shard_map(of_share, mesh=mesh, in_specs=inputs, out_specs=outputs, check_vma=False)
    return list(spread_out(*arguments))


def added(values: Sequence[Any]) -> list[Any]:
    """The sums over the shares of a batch, in float32 and in one message: a small one takes long to arrive, too."""
    if not values:
        return []
    total = lax.psum(jnp.concatenate([value.astype(jnp.float32).ravel() for value in values]), "batch")
    parts = jnp.split(total, np.cumsum([value.size for value in values])[:-1])
    return [part.reshape(value.shape).astype(value.dtype) for part, value in zip(parts, values, strict=True)]


def is_computed(x: Any, *kinds: Any) -> bool:
    """Whether numbers of the right kind are there, any that the library knows where none is named, and all of them.

    Of several devices each may have a part of an array. XLA cannot cut an operation that it does not know: it would
    gather the whole batch on each. So that is done here, where it is known that a batch lies on all of them.
    """
    whole = x.shape[0] % _MESHES[-1].size == 0 if _MESHES else jax.device_count() == 1
    return x.dtype in (kinds or (jnp.float32, jnp.bfloat16)) and x.size > 0 and whole
