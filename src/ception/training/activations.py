"""What the frozen part of a network gives for every picture: computed once by the fastest engine, and kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import keras
import ml_dtypes
import numpy as np

from ception.data import cache, loading
from ception.data.augmentation import VERSION, Augmentation, augment
from ception.distributed import ALONE, Team
from ception.engines import Engine, Precision, described
from ception.engines.batching import BatchRunner
from ception.engines.choosing import fastest
from ception.errors import RunError
from ception.files import cache_folder
from ception.models.kinds import kind
from ception.reporting import Reporter
from ception.training import sharing
from ception.weights.names import variables

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ception.models.config import NetworkConfig
    from ception.training.preparation import Prepared

_BATCH = 32  # pictures that the frozen part sees at once


@dataclass(frozen=True)
class Views:
    """Every picture as it is, mirrored, and in further views changed at random, the same way each time.

    View v of picture p has the index p + v * pictures.

    Attributes:
        prepared: The pictures.
        augmentation: How further views are changed; without its flip the second one, too.
    """

    prepared: Prepared
    augmentation: Augmentation

    @property
    def identity(self) -> bytes:
        """What the pixels depend on beside the picture."""
        return repr((loading.DECODER, VERSION, self.prepared.contract)).encode()

    def keys(self, indices: NDArray[np.integer]) -> NDArray[np.void]:
        """What each view shows: the digest of the picture and how it is changed, of type `V16`."""
        keys = np.zeros(len(indices), "V16")
        for row, index in enumerate(indices.tolist()):
            view, picture = divmod(index, len(self.prepared.splits))
            digest = hashlib.blake2b(self.prepared.digests[picture].tobytes(), digest_size=16)
            digest.update(self._change(view).encode())
            keys[row] = np.void(digest.digest())
        return keys

    def __getitem__(self, indices: NDArray[np.integer]) -> NDArray[np.uint8]:
        view, picture = np.divmod(indices, len(self.prepared.splits))
        batch = np.array(self.prepared.pixels[picture])
        mirrored = (view == 1) & (self.augmentation.flip > 0)
        batch[mirrored] = batch[mirrored][:, :, ::-1]
        for row in np.flatnonzero((view > 0) & ~mirrored):
            start = np.frombuffer(self.prepared.digests[picture[row]].tobytes(), np.uint32)
            random = np.random.default_rng([int(view[row]), *start.tolist()])
            batch[row] = augment(batch[row][None], self.augmentation, random)[0]
        return batch

    def _change(self, view: int) -> str:
        """How a view is changed, in words that tell it from others."""
        if view == 0:
            return "plain"
        return "mirrored" if view == 1 and self.augmentation.flip else repr((view, self.augmentation))


@dataclass(frozen=True)
class Activations:
    """What a network gives at a layer for some views of the pictures.

    Attributes:
        stored: Memory-mapped, (rows, *shape).
        rows: By index of a view, its row; -1 where it was not computed.
        views: What it was computed for.
        layer_name: The layer whose output it is.
        identity: What it depends on beside the view.
    """

    stored: NDArray[Any]
    rows: NDArray[np.int64]
    views: Views
    layer_name: str
    identity: bytes

    def keys(self, indices: NDArray[np.integer]) -> NDArray[np.void]:
        """As `Views.keys`."""
        return self.views.keys(indices)

    def __getitem__(self, indices: NDArray[np.integer]) -> NDArray[np.float32]:
        return np.asarray(self.stored[self.rows[indices]], np.float32)


def part(network: keras.Model, start: str | None, end: str) -> keras.Model:
    """The network from its pictures, or the output of layer `start`, to that of layer `end`; weights are shared."""
    given = network.input if start is None else network.get_layer(start).output
    return keras.Model(given, network.get_layer(end).output, name=network.name)


def activations(
    network: keras.Model,
    layer_name: str,
    source: Views | Activations,
    wanted: NDArray[np.int64],
    config: NetworkConfig,
    *,
    in_all: int = 0,
    what: str | None = None,
    precision: Precision | None = None,
    cache_limit: float,
    team: Team = ALONE,
    reporter: Reporter,
) -> Activations:
    """What the network, in inference mode, gives at a layer.

    They are kept in the cache folder under what they follow from: weights, layers, contract, engine and picture. Only
    pictures that are not there yet are computed, by several processes each its share.

    Args:
        network: From pictures (batch, height, width, channels) to logits.
        layer_name: Name of the layer.
        source: The pictures, or what the network gives at an earlier layer.
        wanted: Indices of views.
        config: What the network was built from.
        in_all: Views that will be wanted later, these among them.
        what: What is computed, in words; None for what stays frozen.
        precision: Numbers to compute with; None for the engine's fastest.
        cache_limit: Most that the cache folder may hold, in GB.
        team: The processes that want them.
        reporter: Receives progress.

    Raises:
        InputError: they are larger than the limit.
        RunError: the network gives what is no finite number, or the cache cannot be written.
    """
    body = part(network, source.layer_name if isinstance(source, Activations) else None, layer_name)
    with closing(fastest(body, precision=precision, reporter=reporter)) as engine:
        shape = tuple(body.output.shape[1:])
        dtype, identity = _kept_as(engine, shape), source.identity + _identity(body, engine, config)
        label = "Features" if layer_name == "pool" else f"Activations at {layer_name}"
        runner = BatchRunner(engine, _BATCH, reporter=reporter, what=label)
        stored, row_of = sharing.collect(
            team, f"features-{cache.digest(identity)}", source.keys(wanted), shape, dtype,
            partial(_computed, runner, source, wanted, dtype, label),
            in_all=in_all, limit_gb=cache_limit, reporter=reporter,
            announce=partial(_announce, what or f"what stays frozen, up to {layer_name}", label, engine, reporter),
        )  # fmt: skip
    views = source.views if isinstance(source, Activations) else source
    return Activations(stored, _by_view(views, wanted, row_of), views, layer_name, identity)


def _kept_as(engine: Engine, shape: tuple[int, ...]) -> Any:
    """The type of the numbers that are kept: feature maps that were computed in bfloat16 stay so."""
    maps = len(shape) == 3 and shape[0] > 1
    return ml_dtypes.bfloat16 if engine.precision == "bfloat16" and maps else np.float32


def _by_view(views: Views, wanted: NDArray[np.int64], row_of: NDArray[np.int64]) -> NDArray[np.int64]:
    """By index of a view, its row; -1 where it has none."""
    rows = np.full(1 + max(wanted.max(initial=0), len(views.prepared.splits)), -1, np.int64)
    rows[wanted] = row_of
    return rows


def _announce(
    what: str, label: str, engine: Engine, reporter: Reporter, count: int, size: int, size_in_all: int
) -> None:
    """Tell what is about to be computed, and how much of the disk it takes in bytes, now and in all."""
    sizes = dict.fromkeys(f"{bytes_ / 1e6:,.1f}" for bytes_ in (size, size_in_all))
    megabytes = f"({' of '.join(sizes)} MB)"
    reporter.note(f"Computing {what}, once: {count:,} pictures and views, into the cache {megabytes}")
    where = f"{cache_folder()} {megabytes}"
    reporter.detail(f"{label} of {count:,} pictures and views, once, by {described(engine)}, into {where}")


def _computed(
    runner: BatchRunner,
    source: Views | Activations,
    wanted: NDArray[np.int64],
    dtype: Any,
    label: str,
    positions: NDArray[np.int64],
) -> Iterator[tuple[NDArray[np.int64], NDArray[Any]]]:
    """What the frozen part gives for the wanted views at some positions, batch by batch."""
    with runner.reporter.task(label, len(positions)) as task:
        for start in range(0, len(positions), _BATCH):
            now = positions[start : start + _BATCH]
            outputs = runner(source[wanted[now]])
            if not np.isfinite(outputs).all():
                raise RunError("the frozen network gives what is no finite number: the weights are damaged")
            yield now, outputs.astype(dtype)
            task.advance(len(now))


def _identity(body: keras.Model, engine: Engine, config: NetworkConfig) -> bytes:
    """What the body computes: its layers, its weights, and what computes it."""
    behind = ("classes", "dropout")  # of the head
    layers = sorted((option, repr(value)) for option, value in config.as_dict().items() if option not in behind)
    names = [layer.name for layer in body.layers if kind(layer) != "InputLayer"]
    digest = hashlib.blake2b(f"{described(engine)} {keras.__version__} {layers} {names}".encode())
    for name, tensor in variables(body).items():
        values = np.ascontiguousarray(keras.ops.convert_to_numpy(tensor))
        if not np.isfinite(values).all():  # which an activation such as ReLU may hide
            raise RunError(f"{name} holds what is no finite number: the weights are damaged")
        digest.update(name.encode() + values.tobytes())
    return digest.digest()
