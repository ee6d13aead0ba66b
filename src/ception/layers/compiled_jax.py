"""What layers are made of, for JAX on a CPU with the compiled kernels, which XLA calls; products in float32 alone.

Operations that follow one another are taken together while a program is traced: what normalises or clips is remembered
with what it was made of, and a depthwise convolution of it reads that, and normalises and clips while it reads. What
nobody reads then, XLA leaves out. Values that are there already are not taken together.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ception.layers import jax as plain
from ception.layers.compiled import covers_few, margins
from ception.layers.xla_calls import Shape, Shapes, added, call, computed, is_computed

KINDS = (*plain.KINDS, "BatchNormalization", "ReLU")

_Windows = tuple[tuple[int, int], tuple[int, int], str]  # their size, their strides, the padding


@dataclass(frozen=True)
class _Reading:
    """How maps are read: normalised where there are statistics, then clipped at 0 or not.

    Attributes:
        maps: What is read.
        statistics: Mean, variance, gamma and beta of the channels; the first two are those of the maps.
        epsilon: Added to the variance.
        clipped: Whether 0 stands where values are below.
    """

    maps: Any
    statistics: tuple[Any, ...] = ()
    epsilon: float = 0.0
    clipped: bool = False


_READINGS: dict[int, tuple[weakref.ref[Any], _Reading]] = {}  # of traced values, by their identity, while they live


def _remembered(made: Any, reading: _Reading) -> Any:
    """A value of which is known how it is read out of others; itself."""
    if isinstance(made, jax.core.Tracer):
        key = id(made)
        _READINGS[key] = weakref.ref(made, lambda _: _READINGS.pop(key, None)), reading
    return made


def _reading_of(x: Any) -> _Reading:
    """How a value is read: out of what it was made of where that is known, else as it is."""
    return _READINGS[id(x)][1] if id(x) in _READINGS else _Reading(x)


def _placed(windows: _Windows, clipped: bool | None = None, epsilon: float | None = None) -> Mapping[str, Any]:
    """The attributes of an operation with windows."""
    (height, width), (down, right), padding = windows
    found = {"window_height": height, "window_width": width, "down": down, "right": right, "same": padding == "same"}
    return found | {key: one for key, one in (("clipped", clipped), ("epsilon", epsilon)) if one is not None}


def _after(shape: Shape, windows: _Windows) -> Shape:
    """The shape of maps that windows are moved over, afterwards."""
    (height, width), (down, right), padding = windows
    batch, rows, columns, channels = shape
    return batch, margins(rows, height, down, padding)[0], margins(columns, width, right, padding)[0], channels


def _like(*values: Any) -> Shapes:
    return [(value.shape, value.dtype) for value in values]


def _channels(x: Any) -> Shapes:
    """Two numbers for each channel of maps."""
    return [((x.shape[-1],), jnp.float32)] * 2


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _depthwise(x: Any, kernel: Any, windows: _Windows, clipped: bool) -> Any:
    return call("depthwise", "b.:b", (x, kernel), [(_after(x.shape, windows), x.dtype)], **_placed(windows, clipped))[0]


def _depthwise_gradients(windows: _Windows, clipped: bool, kept: Any, gradient: Any) -> tuple[Any, ...]:
    return tuple(call("depthwise_gradients", "b.b:b+", (*kept, gradient), _like(*kept), **_placed(windows, clipped)))


_depthwise.defvjp(
    lambda x, kernel, windows, clipped: (_depthwise(x, kernel, windows, clipped), (x, kernel)), _depthwise_gradients
)


def _moments_of_all(x: Any) -> Sequence[Any]:
    """Mean and variance over the shares of all devices, which are of one size."""
    own = jnp.stack(computed("moments", (x,), _channels(x)))
    means, variances = jnp.unstack(lax.all_gather(own, "batch"), axis=1)
    mean = means.mean(0)
    return mean, (variances + jnp.square(means - mean)).mean(0)


def _finished(given: tuple[Any, ...], clipped: bool, epsilon: float, in_place: Mapping[int, int] | None = None) -> Any:
    """The gradient of a share's maps, which were normalised by the statistics of all shares.

    Args:
        given: The maps; mean, variance, gamma, beta; the gradient of what was read; those of gamma and beta over all.
        clipped: Whether what was read was clipped, and its gradient not yet.
        epsilon: Added to the variance.
        in_place: As `computed` takes it.
    """
    x = given[0]
    values = x.size // x.shape[-1] * lax.axis_size("batch")
    return computed("finish_gradient", given, _like(x), in_place, clipped=clipped, epsilon=epsilon, all=values)[0]


@partial(jax.custom_vjp, nondiff_argnums=(6, 7, 8))
def _normalized_depthwise(
    x: Any, kernel: Any, mean: Any, variance: Any, gamma: Any, beta: Any, windows: _Windows, clipped: bool,
    epsilon: float,
) -> Any:  # fmt: skip
    shapes, attributes = [(_after(x.shape, windows), x.dtype)], _placed(windows, clipped, epsilon)
    return call("normalized_depthwise", "b.....:b", (x, kernel, mean, variance, gamma, beta), shapes, **attributes)[0]


def _normalized_depthwise_gradients(
    windows: _Windows, clipped: bool, epsilon: float, kept: Any, gradient: Any
) -> tuple[Any, ...]:
    """The statistics are those of x, whose gradient has what goes through them."""
    name, how = "normalized_depthwise_gradients", _placed(windows, clipped, epsilon)

    def of_share(*given: Any) -> Sequence[Any]:
        x, kernel, *statistics, _ = given
        of_read, *sums = computed(name, given, _like(x, kernel, *statistics[2:]), apart=True, **how)
        of_kernel, *factors = added(sums)
        whole = x, *statistics, of_read, *factors
        return _finished(whole, False, epsilon, {5: 0}), of_kernel, *factors  # what was clipped has no gradient already

    x, kernel, mean, variance, gamma, beta = kept
    of_x, of_kernel, of_gamma, of_beta = call(
        name, "b.....b:b...", (*kept, gradient), _like(x, kernel, gamma, beta), of_share, **how
    )
    return of_x, of_kernel, jnp.zeros_like(mean), jnp.zeros_like(variance), of_gamma, of_beta


_normalized_depthwise.defvjp(lambda *given: (_normalized_depthwise(*given), given[:6]), _normalized_depthwise_gradients)


@partial(jax.custom_vjp, nondiff_argnums=(5, 6))
def _normalize(x: Any, mean: Any, variance: Any, gamma: Any, beta: Any, clipped: bool, epsilon: float) -> Any:
    return call("normalize", "b....:b", (x, mean, variance, gamma, beta), _like(x), clipped=clipped, epsilon=epsilon)[0]


def _normalize_gradients(clipped: bool, epsilon: float, kept: Any, gradient: Any) -> tuple[Any, ...]:
    def of_share(*given: Any) -> Sequence[Any]:
        factors = added(computed("factor_gradients", given, _like(*given[3:5]), clipped=clipped, epsilon=epsilon))
        return _finished((*given, *factors), clipped, epsilon), *factors

    x, mean, variance, gamma, beta = kept
    of_x, of_gamma, of_beta = call(
        "normalize_gradients", "b....b:b..", (*kept, gradient), _like(x, gamma, beta), of_share, clipped=clipped,
        epsilon=epsilon,
    )  # fmt: skip
    return of_x, jnp.zeros_like(mean), jnp.zeros_like(variance), of_gamma, of_beta


_normalize.defvjp(lambda *given: (_normalize(*given), given[:5]), _normalize_gradients)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _max_pool(x: Any, windows: _Windows) -> Any:
    return call("max_pool", "b:b", (x,), [(_after(x.shape, windows), x.dtype)], **_placed(windows))[0]


def _max_pool_forward(x: Any, windows: _Windows) -> tuple[Any, tuple[Any, Any]]:
    y = _max_pool(x, windows)
    return y, (x, y)


def _max_pool_gradient(windows: _Windows, kept: tuple[Any, Any], gradient: Any) -> tuple[Any, ...]:
    return tuple(call("max_pool_gradient", "bbb:b", (*kept, gradient), _like(kept[0]), **_placed(windows)))


_max_pool.defvjp(_max_pool_forward, _max_pool_gradient)


def _times(a: Any, b: Any, *, transposed_a: bool = False, transposed_b: bool = False) -> Any:
    shape = a.shape[1 if transposed_a else 0], b.shape[0 if transposed_b else 1]
    how: Mapping[str, Any] = {"transposed_a": transposed_a, "transposed_b": transposed_b}
    return call("product", "bb:+" if transposed_a else "b.:b", (a, b), [(shape, a.dtype)], **how)[0]


def _times_gradients(kept: tuple[Any, Any], gradient: Any) -> tuple[Any, Any]:
    a, b = kept
    return _times(gradient, b, transposed_b=True), _times(a, gradient, transposed_a=True)


_product = jax.custom_vjp(_times)
_product.defvjp(lambda a, b: (_times(a, b), (a, b)), _times_gradients)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _convolution(x: Any, kernel: Any, windows: _Windows) -> Any:
    shape = (*_after(x.shape, windows)[:3], kernel.shape[-1])
    return call("convolution", "b.:b", (x, kernel), [(shape, x.dtype)], **_placed(windows))[0]


def _convolution_gradients(windows: _Windows, kept: tuple[Any, Any], gradient: Any) -> tuple[Any, Any]:
    """Two operations: one that nobody asks for is left out of the program."""
    x, kernel = kept
    (of_x,) = call("convolution_gradient", "b.b:b", (x, kernel, gradient), _like(x), **_placed(windows))
    (of_kernel,) = call("convolution_kernel_gradient", "bb:+", (x, gradient), _like(kernel), **_placed(windows))
    return of_x, of_kernel


_convolution.defvjp(lambda x, kernel, windows: (_convolution(x, kernel, windows), (x, kernel)), _convolution_gradients)


def _selu_of_sum(x: Any, bias: Any) -> Any:
    return call("bias_selu", "b.:b", (x, bias), _like(x))[0]


def _selu_of_sum_forward(x: Any, bias: Any) -> tuple[Any, tuple[Any, Any]]:
    y = _selu_of_sum(x, bias)
    return y, (y, bias)


def _selu_of_sum_gradients(kept: tuple[Any, Any], gradient: Any) -> tuple[Any, ...]:
    return tuple(call("bias_selu_gradients", "bb:b+", (kept[0], gradient), _like(*kept)))


_bias_selu = jax.custom_vjp(_selu_of_sum)
_bias_selu.defvjp(_selu_of_sum_forward, _selu_of_sum_gradients)


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def _convolution_selu(x: Any, kernel: Any, bias: Any, windows: _Windows) -> Any:
    shape = (*_after(x.shape, windows)[:3], kernel.shape[-1])
    return call("convolution_selu", "b..:b", (x, kernel, bias), [(shape, x.dtype)], **_placed(windows))[0]


def _convolution_selu_forward(x: Any, kernel: Any, bias: Any, windows: _Windows) -> tuple[Any, tuple[Any, ...]]:
    y = _convolution_selu(x, kernel, bias, windows)
    return y, (x, kernel, y, bias)


def _convolution_selu_gradients(windows: _Windows, kept: tuple[Any, ...], gradient: Any) -> tuple[Any, ...]:
    """The input's is left out of the program where nobody asks for it."""
    x, kernel, y, bias = kept
    of_kernel, of_bias = call(
        "convolution_selu_gradients", "b.bb:++", (x, kernel, y, gradient), _like(kernel, bias), **_placed(windows)
    )
    before, _ = call("bias_selu_gradients", "bb:b+", (y, gradient), _like(y, bias))
    (of_x,) = jax.vjp(lambda x: convolution(x, kernel, *windows[1:]), x)[1](before)
    return of_x, of_kernel, of_bias


_convolution_selu.defvjp(_convolution_selu_forward, _convolution_selu_gradients)


@partial(jax.custom_vjp, nondiff_argnums=(4,))
def _separable_selu(x: Any, depthwise_kernel: Any, kernel: Any, bias: Any, windows: _Windows) -> Any:
    shape = (*_after(x.shape, windows)[:3], kernel.shape[-1])
    return call(
        "separable_selu", "b...:b", (x, depthwise_kernel, kernel, bias), [(shape, x.dtype)], **_placed(windows)
    )[0]


def _separable_selu_forward(*given: Any) -> tuple[Any, tuple[Any, ...]]:
    y = _separable_selu(*given)
    return y, (*given[:3], y, given[3])


def _separable_selu_gradients(windows: _Windows, kept: tuple[Any, ...], gradient: Any) -> tuple[Any, ...]:
    x, depthwise_kernel, kernel, y, bias = kept
    given = (x, depthwise_kernel, kernel, y, gradient)
    return tuple(
        call(
            "separable_selu_gradients",
            "b..bb:b+++",
            given,
            _like(x, depthwise_kernel, kernel, bias),
            **_placed(windows),
        )
    )


_separable_selu.defvjp(_separable_selu_forward, _separable_selu_gradients)


def pointwise(x: Any, kernel: Any, strides: tuple[int, int]) -> Any:
    """A convolution with a kernel of (1, 1, channels, filters)."""
    if not is_computed(x, jnp.float32):
        return plain.pointwise(x, kernel, strides)
    x = x[:, :: strides[0], :: strides[1]]
    return _product(x.reshape(-1, x.shape[-1]), kernel[0, 0]).reshape(*x.shape[:3], kernel.shape[-1])


def convolution(x: Any, kernel: Any, strides: tuple[int, int], padding: str) -> Any:
    """A convolution with a kernel of (height, width, channels, filters)."""
    if not is_computed(x, jnp.float32):
        return plain.convolution(x, kernel, strides, padding)
    return _convolution(x, kernel, (tuple(kernel.shape[:2]), strides, padding))


def relu(x: Any) -> Any:
    """The inputs, or 0 where they are below."""
    if not is_computed(x):
        return jax.nn.relu(x)
    reading = replace(_reading_of(x), clipped=True)
    made = (
        _normalize(reading.maps, *reading.statistics, True, reading.epsilon) if reading.statistics else jax.nn.relu(x)
    )
    return _remembered(made, reading)


def depthwise(x: Any, kernel: Any, strides: tuple[int, int], padding: str) -> Any:
    """A convolution of each channel alone, with a kernel of (height, width, channels, 1)."""
    if not is_computed(x):
        return plain.depthwise(x, kernel, strides, padding)
    reading, windows = _reading_of(x), (tuple(kernel.shape[:2]), strides, padding)
    if reading.statistics:
        how = (windows, reading.clipped, reading.epsilon)
        return _normalized_depthwise(reading.maps, kernel, *reading.statistics, *how)
    return _depthwise(reading.maps, kernel, windows, reading.clipped)


def separable(x: Any, depthwise_kernel: Any, kernel: Any, strides: tuple[int, int], padding: str) -> Any:
    """A convolution of each channel alone, then one across all."""
    return pointwise(depthwise(x, depthwise_kernel, strides, padding), kernel, (1, 1))


def batch_norm(x: Any, gamma: Any, beta: Any, epsilon: float) -> tuple[Any, Any, Any]:
    """The input with mean beta and deviation gamma in each channel, and the batch's mean and variance."""
    if not is_computed(x):
        return plain.batch_norm(x, gamma, beta, epsilon)
    # what normalises has the gradient through them
    mean, variance = call("moments", "b:..", (lax.stop_gradient(x),), _channels(x), _moments_of_all)
    reading = _Reading(x, (mean, variance, gamma, beta), epsilon)
    return _remembered(_normalize(x, *reading.statistics, False, epsilon), reading), mean, variance


def bias_selu(x: Any, bias: Any) -> Any:
    """SELU of the sum with a bias of float32 for each channel."""
    if not is_computed(x, jnp.float32):  # in bfloat16 the gradient that follows from the result has few digits
        return jax.nn.selu(x + bias.astype(x.dtype))
    return _bias_selu(x, bias)


def convolution_selu(x: Any, kernel: Any, bias: Any, strides: tuple[int, int], padding: str) -> Any:
    """A convolution, SELU of its sum with a bias of float32 for each filter."""
    if not is_computed(x, jnp.float32) or not covers_few(kernel):
        return bias_selu(convolution(x, kernel, strides, padding), bias)
    return _convolution_selu(x, kernel, bias, (tuple(kernel.shape[:2]), strides, padding))


def separable_selu(
    x: Any, depthwise_kernel: Any, kernel: Any, bias: Any, strides: tuple[int, int], padding: str
) -> Any:
    """A separable convolution, SELU of its sum with a bias of float32 for each filter."""
    if not is_computed(x, jnp.float32):
        return bias_selu(separable(x, depthwise_kernel, kernel, strides, padding), bias)
    return _separable_selu(x, depthwise_kernel, kernel, bias, (tuple(depthwise_kernel.shape[:2]), strides, padding))


def max_pool(x: Any, window: tuple[int, int], strides: tuple[int, int], padding: str) -> Any:
    """The largest value of each window."""
    return _max_pool(x, (window, strides, padding)) if is_computed(x) else plain.max_pool(x, window, strides, padding)
