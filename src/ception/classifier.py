"""A trained network with all that it needs to be used: class names, image contract, provenance; in one file."""

from __future__ import annotations

import base64
import importlib
import json
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import keras
import numpy as np

from ception import models
from ception.data.images import ImageContract
from ception.errors import InputError, reason
from ception.files import whole
from ception.models.checkpoints import Checkpoint, read
from ception.models.sizes import height_and_width
from ception.models.weights import Report, classes_in, imagenet_classes, load, open_weights, origin, port_of
from ception.results import CoveragePoint
from ception.settings import Resize

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ception.reporting import Reporter

FORMAT = 1
_MEMBER = "model.json"
_MOST_JSON = 256 << 20  # bytes; ImageNet's training digests take 10 MB
_ARGUMENTS = {
    "name", "classes", "image_size", "channels", "dropout", "scaling", "depth_multiplier", "min_depth", "every", "port",
    "final_endpoint",
}  # fmt: skip
_DIGEST_BYTES = 6  # of each training picture's 16: chance matches are rarer than one in 2**48 pairs


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """A network with its class names, its image contract and where it comes from.

    Attributes:
        network: From float32 pictures (batch, height, width, channels) of 0..255 to logits (batch, classes).
        arguments: What `ception.models.build` made the network with.
        class_names: Names of the classes, in the order of the logits.
        image: What the network expects of a picture.
        record: Provenance in plain values: settings, scores, data, versions, licence of the weights.
        training_digests: First 6 bytes of the digest of each training picture, sorted, of type `V6`.
        temperature: What the logits are divided by before they become probabilities.
        unnamed: Whether the classes have no names and `class_names` are just numbers.
        coverage: Precision and coverage on the validation pictures by rising confidence threshold, as
            `ception.evaluation.calibration.coverage_curve` gives them.
    """

    network: keras.Model
    arguments: dict[str, Any]
    class_names: tuple[str, ...]
    image: ImageContract
    record: dict[str, Any] = field(default_factory=dict)
    training_digests: NDArray[np.void] = field(default_factory=lambda: np.zeros(0, f"V{_DIGEST_BYTES}"))
    temperature: float = 1.0
    unnamed: bool = False
    coverage: list[CoveragePoint] = field(default_factory=list)

    def logits(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Scores before the softmax.

        Args:
            images: Values 0..255 of shape (batch, height, width, channels), as the image contract says.

        Returns:
            float32 of shape (batch, classes).
        """
        if images.shape[1:] != self.image.shape:
            raise InputError(f"the network takes pictures of shape {self.image.shape}, got {images.shape[1:]}")
        return np.asarray(self.network.predict_on_batch(images.astype("float32")), np.float32)

    def probabilities(self, images: NDArray[Any], *, calibrated: bool = True) -> NDArray[np.float32]:
        """Softmax of the logits, each row sums to 1.

        Args:
            images: As in `logits`.
            calibrated: Whether the logits are divided by the temperature first.

        Returns:
            float32 of shape (batch, classes).
        """
        return softmax(self.logits(images) / np.float32(self.temperature if calibrated else 1.0))

    def require_weights(self) -> None:
        """Raise an InputError if parts of the network have no weights but their initial ones."""
        if missing := self.record.get("missing"):
            raise InputError(
                f"{len(missing)} tensors of {self.network.name} have no weights, such as {missing[0]}: train it first"
            )

    def seen_in_training(self, digests: NDArray[np.void]) -> NDArray[np.bool_]:
        """Whether each picture, by its digest of type `V16`, was a training picture."""
        return np.isin(_numbers(shortened(digests)), _numbers(self.training_digests))

    def save(self, path: Path | str) -> None:
        """Write the `.keras` file: the network with stock Keras layers in float32, and `model.json`.

        The file gets its name only when it is whole.

        Raises:
            RunError: the file cannot be written.
        """
        with tempfile.TemporaryDirectory() as folder, whole(Path(path)) as unfinished:
            plain = Path(folder) / "network.keras"
            keras.Model(self.network.input, self.network.output, name=self.network.name).save(plain)
            with zipfile.ZipFile(plain) as source, zipfile.ZipFile(unfinished, "w") as target:
                for item in source.infolist():
                    content = source.read(item)
                    if item.filename == "config.json":
                        content = json.dumps(_stock(json.loads(content))).encode()
                    target.writestr(item.filename, content)
                target.writestr(_MEMBER, json.dumps(self._json()), zipfile.ZIP_DEFLATED)

    def _json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "network": self.arguments,
            "class_names": list(self.class_names),
            "unnamed": self.unnamed,
            "image": asdict(self.image),
            "calibration": {"temperature": self.temperature, "coverage": [point.as_dict() for point in self.coverage]},
            "record": self.record,
            "training_digests": base64.b64encode(self.training_digests.tobytes()).decode(),
        }

    @classmethod
    def load(cls, path: Path | str) -> Classifier:
        """The classifier in a file that `save` wrote, or in the run folder around it.

        The network is built anew from what `model.json` says, and its tensors are read by layer name:
        nothing in the file is run.

        Raises:
            InputError: there is no such file, it is broken, or it is no classifier of this package.
        """
        path = model_file(path)
        described, tensors = _description(path), read(path).tensors
        try:
            image = ImageContract(**described["image"])
            class_names = tuple(described["class_names"])
            network = models.build(**described["network"])
            expected = (*image.shape, len(class_names))
            if (*network.input.shape[1:], network.output.shape[-1]) != expected or image.resize not in get_args(Resize):
                raise ValueError("what it says of pictures and classes does not fit its network")
            if not all(isinstance(name, str) for name in class_names):
                raise ValueError("its class names are no strings")
            short = np.frombuffer(base64.b64decode(described["training_digests"]), f"V{_DIGEST_BYTES}")
            _fill(network, tensors)
            return cls(
                network=network,
                arguments=described["network"],
                class_names=class_names,
                image=image,
                record=dict(described["record"]),
                training_digests=short,
                temperature=float(described["calibration"]["temperature"]),
                unnamed=bool(described["unnamed"]),
                coverage=[CoveragePoint(**point) for point in described["calibration"]["coverage"]],
            )
        except (KeyError, TypeError, ValueError, OSError, RuntimeError, AttributeError) as error:
            raise InputError(f"{path} is a broken model file: {' '.join(str(error).split())}") from None

    @classmethod
    def build(
        cls, name: str, class_names: Sequence[str], *, weights: str | Path | None = None, resize: Resize = "squash",
        **options: Any,
    ) -> Classifier:  # fmt: skip
        """A classifier whose `network` is to be trained, with plain Keras or otherwise, and then to be saved.

        Args:
            name: Network, a key of `MODELS`.
            class_names: Names of the classes, in the order of the labels.
            weights: As for `ception.build`; their head is left out unless it has as many classes.
            resize: As in `ImageContract`.
            options: What `ception.build` takes for the network: `image_size`, `channels`, `dropout`, `scaling`,
                `depth_multiplier`, `min_depth`, `every`, `final_endpoint`.

        Raises:
            InputError: as for `ception.build`.
            RunError: likewise.
        """
        if foreign := set(options) - _ARGUMENTS:
            raise InputError(f"a classifier's network has no option '{min(foreign)}' (known: {', '.join(_ARGUMENTS)})")
        if resize not in get_args(Resize):
            raise InputError(f"resize must be one of {', '.join(get_args(Resize))}, got {resize!r}")
        entry = models.find(name)
        height, width = height_and_width(options.get("image_size") or entry.image_size)
        published, scaling, port = origin(name, weights) if weights else (None, [127.5, 127.5], None)
        defaults = {"scaling": scaling, "port": port, "channels": entry.channels}
        arguments: dict[str, Any] = defaults | options | {
            "name": name, "classes": len(class_names), "image_size": [height, width],
        }  # fmt: skip
        return cls(
            network=models.build(**arguments, weights=weights), arguments=arguments, class_names=tuple(class_names),
            image=ImageContract(height=height, width=width, channels=arguments["channels"], resize=resize),
            record={"weights": weights and str(weights), "weights_licence": published.licence if published else None},
        )  # fmt: skip

    @classmethod
    def pretrained(
        cls, name: str, weights: str | Path, *, partial: bool = False, reporter: Reporter | None = None
    ) -> tuple[Classifier, Report, Checkpoint]:
        """A classifier from published weights or a weight file, without any training.

        The head is the file's; ImageNet's names go with 1,000 classes, others are numbers. Pictures are cropped and
        scaled as the record of the weights says; without one, -1..1 and a central crop of 0.875.

        Args:
            name: Network, a key of `MODELS`.
            weights: As for `ception.build`.
            partial: Whether the weights may lack tensors of the network.
            reporter: Receives the progress of a download.

        Returns:
            The classifier, what became of the tensors, and the checkpoint.

        Raises:
            InputError: there are no such weights, or they do not fit.
            RunError: they cannot be downloaded.
        """
        entry = models.find(name)
        checkpoint, record = open_weights(name, weights, reporter=reporter)
        if checkpoint.layout == "ception":
            raise InputError(f"{checkpoint.path} is a model file already: name it instead of the network")
        count = classes_in(name, checkpoint)
        scaling = [record.mean, record.deviation] if record else [127.5, 127.5]
        arguments: dict[str, Any] = {
            "name": name, "classes": count or entry.classes, "image_size": list(entry.image_size),
            "channels": entry.channels, "port": record.port if record else port_of(name, checkpoint),
            "scaling": [list(value) if isinstance(value, tuple) else value for value in scaling],
        }  # fmt: skip
        network = models.build(**arguments)
        report = load(network, checkpoint, partial=partial)
        height, width = entry.image_size
        crop = record.crop if record else 0.875
        named = imagenet_classes() if count == len(imagenet_classes()) else None
        classifier = cls(
            network=network, arguments=arguments, unnamed=named is None,
            class_names=named or tuple(map(str, range(arguments["classes"]))),
            image=ImageContract(height=height, width=width, channels=entry.channels, resize="crop", crop=crop),
            record={"weights": str(weights), "weights_licence": record.licence if record else None,
                    "tensors": str(report), "missing": report.missing},
        )  # fmt: skip
        return classifier, report, checkpoint


def model_file(path: Path | str) -> Path:
    """The model file that a path means: itself, or the one in a run folder."""
    inside = Path(path) / "model.keras"
    return inside if inside.is_file() else Path(path)


def arguments_in(path: Path | str) -> dict[str, Any]:
    """What `ception.models.build` made the network of a model file or run folder with; its tensors are not read.

    Raises:
        InputError: as for `Classifier.load`.
    """
    return dict(_description(model_file(path))["network"])


def _description(path: Path) -> dict[str, Any]:
    """What a model file says of itself.

    Raises:
        InputError: there is no such file, it is broken, or it is no classifier of this package.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if _MEMBER not in archive.namelist():
                raise InputError(f"{path} is a Keras file without {_MEMBER}: only models saved by ception load here")
            if archive.getinfo(_MEMBER).file_size > _MOST_JSON:
                raise InputError(f"{path} is broken: its {_MEMBER} is larger than {_MOST_JSON / 1e9:.1f} GB")
            described = json.loads(archive.read(_MEMBER))
    except IsADirectoryError:
        raise InputError(f"{path} is a folder without model.keras: name a model file or a run folder") from None
    except OSError as error:
        raise InputError(f"{path} cannot be opened: {reason(error)}") from None
    except InputError:
        raise
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError, ValueError, RuntimeError) as error:
        raise InputError(f"{path} is no whole model file (truncated, or another format): {error}") from None
    if not isinstance(described, dict) or described.get("format") != FORMAT:
        found = described.get("format") if isinstance(described, dict) else None
        raise InputError(f"{path} has format {found}, not {FORMAT}: update ception")
    arguments = described.get("network")
    if not isinstance(arguments, dict):
        raise InputError(f"{path} is a broken model file: it does not say which network it holds")
    if foreign := set(arguments) - _ARGUMENTS:  # such as `weights`, which opens other files
        raise InputError(f"{path} is a broken model file: its network has the options {sorted(foreign)}")
    return described


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities (batch, classes) from logits (batch, classes)."""
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(-1, keepdims=True), np.float32)


def shortened(digests: NDArray[np.void]) -> NDArray[np.void]:
    """Digests of type `V16` cut to what a model file keeps, sorted order not changed."""
    cut = np.ascontiguousarray(digests.view((np.uint8, 16))[:, :_DIGEST_BYTES])
    return cut.view(f"V{_DIGEST_BYTES}")[:, 0]


def _numbers(short: NDArray[np.void]) -> NDArray[np.uint64]:
    padded = np.zeros((len(short), 8), np.uint8)
    padded[:, 2:] = np.frombuffer(short.tobytes(), np.uint8).reshape(-1, _DIGEST_BYTES)
    return padded.view(">u8")[:, 0].astype(np.uint64)


def _stock(config: Any) -> Any:
    """A network's configuration in float32, with every class of this package replaced by the Keras class it is one of.

    Source: the layout that `keras.saving.serialize_keras_object` gives.
    """
    if isinstance(config, list):
        return [_stock(value) for value in config]
    if not isinstance(config, dict):
        return config
    config = {key: _stock(value) for key, value in config.items()}
    if config.get("class_name") == "DTypePolicy":
        config["config"] = {"name": "float32"}
    module = config.get("module")
    if isinstance(module, str) and module.startswith("ception."):
        parent = getattr(importlib.import_module(module), config["class_name"]).__mro__[1]
        public = keras.saving.serialize_keras_object(parent())
        config |= {key: public[key] for key in ("module", "class_name", "registered_name")}
    return config


def _fill(network: keras.Model, tensors: dict[str, NDArray[np.float32]]) -> None:
    """Fill the network with tensors by `<layer>/<variable>`.

    Raises:
        ValueError: a layer or tensor is missing, or has another shape.
    """
    stored: dict[str, dict[str, NDArray[np.float32]]] = {}
    for name, tensor in tensors.items():
        layer_name, _, variable_name = name.rpartition("/")
        stored.setdefault(layer_name, {})[variable_name] = tensor
    for layer in network.layers:
        if not layer.weights:
            continue
        if layer.name not in stored:
            raise ValueError(f"it holds no layer {layer.name}")
        found = stored[layer.name]
        if len(found) != len(layer.weights):
            raise ValueError(f"layer {layer.name} has {len(found)} tensors instead of {len(layer.weights)}")
        for variable in layer.weights:
            shape = found[variable.name].shape
            if shape != tuple(variable.shape):
                raise ValueError(f"{layer.name} is {shape} instead of {tuple(variable.shape)}")
            variable.assign(found[variable.name])
