"""The one path from a picture to an answer: contract, padded batch, engine, calibrated probabilities."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from ception import backends, drift
from ception.artefacts import Artefact, format_of, metadata
from ception.artefacts.opening import LogitsEngine, fitting_engine
from ception.data import loading
from ception.data.collecting import collected
from ception.data.loading import Streamed
from ception.data.pictures import Encoded, Given
from ception.drift import Looks
from ception.engines import Engine, Precision, described
from ception.engines.batching import BatchRunner, one_ahead
from ception.engines.choosing import Runnable, choose
from ception.errors import InputError, RunError
from ception.model_file import ModelDescription, describe, model_file
from ception.models.catalog import find
from ception.models.sizes import count
from ception.reporting import Reporter, or_default
from ception.results import Guess, Prediction
from ception.settings import EngineName
from ception.weights.published import require_file

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

    from ception.classifier import Classifier
    from ception.data.images import Picture
    from ception.data.pictures import Pictures
    from ception.models.config import NetworkConfig

_POLICIES: dict[Precision, str] = {"float32": "float32", "bfloat16": "mixed_bfloat16"}
_WORTH_TRANSLATING = 64  # pictures, below which a network in memory runs where it is


@dataclass(frozen=True)
class Answers:
    """What models say of a batch of pictures.

    Attributes:
        indices: Of the pictures that can be read.
        logits: Of these, of each model, float32 of shape (pictures, classes).
        brightness: Of these, 0..1.
        shorter_sides: Of these, in pixels.
        errors: Why the others cannot be read, by index.
        digests: Of the pixels that the models got; None where nobody asked.
    """

    indices: NDArray[np.integer]
    logits: tuple[NDArray[np.float32], ...]
    brightness: NDArray[np.float64]
    shorter_sides: NDArray[np.int64]
    errors: dict[int, str]
    digests: NDArray[np.void] | None = None


class Predictor:
    """A model in an engine: pictures in, answers out.

    A context that closes the engine at its end.

    Args:
        description: Class names, image contract and temperature of the model.
        engine: What runs its network.
        batch_size: Pictures in one step.
        min_confidence: Probability below which the answer is `unknown` unless `predictions` is told another.
        reporter: Warned where memory runs out.
    """

    def __init__(
        self,
        description: ModelDescription,
        engine: Engine,
        *,
        batch_size: int = 32,
        min_confidence: float = 0.0,
        reporter: Reporter | None = None,
    ) -> None:
        self.min_confidence = min_confidence
        self.description = description
        self.engine = engine
        self._reporter = or_default(reporter)
        self._run = BatchRunner(engine, batch_size, reporter=self._reporter, what="pictures")

    @classmethod
    def open(
        cls,
        model: str | Path | ModelDescription,
        *,
        weights: str | None = None,
        engine: EngineName | None = None,
        dtype: Precision = "float32",
        batch_size: int = 32,
        pictures: int | None = None,
        measure: bool = True,
        features: bool = False,
        backend: str | None = None,
        device: str | None = None,
        cache_limit: float = 10.0,
        reporter: Reporter | None = None,
    ) -> Predictor:
        """A model in the fastest engine there is; one that its runtime has run before needs no Keras.

        Args:
            model: A model file, run folder, export, `hf://USER/NAME`, classifier, or with weights a network's name.
            weights: Published weights or a weight file for that network.
            engine: One of `EngineName`; None takes the fastest, or Keras where a backend or device is named.
            dtype: Numbers to compute with.
            batch_size: Pictures in one step.
            pictures: How many there will be, if known: many are worth a measurement, few no translation of a network.
            measure: Whether to measure at all; without, what is taken follows from what is installed alone.
            features: Whether what the network gives before its head stands in for its logits.
            backend: Keras's backend, where Keras is needed; None takes the first one installed.
            device: Processor that Keras uses; None means its own choice.
            cache_limit: Most that the cache folder may hold, in GB.
            reporter: Receives notes and warnings; None for what `ception.reporting.default` gives.

        Raises:
            InputError: the model or engine cannot be used.
            RunError: weights cannot be downloaded, or the cache folder cannot be written.
        """
        reporter = or_default(reporter)
        size = batch_size if pictures is None else max(1, min(batch_size, pictures))
        if not isinstance(model, ModelDescription) and format_of(Path(model)):
            artefact = _artefact(Path(model), engine=engine, backend=backend, device=device, features=features or None)
            return cls.of_artefact(artefact, dtype=dtype, batch_size=size, reporter=reporter)
        description, runnable = _runnable(model, weights, backend, reporter)
        description.require_weights()
        few = pictures is not None and pictures < _WORTH_TRANSLATING and runnable.identity is None
        chosen = choose(
            _before_head(runnable) if features else runnable, precision=dtype, batch_size=size,
            wanted=_wanted(engine, backend, device, few), pictures=(pictures or 0) if measure else None,
            cache_limit=cache_limit, reporter=reporter,
        )  # fmt: skip
        return cls(description, chosen, batch_size=size, reporter=reporter)

    @classmethod
    def of_artefact(
        cls, artefact: Artefact, *, dtype: Precision = "float32", batch_size: int = 32, reporter: Reporter | None = None
    ) -> Predictor:
        """An artefact in the runtime that it was made for.

        Raises:
            InputError: it is broken or its runtime is not installed, or other numbers are asked for than it has.
        """
        if dtype not in ("float32", artefact.precision):
            raise InputError(f"{artefact.path} was exported in {artefact.precision}: leave out --dtype")
        try:
            description = ModelDescription.from_json(artefact.described)
        except ValueError as error:
            raise InputError(f"{artefact.path} is broken: {error}") from None
        engine = fitting_engine(artefact, description.image.shape, len(description.class_names))
        engine = LogitsEngine(engine, description.temperature)
        return cls(
            description, engine, batch_size=batch_size, min_confidence=artefact.min_confidence, reporter=reporter
        )

    @property
    def batch_size(self) -> int:
        """Pictures in one step."""
        return self._run.batch_size

    def __enter__(self) -> Predictor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give back what the engine holds."""
        self.engine.close()

    def logits(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Scores before the softmax.

        Args:
            pixels: Any number of pictures as the contract says, (pictures, height, width, channels).

        Returns:
            float32 of shape (pictures, classes).

        Raises:
            InputError: the pixels have another shape.
            RunError: the network answers with what is no number.
        """
        shape = self.description.image.shape
        if pixels.shape[1:] != shape:
            raise InputError(f"the network takes pictures of shape {shape}, got {pixels.shape[1:]}")
        if not len(pixels):
            return np.zeros((0, len(self.description.class_names)), np.float32)
        logits = self._run(pixels)
        if not np.isfinite(logits).all():
            raise RunError(
                f"the network answers with what is no number, in {described(self.engine)}: its weights are damaged, or "
                "too large for that precision"
            )
        return logits

    def predictions(
        self,
        given: Picture | Iterable[Picture] | Pictures,
        *,
        top: int = 5,
        min_confidence: float | None = None,
        calibrated: bool = True,
        allow_urls: bool = False,
        indices: NDArray[np.integer] | None = None,
    ) -> Iterator[Prediction]:
        """The most probable classes of each picture, in their order.

        At the end the reporter is warned where many pictures look different from what the model knows.

        Args:
            given: Pictures, as for `ception.predict`.
            top: Number of classes to name for each, the most probable first.
            min_confidence: Probability below which the answer is `unknown`; None takes what the model was exported
                with, or 0.
            calibrated: Whether the logits are divided by the model's temperature.
            allow_urls: Whether http and https addresses are read, too.
            indices: Which of them, ascending; None means all.

        Raises:
            InputError: `top` is below 1, a path leads nowhere, an address is not allowed, or something is nothing that
                a picture can be in.
            RunError: the network answers with what is no number.
        """
        top = count("top", top)
        least = self.min_confidence if min_confidence is None else min_confidence
        ready = isinstance(given, Given | Encoded)
        pictures: Pictures = given if ready else collected(given, allow_urls=allow_urls)  # type: ignore[assignment,arg-type]
        asked, looks = np.arange(len(pictures)) if indices is None else indices, list[Looks]()
        apart = -(-len(asked) // drift.MOST)  # between two whose looks are kept
        for answers in answered([self], pictures, asked, label="Predicting", reporter=self._reporter):
            named = {index: Prediction(path=pictures.name(index), error=why) for index, why in answers.errors.items()}
            probabilities = self.description.softmax(answers.logits[0], calibrated=calibrated)
            for index, row in zip(answers.indices.tolist(), probabilities, strict=True):
                named[index] = told(self.description, pictures.name(index), row, top=top, min_confidence=least)
            yield from (named[index] for index in sorted(named))
            sure = probabilities if calibrated else self.description.softmax(answers.logits[0])
            kept = answers.indices % apart == 0
            looks.append(Looks(sure.max(-1)[kept], answers.brightness[kept], answers.shorter_sides[kept]))
        if self.description.usual is not None and len(asked) >= drift.FEWEST:
            drift.tell(drift.drifts(self.description.usual, Looks.of(looks)), self._reporter)


def told(
    description: ModelDescription, name: str, row: NDArray[np.float32], *, top: int, min_confidence: float
) -> Prediction:
    """What probabilities (classes,) say of a picture of that name: so many classes, the most probable first."""
    best = np.argsort(-row, kind="stable")[:top]
    guesses = tuple(Guess(class_name=description.class_names[k], probability=round(float(row[k]), 6)) for k in best)
    return Prediction(path=name, top=guesses, unknown=bool(row[best[0]] < min_confidence))


def _wanted(engine: EngineName | None, backend: str | None, device: str | None, few: bool) -> EngineName | None:
    """The engine that is asked for: by name, or Keras by what only Keras has, or for few pictures."""
    if engine is None and (backend or device or few):
        engine = "keras"
    if engine == "keras" or backend:
        backends.choose(backend)  # the wrong one is told before anything is read
    return engine


def _artefact(path: Path, **elsewhere: str | bool | None) -> Artefact:
    """What an export says of itself; where it shall run is refused, for it has a runtime of its own."""
    for name, value in elsewhere.items():
        if value is not None:
            raise InputError(f"an exported model runs in its own runtime: leave out --{name}, or name the model file")
    return metadata.read(path)


def answered(
    predictors: Sequence[Predictor],
    pictures: Pictures,
    indices: NDArray[np.integer],
    *,
    label: str,
    reporter: Reporter,
    digests: bool = False,
) -> Iterator[Answers]:
    """What models say of some pictures, batch by batch: memory does not grow with their number.

    Args:
        predictors: Models with the same image contract, for which each picture is decoded once.
        pictures: All pictures.
        indices: Those that are asked for.
        label: What the progress is called.
        reporter: Receives the progress.
        digests: Whether those of the pixels are wanted.
    """

    def look(pixels: NDArray[np.uint8]) -> tuple[float, bytes]:
        return drift.brightness(pixels[None])[0], loading.pixel_digests(pixels[None])[0].tobytes() if digests else b""

    def answer(batch: Streamed) -> Answers:
        logits = tuple(predictor.logits(batch.pixels) for predictor in predictors)
        bright = np.array([one for one, _ in batch.told], np.float64)
        found = np.array([one for _, one in batch.told], "V16") if digests else None
        return Answers(batch.indices, logits, bright, batch.shorter_sides, batch.errors, found)

    contract, size = predictors[0].description.image, min(predictor.batch_size for predictor in predictors)
    batches = loading.stream(pictures, indices, contract, size, reporter=reporter, label=label, tell=look)
    with closing(batches):
        ahead = all(predictor.engine.any_thread for predictor in predictors)
        yield from one_ahead(answer, batches) if ahead else map(answer, batches)


def _runnable(
    model: str | Path | ModelDescription, weights: str | None, backend: str | None, reporter: Reporter
) -> tuple[ModelDescription, Runnable]:
    """What a model says of itself, and its network as something to be run."""
    if isinstance(model, ModelDescription):
        from ception.classifier import Classifier

        if not isinstance(model, Classifier):
            raise InputError("a description has no network: give the classifier, or its model file")
        return model, _of_classifier(model)
    if weights is not None:
        find(str(model))  # what is wrong is told before Keras is imported
        require_file(str(model), weights)
        backends.start(backend, reporter)
        from ception.classifier import Classifier

        classifier, _, _ = Classifier.pretrained(str(model), weights, reporter=reporter)
        return classifier, _of_classifier(classifier)
    path = model_file(model, reporter=reporter)
    description = describe(path)

    def network(precision: Precision) -> keras.Model:
        backends.start(backend, reporter)
        from ception.classifier import Classifier

        return Classifier.load(path, dtype=_POLICIES[precision]).network

    with path.open("rb") as file:
        identity = hashlib.file_digest(file, "blake2b").hexdigest()
    config = description.config
    return description, Runnable(config.name, description.image.shape, network, identity, architecture_of(config))


def _of_classifier(classifier: Classifier) -> Runnable:
    """The network in memory: its weights may change, so that no translation of it is kept."""
    return Runnable(
        classifier.config.name,
        classifier.image.shape,
        lambda precision: _in_precision(classifier, precision),
        None,
        architecture_of(classifier.config),
    )


def _before_head(runnable: Runnable) -> Runnable:
    """The network up to what it tells the classes by."""

    def network(precision: Precision) -> keras.Model:
        whole = runnable.network(precision)
        import keras

        from ception.models.endpoints import before_head

        return keras.Model(whole.input, whole.get_layer(before_head(whole)).output, name=whole.name)

    identity = runnable.identity and f"{runnable.identity}-features"
    return replace(runnable, network=network, identity=identity, architecture=f"{runnable.architecture}, features")


def _in_precision(classifier: Classifier, precision: Precision) -> keras.Model:
    """The classifier's network, built anew where it computes in other numbers."""
    from ception.engines.keras_backend import precision_of
    from ception.models.building import build_network

    if precision_of(classifier.network) == precision:
        return classifier.network
    network = build_network(classifier.config, dtype=_POLICIES[precision])
    network.set_weights(classifier.network.get_weights())
    return network


def architecture_of(config: NetworkConfig) -> str:
    """What the speed of a network depends on."""
    plain: dict[str, Any] = config.as_dict()
    beside_it = ("scaling", "dropout", "classes", "auxiliary")
    return json.dumps({key: value for key, value in plain.items() if key not in beside_it}, sort_keys=True)
