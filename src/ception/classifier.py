"""A trained network with all that it needs to be used, in one file."""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, get_args

import keras
import numpy as np

from ception.data.images import ImageContract
from ception.errors import InputError
from ception.files import whole
from ception.model_file import MEMBER, ModelDescription, describe, keras_file
from ception.models.building import build_network
from ception.models.catalog import PORTS, find
from ception.models.config import NetworkConfig, NetworkOptions, require_options
from ception.models.kinds import kind, stock_config
from ception.networks import filled
from ception.reporting import Reporter, or_default
from ception.settings import Resize
from ception.weights.checkpoints import Checkpoint, read
from ception.weights.loading import Report, classes_in, require_family
from ception.weights.names import variables
from ception.weights.opening import OpenedWeights, open_weights
from ception.weights.whole_models import read_whole

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, repr=False)
class Classifier(ModelDescription):
    """A network with its class names, its image contract and where it comes from.

    Attributes:
        network: From float32 pictures (batch, height, width, channels) of 0..255 to logits (batch, classes).
    """

    network: keras.Model

    def logits(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Scores before the softmax.

        Args:
            images: Values 0..255 of shape (batch, height, width, channels), as the image contract says.

        Returns:
            float32 of shape (batch, classes).

        Raises:
            InputError: the pictures have another shape, or are floats in 0..1.
        """
        images = np.asarray(images)
        if images.shape[1:] != self.image.shape:
            count = ", ".join(map(str, ("count", *self.image.shape)))
            raise InputError(f"the network takes pictures of shape ({count}), got {images.shape}")
        if images.dtype.kind == "f" and images.size and 0 < images.max() <= 1:
            raise InputError("the network takes values 0..255, got floats of 1 at most: multiply them by 255")
        return np.asarray(self.network.predict_on_batch(images.astype("float32")), np.float32)

    def probabilities(self, images: NDArray[Any], *, calibrated: bool = True) -> NDArray[np.float32]:
        """Softmax of the logits, each row sums to 1.

        Args:
            images: As in `logits`.
            calibrated: Whether the logits are divided by the temperature first.

        Returns:
            float32 of shape (batch, classes).

        Raises:
            InputError: as for `logits`.
        """
        return self.softmax(self.logits(images), calibrated=calibrated)

    def save(self, path: Path | str) -> None:
        """Write the `.keras` file: the network with stock Keras layers in float32, and `model.json`.

        The file gets its name only when it is whole.

        Raises:
            RunError: the file cannot be written.
        """
        with tempfile.TemporaryDirectory() as folder, whole(Path(path)) as unfinished:
            plain, network = Path(folder) / "network.keras", self._of_stock_layers()
            keras.Model(network.input, network.output, name=network.name).save(plain)
            with zipfile.ZipFile(plain) as source, zipfile.ZipFile(unfinished, "w") as target:
                for item in source.infolist():
                    content = source.read(item)
                    if item.filename == "config.json":
                        content = json.dumps(stock_config(json.loads(content))).encode()
                    target.writestr(item.filename, content)
                target.writestr(MEMBER, json.dumps(self.as_json()), zipfile.ZIP_DEFLATED)

    def _of_stock_layers(self) -> keras.Model:
        """The network, built anew where classes of layers have names of their own, which Keras files tensors by."""
        if all(type(layer).__name__ == kind(layer) for layer in self.network.layers):
            return self.network
        network = build_network(self.config)
        tensors = {name: keras.ops.convert_to_numpy(tensor) for name, tensor in variables(self.network).items()}
        _fill(network, tensors)
        return network

    @classmethod
    def of(cls, description: ModelDescription, network: keras.Model) -> Classifier:
        """A network with its description."""
        described = {one.name: getattr(description, one.name) for one in fields(ModelDescription)}
        return cls(network=network, **described)

    @classmethod
    def load(cls, path: Path | str, *, dtype: str = "float32") -> Classifier:
        """The classifier in a file that `save` wrote, or in the run folder around it.

        The network is built anew from what `model.json` says, and its tensors are read by layer name:
        nothing in the file is run.

        Args:
            path: The file or the folder.
            dtype: Keras dtype policy, such as `float32` or `mixed_bfloat16`.

        Raises:
            InputError: there is no such file, it is broken, or it is no classifier of this package.
        """
        path = keras_file(path)
        description, tensors = describe(path), read(path).tensors
        try:
            network = build_network(description.config, dtype=dtype)
            _fill(network, tensors)
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise InputError(f"{path} is a broken model file: {' '.join(str(error).split())}") from None
        return cls.of(description, network)

    @classmethod
    def build(
        cls, name: str, class_names: Sequence[str], *, weights: str | Path | None = None, resize: Resize = "squash",
        **options: Unpack[NetworkOptions],
    ) -> Classifier:  # fmt: skip
        """A classifier whose `network` is to be trained, with plain Keras or otherwise, and then to be saved.

        Args:
            name: Network, a key of `MODELS`.
            class_names: Names of the classes, in the order of the labels.
            weights: As for `ception.build`; their head is left out unless it has as many classes.
            resize: As in `ImageContract`.
            options: Fields of `ception.models.config.NetworkOptions` but `classes`, such as `image_size`.

        Raises:
            InputError: as for `ception.build`.
            RunError: likewise.
        """
        if "classes" in options:
            raise InputError("a classifier's network has no option 'classes': they follow from class_names")
        if resize not in get_args(Resize):
            raise InputError(f"resize must be one of {', '.join(get_args(Resize))}, got {resize!r}")
        require_options(options, ("weights", "resize"))
        opened = open_weights(name, weights, reporter=or_default(None)) if weights else None
        options["classes"] = len(class_names)
        config = opened.config(**options) if opened else NetworkConfig.of(name, **options)
        network, report = filled(config, opened)
        if report and report.left_out:
            Reporter().warn(f"{weights}: {report.of_another_head()}")
        return cls(
            network=network,
            config=config,
            class_names=tuple(class_names),
            image=_contract(config, resize=resize),
            record={"weights": weights and str(weights),
                    "weights_licence": opened.record.licence if opened and opened.record else None},
        )  # fmt: skip

    @classmethod
    def pretrained(
        cls, name: str, weights: str | Path, *, partial: bool = False, class_names: Sequence[str] | None = None,
        reporter: Reporter | None = None, **options: Unpack[NetworkOptions],
    ) -> tuple[Classifier, Report, Checkpoint]:  # fmt: skip
        """A classifier from published weights or a weight file, without any training.

        The head is the file's; ImageNet's names go with 1,000 classes, others are numbers. Pictures are cropped and
        scaled as the record of the weights says, or as the file of a whole Keras model does; without either, -1..1
        and a central crop of 0.875. What was taken from where is `record["taken"]`.

        Args:
            name: Network, a key of `MODELS`.
            weights: As for `ception.build`.
            partial: Whether the weights may lack tensors of the network.
            class_names: Names of the classes, in the order of the logits.
            reporter: Receives the progress of a download.
            options: What is known by hand of the network: `image_size`, `scaling`, `final_endpoint`. It wins over what
                the file says.

        Returns:
            The classifier, what became of the tensors, and the checkpoint.

        Raises:
            InputError: there are no such weights, they do not fit, or the file's network computes something else.
            RunError: they cannot be downloaded.
        """
        find(name)
        require_options(options, ("partial", "class_names", "reporter"))
        if "classes" in options:
            raise InputError("the number of classes is that of the weights' head: name them with class_names")
        opened = open_weights(name, weights, reporter=or_default(reporter))
        if opened.checkpoint.layout == "ception":
            raise InputError(f"{opened.checkpoint.path} is a model file already: name it instead of the network")
        require_family(opened)
        reading = read_whole(opened, classes_in(opened), class_names=class_names, **options)
        config, network, report = _exactly_filled(reading.config, opened, partial=partial)
        classifier = cls(
            network=network, config=config, unnamed=reading.unnamed, class_names=reading.class_names,
            image=_contract(config, resize=reading.resize, crop=reading.crop),
            record={"weights": str(weights), "weights_licence": opened.record.licence if opened.record else None,
                    "tensors": str(report), "missing": report.missing + report.fresh, "taken": dict(reading.taken)},
        )  # fmt: skip
        return classifier, report, opened.checkpoint


def _exactly_filled(
    config: NetworkConfig, opened: OpenedWeights, *, partial: bool
) -> tuple[NetworkConfig, keras.Model, Report]:
    """The network that computes what the weights' own does, its config, and what became of the tensors.

    A file that says what its graph is may follow the rules of a port, which its names do not tell.

    Raises:
        InputError: none of ours computes it; the message is about the publication's.
    """
    known = PORTS.get(config.name, {}) if opened.checkpoint.configuration and config.port is None else {}
    refused: InputError | None = None
    for port in (config.port, *known):
        try:
            one = config.but(port=port)
            network, report = filled(one, opened, partial=partial, exact=True)
        except InputError as error:
            refused = refused or error
            continue
        assert report is not None  # as there are weights
        return one, network, report
    assert refused is not None
    raise refused


def _contract(config: NetworkConfig, *, resize: Resize, crop: float = 1.0) -> ImageContract:
    height, width = config.image_size
    return ImageContract(height=height, width=width, channels=config.channels, resize=resize, crop=crop)


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
        of_layer = stored[layer.name]
        if len(of_layer) != len(layer.weights):
            raise ValueError(f"layer {layer.name} has {len(of_layer)} tensors instead of {len(layer.weights)}")
        for variable in layer.weights:
            shape = of_layer[variable.name].shape
            if shape != tuple(variable.shape):
                raise ValueError(f"{layer.name} is {shape} instead of {tuple(variable.shape)}")
            variable.assign(of_layer[variable.name])
