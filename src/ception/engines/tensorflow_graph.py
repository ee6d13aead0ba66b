"""A network's operations as a function of TensorFlow, which needs no Keras.

Its numbers are constants: whatever runs it can prepare them once, and what is saved has no variables.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from ception import backends
from ception.engines.operations import INPUT, Operation, Operations

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIGNATURE = "serving_default"  # what TensorFlow Serving runs unless it is told another
_DTYPES = {"float32": tf.float32, "uint8": tf.uint8}
_SELU = 1.6732632423543772, 1.0507009873554805


class Graph(tf.Module):
    """A network whose `serve` takes any number of pictures.

    Args:
        network: The operations.
        output: What its result is called.
        takes: Numbers of its input, `float32` or `uint8`, which it then makes float32.
        plain: Whether only what LiteRT has kernels for may be in it, which has none for SELU.
    """

    def __init__(
        self, network: Operations, *, output: str = "scores", takes: str = "float32", plain: bool = False
    ) -> None:
        super().__init__(name="network")

        def serve(pictures: tf.Tensor) -> dict[str, tf.Tensor]:
            return {output: _result(network, pictures, plain=plain)}

        given = tf.TensorSpec([None, *network.shape], _DTYPES[takes], name=INPUT)
        self.serve = tf.function(serve, input_signature=[given], autograph=False)


def save(network: Operations, folder: Path, *, output: str) -> None:
    """Write a network as a SavedModel that takes uint8 pictures, with the signature that TensorFlow Serving runs.

    Args:
        network: The operations.
        folder: What to write.
        output: What its result is called.
    """
    graph = Graph(network, output=output, takes="uint8")
    with backends.importing():
        tf.saved_model.save(graph, str(folder), signatures={SIGNATURE: graph.serve})


def _result(network: Operations, pictures: tf.Tensor, *, plain: bool) -> tf.Tensor:
    named = {INPUT: tf.cast(pictures, tf.float32)}
    for step in network.steps:
        selu = step.options.get("function") == "selu"
        write = _selu_of_others if selu and plain else _WRITERS[step.kind]
        with tf.name_scope(step.name):
            named[step.name] = write(step, [named[name] for name in step.inputs])
    return named[network.steps[-1].name]


def _padding(step: Operation) -> str:
    padding: str = step.options["padding"]
    return padding.upper()


def _with_bias(step: Operation, made: tf.Tensor) -> tf.Tensor:
    return tf.nn.bias_add(made, step.arrays["bias"]) if "bias" in step.arrays else made


def _conv(step: Operation, inputs: list[tf.Tensor]) -> tf.Tensor:
    kernel, groups, strides = step.arrays["kernel"], step.options["groups"], step.options["strides"]
    if groups == 1 or kernel.shape[2] > 1 or strides[0] != strides[1]:  # depthwise_conv2d takes no unlike ones
        made = tf.nn.conv2d(inputs[0], kernel, strides, _padding(step), dilations=step.options["dilations"])
    else:
        kernel = kernel.reshape(*kernel.shape[:2], groups, -1)
        made = tf.nn.depthwise_conv2d(
            inputs[0], kernel, (1, *strides, 1), _padding(step), dilations=step.options["dilations"]
        )
    return _with_bias(step, made)


def _dense(step: Operation, inputs: list[tf.Tensor]) -> tf.Tensor:
    return _with_bias(step, tf.linalg.matmul(inputs[0], step.arrays["kernel"]))


def _affine(step: Operation, inputs: list[tf.Tensor]) -> tf.Tensor:
    return inputs[0] * _constant(step.arrays["factor"]) + _constant(step.arrays["shift"])


def _constant(values: NDArray[np.float32]) -> tf.Tensor:
    return tf.constant(values, tf.float32)


def _activation(step: Operation, inputs: list[tf.Tensor]) -> tf.Tensor:
    return _FUNCTIONS[step.options["function"]](inputs[0])


def _selu_of_others(step: Operation, inputs: list[tf.Tensor]) -> tf.Tensor:
    """SELU of what there are kernels for; not of a minimum, which in int8 cuts what it takes to its own range."""
    alpha, scale = _SELU
    return tf.nn.elu(inputs[0]) * (alpha * scale) + tf.nn.relu(inputs[0]) * (scale - alpha * scale)


def _pool(kind: str) -> Callable[[Operation, list[tf.Tensor]], tf.Tensor]:
    def write(step: Operation, inputs: list[tf.Tensor]) -> tf.Tensor:
        return tf.nn.pool(inputs[0], step.options["size"], kind, step.options["strides"], _padding(step))

    return write


def _pad(step: Operation, inputs: list[tf.Tensor]) -> tf.Tensor:
    rows, columns = step.options["sides"]
    return tf.pad(inputs[0], [(0, 0), rows, columns, (0, 0)])


def _crop(step: Operation, inputs: list[tf.Tensor]) -> tf.Tensor:
    (top, bottom), (left, right) = step.options["sides"]
    return inputs[0][:, top : -bottom or None, left : -right or None]


def _flatten(step: Operation, inputs: list[tf.Tensor]) -> tf.Tensor:
    return tf.reshape(inputs[0], [-1, *step.shape])


def _global_average(step: Operation, inputs: list[tf.Tensor]) -> tf.Tensor:
    return tf.reduce_mean(inputs[0], (1, 2), keepdims=step.options["keepdims"])


def _add(step: Operation, inputs: list[tf.Tensor]) -> tf.Tensor:
    total = inputs[0]
    for other in inputs[1:]:
        total = total + other
    return total


_FUNCTIONS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "relu": tf.nn.relu,
    "elu": tf.nn.elu,
    "selu": tf.nn.selu,
    "softmax": tf.nn.softmax,
}
_WRITERS: dict[str, Callable[[Operation, list[tf.Tensor]], tf.Tensor]] = {
    "activation": _activation,
    "add": _add,
    "affine": _affine,
    "average_pool": _pool("AVG"),
    "concat": lambda step, inputs: tf.concat(inputs, -1),
    "conv": _conv,
    "crop": _crop,
    "dense": _dense,
    "flatten": _flatten,
    "global_average": _global_average,
    "max_pool": _pool("MAX"),
    "pad": _pad,
}
