"""What a server tells Prometheus of itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from ception.drift import QUANTITIES, WINDOW, drifts

if TYPE_CHECKING:
    from ception.drift import Looks
    from ception.results import Prediction

UNKNOWN = "unknown"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SIZES = (1, 2, 4, 8, 16, 32, 64)
_SEEN = {
    "confidence": ("Probability of the most probable class", tuple(tenth / 10 for tenth in range(1, 11))),
    "brightness": ("Mean of the pixels", tuple(tenth / 10 for tenth in range(1, 11))),
    "shorter_side": ("The smaller of height and width in pixels", tuple(1 << power for power in range(5, 14))),
}
_DRIFT = {
    "pictures": f"Pictures that are compared with what the model knows, the last {WINDOW} at most",
    "distance": "Largest difference of both cumulative distributions, 0 to 1; NaN where too few are known",
    "p_value": "How probable so large a distance is by chance",
    "found": "1 where the pictures are surely different, else 0",
}


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
        self._seen = {
            name: Histogram(f"ception_picture_{name}", what, ["model"], buckets=buckets, registry=self.registry)
            for name, (what, buckets) in _SEEN.items()
        }
        self._drift = {
            name: Gauge(f"ception_drift_{name}", what, ["model", "of"], registry=self.registry)
            for name, what in _DRIFT.items()
        }
        self._failed = Counter(
            "ception_unreadable_pictures", "Pictures that could not be read", ["model"], registry=self.registry
        )

    def begin(self, model: str, class_names: Sequence[str]) -> None:
        """Have a model's counters stand at 0 before it is asked: a rate of what is not there yet is none."""
        self.batches.labels(model)
        self.waiting.labels(model)
        self._failed.labels(model)
        for histogram in self._seen.values():
            histogram.labels(model)
        for name in (*class_names, UNKNOWN):
            self._answers.labels(model, name)

    def count(self, model: str, prediction: Prediction) -> None:
        """Count an answer."""
        if prediction.error:
            self._failed.labels(model).inc()
        else:
            name = UNKNOWN if prediction.unknown else prediction.top[0].class_name
            self._answers.labels(model, name).inc()

    def look(self, model: str, seen: Mapping[str, float]) -> None:
        """Count a picture by what it looks like."""
        for name, value in seen.items():
            self._seen[name].labels(model).observe(value)

    def compare(self, model: str, usual: Looks | None, seen: Looks) -> None:
        """Tell how far the last pictures are from what a model knows, as far as there are enough on both sides."""
        found = {one.quantity: one for one in drifts(usual, seen)} if usual is not None else {}
        for name in QUANTITIES:
            one = found.get(name)
            told = {
                "pictures": len(getattr(seen, name)),
                "distance": math.nan if one is None else one.distance,
                "p_value": math.nan if one is None else one.p_value,
                "found": float(one is not None and one.different),
            }
            for what, value in told.items():
                self._drift[what].labels(model, name).set(value)

    @property
    def answered(self) -> int:
        """How many requests there were."""
        samples = (sample for family in self.seconds.collect() for sample in family.samples)
        return int(sum(sample.value for sample in samples if sample.name.endswith("_count")))

    def text(self) -> bytes:
        """All of it, in Prometheus's text format."""
        return generate_latest(self.registry)
