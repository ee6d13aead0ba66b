"""Examples as explanation: the training pictures that a model sees as most like a picture.

An index beside the model file holds what the network gives for training pictures before its last layer, and small
copies of them, so that nobody who asks needs the training data. It belongs to the weights that it was made with.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from ception.errors import InputError, reason
from ception.files import whole
from ception.models.endpoints import before_head
from ception.results import Neighbour
from ception.weights.names import variables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from PIL import Image

    from ception.classifier import Classifier

USUAL = 3  # neighbours that are shown
MOST = 5_000  # pictures of an index
_OF_CLASS = 50  # least of a class among these, so that no rare one is forgotten
_MOST_BYTES = 4 << 30  # of a file that is opened


@dataclass(frozen=True)
class Index:
    """Training pictures by what a network sees in them.

    Attributes:
        features: Float16 of shape (pictures, channels), each of length 1.
        labels: Their classes, of shape (pictures,).
        paths: What they are called.
        thumbnails: JPEG of each.
        model: Digest of the weights, as `identity` gives it.
    """

    features: NDArray[np.float16]
    labels: NDArray[np.integer]
    paths: Sequence[str]
    thumbnails: Sequence[bytes]
    model: str

    @cached_property
    def _exact(self) -> NDArray[np.float32]:
        """The features in numbers that processors multiply."""
        return self.features.astype(np.float32)

    def nearest(self, features: NDArray[np.float32], count: int = USUAL) -> list[tuple[int, float]]:
        """The rows most like a picture, the nearest first, each with its distance: 1 less the cosine.

        Args:
            features: What the network gives for the picture, (channels,).
            count: How many.
        """
        distances = 1 - self._exact @ unit(features[None])[0]
        rows = np.argsort(distances, kind="stable")[:count]
        return [(int(row), max(0.0, float(distances[row]))) for row in rows]

    def told(self, class_names: Sequence[str], found: Sequence[tuple[int, float]]) -> tuple[Neighbour, ...]:
        """What `nearest` gave, by names."""
        return tuple(
            Neighbour(path=str(self.paths[row]), class_name=class_names[self.labels[row]], distance=round(distance, 4))
            for row, distance in found
        )

    def picture(self, row: int) -> Image.Image:
        """The small copy of a training picture."""
        from PIL import Image

        return Image.open(io.BytesIO(self.thumbnails[row])).convert("RGB")

    def save(self, path: Path) -> None:
        """Write the index.

        Raises:
            RunError: the file cannot be written.
        """
        ends = np.cumsum([len(one) for one in self.thumbnails], dtype=np.int64)
        names = [path.encode("utf-8", "surrogateescape") for path in self.paths]
        path_ends = np.cumsum([len(one) for one in names], dtype=np.int64)
        with whole(path) as unfinished, unfinished.open("wb") as file:
            np.savez(
                file, features=self.features, labels=self.labels.astype(np.int32), model=np.array(self.model),
                thumbnails=np.frombuffer(b"".join(self.thumbnails), np.uint8), ends=ends,
                paths=np.frombuffer(b"".join(names), np.uint8), path_ends=path_ends,
            )  # fmt: skip


def read(path: Path, classifier: Classifier) -> Index:
    """The index in a file that `Index.save` wrote, if it is of this model.

    Raises:
        InputError: there is none, it is broken, or it belongs to another model.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError("it is too large")
        with zipfile.ZipFile(path) as archive:  # whose members are stored as they are: none unfolds
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise ValueError("it is compressed")
        with np.load(path, allow_pickle=False) as stored:
            index = _of(stored, len(classifier.class_names))
    except FileNotFoundError:
        raise InputError(
            f"{path} is not there, which holds the training pictures to compare with: train anew, without "
            "--no-neighbours"
        ) from None
    except OSError as error:
        raise InputError(f"{path} cannot be opened: {reason(error)}") from None
    except (ValueError, KeyError, TypeError, EOFError, OverflowError, NotImplementedError, zipfile.BadZipFile,
            zlib.error, MemoryError, UnicodeError) as error:  # fmt: skip
        raise InputError(f"{path} is broken: {' '.join(str(error).split())}") from None
    if index.model != identity(classifier.network):
        raise InputError(f"{path} belongs to another model: put it beside the model that it was made with")
    return index


def _of(stored: Any, classes: int) -> Index:
    """What a file holds, its parts fitting one another.

    Raises:
        ValueError: they do not.
    """
    features, labels = stored["features"], stored["labels"]
    count = len(labels)
    thumbnails, paths = (
        _parts(stored[name], stored[ends], count) for name, ends in (("thumbnails", "ends"), ("paths", "path_ends"))
    )
    if features.dtype != np.float16 or features.ndim != 2 or len(features) != count or not count:
        raise ValueError("its features do not fit its pictures")
    if labels.dtype != np.int32 or labels.min() < 0 or labels.max() >= classes:
        raise ValueError("its classes are not those of the model")
    names = [path.decode("utf-8", "surrogateescape") for path in paths]
    return Index(features, labels, names, thumbnails, str(stored["model"]))


def _parts(joined: NDArray[np.uint8], ends: NDArray[np.int64], count: int) -> list[bytes]:
    """Texts that stand one after another."""
    if joined.dtype != np.uint8 or ends.shape != (count,) or (count and ends[-1] != len(joined)):
        raise ValueError("its pictures or names are cut off")
    data = joined.tobytes()
    return [data[start:end] for start, end in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True)]


def identity(network: keras.Model) -> str:
    """A digest of a network's weights."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(variables(network).items()):
        digest.update(name.encode() + np.ascontiguousarray(keras.ops.convert_to_numpy(tensor)).tobytes())
    return digest.hexdigest()


def unit(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Features (pictures, ...) as vectors of length 1, (pictures, channels); one of zeros stays so."""
    flat = np.asarray(features, np.float32).reshape(len(features), -1)
    return np.asarray(flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12))


def with_features(network: keras.Model) -> keras.Model:
    """The network from pictures to its features, by which it tells the classes, and its logits."""
    return keras.Model(network.input, [network.get_layer(before_head(network)).output, network.output])


def some(labels: NDArray[np.integer], most: int = MOST) -> NDArray[np.intp]:
    """Places of so many pictures at most: `_OF_CLASS` of each class first, then by chance, the same each time."""
    order = np.random.default_rng(0).permutation(len(labels))
    rank = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        of_class = order[labels[order] == label]
        rank[of_class] = np.arange(len(of_class))
    first = order[np.argsort(rank[order] >= _OF_CLASS, kind="stable")]
    return np.sort(first[:most])
