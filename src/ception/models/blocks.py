"""The bricks that all networks share: convolutions, and how their weights start."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np


class Normal(keras.initializers.RandomNormal):
    """`keras.initializers.RandomNormal` drawn with NumPy: the same values on every backend, and none compiled.

    A saved network names the Keras class, which has the same configuration.
    """

    def __call__(self, shape: tuple[int, ...], dtype: str | None = None) -> Any:
        drawn = np.random.default_rng(self.seed).normal(self.mean, self.stddev, shape)
        return keras.ops.convert_to_tensor(drawn.astype("float32"), dtype)


def lecun_normal(fan_in: int) -> Normal:
    """Initial weights of deviation sqrt(1 / fan_in), which keep the variance of their input.

    Keras's own `LecunNormal` takes the fan-in of a depthwise kernel as 9 x channels instead of 9.

    Source: LeCun et al., Efficient BackProp (1998), section 4.6; as self-normalising networks need them,
        Klambauer et al., arXiv:1706.02515, section 2.
    """
    return Normal(stddev=fan_in**-0.5)


def conv_selu(x: keras.KerasTensor, filters: int, *, name: str, dtype: Any) -> keras.KerasTensor:
    """A 3x3 "same" convolution with bias and SELU; `x` is (batch, height, width, channels)."""
    return keras.layers.Conv2D(
        filters, 3, padding="same", activation="selu", name=name, dtype=dtype,
        kernel_initializer=lecun_normal(9 * x.shape[-1]),
    )(x)  # fmt: skip


def separable_conv_selu(x: keras.KerasTensor, filters: int, *, name: str, dtype: Any) -> keras.KerasTensor:
    """A 3x3 "same" depthwise, then a pointwise convolution with bias and SELU; `x` is as in `conv_selu`."""
    return keras.layers.SeparableConv2D(
        filters, 3, padding="same", activation="selu", name=name, dtype=dtype,
        depthwise_initializer=lecun_normal(9), pointwise_initializer=lecun_normal(x.shape[-1]),
    )(x)  # fmt: skip
