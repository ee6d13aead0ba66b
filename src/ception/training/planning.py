"""From settings and data to a plan: all that a training does, settled before its first step."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from ception import backends, layers
from ception.classifier import Classifier
from ception.data import loading, sources
from ception.distributed import ALONE, Team
from ception.errors import InputError
from ception.layers.classes import operations
from ception.model_file import ModelDescription, shortened
from ception.models.config import NetworkConfig, columns_of
from ception.models.endpoints import truncate
from ception.networks import filled
from ception.reporting import Reporter
from ception.training.phases import Phase, phases_of, start_head
from ception.training.preparation import Listed, Prepared, decode
from ception.training.recipes import Recipe
from ception.training.run_folder import plain_settings
from ception.weights.opening import OpenedWeights, open_weights

if TYPE_CHECKING:
    from ception.data.images import ImageContract
    from ception.settings import TrainSettings


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A training before its first step.

    Attributes:
        settings: What the user asked for.
        data: The pictures, decoded.
        phases: What is trained in turn, and how.
        description: What the model file will say of the network.
        dtype: Numbers that the network computes with.
        team: The processes that carry it out.
    """

    settings: TrainSettings
    data: Prepared
    phases: tuple[Phase, ...]
    description: ModelDescription
    dtype: str
    team: Team = ALONE

    def classifier(self, network: keras.Model) -> Classifier:
        """The model that is saved: the network as it stands, without the auxiliary head."""
        return Classifier.of(self.description, logits_part(network, self.settings))

    def as_dict(self) -> dict[str, Any]:
        """What must be the same when the training is resumed, in plain values."""
        return {"fingerprint": self.data.fingerprint(), "phases": [asdict(phase) for phase in self.phases]}

    def require_together(self) -> None:
        """Raise an InputError where the team cannot carry it out: on other data, or with batches it cannot divide."""
        count = self.team.count
        if count > 1:
            self.team.require_same(self.data.fingerprint(), "reads other pictures, labels or splits")
            self.team.require_same(operations().__name__, "has other compiled kernels")
        last = self.phases[-1].recipe  # a head's batches, which no option changes, each may compute whole
        if self.team.manner == "spread" and not last.solver and last.batch_size % count:
            raise InputError(
                f"batches of {last.batch_size} cannot be divided evenly among {count} processes, as JAX needs: give "
                f"another --batch-size, such as {-(-last.batch_size // count) * count}"
            )


def plan(
    listed: Listed, settings: TrainSettings, recipes: Sequence[Recipe], dtype: str, reporter: Reporter,
    *, weights: str | None = None, team: Team = ALONE,
) -> tuple[Plan, keras.Model]:  # fmt: skip
    """The plan of a training, and the network that it begins with.

    Weights and layers that do not fit are told before the slow decoding.

    Args:
        listed: The data set, its pictures not decoded yet.
        settings: The settings.
        recipes: Of each phase.
        dtype: Numbers that the network computes with.
        reporter: Receives notes, warnings and progress.
        weights: Where the weights of the settings lie by now, or what holds the same; None for where they lay.
        team: The processes that carry it out.

    Raises:
        InputError: settings, weights and data do not go together.
        RunError: weights cannot be downloaded, or the cache not be written.
    """
    options = network_options(settings, len(listed.dataset.class_names), listed.contract)
    opened = None
    if settings.weights:
        opened = open_weights(settings.network, weights or settings.weights, reporter=reporter)
        config = opened.config(**options)
        network = _network(config, opened, settings, dtype, team, reporter)
        phases = phases_of(settings, recipes, network)
    data = decode(listed, settings, reporter)
    _require_contrast(data, listed.source)
    if opened is None:
        mean_and_std = loading.mean_and_std(data.pixels, data.indices(sources.TRAIN))
        config = NetworkConfig.of(settings.network, **options, scaling=mean_and_std)
        network = _network(config, None, settings, dtype, team, reporter)
        phases = phases_of(settings, recipes, network)
    description = ModelDescription(
        config=config,
        class_names=data.dataset.class_names,
        unnamed=data.dataset.unnamed,
        image=data.contract,
        record=_record(listed.source, settings, data, opened, dtype, phases),
        training_digests=np.sort(shortened(data.digests[data.indices(sources.TRAIN)])),
        training_pixels=np.sort(shortened(loading.stored_digests(data.pixels, data.indices(sources.TRAIN)))),
    )
    made = Plan(settings=settings, data=data, phases=phases, description=description, dtype=dtype, team=team)
    return made, network


def dtype_of(settings: TrainSettings) -> str:
    """What the network computes with; a published recipe from fresh weights is followed in float32."""
    if settings.dtype:
        return settings.dtype
    return "bfloat16" if settings.weights and backends.fast_at_bfloat16(settings.device) else "float32"


def layers_of(settings: TrainSettings, team: Team = ALONE) -> Mapping[str, type[keras.layers.Layer]]:
    """By kind, the classes that the network is made of where they are not Keras's."""
    quick = {} if settings.stock_layers else layers.quicker(settings.device)
    return {**quick, **team.layers}


def logits_part(network: keras.Model, settings: TrainSettings) -> keras.Model:
    """A network that is trained, without its auxiliary head; it shares the weights."""
    return truncate(network, "logits") if settings.auxiliary else network


def network_options(settings: TrainSettings, classes: int, contract: ImageContract) -> dict[str, Any]:
    """What the network's config is made of, but for its scaling."""
    return {
        "classes": classes,
        "image_size": (contract.height, contract.width),
        "channels": contract.channels,
        "depth_multiplier": settings.depth_multiplier,
        "dropout": settings.dropout,
        "every": columns_of(settings.every),
        "final_endpoint": settings.final_endpoint,
    }


def _network(
    config: NetworkConfig, opened: OpenedWeights | None, settings: TrainSettings, dtype: str, team: Team,
    reporter: Reporter,
) -> keras.Model:  # fmt: skip
    """The network as it is trained, with a fresh head."""
    quick = layers_of(settings, team)
    if quick and (said := layers.remark()):
        reporter.detail(f"layers are computed {said}")
    network, report = filled(
        config, opened, auxiliary=settings.auxiliary, partial=settings.partial, seed=settings.seed,
        dtype={"bfloat16": "mixed_bfloat16"}.get(dtype, dtype), layers=quick,
    )  # fmt: skip
    if opened and report:
        for said in (report.of_another_head() if report.left_out else "", opened.doubt):
            if said:
                reporter.note(said)
        start_head(network)
    return network


def _require_contrast(data: Prepared, source: str) -> None:
    """Raise an InputError if all training pictures together have a single colour."""
    training = data.indices(sources.TRAIN)
    first = data.pixels[training[:1]].reshape(-1)[0]
    if all((data.pixels[training[start : start + 64]] == first).all() for start in range(0, len(training), 64)):
        raise InputError(f"every training picture of {source} has the same single colour: nothing can be learnt")


def _record(
    source: str,
    settings: TrainSettings,
    data: Prepared,
    opened: OpenedWeights | None,
    dtype: str,
    phases: Sequence[Phase],
) -> dict[str, Any]:
    """Where the model comes from, in plain values."""
    return {
        "settings": plain_settings(settings),
        "data": {
            "source": source,
            "name": data.dataset.name,
            "fingerprint": data.fingerprint(),
            "counts": {split: len(data.indices(number)) for split, number in sources.SPLITS.items()},
        },
        "versions": {name: version(name) for name in ("ception", "keras", "numpy", "pillow")}
        | {"python": platform.python_version(), "backend": keras.backend.backend()},
        "weights_licence": opened.licence if opened else None,
        "precision": dtype,
        "phases": [asdict(phase) for phase in phases],
    }
