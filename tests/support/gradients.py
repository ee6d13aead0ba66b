"""What a layer gives, and all its gradients, on each backend."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np


def outputs_and_gradients(
    layer: keras.layers.Layer, inputs: np.ndarray, weights: np.ndarray, *, training: bool, traced: bool = False
) -> dict[str, np.ndarray]:
    """The outputs, the gradients of their weighted sum, and the variables that are not trained, after the call.

    Args:
        layer: Built or not; a network is a layer, too.
        inputs: What it is called on.
        weights: Of each output in the sum; of the outputs' shape.
        training: Whether it is called in training mode.
        traced: Whether TensorFlow makes a graph of it first, as it does where a network is trained.
    """
    options = {"training": training} if "training" in layer._call_signature.parameters else {}
    if not layer.built:
        layer.build(inputs.shape)
    made = _in_graph if traced and keras.backend.backend() == "tensorflow" else _BACKENDS[keras.backend.backend()]
    outputs, of_inputs, of_weights = made(layer, inputs, weights, options)
    named = {
        f"{weight.name} {number}": gradient
        for number, (weight, gradient) in enumerate(zip(layer.trainable_weights, of_weights, strict=True))
    }
    kept = {f"{variable.name} {number}": variable for number, variable in enumerate(layer.non_trainable_weights)}
    found = {"outputs": outputs, "inputs": of_inputs, **named, **kept}
    return {name: keras.ops.convert_to_numpy(keras.ops.cast(value, "float32")) for name, value in found.items()}


def _on_tensorflow(layer: Any, inputs: Any, weights: Any, options: dict[str, Any]) -> tuple[Any, Any, list[Any]]:
    import tensorflow as tf

    x, trained = tf.constant(inputs), [weight.value for weight in layer.trainable_weights]
    with tf.GradientTape() as tape:
        tape.watch([x, *trained])
        outputs = layer(x, **options)
        total = tf.reduce_sum(tf.cast(outputs, tf.float32) * weights)
    of_x, *others = tape.gradient(total, [x, *trained], unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return outputs, of_x, others


def _in_graph(layer: Any, inputs: Any, weights: Any, options: dict[str, Any]) -> tuple[Any, Any, list[Any]]:
    import tensorflow as tf

    outputs, of_x, others = tf.function(lambda: _on_tensorflow(layer, inputs, weights, options))()
    return outputs, of_x, others


def _on_torch(layer: Any, inputs: Any, weights: Any, options: dict[str, Any]) -> tuple[Any, Any, list[Any]]:
    import torch

    x, trained = torch.tensor(inputs, requires_grad=True), [weight.value for weight in layer.trainable_weights]
    outputs = layer(x, **options)
    total = (outputs.float() * torch.tensor(weights)).sum()
    of_x, *others = torch.autograd.grad(total, [x, *trained], allow_unused=True, materialize_grads=True)
    return outputs.detach(), of_x, others


def _on_jax(layer: Any, inputs: Any, weights: Any, options: dict[str, Any]) -> tuple[Any, Any, list[Any]]:
    import jax

    kept = [variable.value for variable in layer.non_trainable_variables]

    def total(x: Any, trained: Any) -> Any:
        outputs, after = layer.stateless_call(trained, kept, x, **options)
        return (outputs.astype("float32") * weights).sum(), (outputs, after)

    trained = [variable.value for variable in layer.trainable_variables]
    differentiated = jax.jit(jax.value_and_grad(total, argnums=(0, 1), has_aux=True))
    (_, (outputs, after)), (of_x, others) = differentiated(jax.numpy.asarray(inputs), trained)
    for variable, value in zip(layer.non_trainable_variables, after, strict=True):
        variable.assign(value)
    return outputs, of_x, others


_BACKENDS = {"tensorflow": _on_tensorflow, "jax": _on_jax, "torch": _on_torch}
