"""What layers are made of, for JAX on a CPU.

XLA computes a grouped convolution, and the gradients of any, many times slower than the products and sums that they
consist of.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from keras import ops

KINDS = ("Conv2D", "DepthwiseConv2D", "MaxPooling2D", "SeparableConv2D")


def pointwise(x: Any, kernel: Any, strides: tuple[int, int]) -> Any:
    """A convolution with a kernel of (1, 1, channels, filters)."""
    x = x[:, :: strides[0], :: strides[1]]
    return jnp.matmul(x.reshape(-1, x.shape[-1]), kernel[0, 0]).reshape(*x.shape[:3], kernel.shape[-1])


def convolution(x: Any, kernel: Any, strides: tuple[int, int], padding: str) -> Any:
    """A convolution, as Keras computes it."""
    return ops.conv(x, kernel, strides=strides, padding=padding, data_format="channels_last")


def separable(x: Any, depthwise_kernel: Any, kernel: Any, strides: tuple[int, int], padding: str) -> Any:
    """A convolution of each channel alone, then one across all."""
    return pointwise(depthwise(x, depthwise_kernel, strides, padding), kernel, (1, 1))


def batch_norm(x: Any, gamma: Any, beta: Any, epsilon: float) -> tuple[Any, Any, Any]:
    """The input with mean beta and deviation gamma in each channel, and the batch's mean and variance."""
    x = x.astype(jnp.float32)
    mean, variance = ops.moments(x, (0, 1, 2))
    return ops.batch_normalization(x, mean, variance, -1, beta, gamma, epsilon), mean, variance


def _margins(size: tuple[int, int], window: tuple[int, int], strides: tuple[int, int], padding: str) -> Any:
    """What is added to height and width, before and after."""
    return lax.padtype_to_pads(size, window, strides, padding.upper())


def _padded(x: Any, window: tuple[int, int], strides: tuple[int, int], padding: str, value: float) -> Any:
    margins = _margins(x.shape[1:3], window, strides, padding)
    return jnp.pad(x, [(0, 0), *margins, (0, 0)], constant_values=value)


def _shifted(x: Any, row: int, column: int, size: tuple[int, int], strides: tuple[int, int]) -> Any:
    """What each window has at one of its places."""
    batch, _, _, channels = x.shape
    (height, width), (down, right) = size, strides
    end = (batch, row + (height - 1) * down + 1, column + (width - 1) * right + 1, channels)
    return lax.slice(x, (0, row, column, 0), end, (1, down, right, 1))


def _places(window: tuple[int, int]) -> list[tuple[int, int]]:
    return [(row, column) for row in range(window[0]) for column in range(window[1])]


def _outputs(padded: Any, window: tuple[int, int], strides: tuple[int, int]) -> tuple[int, int]:
    height, width = ((padded.shape[axis + 1] - window[axis]) // strides[axis] + 1 for axis in (0, 1))
    return height, width


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def depthwise(x: Any, kernel: Any, strides: tuple[int, int], padding: str) -> Any:
    """A convolution of each channel alone: as many shifted products as the kernel has places.

    Args:
        x: (batch, height, width, channels).
        kernel: (height, width, channels, 1).
        strides: Down and to the right.
        padding: "same" or "valid".
    """
    window = kernel.shape[:2]
    padded = _padded(x, window, strides, padding, 0)
    size = _outputs(padded, window, strides)
    return sum(_shifted(padded, *place, size, strides) * kernel[*place, :, 0] for place in _places(window))


def _depthwise_forward(x: Any, kernel: Any, strides: tuple[int, int], padding: str) -> tuple[Any, tuple[Any, Any]]:
    return depthwise(x, kernel, strides, padding), (x, kernel)


def _depthwise_backward(strides: tuple[int, int], padding: str, kept: tuple[Any, Any], gradient: Any) -> Any:
    x, kernel = kept
    return _for_input(x, kernel, strides, padding, gradient), _for_kernel(x, kernel, strides, padding, gradient)


depthwise.defvjp(_depthwise_forward, _depthwise_backward)


def _for_input(x: Any, kernel: Any, strides: tuple[int, int], padding: str, gradient: Any) -> Any:
    """The gradient for the input: the turned kernel over the gradient, with zeros between where there are strides."""
    window = kernel.shape[:2]
    margins = _margins(x.shape[1:3], window, strides, padding)
    spread = [(0, 0, 0)]
    for axis in (0, 1):
        before = window[axis] - 1 - margins[axis][0]
        dilated = (gradient.shape[axis + 1] - 1) * strides[axis] + 1
        spread.append((before, x.shape[axis + 1] + window[axis] - 1 - dilated - before, strides[axis] - 1))
    wide = lax.pad(gradient, jnp.zeros((), gradient.dtype), [*spread, (0, 0, 0)])
    turned = kernel[::-1, ::-1]
    return sum(_shifted(wide, *place, x.shape[1:3], (1, 1)) * turned[*place, :, 0] for place in _places(window))


def _for_kernel(x: Any, kernel: Any, strides: tuple[int, int], padding: str, gradient: Any) -> Any:
    """The gradient for the kernel, a row of the outputs after another, so that what is summed stays in the cache."""
    window, (down, right) = kernel.shape[:2], strides
    padded, width = _padded(x, window, strides, padding, 0), gradient.shape[2]

    def add(sums: Any, row: Any) -> tuple[Any, None]:
        of_row = lax.dynamic_index_in_dim(gradient, row, 1, keepdims=False).astype(jnp.float32)
        rows = lax.dynamic_slice_in_dim(padded, row * down, window[0], 1).astype(jnp.float32)
        added = [
            (lax.slice_in_dim(rows[:, place[0]], place[1], place[1] + (width - 1) * right + 1, right, 1) * of_row).sum(
                (0, 1)
            )
            for place in _places(window)
        ]
        return sums + jnp.stack(added).reshape(sums.shape), None

    start = jnp.zeros(kernel.shape[:3], jnp.float32)
    return lax.scan(add, start, jnp.arange(gradient.shape[1]))[0][..., None].astype(kernel.dtype)


@partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def max_pool(x: Any, window: tuple[int, int], strides: tuple[int, int], padding: str) -> Any:
    """The largest value of each window; its gradient goes to the first place that has it."""
    padded = _padded(x, window, strides, padding, -jnp.inf)
    size = _outputs(padded, window, strides)
    first, *others = (_shifted(padded, *place, size, strides) for place in _places(window))
    for other in others:
        first = jnp.maximum(first, other)
    return first


def _max_pool_forward(x: Any, window: tuple[int, int], strides: tuple[int, int], padding: str) -> Any:
    largest = max_pool(x, window, strides, padding)
    padded = _padded(x, window, strides, padding, -jnp.inf)
    size, places = _outputs(padded, window, strides), _places(window)
    found = jnp.zeros(largest.shape, jnp.int8)
    for number in reversed(range(len(places))):
        found = jnp.where(_shifted(padded, *places[number], size, strides) == largest, jnp.int8(number), found)
    return largest, (found, x)


def _max_pool_backward(
    window: tuple[int, int], strides: tuple[int, int], padding: str, kept: tuple[Any, Any], gradient: Any
) -> tuple[Any]:
    found, x = kept
    shape = x.shape
    margins = _margins(shape[1:3], window, strides, padding)
    none = jnp.zeros((), gradient.dtype)
    total = jnp.zeros(shape, gradient.dtype)
    for number, place in enumerate(_places(window)):
        spread = [(0, 0, 0)]
        for axis in (0, 1):
            before = place[axis] - margins[axis][0]
            dilated = (gradient.shape[axis + 1] - 1) * strides[axis] + 1
            spread.append((before, shape[axis + 1] - dilated - before, strides[axis] - 1))
        total += lax.pad(jnp.where(found == number, gradient, none), none, [*spread, (0, 0, 0)])
    return (total,)


max_pool.defvjp(_max_pool_forward, _max_pool_backward)
