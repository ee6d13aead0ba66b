"""Batches of a data set for Keras: in an order that a seed decides, read ahead, shared among processes."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from ception.data.augmentation import Augmentation, Mixing, augment, mix

if TYPE_CHECKING:
    from numpy.typing import NDArray

_READ_AHEAD = 4  # batches, the one that is asked for among them
_FOR_CHANGES, _FOR_VIEWS, _FOR_MIXING = 1, 2, 3  # keep their random numbers apart from those of the order


class Batches(keras.utils.PyDataset):
    """Inputs and int32 labels, batch by batch, for `keras.Model.fit`; the next batches are read ahead by a thread.

    A pickled one goes on with the same batches; inputs in a memory-mapped file are pickled with their content.

    Attributes:
        epoch: The number of the epoch, from which, with the seed, the order and all changes follow.
    """

    def __init__(
        self,
        inputs: Any,
        labels: NDArray[np.int32],
        indices: NDArray[np.int64],
        batch_size: int,
        *,
        seed: int | None,
        augmentation: Augmentation | None = None,
        views: int = 1,
        mixing: Mixing | None = None,
        weight_of: NDArray[np.float32] | None = None,
        shard: tuple[int, int] = (0, 1),
        even: bool = False,
    ) -> None:
        """Nothing is read yet.

        Args:
            inputs: All pixels (`loading.Pixels`) or activations, by index.
            labels: All labels.
            indices: The pictures to take.
            batch_size: Pictures in a batch of all processes; the last one may be smaller.
            seed: Start of the order; None keeps the given order.
            augmentation: How the pixels are changed, by seed, epoch and step; None leaves them as they are.
            views: Views of each picture, of which each epoch takes one at random: view v of picture p is
                `inputs[p + v * len(labels)]`.
            mixing: How examples are mixed in pairs; None or `Mixing()` leaves them apart.
            weight_of: Factor of each class's loss, (classes,); with it the labels become weights of classes, float32
                of shape (batch, classes), which mixing needs.
            shard: Index of this process, and the number of processes. Each gets a share of every batch, the first ones
                one example more where it cannot be divided; their shares one after another are the batch of a single
                process. A share is empty where the last batch has fewer examples than there are processes.
            even: Whether each process gets the whole of a batch that cannot be divided into equal shares.
        """
        super().__init__()
        self.inputs, self.labels, self.indices, self.batch_size = inputs, labels, indices, batch_size
        self.seed, self.views, self.weight_of, self.shard, self.even = seed, views, weight_of, shard, even
        self.augmentation = augmentation or Augmentation()
        self.mixing = mixing or Mixing()
        self.epoch = 0
        self._begin()

    def _begin(self) -> None:
        """Make what a pickle does not hold: the thread, what it has read ahead, the order of the last epoch."""
        self._pool = ThreadPoolExecutor(1)
        self._ahead: dict[tuple[int, int], Future[Any]] = {}
        self._order = lru_cache(maxsize=1)(partial(order, self.indices, self.seed))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_pool", "_ahead", "_order")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    def __len__(self) -> int:
        return -(-len(self.indices) // self.batch_size)

    def is_whole(self, step: int) -> bool:
        """Whether each process gets all of a batch, for want of equal shares."""
        count = min(self.batch_size, len(self.indices) - step * self.batch_size)
        return self.even and count % self.shard[1] > 0

    def __getitem__(self, step: int) -> tuple[NDArray[Any], NDArray[Any]]:
        epoch = self.epoch
        self._ahead = {key: value for key, value in self._ahead.items() if key[0] == epoch and key[1] >= step}
        for later in range(step, min(step + _READ_AHEAD, len(self))):
            if (epoch, later) not in self._ahead:
                self._ahead[epoch, later] = self._pool.submit(self._read, epoch, later)
        batch: tuple[NDArray[Any], NDArray[Any]] = self._ahead.pop((epoch, step)).result()
        return batch

    def _read(self, epoch: int, step: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """This process's share of a batch."""
        start = step * self.batch_size
        chosen = self._order(epoch)[start : start + self.batch_size]
        seen = chosen
        if self.views > 1:
            random = self._random(epoch, step, _FOR_VIEWS)
            seen = chosen + len(self.labels) * random.integers(0, self.views, len(chosen))
        own = slice(None) if self.is_whole(step) else _share(len(chosen), *self.shard)
        places, changes = np.arange(len(chosen))[own], self._random(epoch, step, _FOR_CHANGES)
        if self.weight_of is None or self.mixing == Mixing():
            return self._changed(seen, places, changes), self._targets(chosen[places])
        random = self._random(epoch, step, _FOR_MIXING)
        others = random.permutation(len(chosen))[places]
        wanted, found = np.unique(np.concatenate([places, others]), return_inverse=True)
        inputs, targets = self._changed(seen, wanted, changes), self._targets(chosen[wanted])
        pair = ((inputs[one], targets[one]) for one in np.split(found, 2))
        return mix(next(pair), next(pair), self.mixing, random)

    def _changed(
        self, batch: NDArray[np.int64], places: NDArray[np.int64], random: np.random.Generator
    ) -> NDArray[Any]:
        """What stands at some places of a batch of views, changed as in the whole batch."""
        inputs: NDArray[Any] = self.inputs[batch[places]]
        if self.augmentation == Augmentation():
            return inputs
        return augment(inputs, self.augmentation, random, places, len(batch))

    def _targets(self, indices: NDArray[np.int64]) -> NDArray[Any]:
        labels = self.labels[indices]
        return labels if self.weight_of is None else np.diag(self.weight_of)[labels]

    def _random(self, epoch: int, step: int, use: int) -> np.random.Generator:
        return np.random.default_rng([self.seed or 0, epoch, step, use])


def order(indices: NDArray[np.int64], seed: int | None, epoch: int) -> NDArray[np.int64]:
    """The pictures of an epoch in its order, which follows from seed and epoch alone; None keeps the given one."""
    return indices if seed is None else np.random.default_rng([seed, epoch]).permutation(indices)


def _share(count: int, index: int, shards: int) -> slice:
    """The part of `count` examples that falls to one of the shards; the first ones get what cannot be divided."""
    size, left = divmod(count, shards)
    start = index * size + min(index, left)
    return slice(start, start + size + (index < left))
