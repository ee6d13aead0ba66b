"""Processes that train together on PyTorch: by its store, and by gloo, or NCCL on GPUs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import torch
from torch import distributed

from ception.distributed.places import Place
from ception.distributed.team import GATHERING_S, SILENCE_S, Several, Value
from ception.errors import RunError
from ception.keras_internals import sharing, with_moments

if TYPE_CHECKING:
    from numpy.typing import NDArray


_LARGE = 1 << 16  # numbers in a tensor that is worth a message of its own


class _Store:
    """PyTorch's store as a board."""

    def __init__(self, store: distributed.Store) -> None:
        self.store = store

    def put(self, key: str, value: bytes) -> None:
        """As `Board.put`; the store takes text."""
        self.store.set(key, value.decode())

    def get(self, key: str) -> bytes | None:
        """As `Board.get`."""
        return bytes(self.store.get(key)) if self.store.check([key]) else None

    def remove(self, key: str) -> None:
        """As `Board.remove`."""
        self.store.delete_key(key)


class TorchTeam(Several):
    """Processes of which each computes with its share of each batch; gradients, statistics and metrics are added up."""

    manner = "added"

    def __init__(self, place: Place, store: distributed.Store) -> None:
        super().__init__(place, _Store(distributed.PrefixStore("ception", store)))
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if self.device == "cuda" else "gloo", rank=self.index, world_size=self.count,
            store=distributed.PrefixStore("numbers", store), timeout=timedelta(seconds=SILENCE_S),
        )  # fmt: skip
        if self.device == "cuda":
            torch.cuda.set_device(self.among_neighbours % torch.cuda.device_count())

    @property
    def layers(self) -> dict[str, type[keras.layers.Layer]]:
        """Batch normalisation with the statistics of the whole batch."""
        from ception.layers.classes import BatchNormalization

        made = with_moments(BatchNormalization, self._moments)
        made.normalised = lambda layer, x, gamma, beta: self._batch_norm(x, gamma, beta, layer.epsilon)
        return {"BatchNormalization": made}

    def _batch_norm(self, x: Any, gamma: Any, beta: Any, epsilon: float) -> tuple[Any, Any, Any]:
        """Feature maps normalised with the statistics of the whole batch, and these: mean and variance."""
        from ception.layers import compiled_torch
        from ception.layers.classes import operations

        def added(values: Any) -> Any:
            self._reached(lambda: distributed.all_reduce(values))
            return values

        if operations() is compiled_torch and compiled_torch.is_computed(x):
            return compiled_torch.batch_norm(x, gamma, beta, epsilon, added)
        made: tuple[Any, Any, Any] = _Normalised.apply(x, gamma, beta, epsilon, self._reached)
        return made

    def arrays(self, arrays: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """As `Team.arrays`."""
        self.everyone(None)
        return [self._from(0, array.copy()) for array in arrays]

    def gathered(self, array: NDArray[Any]) -> list[NDArray[Any]]:
        """As `Team.gathered`."""
        lengths = self.everyone(len(array))
        return [
            self._from(one, array if one == self.index else np.empty((length, *array.shape[1:]), array.dtype))
            for one, length in enumerate(lengths)
        ]

    def sharing(self, kind: Any) -> Any:
        """As `Team.sharing`."""
        return sharing(kind, self._added)

    def weight(self, examples: int) -> float:
        """The share of a batch that so many examples of this process are."""
        total = torch.tensor([float(examples)])
        self._reached(lambda: distributed.all_reduce(total))
        return examples / float(total)

    @contextmanager
    def totals(self, variables: Sequence[Any]) -> Iterator[None]:
        """A context in which variables, of metrics, hold their sums over all processes."""
        own = [variable.value.clone() for variable in variables]
        try:
            for variable, total in zip(variables, self._added([value.clone() for value in own]), strict=True):
                variable.assign(total)
            yield
        finally:
            for variable, value in zip(variables, own, strict=True):
                variable.assign(value)

    def close(self) -> None:
        """Leave; the others may have gone."""
        super().close()
        distributed.destroy_process_group()

    def _added(self, values: Sequence[Any]) -> list[Any]:
        """The sums of tensors over all processes, to the last bit the same in each of them.

        Large tensors may become their sums, small ones are sent together.
        """
        sums = [value.detach().contiguous() for value in values]
        small = [at for at, value in enumerate(sums) if value.numel() < _LARGE]
        sent = [value for value in sums if value.numel() >= _LARGE]
        if small:
            sent.append(flat := torch.cat([sums[at].reshape(-1) for at in small]))
            for at, part in zip(small, flat.split([sums[at].numel() for at in small]), strict=True):
                sums[at] = part.view(sums[at].shape)

        def add_up() -> None:
            for work in [distributed.all_reduce(one, async_op=True) for one in sent]:
                work.wait()

        self._reached(add_up)
        return sums

    def _moments(self, inputs: Any, axes: Sequence[int]) -> tuple[Any, Any]:
        """Mean and variance of each channel over the whole batch, of inputs that are no feature maps."""
        channels = inputs.shape[-1]
        values = inputs.new_full((1,), inputs.numel() / channels)
        sums = torch.cat([inputs.sum(dim=tuple(axes)), inputs.square().sum(dim=tuple(axes)), values])
        if sums.device.type != "meta":  # on which Keras looks at shapes alone
            sums = _Sum.apply(sums, self._reached)
        mean, square = sums[:channels] / sums[-1], sums[channels:-1] / sums[-1]
        return mean, square - mean.square()

    def _from(self, index: int, array: NDArray[Any]) -> NDArray[Any]:
        """One process's array, in place of one of the same shape and type."""
        array = np.ascontiguousarray(array)
        flat = torch.from_numpy(array.reshape(-1).view(np.uint8))
        if flat.numel():
            self._reached(lambda: distributed.broadcast(flat, index))
        return array

    def _reached(self, call: Callable[[], Value]) -> Value:
        """The result of a call that all processes make.

        Raises:
            RunError: another one is gone, or cannot be reached.
        """
        try:
            return call()
        except RuntimeError:
            raise self.lost() from None


class _Sum(torch.autograd.Function):
    """The sum over all processes, whose gradient is the sum of theirs."""

    @staticmethod
    def forward(context: Any, values: Any, reached: Callable[[Callable[[], Any]], Any]) -> Any:
        context.reached = reached
        total = values.clone()
        reached(lambda: distributed.all_reduce(total))
        return total

    @staticmethod
    def backward(context: Any, gradient: Any) -> Any:
        total = gradient.contiguous().clone()
        context.reached(lambda: distributed.all_reduce(total))
        return total, None


class _Normalised(torch.autograd.Function):
    """Feature maps normalised with the statistics of the whole batch, and these: mean and variance.

    The gradients of gamma and beta are those of this process's share, which the optimiser adds up.
    """

    @staticmethod
    def forward(context: Any, x: Any, gamma: Any, beta: Any, epsilon: float, reached: Any) -> Any:
        rows = x.reshape(-1, x.shape[-1]).to(gamma.dtype)
        count = rows.new_full((1,), float(len(rows)))
        sums = torch.cat([rows.sum(0), torch.linalg.vector_norm(rows, dim=0).square(), count])
        if sums.device.type != "meta":  # on which Keras looks at shapes alone
            reached(lambda: distributed.all_reduce(sums))
        channels = len(gamma)
        mean = sums[:channels] / sums[-1]
        variance = (sums[channels:-1] / sums[-1] - mean.square()).clamp(min=0)
        inverse = torch.rsqrt(variance + epsilon)
        scale = gamma * inverse
        context.save_for_backward(rows, mean, inverse, scale, sums[-1])
        context.reached, context.shape, context.dtype = reached, x.shape, x.dtype
        context.mark_non_differentiable(mean, variance)
        return torch.addcmul(beta - mean * scale, rows, scale).view(x.shape), mean, variance

    @staticmethod
    def backward(context: Any, gradient: Any, *_: Any) -> Any:
        rows, mean, inverse, scale, count = context.saved_tensors
        gradient = gradient.reshape(rows.shape).to(rows.dtype)
        of_beta = gradient.sum(0)
        of_gamma = ((gradient * rows).sum(0) - mean * of_beta) * inverse
        sums = torch.cat([of_beta, of_gamma])
        context.reached(lambda: distributed.all_reduce(sums))
        of_all_beta, of_all_gamma = (sums / count).chunk(2)
        slope = scale * of_all_gamma * inverse
        of_rows = torch.addcmul(mean * slope - scale * of_all_beta, rows, -slope).addcmul_(gradient, scale)
        return of_rows.view(context.shape).to(context.dtype), of_gamma, of_beta, None, None


def join(place: Place) -> TorchTeam:
    """The team of which this process is one, once all are there.

    Raises:
        RunError: they do not come together.
    """
    waited = timedelta(seconds=GATHERING_S)
    try:
        address = "env://" if "RANK" in os.environ else f"tcp://{place.host}:{place.port}"
        store, _, _ = next(distributed.rendezvous(address, place.index, place.count, timeout=waited))
        return TorchTeam(place, store)
    except (RuntimeError, OSError, ValueError) as error:
        raise RunError(
            f"{place} cannot reach the first one at {place.host}:{place.port} ({str(error).splitlines()[0]}): start "
            f"all {place.count} of them, and let that port through"
        ) from None
