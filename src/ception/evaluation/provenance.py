"""How a model came to be, in words: what its record says of the training, and the command that repeats it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ception.errors import InputError
from ception.reporting import counted, duration
from ception.settings import TrainSettings
from ception.validation import saved_settings
from ception.values import flags_of

if TYPE_CHECKING:
    from ception.data.images import ImageContract


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What was trained, on what, how and for how long.

    Attributes:
        network: Its name.
        image_size: Height, width and channels of what it sees, in pixels.
        weights: What it began with; None for fresh weights.
        recipe: The recipe's name.
        phases: Each phase in words.
        phase_names: What the phases are called.
        data: The data set as the user called it.
        counts: Pictures by split.
        heads: Heads that were solved.
        epochs: Epochs that were made; None where the log is not known.
        seconds: How long the training took in all; None where that is not known.
        computed: The numbers and the backend it was computed with.
        changed: The settings that are not the defaults, as they are typed; empty where there are none.
        command: What repeats it.
    """

    network: str
    image_size: tuple[int, int, int]
    weights: str | None
    recipe: str
    phases: tuple[str, ...]
    phase_names: tuple[str, ...]
    data: str
    counts: Mapping[str, int]
    heads: int
    epochs: int | None
    seconds: float | None
    computed: str
    changed: str
    command: str

    def rows(self) -> list[tuple[str, str]]:
        """What a page shows: names and values."""
        rows = [
            ("Network", self.network),
            ("Image size", " x ".join(map(str, self.image_size))),
            ("Weights it began with", self.weights or "fresh"),
            ("Data", f"{self.data}: " + ", ".join(f"{count:,} {split}" for split, count in self.counts.items())),
            ("Recipe", self.recipe),
            *((f"Phase {number}", text) for number, text in enumerate(self.phases, 1)),
            ("Computed", self.computed),
            ("Settings that are not the defaults", self.changed or "none"),
        ]
        made = [f"{duration(self.seconds)} in all"] if self.seconds is not None else []
        made += [counted(self.heads, "solved head")] if self.heads else []
        made += [counted(self.epochs, "epoch")] if self.epochs else []
        if made:
            rows.insert(-2, ("Time", ", ".join(made)))
        return rows


def provenance(
    record: Mapping[str, Any], image: ImageContract, history: Sequence[Mapping[str, float]] = ()
) -> Provenance:
    """What the record of a model that was trained says.

    Args:
        record: As `ModelDescription` has it, of a training by `ception.train`.
        image: What the network sees.
        history: The rows of the log, if it is known.

    Raises:
        InputError: the record is broken, or its settings are not those of this version or an earlier one.
    """
    try:
        return _read(record, image, history)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"the record lacks what a training writes, or has it otherwise: {error}") from None


def _read(record: Mapping[str, Any], image: ImageContract, history: Sequence[Mapping[str, float]]) -> Provenance:
    """As `provenance`, with Python's own errors where the record is broken."""
    settings = saved_settings(TrainSettings, record["settings"])
    data, versions, flags = record["data"], record["versions"], flags_of(settings)
    phases = record.get("phases", [])
    return Provenance(
        network=settings.network,
        image_size=image.shape,
        weights=settings.weights,
        recipe=settings.recipe_name,
        phases=tuple(_in_words(phase) for phase in phases),
        phase_names=tuple(phase["name"] for phase in phases),
        data=data["source"],
        counts=data["counts"],
        heads=sum(row["epoch"] == 0 for row in history),
        epochs=sum(row["epoch"] > 0 for row in history) if history else None,
        seconds=record.get("scores", {}).get("training_seconds"),
        computed=f"in {record['precision']} by {versions['backend']}, Keras {versions['keras']}, "
        f"Ception {versions['ception']}",
        changed=flags.strip(),
        command=f"ception train {shlex.quote(data['source'])}{flags}",
    )


def _in_words(phase: Mapping[str, Any]) -> str:
    """A phase in plain values: what is trained, and how."""
    recipe, after = phase["recipe"], phase["after"]
    trained = {"input": "all weights", "pool": "what lies after the pooling"}.get(after, f"what lies after {after}")
    if solver := recipe.get("solver"):
        most, least = solver["penalties"][0], solver["penalties"][-1]
        return (
            f"{phase['name']}: {trained}, solved by L-BFGS, with the penalty from {most:g} to {least:g} that validates "
            f"best, label smoothing {recipe['label_smoothing']:g}"
        )
    return (
        f"{phase['name']}: {trained}, {recipe['algorithm']}, learning rate {recipe['learning_rate']:g} "
        f"({recipe['schedule'].replace('_', ' ')}), batches of {recipe['batch_size']}, "
        f"{counted(recipe['epochs'], 'epoch')} at most"
    )
