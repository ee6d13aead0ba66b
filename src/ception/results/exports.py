"""What an export gave, and how far it is from the model that it was made from."""

from __future__ import annotations

from dataclasses import dataclass

from ception.results.result import Result, html_table


@dataclass(frozen=True, kw_only=True)
class Speed(Result):
    """How fast something runs.

    Attributes:
        runtime: What runs it, with its version and the numbers that it computes with.
        latency_ms: Milliseconds for one picture.
        images_per_s: Pictures in a second, in batches of `batch_size`.
        batch_size: Pictures in these batches.
    """

    runtime: str
    latency_ms: float
    images_per_s: float
    batch_size: int


@dataclass(frozen=True, kw_only=True)
class ExportReport(Result):
    """An artefact compared with the model in Keras, on real pictures from their files to their labels.

    Attributes:
        artefact: The file or folder.
        format: Its format.
        precision: Numbers that it computes with.
        model: The model file that it was made from.
        data: Where the pictures come from.
        pictures: How many there were.
        differing: How many of them got another most probable class.
        disagreement: Their share, 0..1.
        allowed: The largest share that was allowed.
        largest_gap: The largest difference of a probability.
        accuracy: Share of right answers of the artefact; None where the pictures have no classes of the model.
        accuracy_in_keras: The same of the model in Keras.
        size: Bytes of the artefact.
        size_of_model: Bytes of the model file.
        speed: How fast the artefact runs in its own runtime.
        speed_in_keras: How fast the model runs in Keras, in float32.
        notes: What else should be known.
    """

    artefact: str
    format: str
    precision: str
    model: str
    data: str
    pictures: int
    differing: int
    disagreement: float
    allowed: float
    largest_gap: float
    accuracy: float | None
    accuracy_in_keras: float | None
    size: int
    size_of_model: int
    speed: Speed
    speed_in_keras: Speed
    notes: tuple[str, ...] = ()

    def rows(self) -> list[tuple[str, str, str]]:
        """What is compared: its name, the artefact's value and that of the model in Keras."""
        ours, theirs = self.speed, self.speed_in_keras
        labelled = self.accuracy is not None and self.accuracy_in_keras is not None
        return [
            ("runtime", ours.runtime, theirs.runtime),
            *([("accuracy", f"{self.accuracy:.4f}", f"{self.accuracy_in_keras:.4f}")] if labelled else []),
            ("size", f"{self.size / 1e6:.1f} MB", f"{self.size_of_model / 1e6:.1f} MB"),
            ("latency, 1 picture", f"{ours.latency_ms:.1f} ms", f"{theirs.latency_ms:.1f} ms"),
            (f"throughput, {ours.batch_size} at once", f"{ours.images_per_s:.1f}/s", f"{theirs.images_per_s:.1f}/s"),
        ]

    def _repr_html_(self) -> str:
        return html_table(self.artefact, self.rows())
