"""Trainings that die, and whether two runs are one and the same."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ception


class Killed(BaseException):
    """What no handler of the package catches."""


@contextmanager
def killed(name: str, at: int) -> Iterator[None]:
    """Expect what is done meanwhile to be killed as it calls the function of that name for the `at`-th time."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(name, _dying(pkgutil.resolve_name(name), at))
        with pytest.raises(Killed):
            yield


def _dying(real: Callable[..., Any], at: int) -> Callable[..., Any]:
    """A function that does what `real` does, but for its call of that number, the first being 1, which is a kill."""
    calls = 0

    def call(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == at:
            raise Killed
        return real(*arguments, **options)

    return call


def weights(run: Path) -> list[np.ndarray]:
    return ception.Classifier.load(run / "model.keras").network.get_weights()


def losses(run: Path) -> np.ndarray:
    """Of training and validation, (epochs, 2)."""
    from ception.evaluation import read_log

    return np.array([[row["loss"], row["val_loss"]] for row in read_log(run / "log.csv")])


def assert_near(one: Path, other: Path, tolerance: float = 1e-3) -> None:
    """Fail unless two runs have the same losses and weights but for roundings."""
    np.testing.assert_allclose(losses(one), losses(other), rtol=tolerance)
    for first, second in zip(weights(one), weights(other), strict=True):
        np.testing.assert_allclose(first, second, rtol=tolerance, atol=1e-5)


def assert_indexed(run: Path) -> None:
    """Fail unless the run's index holds what its model sees in some of its pictures, to what bfloat16 can hold."""
    from ception.data.images import read, to_pixels
    from ception.explaining import index_beside
    from ception.explaining.insight import Subject
    from ception.explaining.neighbours import unit

    classifier = ception.Classifier.load(run)
    index, subject = index_beside(run / "model.keras", classifier), Subject.of(classifier)
    assert len(index.labels) == len(classifier.training_digests)
    for row in (0, len(index.labels) - 1):
        features, _ = subject.seen(to_pixels(read(index.paths[row]), classifier.image))
        assert float(unit(features[None])[0] @ index.features[row].astype(np.float32)) > 0.999


def assert_same_run(one: Path, other: Path) -> None:
    """Fail unless weights, predictions, log and the names of files are the same and none is half-written."""
    for first, second in zip(weights(one), weights(other), strict=True):
        np.testing.assert_array_equal(first, second)
    tables = [(run / "predictions.csv").read_bytes() for run in (one, other)]
    assert tables[0] == tables[1]
    rows = [[line.rsplit(",", 1)[0] for line in (run / "log.csv").read_text().splitlines()] for run in (one, other)]
    assert rows[0] == rows[1]  # all but the seconds
    assert {path.name for path in one.iterdir()} == {path.name for path in other.iterdir()}
    assert not list(other.rglob("*.tmp"))
