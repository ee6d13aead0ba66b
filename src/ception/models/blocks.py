"""The bricks that all networks share: steps with their layers, blocks of steps, and how their weights start.

A step is a pair of a name and a function from (tensor, layer name, dtype policy) to a tensor: one Keras layer. A brick
such as `conv_bn` is a list of steps. `series` and `parallel` name and apply them; `block` is a series whose last layer
has the block's own name. All tensors are (batch, height, width, channels).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import keras
import numpy as np

Padding = Literal["valid", "same", "symmetric"]
Step = tuple[str, Callable[[keras.KerasTensor, str, Any], keras.KerasTensor]]


class Normal(keras.initializers.RandomNormal):
    """`keras.initializers.RandomNormal` drawn with NumPy: the same values on every backend, and none compiled.

    A saved network names the Keras class, which has the same configuration.
    """

    def __call__(self, shape: tuple[int, ...], dtype: str | None = None) -> Any:
        drawn = np.random.default_rng(self.seed).normal(self.mean, self.stddev, shape)
        return keras.ops.convert_to_tensor(drawn.astype("float32"), dtype)


class SingleNormal(keras.initializers.RandomNormal):
    """As `Normal`, but drawn in single precision, in half the time: for networks of many million weights."""

    def __call__(self, shape: tuple[int, ...], dtype: str | None = None) -> Any:
        drawn = np.random.default_rng(self.seed).standard_normal(shape, dtype=np.float32)
        drawn *= np.float32(self.stddev)
        return keras.ops.convert_to_tensor(drawn + np.float32(self.mean), dtype)


class TruncatedNormal(keras.initializers.TruncatedNormal):
    """`keras.initializers.TruncatedNormal`, nothing beyond two deviations, drawn with NumPy as `Normal` is."""

    def __call__(self, shape: tuple[int, ...], dtype: str | None = None) -> Any:
        random = np.random.default_rng(self.seed)
        drawn = random.standard_normal(shape)
        while (beyond := np.abs(drawn) > 2).any():
            drawn[beyond] = random.standard_normal(int(beyond.sum()))
        return keras.ops.convert_to_tensor((self.mean + self.stddev * drawn).astype("float32"), dtype)


class Constant(keras.initializers.Constant):
    """`keras.initializers.Constant` filled with NumPy, so that no backend compiles a program for each shape."""

    def __call__(self, shape: tuple[int, ...], dtype: str | None = None) -> Any:
        return keras.ops.convert_to_tensor(np.full(shape, self.value, "float32"), dtype)


@contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """A context in which Keras's initialisers and dropout layers, seeded from Python's generator, follow from `seed`.

    The generator goes on afterwards as if nothing had been drawn from it.
    """
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


def lecun_normal(fan_in: int) -> Normal:
    """Initial weights of deviation sqrt(1 / fan_in), which keep the variance of their input.

    Keras's own `LecunNormal` takes the fan-in of a depthwise kernel as 9 x channels instead of 9.

    Source: LeCun et al., Efficient BackProp (1998), section 4.6; as self-normalising networks need them,
        Klambauer et al., arXiv:1706.02515, section 2.
    """
    return Normal(stddev=fan_in**-0.5)


def he_normal(fan_in: int) -> SingleNormal:
    """Initial weights of deviation sqrt(2 / fan_in), which keep the variance through a ReLU.

    Source: He et al., arXiv:1502.01852, section 2.2; what TF-Slim's Inception starts with.
    """
    return SingleNormal(stddev=(2 / fan_in) ** 0.5)


def series(x: keras.KerasTensor, steps: Iterable[Step], *, name: str, dtype: Any) -> keras.KerasTensor:
    """One step after another; their layers are called `<name>_<step>`."""
    for step, layer in steps:
        x = layer(x, f"{name}_{step}", dtype)
    return x


def block(x: keras.KerasTensor, steps: Sequence[Step], *, name: str, dtype: Any) -> keras.KerasTensor:
    """A series whose last layer is called `name`."""
    x = series(x, steps[:-1], name=name, dtype=dtype)
    return steps[-1][1](x, name, dtype)


def parallel(x: keras.KerasTensor, branches: Sequence[Sequence[Step]], *, name: str, dtype: Any) -> keras.KerasTensor:
    """Every branch, a series of its own, on the same input; the concatenated channels end in a layer called `name`."""
    ends = [series(x, steps, name=f"{name}_branch{number}", dtype=dtype) for number, steps in enumerate(branches)]
    return keras.layers.Concatenate(name=name, dtype=dtype)(ends)


def scaled(filters: int, multiplier: float, least: int) -> int:
    """A number of filters multiplied, but not below `least`: Slim's `depth_multiplier` and `min_depth`."""
    return max(int(filters * multiplier), least)


def step(name: str, layer: Callable[..., keras.Layer], *arguments: Any, **options: Any) -> Step:
    """A step of one Keras layer."""
    return name, lambda x, full_name, dtype: layer(*arguments, name=full_name, dtype=dtype, **options)(x)


def activation(name: str, function: str = "relu") -> Step:
    """An activation by its Keras name."""
    if function == "relu":
        return step(name, keras.layers.ReLU)
    return step(name, keras.layers.Activation, function)


def norm(name: str, *, scale: bool = True, epsilon: float = 1e-3) -> Step:
    """Batch normalisation over the channels, without gamma where `scale` is False."""
    zeros, ones = Constant(0.0), Constant(1.0)
    return step(
        name, keras.layers.BatchNormalization, scale=scale, epsilon=epsilon, beta_initializer=zeros,
        gamma_initializer=ones, moving_mean_initializer=zeros, moving_variance_initializer=ones,
    )  # fmt: skip


def conv(
    name: str,
    filters: int,
    kernel_size: int | tuple[int, int],
    *,
    strides: int = 1,
    padding: Padding = "same",
    groups: int = 1,
    bias: bool = False,
    initializer: keras.initializers.Initializer | None = None,
) -> list[Step]:
    """A convolution, `he_normal` at the start; "symmetric" pads both sides alike at every size, with a layer."""
    height, width = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size

    def convolve(x: keras.KerasTensor, full_name: str, dtype: Any) -> keras.KerasTensor:
        return keras.layers.Conv2D(
            filters, (height, width), strides=strides, padding="valid" if padding == "symmetric" else padding,
            groups=groups, use_bias=bias, name=full_name, dtype=dtype, bias_initializer=Constant(0.0),
            kernel_initializer=initializer or he_normal(height * width * x.shape[-1] // groups),
        )(x)  # fmt: skip

    return [*_pad(name, height // 2, padding), (name, convolve)]


def conv_bn(
    name: str,
    filters: int,
    kernel_size: int | tuple[int, int],
    *,
    scale: bool = True,
    epsilon: float = 1e-3,
    **options: Any,
) -> list[Step]:
    """A convolution without bias, batch normalisation and ReLU; `options` are those of `conv`."""
    convolution = conv(name, filters, kernel_size, **options)
    return [*convolution, norm(f"{name}_bn", scale=scale, epsilon=epsilon), activation(f"{name}_act")]


def separable_conv(
    name: str,
    filters: int,
    *,
    strides: int = 1,
    padding: Padding = "same",
    segments: int | None = None,
    inner_norm: bool = False,
    inner: str | None = None,
) -> list[Step]:
    """A 3x3 convolution of each channel or segment alone, then a 1x1 convolution across all, both without bias.

    Args:
        name: Name of the layer, or what the names of its layers begin with where it takes several.
        filters: Output channels.
        strides: Of the 3x3 convolution.
        padding: Of the 3x3 convolution.
        segments: Number of equal segments of channels that the 3x3 convolution treats apart, the largest number up to
            this that divides the channels; None means one per channel.
        inner_norm: Whether batch normalisation stands between the two.
        inner: Activation between the two.
    """
    if strides == 1 and segments is None and not inner_norm and inner is None:

        def separable(x: keras.KerasTensor, full_name: str, dtype: Any) -> keras.KerasTensor:
            return keras.layers.SeparableConv2D(
                filters, 3, padding=padding, use_bias=False, name=full_name, dtype=dtype,
                depthwise_initializer=lecun_normal(9), pointwise_initializer=he_normal(x.shape[-1]),
            )(x)  # fmt: skip

        return [(name, separable)]

    def spatial(x: keras.KerasTensor, full_name: str, dtype: Any) -> keras.KerasTensor:
        options = {"strides": strides, "padding": "valid" if padding == "symmetric" else padding, "use_bias": False}
        if segments is None:
            layer = keras.layers.DepthwiseConv2D(
                3, depthwise_initializer=lecun_normal(9), name=full_name, dtype=dtype, **options
            )
        else:
            channels = x.shape[-1]
            groups = next(count for count in range(min(segments, channels), 0, -1) if channels % count == 0)
            layer = keras.layers.Conv2D(
                channels, 3, groups=groups, name=full_name, dtype=dtype, **options,
                kernel_initializer=lecun_normal(9 * channels // groups),
            )  # fmt: skip
        return layer(x)

    between = [norm(f"{name}_dw_bn")] if inner_norm else []
    between += [activation(f"{name}_dw_act", inner)] if inner else []
    return [*_pad(f"{name}_dw", 1, padding), (f"{name}_dw", spatial), *between, *conv(f"{name}_pw", filters, 1)]


def max_pool(name: str, padding: Padding) -> list[Step]:
    """A 3x3 max pool that halves the size; "symmetric" repeats the edges, as PyTorch's padding with -inf does."""
    if padding != "symmetric":
        return [step(name, keras.layers.MaxPooling2D, 3, strides=2, padding=padding)]
    valid = step(name, keras.layers.MaxPooling2D, 3, strides=2, padding="valid")
    return [
        (f"{name}_rows", lambda x, *rest: _edges(x, 1, *rest)),
        (f"{name}_columns", lambda x, *rest: _edges(x, 2, *rest)),
        valid,
    ]


def _edges(x: keras.KerasTensor, axis: int, name: str, dtype: Any) -> keras.KerasTensor:
    """The maps with their first row or column twice, the last too where their number is odd: what a maximum ignores."""
    size = x.shape[axis]

    def only(kept: int, end: str) -> keras.KerasTensor:
        margins = [(0, 0), (0, 0)]
        margins[axis - 1] = (kept, size - 1 - kept)
        return keras.layers.Cropping2D(tuple(margins), name=f"{name}_{end}", dtype=dtype)(x)

    parts = [only(0, "first"), x, *([only(size - 1, "last")] if size % 2 else [])]
    return keras.layers.Concatenate(axis=axis, name=name, dtype=dtype)(parts)


def _pad(name: str, margin: int, padding: Padding) -> list[Step]:
    return [step(f"{name}_pad", keras.layers.ZeroPadding2D, margin)] if padding == "symmetric" and margin else []


def head(
    x: keras.KerasTensor,
    *,
    classes: int,
    dropout: float,
    dtype: Any,
    spatial: bool = False,
    initializer: keras.initializers.Initializer | None = None,
) -> keras.KerasTensor:
    """Global average pooling, dropout and a dense layer: endpoints `pool`, `prelogits` and `logits` (float32).

    Args:
        x: Feature maps.
        classes: Number of logits.
        dropout: Share of the pooled features that dropout hides in training.
        dtype: Dtype policy of all but the logits.
        spatial: Whether `pool` and `prelogits` keep a height and width of 1, as in TF-Slim.
        initializer: How the dense layer's weights start; None means LeCun's normal.
    """
    x = keras.layers.GlobalAveragePooling2D(keepdims=spatial, name="pool", dtype=dtype)(x)
    if dropout or spatial:
        seed = random.randint(1, 10**9)  # without one PyTorch's dropout has no state that a resumed training could read
        x = keras.layers.Dropout(dropout, seed=seed, name="prelogits", dtype=dtype)(x)
    if spatial:
        x = keras.layers.Flatten(name="logits_flatten", dtype=dtype)(x)
    return keras.layers.Dense(
        classes, kernel_initializer=initializer or lecun_normal(x.shape[-1]), bias_initializer=Constant(0.0),
        name="logits", dtype="float32",
    )(x)  # fmt: skip


def conv_selu(x: keras.KerasTensor, filters: int, *, name: str, dtype: Any) -> keras.KerasTensor:
    """A 3x3 "same" convolution with bias and SELU."""
    return keras.layers.Conv2D(
        filters, 3, padding="same", activation="selu", name=name, dtype=dtype,
        kernel_initializer=lecun_normal(9 * x.shape[-1]),
    )(x)  # fmt: skip


def separable_conv_selu(x: keras.KerasTensor, filters: int, *, name: str, dtype: Any) -> keras.KerasTensor:
    """A 3x3 "same" depthwise, then a pointwise convolution with bias and SELU."""
    return keras.layers.SeparableConv2D(
        filters, 3, padding="same", activation="selu", name=name, dtype=dtype,
        depthwise_initializer=lecun_normal(9), pointwise_initializer=lecun_normal(x.shape[-1]),
    )(x)  # fmt: skip
