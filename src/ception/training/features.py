"""Training a head on a frozen body: the fastest engine computes the features of every picture once; they are kept."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from ception import engines
from ception.data import cache, sources
from ception.data.augmentation import Augmentation, augment
from ception.errors import InputError, RunError
from ception.files import cache_folder
from ception.models.names import variables
from ception.reporting import Reporter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ception.training.preparation import Prepared

_BATCH = 32  # pictures that the body sees at once
_MIRROR = Augmentation(flip=1.0)


@dataclass(frozen=True)
class Boundary:
    """A network in two parts that share its weights.

    Attributes:
        body: From pictures to pooled features, in inference mode: batch norm uses its statistics.
        head: From features to logits.
    """

    body: keras.Model
    head: list[keras.Layer]


def divided(network: keras.Model) -> Boundary:
    """The network before and after its pooling.

    Raises:
        InputError: it has no pooling.
    """
    names = [layer.name for layer in network.layers]
    if "pool" not in names:
        raise InputError(f"{network.name} has no pooling, after which a head could be trained")
    end = names.index("pool")
    return Boundary(keras.Model(network.input, network.layers[end].output), network.layers[end + 1 :])


def features(
    body: keras.Model,
    prepared: Prepared,
    arguments: Mapping[str, Any],
    *,
    mirrored: bool,
    cache_limit: float,
    reporter: Reporter,
) -> NDArray[np.float32]:
    """What the body gives for every picture and, after those, for the mirror image of every training picture.

    They follow from weights, pictures, contract and engine, by which they are named in the cache folder.

    Args:
        body: From pictures (batch, height, width, channels) to features.
        prepared: The pictures.
        arguments: What `ception.build` made the network with.
        mirrored: Whether the mirror images are wanted.
        cache_limit: Most that the cache folder may hold, in GB.
        reporter: Receives progress.

    Returns:
        float32 of shape (pictures + mirrored ones, *features), memory-mapped.

    Raises:
        RunError: the body gives what is no finite number, or the cache cannot be written.
    """
    training = prepared.indices(sources.TRAIN) if mirrored else np.zeros(0, np.int64)
    count = len(prepared.place)
    shape = (count + len(training), *body.output.shape[1:])
    size = 4 * int(np.prod(shape, dtype=np.int64))
    engine = engines.fastest(body, reporter=reporter)
    name = cache.name_of("features", _identity(body, engine, arguments), repr((prepared.contract, shape)).encode(),
                         prepared.digests.tobytes(), training.tobytes())  # fmt: skip
    found = cache.find(name, size)
    if found:
        with suppress(ValueError, OSError):  # a broken header, or another process made room: it is made again
            kept: NDArray[np.float32] = np.load(found, mmap_mode="r")
            return kept
    if not cache.fits(size, cache_limit):
        raise InputError(f"the features take {size / 1e9:.1f} GB, above --cache-limit {cache_limit:g} GB: raise it")
    reporter.note(f"Features of {shape[0]:,} pictures, once, by {engine}, into {cache_folder()} ({size / 1e6:,.1f} MB)")
    everything = np.concatenate([np.arange(count), training])
    with cache.writing(name, size, cache_limit) as target, reporter.task("Features", shape[0]) as task:
        stored = np.lib.format.open_memmap(target, "w+", np.float32, shape)
        for start in range(0, shape[0], _BATCH):
            batch = prepared.pixels[everything[start : start + _BATCH]]
            first_mirrored = max(0, count - start)
            turned = augment(batch[first_mirrored:], _MIRROR, np.random.default_rng(0))
            batch = np.concatenate([batch[:first_mirrored], turned])
            padded = np.zeros((_BATCH, *batch.shape[1:]), np.float32)  # one shape: compiled once
            padded[: len(batch)] = batch
            stored[start : start + _BATCH] = engine.run(padded)[: len(batch)]
            if not np.isfinite(stored[start : start + _BATCH]).all():
                raise RunError("the frozen network gives what is no finite number: its weights are damaged")
            task.advance(len(batch))
        stored.flush()
    made: NDArray[np.float32] = np.load(cache_folder() / name, mmap_mode="r")
    return made


def _identity(body: keras.Model, engine: engines.Engine, arguments: Mapping[str, Any]) -> bytes:
    """What the body computes: its layers, its weights, and what computes it."""
    behind = ("classes", "dropout")  # of the head
    layers = sorted((option, repr(value)) for option, value in arguments.items() if option not in behind)
    digest = hashlib.blake2b(f"{engine} {keras.__version__} {layers}".encode())
    for name, tensor in variables(body).items():
        digest.update(name.encode() + np.ascontiguousarray(keras.ops.convert_to_numpy(tensor)).tobytes())
    return digest.digest()
