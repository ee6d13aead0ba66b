"""What layers are made of, for PyTorch on a CPU.

Channels come last in memory as they do in Keras; Keras copies each tensor to the other order and back.
"""

from __future__ import annotations

from typing import Any

import torch
from keras import ops
from torch.nn import functional

KINDS = ("BatchNormalization", "Conv2D", "DepthwiseConv2D", "MaxPooling2D", "SeparableConv2D")


def pointwise(x: Any, kernel: Any, strides: tuple[int, int]) -> Any:
    """A convolution with a kernel of (1, 1, channels, filters)."""
    return torch.matmul(x[:, :: strides[0], :: strides[1]], kernel[0, 0])


def _margins(size: int, window: int, stride: int, padding: str) -> tuple[int, int]:
    """What is added before and after."""
    if padding == "valid":
        return 0, 0
    total = max((-(-size // stride) - 1) * stride + window - size, 0)
    return total // 2, total - total // 2


def _convolved(x: Any, kernel: Any, strides: tuple[int, int], padding: str, groups: int) -> Any:
    """A convolution with a kernel of (filters, channels, height, width); channels come last before and after."""
    x = x.permute(0, 3, 1, 2)
    (top, bottom), (left, right) = (
        _margins(x.shape[axis + 2], kernel.shape[axis + 2], strides[axis], padding) for axis in (0, 1)
    )
    if (top, left) != (bottom, right):
        x = functional.pad(x, (left, right, top, bottom))
        top = left = 0
    return functional.conv2d(x, kernel, stride=strides, padding=(top, left), groups=groups).permute(0, 2, 3, 1)


def convolution(x: Any, kernel: Any, strides: tuple[int, int], padding: str) -> Any:
    """A convolution with a kernel of (height, width, channels, filters)."""
    return _convolved(x, kernel.permute(3, 2, 0, 1), strides, padding, 1)


def depthwise(x: Any, kernel: Any, strides: tuple[int, int], padding: str) -> Any:
    """A convolution of each channel alone, with a kernel of (height, width, channels, 1)."""
    return _convolved(x, kernel.permute(2, 3, 0, 1), strides, padding, x.shape[-1])


def separable(x: Any, depthwise_kernel: Any, kernel: Any, strides: tuple[int, int], padding: str) -> Any:
    """A convolution of each channel alone, then one across all."""
    return pointwise(depthwise(x, depthwise_kernel, strides, padding), kernel, (1, 1))


def batch_norm(x: Any, gamma: Any, beta: Any, epsilon: float) -> tuple[Any, Any, Any]:
    """The input with mean beta and deviation gamma in each channel, and the batch's mean and variance."""
    mean, variance = torch.zeros_like(gamma), torch.zeros_like(gamma)
    values = x.numel() // x.shape[-1]
    maps = x.permute(0, 3, 1, 2)
    if values == 1:  # which PyTorch refuses: what is normalised is 0
        return beta + 0 * gamma * x, x.detach().reshape(-1).to(gamma.dtype), variance
    normed = functional.batch_norm(maps, mean, variance, gamma, beta, training=True, momentum=1.0, eps=epsilon)
    return normed.permute(0, 2, 3, 1), mean, variance * ((values - 1) / values)


def max_pool(x: Any, window: tuple[int, int], strides: tuple[int, int], padding: str) -> Any:
    """The largest value of each window."""
    if padding == "valid":
        return functional.max_pool2d(x.permute(0, 3, 1, 2), window, strides).permute(0, 2, 3, 1)
    before = [_margins(x.shape[axis + 1], window[axis], strides[axis], padding)[0] for axis in (0, 1)]
    made = [-(-(x.shape[axis + 1] + 2 * before[axis] - window[axis]) // strides[axis]) + 1 for axis in (0, 1)]
    wanted = [-(-x.shape[axis + 1] // strides[axis]) for axis in (0, 1)]
    if made != wanted or any(2 * margin > size for margin, size in zip(before, window, strict=True)):
        return ops.max_pool(x, window, strides, padding, data_format="channels_last")
    # rounding up leaves the last window cut off, as the margin at the end would
    pooled = functional.max_pool2d(x.permute(0, 3, 1, 2), window, strides, padding=tuple(before), ceil_mode=True)
    return pooled.permute(0, 2, 3, 1)
