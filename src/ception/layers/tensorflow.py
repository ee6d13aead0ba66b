"""What layers are made of, for TensorFlow on a CPU.

Its convolutions are Keras's; a kernel of 1 x 1 is a matrix product, whose gradient for the kernel is quicker, and batch
normalisation is TensorFlow's fused operation instead of a chain of ten.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from keras import ops

KINDS = ("BatchNormalization", "Conv2D", "SeparableConv2D")


def pointwise(x: Any, kernel: Any, strides: tuple[int, int]) -> Any:
    """A convolution with a kernel of (1, 1, channels, filters)."""
    if strides != (1, 1):
        x = tf.nn.avg_pool2d(x, 1, strides, "VALID")  # what a slice gives, in a sixth of its time
    channels, filters = kernel.shape[-2:]
    product = tf.matmul(tf.reshape(x, (-1, channels)), tf.reshape(kernel, (channels, filters)))
    sizes = x.shape.as_list()[:3]
    if sizes.count(None) > 1:
        return tf.reshape(product, tf.concat([tf.shape(x)[:3], [filters]], 0))
    return tf.reshape(product, [*(-1 if size is None else size for size in sizes), filters])  # without counting anew


def convolution(x: Any, kernel: Any, strides: tuple[int, int], padding: str) -> Any:
    """A convolution, as Keras computes it."""
    return ops.conv(x, kernel, strides=strides, padding=padding, data_format="channels_last")


def depthwise(x: Any, kernel: Any, strides: tuple[int, int], padding: str) -> Any:
    """A convolution of each channel alone, as Keras computes it."""
    return ops.depthwise_conv(x, kernel, strides=strides, padding=padding, data_format="channels_last")


def separable(x: Any, depthwise_kernel: Any, kernel: Any, strides: tuple[int, int], padding: str) -> Any:
    """A convolution of each channel alone, then one across all."""
    return pointwise(depthwise(x, depthwise_kernel, strides, padding), kernel, (1, 1))


def max_pool(x: Any, window: tuple[int, int], strides: tuple[int, int], padding: str) -> Any:
    """The largest value of each window, as Keras computes it."""
    return ops.max_pool(x, window, strides, padding, data_format="channels_last")


def batch_norm(x: Any, gamma: Any, beta: Any, epsilon: float) -> tuple[Any, Any, Any]:
    """The input with mean beta and deviation gamma in each channel, and the batch's mean and variance."""
    if x.dtype not in (tf.float32, tf.bfloat16):
        x = tf.cast(x, tf.float32)
    normed, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=x, scale=gamma, offset=beta, mean=[], variance=[], epsilon=epsilon, is_training=True
    )
    values = tf.cast(tf.size(x, tf.int64) // x.shape[-1], tf.float32)
    return normed, mean, variance * tf.maximum(values - 1, 1) / values  # which comes divided by one value less
