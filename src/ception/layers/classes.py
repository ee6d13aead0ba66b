"""Keras's layers with other operations inside: the same arguments, weights, names and configuration.

What an operation does not cover, such as dilated kernels or channels that come first, is left to Keras.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

import keras
from keras import ops

from ception.layers.compiled import are_used


@cache
def operations() -> Any:
    """The module with the operations of the backend that runs: the compiled ones where they are quicker."""
    backend = keras.backend.backend()
    return import_module(f"ception.layers.{'compiled_' if are_used(backend) else ''}{backend}")


def _is_covered(layer: Any) -> bool:
    return layer.data_format == "channels_last" and tuple(getattr(layer, "dilation_rate", (1, 1))) == (1, 1)


class Conv2D(keras.layers.Conv2D):
    """A convolution; a kernel of 1 x 1 is a matrix product."""

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """The convolution without bias and activation."""
        if self.groups > 1 or not _is_covered(self):
            return super().convolution_op(inputs, kernel)
        inputs, kernel = ops.convert_to_tensor(inputs), ops.convert_to_tensor(kernel)
        if tuple(self.kernel_size) == (1, 1):
            return operations().pointwise(inputs, kernel, tuple(self.strides))
        return operations().convolution(inputs, kernel, tuple(self.strides), self.padding)

    def call(self, inputs: Any) -> Any:
        """The convolution with bias and activation."""
        if self.groups > 1 or not _is_covered(self):
            return super().call(inputs)
        if _has_bias_and_selu(self) and tuple(self.kernel_size) != (1, 1):
            inputs, kernel = ops.convert_to_tensor(inputs), ops.convert_to_tensor(self.kernel)
            bias = ops.cast(self.bias, "float32")
            return operations().convolution_selu(inputs, kernel, bias, tuple(self.strides), self.padding)
        return _finished(self, self.convolution_op(inputs, self.kernel))


class DepthwiseConv2D(keras.layers.DepthwiseConv2D):
    """A convolution of each channel alone."""

    def call(self, inputs: Any) -> Any:
        """The convolution with bias and activation."""
        if self.depth_multiplier > 1 or not _is_covered(self):
            return super().call(inputs)
        inputs, kernel = ops.convert_to_tensor(inputs), ops.convert_to_tensor(self.kernel)
        return _finished(self, operations().depthwise(inputs, kernel, tuple(self.strides), self.padding))


class SeparableConv2D(keras.layers.SeparableConv2D):
    """A convolution of each channel alone, then a matrix product across the channels."""

    def call(self, inputs: Any) -> Any:
        """Both convolutions with bias and activation."""
        if self.depth_multiplier > 1 or not _is_covered(self):
            return super().call(inputs)
        inputs, depthwise, pointwise = (
            ops.convert_to_tensor(value) for value in (inputs, self.depthwise_kernel, self.pointwise_kernel)
        )
        strides = tuple(self.strides)
        if _has_bias_and_selu(self):
            bias = ops.cast(self.bias, "float32")
            return operations().separable_selu(inputs, depthwise, pointwise, bias, strides, self.padding)
        return _finished(self, operations().separable(inputs, depthwise, pointwise, strides, self.padding))


def _has_bias_and_selu(layer: Any) -> bool:
    """Whether a layer adds both, and they are one operation."""
    return layer.use_bias and layer.activation is keras.activations.selu and hasattr(operations(), "bias_selu")


def _finished(layer: Any, outputs: Any) -> Any:
    """The outputs with what a layer adds: its bias, its activation."""
    if _has_bias_and_selu(layer):
        return operations().bias_selu(outputs, ops.cast(layer.bias, "float32"))
    if layer.use_bias:
        outputs = ops.add(outputs, layer.bias)
    return outputs if layer.activation is None else layer.activation(outputs)


class BatchNormalization(keras.layers.BatchNormalization):
    """Batch normalisation; in training statistics, result and gradients in few passes."""

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """The normalised inputs; in training the moving statistics follow those of the batch."""
        last = self.axis in (-1, len(inputs.shape) - 1)
        covered = last and len(inputs.shape) == 4 and mask is None and not self.renorm and not self.synchronized
        if not (training and self.trainable and covered):
            return super().call(inputs, training=training, mask=mask)
        inputs = ops.convert_to_tensor(inputs)
        channels = inputs.shape[-1]
        gamma = self.gamma if self.scale else ops.ones(channels, "float32")
        beta = self.beta if self.center else ops.zeros(channels, "float32")
        gamma, beta = (ops.cast(ops.convert_to_tensor(value), "float32") for value in (gamma, beta))
        outputs, mean, variance = self.normalised(inputs, gamma, beta)
        for moving, now in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + ops.stop_gradient(now) * (1.0 - self.momentum))
        return ops.cast(outputs, self.compute_dtype)

    def normalised(self, inputs: Any, gamma: Any, beta: Any) -> tuple[Any, Any, Any]:
        """The inputs with mean beta and deviation gamma in each channel, and the batch's mean and variance."""
        result: tuple[Any, Any, Any] = operations().batch_norm(inputs, gamma, beta, self.epsilon)
        return result


class ReLU(keras.layers.ReLU):
    """The inputs, or 0 where they are below; part of the operation before or after it where that allows it."""

    def call(self, inputs: Any) -> Any:
        """The clipped inputs."""
        if self.max_value is not None or self.negative_slope or self.threshold:
            return super().call(inputs)
        return operations().relu(ops.convert_to_tensor(inputs))


class MaxPooling2D(keras.layers.MaxPooling2D):
    """The largest value of each window."""

    def call(self, inputs: Any) -> Any:
        """The maxima."""
        if not _is_covered(self):
            return super().call(inputs)
        inputs = ops.convert_to_tensor(inputs)
        return operations().max_pool(inputs, tuple(self.pool_size), tuple(self.strides), self.padding)


CLASSES: dict[str, type[keras.layers.Layer]] = {
    layer.__name__: layer
    for layer in (BatchNormalization, Conv2D, DepthwiseConv2D, MaxPooling2D, ReLU, SeparableConv2D)
}
