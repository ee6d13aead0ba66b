"""All that this package uses of Keras beyond its documented interface, in one place; Keras's minor version is capped.

Source: keras/src/optimizers/base_optimizer.py and muon.py, keras/src/ops/node.py, keras/src/models/functional.py and
keras/src/trainers/data_adapters of Keras 3.15.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np


def producer(tensor: keras.KerasTensor) -> tuple[keras.Operation, list[keras.KerasTensor]]:
    """The layer that a symbolic tensor comes from, and what it was called with there; nothing for an input layer."""
    layer, index, _ = tensor._keras_history
    return layer, list(layer._inbound_nodes[index].input_tensors)


def with_averages(optimizer: keras.Optimizer) -> list[tuple[Any, Any]]:
    """Each trained variable with the running average that the optimiser keeps of it."""
    return list(zip(optimizer._trainable_variables, optimizer._model_variables_moving_average, strict=True))


def partial_gradients(optimizer: keras.Optimizer) -> list[Any]:
    """The variables in which the optimiser adds up the gradients of the parts of a batch."""
    return [variable for variable in getattr(optimizer, "_accumulated_gradients", []) if variable is not None]


def set_steps(optimizer: keras.Optimizer, steps: int) -> None:
    """Let the optimiser have made that many steps."""
    optimizer._iterations.assign(steps)


def muon() -> Any:
    """Keras's Muon, which takes each kernel as a matrix from all that a unit sees to the units; AdamW where it is none.

    Keras takes kernels of dense layers alone. A depthwise kernel is a column for each channel, no matrix, and the last
    layer is AdamW's as Keras's documentation asks.

    Source: Jordan et al., Muon (https://kellerjordan.github.io/posts/muon), whose kernels of convolutions are
    flattened; the size of a step is that of arXiv:2502.16982, section 2.2.
    """

    class Muon(keras.optimizers.Muon):
        def _should_use_adamw(self, variable: Any) -> bool:
            is_matrix = len(variable.shape) > 1 and variable.shape[-1] > 1
            return not is_matrix or any(name in variable.path for name in ("depthwise_kernel", "logits"))

        def zeropower_via_newtonschulz5(self, x: Any, steps: int) -> Any:
            """As Keras's, but what it multiplies the matrix by is multiplied first: it is smaller."""
            matrix = keras.ops.reshape(x, (-1, x.shape[-1]))
            is_tall = matrix.shape[0] > matrix.shape[1]
            matrix = keras.ops.transpose(matrix) if is_tall else matrix
            matrix = matrix / (keras.ops.norm(matrix) + 1e-7)
            square = matrix @ keras.ops.transpose(matrix)
            factors = unit = keras.ops.eye(matrix.shape[0], dtype=matrix.dtype)
            for _ in range(steps):
                factor = square @ (self.muon_c * square + self.muon_b * unit) + self.muon_a * unit
                factors, square = factor @ factors, square @ factor @ factor
            matrix = factors @ matrix
            return keras.ops.reshape(keras.ops.transpose(matrix) if is_tall else matrix, x.shape)

        def lr_adjust(self, x: Any) -> Any:
            return x * (self.rms_rate * max(math.prod(x.shape[:-1]), x.shape[-1]) ** 0.5)

    return Muon


def averaged(kind: Any) -> Any:
    """The optimiser class whose running average of the weights is not held back by the first ones.

    Source: the rule of `tf.train.ExponentialMovingAverage` with `num_updates`.
    """

    class Averaged(kind):
        def _update_model_variables_moving_average(self, trainable_variables: Any) -> None:
            steps = keras.ops.cast(self.iterations, "float32")
            keep = keras.ops.minimum(self.ema_momentum, (1 + steps) / (10 + steps))
            for variable, average in zip(trainable_variables, self._model_variables_moving_average, strict=True):
                average.assign(keep * average + (1 - keep) * variable)

    return Averaged


def discriminating(kind: Any, rates: Mapping[str, float]) -> Any:
    """The optimiser class with a factor of the learning rate for each variable, by its path.

    Source: Howard and Ruder, arXiv:1801.06146, section 3.2.
    """

    class Discriminating(kind):
        def _backend_update_step(self, grads: Any, trainable_variables: Any, learning_rate: Any) -> None:
            groups: dict[float, list[tuple[Any, Any]]] = {}
            for pair in zip(grads, trainable_variables, strict=True):
                groups.setdefault(rates.get(pair[1].path, 1.0), []).append(pair)
            for factor, pairs in groups.items():
                some_grads, some_variables = (list(part) for part in zip(*pairs, strict=True))
                super()._backend_update_step(some_grads, some_variables, learning_rate * factor)

    return Discriminating


def sharing(kind: Any, added: Any) -> Any:
    """The optimiser class whose every step several processes make together, each with its share of the batch.

    Attributes of what it makes: `share`, 0..1, of the batch's examples that are this process's.

    Args:
        kind: The class.
        added: Gives the sums of tensors over all processes.
    """

    class Sharing(kind):
        share = 1.0

        def scale_loss(self, loss: Any) -> Any:
            return super().scale_loss(loss) * self.share

        def apply(self, grads: Any, trainable_variables: Any = None) -> None:
            super().apply(added(grads), trainable_variables)

    return Sharing


def with_moments(kind: Any, moments: Any) -> Any:
    """The class of batch normalisation whose mean and variance, in training, a function gives for inputs and axes.

    Source: keras/src/layers/normalization/batch_normalization.py of Keras 3.15.
    """

    class WithMoments(kind):
        def _moments(self, inputs: Any, mask: Any) -> tuple[Any, Any]:
            result: tuple[Any, Any] = moments(inputs, self._reduction_axes)
            return result

    WithMoments.__name__, WithMoments.__module__ = kind.__name__, kind.__module__  # by which Keras files its tensors
    return WithMoments


def untuned(batches: keras.utils.PyDataset, class_weights: Mapping[int, float] | None = None) -> Any:
    """What `fit` takes in place of batches, so that TensorFlow does not tune how far it reads ahead; else the batches.

    The thread that does looks up ever more rarely, and may miss that an epoch is over: the next one then waits until it
    looks up again, up to as long as the epoch took (seen in TensorFlow 2.21).

    Args:
        batches: Whose next ones are read by a thread.
        class_weights: As for `fit`, which leaves them to what it takes here.
    """
    if keras.backend.backend() != "tensorflow":
        return batches
    from keras.src.trainers.data_adapters.py_dataset_adapter import PyDatasetAdapter

    class Untuned(PyDatasetAdapter):
        def get_tf_dataset(self) -> Any:
            import tensorflow as tf

            options = tf.data.Options()
            options.autotune.enabled = False
            return super().get_tf_dataset().with_options(options)

    return Untuned(batches, class_weights)


def reseeded(layer: Any, by: int) -> None:
    """Change the seed that a layer draws from next, if it draws; the same number once more changes it back."""
    generator = getattr(layer, "seed_generator", None)
    if generator is not None:
        seed, count = keras.ops.convert_to_numpy(generator.state).tolist()
        generator.state.assign(np.array([seed ^ by, count], np.uint32))
