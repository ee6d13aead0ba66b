"""What a model file says of its network, read without building it: class names, image contract, provenance."""

from __future__ import annotations

import base64
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from ception import hub
from ception.artefacts import format_of, metadata
from ception.data.images import ImageContract
from ception.drift import Looks
from ception.errors import InputError, meant, reason
from ception.models.catalog import MODELS
from ception.models.config import NetworkConfig
from ception.reporting import Reporter
from ception.results import CoveragePoint
from ception.run_list import names_beside, path_of
from ception.settings import Resize

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMAT = 1
MEMBER = "model.json"
MOST_JSON = 256 << 20  # bytes; ImageNet's training digests take 10 MB
_DIGEST_BYTES = 6  # of each training picture's 16: chance matches are rarer than one in 2**48 pairs


@dataclass(frozen=True, kw_only=True)
class ModelDescription:
    """A trained network, but for the network itself.

    Attributes:
        config: What the network is built from.
        class_names: Names of the classes, in the order of the logits.
        image: What the network expects of a picture.
        record: Provenance in plain values: settings, scores, data, versions, licence of the weights.
        training_digests: First 6 bytes of the digest of each training picture, sorted, of type `V6`.
        training_pixels: The same of what the network got of each training picture: tells those that come in another
            file, or in an array. Empty where that is not known.
        temperature: What the logits are divided by before they become probabilities.
        unnamed: Whether the classes have no names and `class_names` are just numbers.
        coverage: Precision and coverage on the validation pictures by rising confidence threshold, as
            `ception.evaluation.calibration.coverage_curve` gives them.
        usual: What the training pictures look like, and how sure the model is of its validation and
            test pictures, which it was not trained on; None where
            that is not known.
    """

    config: NetworkConfig
    class_names: tuple[str, ...]
    image: ImageContract
    record: dict[str, Any] = field(default_factory=dict)
    training_digests: NDArray[np.void] = field(default_factory=lambda: np.zeros(0, f"V{_DIGEST_BYTES}"))
    training_pixels: NDArray[np.void] = field(default_factory=lambda: np.zeros(0, f"V{_DIGEST_BYTES}"))
    temperature: float = 1.0
    unnamed: bool = False
    coverage: list[CoveragePoint] = field(default_factory=list)
    usual: Looks | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.config.name}, {len(self.class_names)} classes, {self.image})"

    def require_weights(self) -> None:
        """Raise an InputError if parts of the network have no weights but their initial ones."""
        if missing := self.record.get("missing"):
            raise InputError(
                f"{len(missing)} tensors of {self.config.name} have no weights, such as {missing[0]}: train it first"
            )

    def softmax(self, logits: NDArray[np.float32], *, calibrated: bool = True) -> NDArray[np.float32]:
        """Probabilities (batch, classes) of logits (batch, classes), divided by the temperature if calibrated."""
        from scipy.special import softmax

        return np.asarray(softmax(logits / np.float32(self.temperature if calibrated else 1.0), axis=-1), np.float32)

    def seen_in_training(self, digests: NDArray[np.void]) -> NDArray[np.bool_]:
        """Whether each picture, by its digest of type `V16`, was a training picture."""
        return _among(self.training_digests, digests)

    def pixels_seen_in_training(self, digests: NDArray[np.void]) -> NDArray[np.bool_]:
        """Whether the network was trained on just these pixels, by what `loading.pixel_digests` gives for them."""
        return _among(self.training_pixels, digests)

    def as_json(self) -> dict[str, Any]:
        """What `model.json` holds."""
        return {
            "format": FORMAT,
            "network": self.config.as_dict(),
            "class_names": list(self.class_names),
            "unnamed": self.unnamed,
            "image": asdict(self.image),
            "calibration": {"temperature": self.temperature, "coverage": [point.as_dict() for point in self.coverage]},
            "usual": None if self.usual is None else self.usual.as_json(),
            "record": self.record,
            "training_digests": base64.b64encode(self.training_digests.tobytes()).decode(),
            "training_pixels": base64.b64encode(self.training_pixels.tobytes()).decode(),
        }

    @classmethod
    def from_json(cls, described: Mapping[str, Any]) -> ModelDescription:
        """What `as_json` gave, of this version or an earlier one.

        Raises:
            ValueError: it is not what a model file says.
        """
        try:
            config, image = NetworkConfig.of(**described["network"]), ImageContract(**described["image"])
            class_names = tuple(described["class_names"])
            expected = (*config.image_size, config.channels, config.classes)
            if (*image.shape, len(class_names)) != expected or image.resize not in get_args(Resize):
                raise ValueError("what it says of pictures and classes does not fit its network")
            if not isinstance(image.crop, int | float) or not 0 < image.crop <= 1:
                raise ValueError(f"it keeps {image.crop!r} of a picture's shorter side")
            if not all(isinstance(name, str) for name in class_names):
                raise ValueError("its class names are no strings")
            temperature, record = float(described["calibration"]["temperature"]), described["record"]
            if not 0 < temperature < float("inf") or not isinstance(record, dict):
                raise ValueError("its temperature is no number above 0, or its record no object")
            return ModelDescription(
                config=config,
                class_names=class_names,
                image=image,
                record=record,
                training_digests=_from_base64(described["training_digests"]),
                training_pixels=_from_base64(described.get("training_pixels", "")),
                temperature=temperature,
                unnamed=bool(described["unnamed"]),
                coverage=[CoveragePoint(**point) for point in described["calibration"]["coverage"]],
                usual=None if described.get("usual") is None else Looks.from_json(described["usual"]),
            )
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from None


def model_file(path: Path | str, *, reporter: Reporter | None = None) -> Path:
    """The model file that a path means: itself, or that of a run folder, which `last` or a part of its name may mean.

    Args:
        path: The path, or the address of a repository on the hub, whose model file is downloaded.
        reporter: Receives the progress of a download; None for what `ception.reporting.default` gives.

    Raises:
        InputError: several runs have this part of a name, or there is no such repository.
        RunError: the hub cannot be reached.
    """
    path = path_of(path, reporter=reporter)
    inside = path / "model.keras"
    return inside if inside.is_file() else path


def keras_file(path: Path | str, *, reporter: Reporter | None = None) -> Path:
    """As `model_file`, where the weights are wanted and not only the answers.

    Raises:
        InputError: it is an export, or as for `model_file`.
        RunError: as for `model_file`.
    """
    path = model_file(path, reporter=reporter)
    if format_of(path) and path.exists():
        raise InputError(
            f"{path} is an export, which gives answers, but no weights and no gradients: name the model file that it "
            "was made from"
        )
    return path


def name_of(model: str | Path, *, file: Path) -> str:
    """What a model is called where only a name fits: as its repository on the hub, its run, or its file.

    Args:
        model: As it was given.
        file: What `model_file` gave for it.
    """
    if hub.is_named(model):
        return hub.named(model)
    return file.resolve().parent.name if file.name == "model.keras" else file.stem


def describe(path: Path | str) -> ModelDescription:
    """What a model file, an artefact or the model of a run folder says of itself; nothing in it is run.

    Raises:
        InputError: there is no such file, it is broken, or it is no classifier of this package.
    """
    path = model_file(path)
    described = metadata.read(path).described if format_of(path) else _json_of(path)
    try:
        return ModelDescription.from_json(described)
    except ValueError as error:
        raise InputError(f"{path} is a broken model file: {error}") from None


def _json_of(path: Path) -> dict[str, Any]:
    """The content of `model.json`, of a format that is known."""
    try:
        with zipfile.ZipFile(path) as archive:
            if MEMBER not in archive.namelist():
                raise _of_keras(path, _network_in(archive))
            if archive.getinfo(MEMBER).file_size > MOST_JSON:
                raise InputError(f"{path} is broken: its {MEMBER} is larger than {MOST_JSON / 1e9:.1f} GB")
            described = json.loads(archive.read(MEMBER))
    except IsADirectoryError:
        raise InputError(f"{path} is a folder without model.keras: name a model file or a run folder") from None
    except OSError as error:
        way_out = _meant(path) if isinstance(error, FileNotFoundError) else ""
        raise InputError(f"{path} cannot be opened: {reason(error)}{way_out}") from None
    except InputError:
        raise
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError, ValueError, RuntimeError) as error:
        if _is_hdf5(path):
            raise _of_keras(path, "") from None
        raise InputError(f"{path} is no whole model file (truncated, or another format): {error}") from None
    if not isinstance(described, dict) or described.get("format") != FORMAT:
        version = described.get("format") if isinstance(described, dict) else None
        raise InputError(f"{path} has format {version}, not {FORMAT}: update ception")
    if not isinstance(described.get("network"), dict):
        raise InputError(f"{path} is a broken model file: it does not say which network it holds")
    return described


def _meant(path: Path) -> str:
    """What may have been meant by the name of a model that is not there: another model beside it, or a network."""
    if str(path) in MODELS:
        return f"; {path} is a network: name weights for it too, such as imagenet, or a trained model"
    try:
        beside = [one for one in sorted(path.parent.iterdir()) if one.suffix == ".keras" or model_file(one) != one]
    except OSError:
        beside = []
    networks = MODELS if path.name == str(path) else ()
    return meant(str(path), dict.fromkeys([*map(str, beside), *names_beside(path), *networks]))


def _of_keras(path: Path, name: str) -> InputError:
    """The error that a file is one of plain Keras, with the command that makes a model file of it."""
    return InputError(
        f"{path} is a Keras file without {MEMBER}: make a model file of it first, with ception convert {path} --model "
        f"{name or 'NAME'}"
    )


def _network_in(archive: zipfile.ZipFile) -> str:
    """The name of the network of this package that plain Keras saved; "" for any other."""
    try:
        if archive.getinfo("config.json").file_size > MOST_JSON:
            return ""
        name = json.loads(archive.read("config.json"))["config"]["name"]
        return name if name in MODELS else ""
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError, ValueError, TypeError, RuntimeError):
        return ""


def _is_hdf5(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x89HDF"


def shortened(digests: NDArray[np.void]) -> NDArray[np.void]:
    """Digests of type `V16` cut to what a model file keeps, sorted order not changed."""
    cut = np.ascontiguousarray(digests.view((np.uint8, 16))[:, :_DIGEST_BYTES])
    return cut.view(f"V{_DIGEST_BYTES}")[:, 0]


def _from_base64(text: str) -> NDArray[np.void]:
    return np.frombuffer(base64.b64decode(text), f"V{_DIGEST_BYTES}")


def _among(known: NDArray[np.void], digests: NDArray[np.void]) -> NDArray[np.bool_]:
    """Whether each digest of type `V16` is one of those that a model file keeps."""
    return np.isin(_numbers(shortened(digests)), _numbers(known))


def _numbers(short: NDArray[np.void]) -> NDArray[np.uint64]:
    padded = np.zeros((len(short), 8), np.uint8)
    padded[:, 2:] = np.frombuffer(short.tobytes(), np.uint8).reshape(-1, _DIGEST_BYTES)
    return padded.view(">u8")[:, 0].astype(np.uint64)
