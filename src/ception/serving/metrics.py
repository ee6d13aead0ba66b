"""What a server tells Prometheus of itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from ception.results import Prediction

UNKNOWN = "unknown"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SIZES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Counters of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.seconds = Histogram(
            "ception_request_seconds", "Time that requests took", ["route", "status"], buckets=_SECONDS,
            registry=self.registry,
        )  # fmt: skip
        self.batches = Histogram(
            "ception_batch_size", "Pictures that were computed at once", ["model"], buckets=_SIZES,
            registry=self.registry,
        )  # fmt: skip
        self.waiting = Gauge("ception_queue_pictures", "Pictures that wait", ["model"], registry=self.registry)
        self.at_work = Gauge("ception_requests_at_work", "Requests that are being answered", registry=self.registry)
        self._answers = Counter(
            "ception_answers", "Answers by their most probable class", ["model", "class_name"], registry=self.registry
        )
        self._failed = Counter(
            "ception_unreadable_pictures", "Pictures that could not be read", ["model"], registry=self.registry
        )

    def begin(self, model: str, class_names: Sequence[str]) -> None:
        """Have a model's counters stand at 0 before it is asked: a rate of what is not there yet is none."""
        self.batches.labels(model)
        self.waiting.labels(model)
        self._failed.labels(model)
        for name in (*class_names, UNKNOWN):
            self._answers.labels(model, name)

    def count(self, model: str, prediction: Prediction) -> None:
        """Count an answer."""
        if prediction.error:
            self._failed.labels(model).inc()
        else:
            name = UNKNOWN if prediction.unknown else prediction.top[0].class_name
            self._answers.labels(model, name).inc()

    @property
    def answered(self) -> int:
        """How many requests there were."""
        samples = (sample for family in self.seconds.collect() for sample in family.samples)
        return int(sum(sample.value for sample in samples if sample.name.endswith("_count")))

    def text(self) -> bytes:
        """All of it, in Prometheus's text format."""
        return generate_latest(self.registry)
