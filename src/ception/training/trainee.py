"""A network as it is trained: what its loss consists of beside the cross-entropy, and the average of its weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

from ception.distributed import ALONE, Team
from ception.keras_internals import reseeded, with_averages

_APART = 0x01000193  # an odd number that keeps the seeds of processes apart from those of layers


class Trainee(keras.Model):
    """A network whose first output is what is wanted; a second one, the auxiliary head's, is trained beside it.

    Validation and metrics see the first output alone.

    Attributes:
        team: The processes that train it.
        auxiliary_weight: Factor of the auxiliary head's loss.
        l2: Factor of the sum of the squared kernels.
    """

    team: Team = ALONE
    auxiliary_weight: float = 0.0
    l2: float = 0.0

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """The loss of the first output; in training with that of the auxiliary head and the penalty on the kernels."""
        first, *rest = y_pred if isinstance(y_pred, list) else [y_pred]
        loss = super().compute_loss(x, y, first, sample_weight, training)
        if training:
            for auxiliary in rest:
                each = self.loss(y, auxiliary)
                each = each if sample_weight is None else each * keras.ops.reshape(sample_weight, (-1,))
                loss += self.auxiliary_weight * keras.ops.mean(each)
            if self.l2:
                kernels = [weight for weight in self.trainable_weights if weight.name.endswith("kernel")]
                loss += self.l2 * sum(keras.ops.sum(keras.ops.square(kernel)) for kernel in kernels)
        return loss

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """The metrics of the first output."""
        first = y_pred[0] if isinstance(y_pred, list) else y_pred
        metrics: dict[str, Any] = super().compute_metrics(x, y, first, sample_weight)
        return metrics


class Share(Trainee):
    """A network that one of several processes trains with its share of each batch, as if it were the whole."""

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """The outputs; in training each process hides other units than the rest."""
        if not training:
            return super().call(inputs, training=training, mask=mask)
        self._reseed()
        try:
            return super().call(inputs, training=training, mask=mask)
        finally:
            self._reseed()

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """As `Trainee.compute_loss`, of this process's share, which may be empty."""
        first = y_pred[0] if isinstance(y_pred, list) else y_pred
        if training:
            self.optimizer.share = self.team.weight(first.shape[0])
        if not first.shape[0]:  # whose mean would be no number
            return sum(keras.ops.sum(output) for output in (y_pred if isinstance(y_pred, list) else [y_pred]))
        return super().compute_loss(x, y, y_pred, sample_weight, training)

    def get_metrics_result(self) -> Any:
        """The metrics of all processes together."""
        with self.team.totals([variable for metric in self.metrics for variable in metric.variables]):
            return super().get_metrics_result()

    def _reseed(self) -> None:
        for layer in self.layers:
            reseeded(layer, _APART * self.team.index % 2**32)


class Spread(Trainee):
    """A network that lies on the devices of several processes while it is trained.

    Attributes:
        whole: Whether every process has the whole of the next batch, and not its share.
    """

    whole: bool = False
    train_function: Any
    test_function: Any

    def make_train_function(self, force: bool = False) -> None:
        """Make what computes a step over all devices."""
        if self.train_function is None or force:
            self.team.spread(self._all_variables())
            with self.team.scope():
                super().make_train_function(force)
            self.train_function = self.team.spreading(self.train_function, lambda: self.whole)

    def make_test_function(self, force: bool = False) -> None:
        """Make what computes a step of validation over all devices."""
        if self.test_function is None or force:
            self.team.spread(self._all_variables())
            with self.team.scope():
                super().make_test_function(force)
            self.test_function = self.team.spreading(self.test_function, lambda: self.whole)

    def fit(self, *arguments: Any, **options: Any) -> Any:
        """As of Keras; after it the network lies on this process's device alone."""
        history = super().fit(*arguments, **options)
        for variable in self._all_variables():
            variable.assign(keras.ops.convert_to_numpy(variable))
        return history

    def _all_variables(self) -> list[Any]:
        return [*self.variables, *self.optimizer.variables, *self.metrics_variables]


class Averages(keras.callbacks.Callback):
    """Validates with the average of the weights that the optimiser keeps."""

    def on_test_begin(self, logs: Any = None) -> None:
        self._swap()

    def on_test_end(self, logs: Any = None) -> None:
        self._swap()

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """A context in which the network has the averages for weights."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for variable, average in with_averages(self.model.optimizer):
            current = keras.ops.convert_to_numpy(variable).copy()
            variable.assign(average)
            average.assign(current)
