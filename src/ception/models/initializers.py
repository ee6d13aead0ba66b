"""How weights start: drawn with NumPy, so that they are equal on every backend and none is compiled."""

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


def lecun_normal(fan_in: int, seed: int) -> Normal:
    """Initial weights of deviation sqrt(1 / fan_in), which keep the variance of their input.

    Keras's own `LecunNormal` takes the fan-in of a depthwise kernel as 9 x channels instead of 9.

    Source: LeCun et al., Efficient BackProp (1998), section 4.6; as self-normalising networks need them,
        Klambauer et al., arXiv:1706.02515, section 2.
    """
    return Normal(stddev=fan_in**-0.5, seed=seed)


def he_normal(fan_in: int, seed: int) -> SingleNormal:
    """Initial weights of deviation sqrt(2 / fan_in), which keep the variance through a ReLU.

    Source: He et al., arXiv:1502.01852, section 2.2; what TF-Slim's Inception starts with.
    """
    return SingleNormal(stddev=(2 / fan_in) ** 0.5, seed=seed)
