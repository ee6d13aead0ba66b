"""How an output changes with an input, on each of Keras's backends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def output_and_gradient(
    network: keras.Model, inputs: NDArray[np.float32], index: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What a network gives in inference mode, and the gradient of one of its outputs with respect to its input.

    Args:
        network: From one tensor to (batch, outputs).
        inputs: The tensor, (batch, ...).
        index: The output.

    Returns:
        The outputs (batch, outputs), and for each input of the batch the gradient of its own output, shaped as inputs.
    """
    outputs, gradient = _BACKENDS[keras.backend.backend()](network, inputs, index)
    return np.asarray(outputs, np.float32), np.asarray(gradient, np.float32)


def _tensorflow(network: Any, inputs: Any, index: int) -> Any:
    import tensorflow as tf

    x = tf.convert_to_tensor(inputs)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(x)
        outputs = network(x, training=False)
        chosen = tf.reduce_sum(outputs[:, index])
    return outputs.numpy(), tape.gradient(chosen, x).numpy()


def _jax(network: Any, inputs: Any, index: int) -> Any:
    import jax

    def chosen(x: Any) -> Any:
        outputs = network(x, training=False)
        return outputs[:, index].sum(), outputs

    (_, outputs), gradient = jax.value_and_grad(chosen, has_aux=True)(jax.numpy.asarray(inputs))
    return np.asarray(outputs), np.asarray(gradient)


def _torch(network: Any, inputs: Any, index: int) -> Any:
    import torch

    x = keras.ops.convert_to_tensor(inputs).requires_grad_()
    with torch.enable_grad():
        outputs = network(x, training=False)
        (gradient,) = torch.autograd.grad(outputs[:, index].sum(), x)
    return outputs.detach().cpu().numpy(), gradient.cpu().numpy()


_BACKENDS = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}
