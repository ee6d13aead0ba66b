"""The head of a frozen network, solved: a multinomial logistic regression on what the network gives after its pooling.

The loss is the cross-entropy that training in steps would have, convex in the head's weights, so that it has one
minimum, which L-BFGS finds without a learning rate. How large the weights may be is chosen by the validation pictures.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ception.errors import RunError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ception.reporting import Reporter
    from ception.training.examples import Examples
    from ception.training.recipes import Recipe, Solver
    from ception.training.state import EpochRow

_CHUNK = 4096  # examples that are computed together
_KEPT = 1 << 30  # bytes of features that are kept in memory; more are read again whenever they are needed
_WORTH_THREADS = 1 << 30  # products in a pass, below which threads wait for each other more than they do
_CORRECTIONS = 10  # pairs of steps and changes of the gradient that L-BFGS remembers

Chunks = Callable[[], Iterable["NDArray[np.float32]"]]


@dataclass(frozen=True)
class Solution:
    """A head with what it comes to.

    Attributes:
        kernel: (channels, classes) float32.
        bias: (classes,) float32.
        penalty: Factor of the regularisation.
        loss: Cross-entropy of the training pictures, weighted as training weighs them.
        accuracy: Share of them that is right.
        val_loss: Cross-entropy of the validation pictures.
        val_accuracy: Share of them that is right.
        seconds: How long it took.
    """

    kernel: NDArray[np.float32]
    bias: NDArray[np.float32]
    penalty: float
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    seconds: float

    def __str__(self) -> str:
        return (
            f"penalty {self.penalty:g}  loss {self.loss:.4f}  accuracy {self.accuracy:.4f}  "
            f"val_loss {self.val_loss:.4f}  val_accuracy {self.val_accuracy:.4f}"
        )

    def row(self, phase: int) -> EpochRow:
        """The row of the log, in which a head has the epoch 0: none was made for it."""
        numbers = {name: value for name, value in vars(self).items() if name not in ("kernel", "bias")}
        return {"epoch": 0, "phase": phase, **numbers}


@dataclass(frozen=True)
class _Task:
    """Features, and what the head shall say of them.

    Attributes:
        chunks: Gives the features part by part, (examples, channels).
        labels: Of all examples.
        weights: Of all examples, in the loss.
        classes: How many there are.
        smoothing: Share of each label that is spread over all classes.
    """

    chunks: Chunks
    labels: NDArray[np.integer]
    weights: NDArray[np.float64]
    classes: int
    smoothing: float

    def parts(
        self, kernel: NDArray[np.floating], bias: NDArray[np.floating]
    ) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]]:
        """Features, log probabilities, smoothed labels and weights of each part of the examples."""
        from scipy.special import log_softmax

        start = 0
        for part in self.chunks():
            features = part.astype(np.float64)  # rounding would end L-BFGS before the gradient is small
            now = slice(start, start + len(features))
            targets = np.full((len(features), self.classes), self.smoothing / self.classes)
            targets[np.arange(len(features)), self.labels[now]] += 1 - self.smoothing
            logits = features @ kernel + bias
            yield features, log_softmax(logits, axis=1), targets, self.weights[now, None]
            start += len(features)

    def scores(self, kernel: NDArray[np.floating], bias: NDArray[np.floating]) -> tuple[float, float]:
        """Cross-entropy and accuracy of a head."""
        loss = right = 0.0
        for _, logs, targets, weights in self.parts(kernel, bias):
            loss -= float((weights * targets * logs).sum())
            right += int((logs.argmax(axis=1) == targets.argmax(axis=1)).sum())
        return loss / len(self.labels), right / len(self.labels)


def solved(examples: Examples, recipe: Recipe, classes: int, reporter: Reporter) -> list[Solution]:
    """Heads with less and less regularisation, each begun at the one before, until the validation loss rises again.

    The weights' penalty is half the sum of their squares, times its factor and the mean variance of the features, so
    that the same factors suit features of any size. The bias has none. The first head begins at 0, and nothing is
    drawn by chance: the same features give the same heads.

    Args:
        examples: Features of the training pictures, in as many views as they say, and of the validation pictures.
        recipe: With a solver.
        classes: Number of classes.
        reporter: Receives progress.

    Raises:
        RunError: the loss is no finite number.
    """
    from threadpoolctl import threadpool_limits

    assert recipe.solver is not None
    training, validation = _tasks(examples, classes, recipe.label_smoothing)
    centre, size = _spread(training.chunks)
    kernel, bias = np.zeros((len(centre), classes)), np.zeros(classes)  # of features that are centred, of unit variance
    heads: list[Solution] = []
    small = len(training.labels) * kernel.size < _WORTH_THREADS
    with (
        threadpool_limits(1) if small else nullcontext(),
        reporter.task("Solving the head", len(recipe.solver.penalties)) as task,
    ):
        for penalty in recipe.solver.penalties:
            start = time.monotonic()
            kernel, bias = _minimum(training, centre, size, kernel, bias, penalty, recipe.solver)
            raw = (kernel / size).astype(np.float32)
            shift = (bias - centre @ kernel / size).astype(np.float32)
            scores = (*training.scores(raw, shift), *validation.scores(raw, shift))
            if not np.isfinite(scores).all():
                raise RunError("the loss of the head is no number: the weights or the pictures are damaged")
            heads.append(Solution(raw, shift, penalty, *scores, seconds=round(time.monotonic() - start, 3)))
            task.advance(1, f"val_loss {scores[2]:.3f}  val_accuracy {scores[3]:.3f}")
            reporter.detail(f"Head: {heads[-1]}")
            if len(heads) > 1 and heads[-1].val_loss >= heads[-2].val_loss:
                break
    return heads


def _minimum(
    task: _Task, centre: NDArray[np.float64], size: float, kernel: NDArray[np.float64], bias: NDArray[np.float64],
    penalty: float, solver: Solver,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:  # fmt: skip
    """Kernel and bias, for features less `centre` over `size`, with the least loss and penalty, from given ones on."""
    from scipy.optimize import minimize

    shape, count = kernel.shape, len(task.labels)

    def loss_and_gradient(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        kernel, bias = values[: -shape[1]].reshape(shape), values[-shape[1] :]
        loss = penalty / 2 * float((kernel**2).sum())
        by_kernel, by_bias = penalty * kernel, np.zeros_like(bias)
        for features, logs, targets, weights in task.parts(kernel / size, bias - centre @ kernel / size):
            loss -= float((weights * targets * logs).sum()) / count
            error = weights * (np.exp(logs) - targets) / count
            total = error.sum(axis=0)
            product = features.T @ error
            by_kernel += (product - np.outer(centre, total)) / size
            by_bias += total
        return loss, np.concatenate([by_kernel.ravel(), by_bias])

    options = {"maxiter": solver.iterations, "gtol": solver.tolerance, "ftol": 0.0, "maxcor": _CORRECTIONS}
    start = np.concatenate([kernel.ravel(), bias])
    found = minimize(loss_and_gradient, start, jac=True, method="L-BFGS-B", options=options).x
    return found[: -shape[1]].reshape(shape), found[-shape[1] :]


def _tasks(examples: Examples, classes: int, smoothing: float) -> tuple[_Task, _Task]:
    """Of the training pictures in all their views, and of the validation pictures, which all weigh the same."""
    pictures = len(examples.labels)
    seen = np.concatenate([examples.training + view * pictures for view in range(examples.views)])
    factors = examples.class_weights or {}
    weight_of = np.array([factors.get(label, 1.0) for label in range(classes)])
    labels, told = examples.labels[seen % pictures], examples.labels[examples.validation]
    return (
        _Task(_chunks(examples, seen), labels, weight_of[labels], classes, smoothing),
        _Task(_chunks(examples, examples.validation), told, np.ones(len(told)), classes, smoothing),
    )


def _chunks(examples: Examples, indices: NDArray[np.int64]) -> Chunks:
    """What gives the features of some indices part by part: from memory, or read again where they are too large."""

    def read() -> Iterator[NDArray[np.float32]]:
        for start in range(0, len(indices), _CHUNK):
            features = np.asarray(examples.inputs[indices[start : start + _CHUNK]], np.float32)
            yield features.reshape(len(features), -1)

    if len(indices) * np.asarray(examples.inputs[indices[:1]], np.float32).nbytes > _KEPT:
        return read
    kept = list(read())
    return lambda: kept


def _spread(chunks: Chunks) -> tuple[NDArray[np.float64], float]:
    """The mean of each feature, and the root of their mean variance."""
    count = sum(len(features) for features in chunks())
    centre = sum(features.sum(axis=0, dtype=np.float64) for features in chunks()) / count
    variance = sum(np.square(features - centre).sum() for features in chunks()) / (count * len(centre))
    return centre, float(np.sqrt(variance)) or 1.0
