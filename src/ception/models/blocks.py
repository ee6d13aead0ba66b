"""The bricks that all networks share: steps with their layers, and blocks of steps.

A step is a pair of a name and a function from (tensor, layer name, `Layers`) to a tensor: one Keras layer. A brick
such as `conv_bn` is a list of steps. `series` and `parallel` name and apply them; `block` is a series whose last layer
has the block's own name. All tensors are (batch, height, width, channels).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from inspect import signature
from random import Random
from typing import Any, Literal

import keras

from ception.models.initializers import Constant, Normal, SingleNormal, he_normal, lecun_normal

Padding = Literal["valid", "same", "symmetric"]


@dataclass(frozen=True, kw_only=True)
class Layers:
    """How layers are made.

    Attributes:
        dtype: Keras dtype policy; None means Keras's global one.
        classes: By kind, the class that is made instead of Keras's own. It derives from that one and takes the same
            arguments; a saved network names Keras's.
        random: What the seeds of initial weights and dropout are drawn from.
    """

    dtype: Any = None
    classes: Mapping[str, type[keras.layers.Layer]] = field(default_factory=dict)
    random: Random = field(default_factory=Random)

    def make(self, kind: str, *arguments: Any, **options: Any) -> keras.layers.Layer:
        """A layer of a kind, such as `Conv2D`; it has the dtype policy unless the options give another one.

        The channels come last, whatever Keras's configuration says.
        """
        layer = self.classes.get(kind) or getattr(keras.layers, kind)
        stated = {"dtype": self.dtype} | ({"data_format": "channels_last"} if _knows_formats(kind) else {})
        return layer(*arguments, **stated | options)

    def seed(self) -> int:
        """The next seed, as Keras would draw one from Python's own generator."""
        return self.random.randint(1, 10**9)

    def lecun_normal(self, fan_in: int) -> Normal:
        """As `initializers.lecun_normal`, with the next seed."""
        return lecun_normal(fan_in, self.seed())

    def he_normal(self, fan_in: int) -> SingleNormal:
        """As `initializers.he_normal`, with the next seed."""
        return he_normal(fan_in, self.seed())


@cache
def _knows_formats(kind: str) -> bool:
    """Whether layers of a kind have to be told which axis has the channels."""
    return "data_format" in signature(getattr(keras.layers, kind)).parameters


Applied = Callable[[keras.KerasTensor, str, Layers], keras.KerasTensor]
Step = tuple[str, Applied]


def series(x: keras.KerasTensor, steps: Iterable[Step], *, name: str, layers: Layers) -> keras.KerasTensor:
    """One step after another; their layers are called `<name>_<step>`."""
    for step, layer in steps:
        x = layer(x, f"{name}_{step}", layers)
    return x


def block(x: keras.KerasTensor, steps: Sequence[Step], *, name: str, layers: Layers) -> keras.KerasTensor:
    """A series whose last layer is called `name`."""
    x = series(x, steps[:-1], name=name, layers=layers)
    return steps[-1][1](x, name, layers)


def parallel(
    x: keras.KerasTensor, branches: Sequence[Sequence[Step]], *, name: str, layers: Layers
) -> keras.KerasTensor:
    """Every branch, a series of its own, on the same input; the concatenated channels end in a layer called `name`."""
    ends = [series(x, steps, name=f"{name}_branch{number}", layers=layers) for number, steps in enumerate(branches)]
    return layers.make("Concatenate", name=name)(ends)


def step(name: str, kind: str, *arguments: Any, **options: Any) -> Step:
    """A step of one layer of a kind."""
    return name, lambda x, full_name, layers: layers.make(kind, *arguments, name=full_name, **options)(x)


def activation(name: str, function: str = "relu") -> Step:
    """An activation by its Keras name."""
    if function == "relu":
        return step(name, "ReLU")
    return step(name, "Activation", function)


def norm(name: str, *, scale: bool = True, epsilon: float = 1e-3) -> Step:
    """Batch normalisation over the channels, without gamma where `scale` is False."""
    zeros, ones = Constant(0.0), Constant(1.0)
    return step(
        name, "BatchNormalization", scale=scale, epsilon=epsilon, beta_initializer=zeros,
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

    def convolve(x: keras.KerasTensor, full_name: str, layers: Layers) -> keras.KerasTensor:
        return layers.make(
            "Conv2D",
            filters,
            (height, width),
            strides=strides,
            padding="valid" if padding == "symmetric" else padding,
            groups=groups,
            use_bias=bias,
            name=full_name,
            bias_initializer=Constant(0.0),
            kernel_initializer=initializer or layers.he_normal(height * width * x.shape[-1] // groups),
        )(x)

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
        return [(name, _separable(filters, padding))]
    between = [norm(f"{name}_dw_bn")] if inner_norm else []
    between += [activation(f"{name}_dw_act", inner)] if inner else []
    first = (f"{name}_dw", spatial(strides, padding, segments))
    return [*_pad(f"{name}_dw", 1, padding), first, *between, *conv(f"{name}_pw", filters, 1)]


def _separable(filters: int, padding: Padding) -> Applied:
    """Both convolutions as one layer."""

    def separable(x: keras.KerasTensor, full_name: str, layers: Layers) -> keras.KerasTensor:
        return layers.make(
            "SeparableConv2D", filters, 3, padding=padding, use_bias=False, name=full_name,
            depthwise_initializer=layers.lecun_normal(9), pointwise_initializer=layers.he_normal(x.shape[-1]),
        )(x)  # fmt: skip

    return separable


def spatial(strides: int = 1, padding: Padding = "same", segments: int | None = None) -> Applied:
    """The 3x3 convolution of each channel, or of each segment, alone."""
    options = {"strides": strides, "padding": "valid" if padding == "symmetric" else padding, "use_bias": False}

    def convolve(x: keras.KerasTensor, full_name: str, layers: Layers) -> keras.KerasTensor:
        if segments is None:
            layer = layers.make(
                "DepthwiseConv2D", 3, depthwise_initializer=layers.lecun_normal(9), name=full_name, **options
            )
            return layer(x)
        channels = x.shape[-1]
        groups = next(count for count in range(min(segments, channels), 0, -1) if channels % count == 0)
        initializer = layers.lecun_normal(9 * channels // groups)
        return layers.make(
            "Conv2D", channels, 3, groups=groups, name=full_name, kernel_initializer=initializer, **options
        )(x)

    return convolve


def max_pool(name: str, padding: Padding) -> list[Step]:
    """A 3x3 max pool that halves the size; "symmetric" repeats the edges, as PyTorch's padding with -inf does."""
    if padding != "symmetric":
        return [step(name, "MaxPooling2D", 3, strides=2, padding=padding)]
    valid = step(name, "MaxPooling2D", 3, strides=2, padding="valid")
    return [
        (f"{name}_rows", lambda x, *rest: _edges(x, 1, *rest)),
        (f"{name}_columns", lambda x, *rest: _edges(x, 2, *rest)),
        valid,
    ]


def _edges(x: keras.KerasTensor, axis: int, name: str, layers: Layers) -> keras.KerasTensor:
    """The maps with their first row or column twice, the last too where their number is odd: what a maximum ignores."""
    size = x.shape[axis]

    def only(kept: int, end: str) -> keras.KerasTensor:
        margins = [(0, 0), (0, 0)]
        margins[axis - 1] = (kept, size - 1 - kept)
        return layers.make("Cropping2D", tuple(margins), name=f"{name}_{end}")(x)

    parts = [only(0, "first"), x, *([only(size - 1, "last")] if size % 2 else [])]
    return layers.make("Concatenate", axis=axis, name=name)(parts)


def _pad(name: str, margin: int, padding: Padding) -> list[Step]:
    return [step(f"{name}_pad", "ZeroPadding2D", margin)] if padding == "symmetric" and margin else []


def head(
    x: keras.KerasTensor,
    *,
    classes: int,
    dropout: float,
    layers: Layers,
    spatial: bool = False,
    initializer: keras.initializers.Initializer | None = None,
) -> keras.KerasTensor:
    """Global average pooling, dropout and a dense layer: endpoints `pool`, `prelogits` and `logits` (float32).

    Args:
        x: Feature maps.
        classes: Number of logits.
        dropout: Share of the pooled features that dropout hides in training.
        layers: How layers are made; the logits are float32 always.
        spatial: Whether `pool` and `prelogits` keep a height and width of 1, as in TF-Slim.
        initializer: How the dense layer's weights start; None means LeCun's normal.
    """
    x = layers.make("GlobalAveragePooling2D", keepdims=spatial, name="pool")(x)
    if dropout or spatial:
        # without a seed PyTorch's dropout has no state that a resumed training could read
        x = layers.make("Dropout", dropout, seed=layers.seed(), name="prelogits")(x)
    if spatial:
        x = layers.make("Flatten", name="logits_flatten")(x)
    return layers.make(
        "Dense",
        classes,
        kernel_initializer=initializer or layers.lecun_normal(x.shape[-1]),
        bias_initializer=Constant(0.0),
        name="logits",
        dtype="float32",
    )(x)


def conv_selu(x: keras.KerasTensor, filters: int, *, name: str, layers: Layers) -> keras.KerasTensor:
    """A 3x3 "same" convolution with bias and SELU."""
    return layers.make(
        "Conv2D",
        filters,
        3,
        padding="same",
        activation="selu",
        name=name,
        kernel_initializer=layers.lecun_normal(9 * x.shape[-1]),
    )(x)


def separable_conv_selu(x: keras.KerasTensor, filters: int, *, name: str, layers: Layers) -> keras.KerasTensor:
    """A 3x3 "same" depthwise, then a pointwise convolution with bias and SELU."""
    return layers.make(
        "SeparableConv2D",
        filters,
        3,
        padding="same",
        activation="selu",
        name=name,
        depthwise_initializer=layers.lecun_normal(9),
        pointwise_initializer=layers.lecun_normal(x.shape[-1]),
    )(x)
