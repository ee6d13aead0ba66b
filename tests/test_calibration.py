from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ception.evaluation import calibration
from ception.evaluation.comparison import mcnemar, paired, paired_interval
from ception.evaluation.report import likely_label_errors
from ception.evaluation.table import Table
from ception.results import Changed


def calibrated(count: int = 20000, classes: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from the very probabilities of the logits."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (count, classes)).astype(np.float32)
    probabilities = np.exp(calibration.log_probabilities(logits))
    labels = (random.random((count, 1)) > probabilities.cumsum(-1)).sum(-1)
    return np.minimum(labels, classes - 1), logits


class TestTemperature:
    @pytest.mark.parametrize("factor", [0.3, 1.0, 4.0])
    def test_finds_what_the_logits_were_multiplied_by(self, factor):
        labels, logits = calibrated()
        assert calibration.fit_temperature(labels, logits * np.float32(factor)) == pytest.approx(factor, rel=0.03)

    def test_mends_the_calibration_error(self):
        labels, logits = calibrated()
        sure = logits * np.float32(4)
        right = sure.argmax(-1) == labels
        before = calibration.expected_calibration_error(right, calibration.confidence(sure))
        after = calibration.expected_calibration_error(right, calibration.confidence(sure, 4.0))
        assert before > 0.15
        assert after < 0.015

    def test_never_raises_the_log_loss_it_is_fitted_on(self):
        for seed in range(5):
            random = np.random.default_rng(seed)
            labels, logits = random.integers(0, 3, 40), random.normal(0, 3, (40, 3)).astype(np.float32)
            temperature = calibration.fit_temperature(labels, logits)
            assert calibration.log_loss(labels, logits, temperature) <= calibration.log_loss(labels, logits) + 1e-6


class TestCalibrationError:
    def test_worked_example(self):
        confidences = np.array([0.95, 0.95, 0.95, 0.95, 0.55, 0.55])
        right = np.array([True, True, True, False, True, False])
        expected = 4 / 6 * abs(0.95 - 0.75) + 2 / 6 * abs(0.55 - 0.5)
        assert calibration.expected_calibration_error(right, confidences, bins=10) == pytest.approx(expected)

    def test_bins_hold_every_picture_once(self):
        confidences = np.array([1.0, 0.0, 0.5, 0.75, 1.0])
        bins = calibration.reliability(np.array([True, False, True, False, False]), confidences, bins=4)
        assert [(one.low, one.high, one.count, one.confidence, one.accuracy) for one in bins] == [
            (0, 0.25, 1, 0, 0), (0.5, 0.75, 1, 0.5, 1), (0.75, 1, 3, pytest.approx(2.75 / 3), pytest.approx(1 / 3)),
        ]  # fmt: skip


class TestCoverage:
    def test_points_are_what_answering_above_them_gives(self):
        labels, logits = calibrated(3000)
        right, confidences = logits.argmax(-1) == labels, calibration.confidence(logits)
        curve = calibration.coverage_curve(right, confidences)
        assert len(curve) <= 500
        assert curve[0].coverage == 1
        for point in curve[:: len(curve) // 20]:
            answered = confidences >= point.threshold
            assert point.coverage == pytest.approx(answered.mean())
            assert point.precision == pytest.approx(right[answered].mean())

    def test_equal_confidences_are_answered_together(self):
        curve = calibration.coverage_curve(np.array([True, False, True]), np.array([0.5, 0.5, 0.9]))
        assert [point.threshold for point in curve] == [0.5, 0.9]
        assert curve[0].precision == pytest.approx(2 / 3)

    def test_threshold_for_a_precision(self):
        labels, logits = calibrated(5000)
        right, confidences = logits.argmax(-1) == labels, calibration.confidence(logits)
        curve = calibration.coverage_curve(right, confidences)
        threshold = calibration.threshold_for(0.9, curve)
        answered = right[confidences >= threshold]
        low, _ = calibration.wilson_interval(int(answered.sum()), len(answered))
        assert 0.9 <= low < 0.91
        assert 0 <= confidences.min() - calibration.threshold_for(0.0, curve) < 1e-6
        few = calibration.coverage_curve(np.ones(10, bool), np.full(10, 0.99))
        assert calibration.threshold_for(0.97, few) is None
        assert calibration.threshold_for(1.1, curve) is None

    def test_a_threshold_delivers_on_other_pictures(self):
        delivered = []
        for seed in range(20):
            (labels, logits), (others, other_logits) = calibrated(2000, seed=seed), calibrated(20000, seed=seed + 100)
            curve = calibration.coverage_curve(logits.argmax(-1) == labels, calibration.confidence(logits))
            threshold = calibration.threshold_for(0.9, curve)
            answered = calibration.confidence(other_logits) >= threshold
            delivered.append((other_logits.argmax(-1) == others)[answered].mean())
        assert np.mean(np.array(delivered) >= 0.9) >= 0.9


class TestComparison:
    def test_mcnemar_published_example(self):
        """Exact two-sided binomial: 2 * (1 + 10 + 45) / 1024 for 2 against 8."""
        assert mcnemar(2, 8) == pytest.approx(2 * 56 / 1024)
        assert mcnemar(0, 0) == 1

    @pytest.mark.parametrize(
        ("cells", "expected"), [((36, 12, 2, 0), (0.0569, 0.3404)), ((20, 12, 2, 16), (0.0562, 0.3292))]
    )
    def test_interval_published_examples(self, cells, expected):
        """Newcombe, Statistics in Medicine 17 (1998), 2635-2650; cells: both, only one, only other, neither."""
        cell_of = np.repeat(range(4), cells)
        one, other = np.isin(cell_of, (0, 1)), np.isin(cell_of, (0, 2))
        assert paired_interval(other, one) == pytest.approx(expected, abs=5e-5)

    @given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=80))
    def test_interval_holds_the_difference_and_turns_with_the_sides(self, pairs):
        one, other = (np.array(column) for column in zip(*pairs, strict=True))
        low, high = paired_interval(one, other)
        difference = other.mean() - one.mean()
        assert -1 - 1e-9 <= low <= difference + 1e-9
        assert difference - 1e-9 <= high <= 1 + 1e-9
        assert paired_interval(other, one) == pytest.approx((-high, -low), abs=1e-9)

    def test_interval_covers_as_often_as_it_says(self):
        random, covered = np.random.default_rng(0), 0
        for _ in range(400):
            cells = random.choice(4, 300, p=[0.7, 0.12, 0.08, 0.1])
            low, high = paired_interval((cells == 0) | (cells == 1), (cells == 0) | (cells == 2))
            covered += low <= -0.04 <= high
        assert 0.92 <= covered / 400 <= 0.985

    def test_numbers(self):
        names = ("a", "b")
        labels = np.array([0, 0, 1, 1])
        first = Table(["p", "q", "r", "s"], labels, np.eye(2, dtype=np.float32)[[0, 1, 1, 0]], names)
        second = Table(["p", "q", "r", "s"], labels, np.eye(2, dtype=np.float32)[[0, 0, 0, 1]], names)
        found = paired(first, second)
        assert found.accuracy == (0.5, 0.75)
        assert (found.only_one_right, found.only_other_right, found.different) == (1, 2, False)
        assert found.changed[1] == Changed(path="r", label="b", predicted=("b", "a"))
        assert found.per_class["a"].recall == (0.5, 1.0)


def test_likely_label_errors_are_found():
    random = np.random.default_rng(0)
    true = random.integers(0, 4, 2000)
    logits = 5 * np.eye(4)[true] + random.normal(0, 1, (2000, 4))
    probabilities = np.exp(calibration.log_probabilities(logits.astype(np.float32)))
    labels = true.copy()
    wrong = random.choice(2000, 60, replace=False)
    labels[wrong] = (true[wrong] + 1) % 4
    found = likely_label_errors(labels, probabilities)
    assert set(found[:40].tolist()) <= set(wrong.tolist())
    assert len(set(found.tolist()) & set(wrong.tolist())) >= 35
