from __future__ import annotations

import csv
import dataclasses
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ception.evaluation.calibration import log_probabilities, wilson_interval
from ception.evaluation.metrics import scores
from ception.evaluation.table import Table
from ception.results import ClassScores, Confusion


def example(count: int = 400, classes: int = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[str]]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, count)
    logits = random.normal(0, 1, (count, classes)) + 2 * np.eye(classes)[labels]
    return labels, logits.astype(np.float32), [f"class {number}" for number in range(classes)]


class TestScores:
    def test_follow_from_their_definitions(self):
        labels, logits, names = example(classes=12)
        found = scores(labels, logits, names, temperature=2.0)
        predicted = logits.argmax(-1)
        assert (found.count, found.temperature) == (400, 2.0)
        assert found.accuracy == pytest.approx(np.mean(predicted == labels))
        assert found.accuracy_interval == wilson_interval(int((predicted == labels).sum()), 400)
        among = [label in np.argsort(row)[-5:] for label, row in zip(labels, logits, strict=True)]
        assert found.top5_accuracy == pytest.approx(np.mean(among))
        assert 0 < found.accuracy < found.top5_accuracy < 1
        for temperature, log_loss in ((2.0, found.log_loss), (1.0, found.uncalibrated.log_loss)):
            powers = np.exp(logits.astype(float) / temperature)
            of_labels = powers[np.arange(400), labels] / powers.sum(-1)
            assert log_loss == pytest.approx(-np.log(of_labels).mean())
        recalls = []
        for number, name in enumerate(names):
            one, hits = found.per_class[name], int(((predicted == number) & (labels == number)).sum())
            recalls.append(hits / (labels == number).sum())
            assert one.support == (labels == number).sum()
            assert one.recall == pytest.approx(recalls[-1])
            assert one.precision == pytest.approx(hits / (predicted == number).sum())
            assert one.f1 == pytest.approx(2 * one.precision * one.recall / (one.precision + one.recall))
        assert found.balanced_accuracy == pytest.approx(np.mean(recalls))

    def test_top5_is_none_where_five_guesses_are_right_for_most(self):
        assert scores(*example(classes=9)).top5_accuracy is None
        assert 0.9 < scores(*example(classes=10)).top5_accuracy < 1

    def test_a_class_without_pictures_does_not_lower_the_balanced_accuracy(self):
        labels, logits, names = np.array([0, 1, 1]), np.eye(3, dtype=np.float32)[[0, 1, 1]], ["a", "b", "c"]
        found = scores(labels, logits, names)
        assert found.balanced_accuracy == 1
        assert found.per_class["c"] == ClassScores(precision=0, recall=0, f1=0, support=0)

    def test_the_most_confused_pairs_come_first(self):
        labels = np.array([1, 0, 0, 0, 2])
        logits = np.eye(3, dtype=np.float32)[[2, 1, 1, 0, 2]]
        assert scores(labels, logits, ["a", "b", "c"]).confused == (
            Confusion(label="a", predicted="b", count=2), Confusion(label="b", predicted="c", count=1),
        )  # fmt: skip

    def test_at_most_ten_pairs_and_equal_ones_in_the_order_of_the_classes(self):
        labels = np.repeat(range(4), 4)
        confused = scores(labels, np.eye(4, dtype=np.float32)[np.tile(range(4), 4)], list("abcd")).confused
        pairs = [(a, b) for a in "abcd" for b in "abcd" if a != b][:10]
        assert confused == tuple(Confusion(label=a, predicted=b, count=1) for a, b in pairs)

    def test_large_logits_do_not_overflow(self):
        found = scores(np.array([0, 1]), np.array([[1e4, -1e4], [1e4, -1e4]], np.float32), ["a", "b"])
        assert found.log_loss == pytest.approx(1e4)

    @given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.integers(1, 60))
    def test_do_not_depend_on_the_order(self, seed, classes, count):
        labels, logits, names = example(count, classes, seed)
        order = np.random.default_rng(seed).permutation(count)
        one, other = scores(labels, logits, names), scores(labels[order], logits[order], names)
        for key in ("log_loss", "calibration_error"):
            assert getattr(one, key) == pytest.approx(getattr(other, key))
            assert getattr(one.uncalibrated, key) == pytest.approx(getattr(other.uncalibrated, key))
        same = {"log_loss": 0.0, "calibration_error": 0.0, "uncalibrated": one.uncalibrated}
        assert replace(one, **same) == replace(other, **same)


class TestWilson:
    def test_published_example(self):
        """Newcombe, Statistics in Medicine 17 (1998), 857-872, table I: 81 of 263."""
        assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)

    @given(st.integers(1, 5000), st.floats(0, 1))
    def test_formula(self, count, share):
        """Wilson, JASA 22 (1927), 209-212, in the form of Newcombe's method 3; at the ends exactly 0 and 1."""
        hits, z = round(count * share), 1.959963984540054
        p = hits / count
        middle, half = 2 * count * p + z * z, z * np.sqrt(z * z + 4 * count * p * (1 - p))
        low, high = wilson_interval(hits, count)
        assert low == pytest.approx((middle - half) / (2 * (count + z * z)), abs=1e-12)
        assert high == pytest.approx((middle + half) / (2 * (count + z * z)), abs=1e-12)
        assert 0 <= low <= p <= high <= 1
        assert (low == 0) == (hits == 0)
        assert (high == 1) == (hits == count)


def test_log_probabilities_are_the_logarithms_of_the_softmax():
    logits = np.array([[0, np.log(3)], [1000, 1000], [-5, 2000]], np.float32)
    expected = np.array([[np.log(0.25), np.log(0.75)], [np.log(0.5)] * 2, [-2005, 0]])
    np.testing.assert_allclose(log_probabilities(logits), expected, rtol=1e-7)
    halved = log_probabilities(np.array([[0, 2 * np.log(3)]], np.float32), temperature=2)
    np.testing.assert_allclose(halved, expected[:1], rtol=1e-7)


def test_confusion_counts_also_the_classes_that_nobody_names():
    logits = np.eye(4, dtype=np.float32)[[0, 0, 2, 2, 2]]
    table = Table(["a"] * 5, np.array([0, 1, 1, 2, 2]), logits, tuple("abcd"))
    assert table.confusion().tolist() == [[1, 0, 0, 0], [1, 0, 1, 0], [0, 0, 2, 0], [0, 0, 0, 0]]


def test_table_reads_back_exactly(tmp_path):
    labels, logits, names = example(50)
    names[2] = 'quoted, "name"\n'
    table = Table([f"a/{number}, x.png" for number in range(50)], labels, logits, tuple(names))
    table.write(tmp_path / "t.csv")
    again = Table.read(tmp_path / "t.csv")
    assert again.paths == table.paths
    assert again.class_names == table.class_names
    np.testing.assert_array_equal(again.labels, labels)
    np.testing.assert_array_equal(again.logits, logits)
    assert again.seen is None
    assert again.scores() == table.scores()
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["predicted"] for row in rows] == [table.class_names[label] for label in table.predicted]


def test_a_table_keeps_what_was_seen_and_scores_the_rest(tmp_path):
    labels, logits, names = example(50)
    seen = np.arange(50) % 5 == 0
    table = Table([str(number) for number in range(50)], labels, logits, tuple(names), seen)
    table.write(tmp_path / "t.csv")
    np.testing.assert_array_equal(Table.read(tmp_path / "t.csv").seen, seen)
    found, rest = table.scores(), table.take(np.flatnonzero(~seen)).scores()
    assert (found.count, found.seen_in_training, found.including_seen.count) == (40, 10, 50)
    assert found.including_seen.accuracy == table.right.mean()
    assert (found.accuracy, found.log_loss, found.confused) == (rest.accuracy, rest.log_loss, rest.confused)
    whole = dataclasses.replace(table, seen=np.ones(50, bool)).scores()
    assert (whole.count, whole.seen_in_training, whole.all_seen, found.all_seen) == (50, 50, True, False)


def test_a_table_of_an_earlier_version_does_not_say_what_was_seen(tmp_path):
    (tmp_path / "t.csv").write_text("path,label,logit_a,logit_b\np,b,0.5,1\n")
    table = Table.read(tmp_path / "t.csv")
    assert (table.class_names, table.seen, table.logits.tolist()) == (("a", "b"), None, [[0.5, 1]])
