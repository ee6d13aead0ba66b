"""A head that is solved instead of trained: what is minimised, how it is chosen, and what a run says of it."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

import keras
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

import ception
from ception.evaluation import plots, read_log
from ception.reporting import Reporter
from ception.settings import TrainSettings
from ception.training import recipes, solving
from ception.training.examples import Examples
from ception.training.optimizers import loss_of
from ception.training.recipes import Recipe, Solver
from ception.weights.names import variables
from support.parity import fill
from support.pictures import COLOURS, write_pictures
from support.reporters import Notes
from support.runs import assert_same_run, killed

CLASSES = 3


def recipe_of(*penalties: float, smoothing: float = 0.0) -> Recipe:
    solver = Solver(penalties=penalties, tolerance=1e-6, iterations=1000)
    return Recipe(
        learning_rate=1, batch_size=8, epochs=1, patience=1, label_smoothing=smoothing, solver=solver, source=""
    )


def examples_with(features: np.ndarray | None = None, **changes) -> Examples:
    """Three clusters that overlap: 90 pictures to train on, the first ones, and 60 to validate on."""
    random = np.random.default_rng(0)
    labels = random.integers(0, CLASSES, 150).astype(np.int32)
    drawn = (random.normal(size=(CLASSES, 12))[labels] + 1.5 * random.normal(size=(150, 12)) + 4).astype(np.float32)
    given = {"training": np.arange(90), "validation": np.arange(90, 150)} | changes
    return Examples(drawn if features is None else features, labels, **given)


def heads_of(examples: Examples, *penalties: float, smoothing: float = 0.0) -> list[solving.Solution]:
    return solving.solved(examples, recipe_of(*penalties, smoothing=smoothing), CLASSES, Reporter())


class TestMinimum:
    def test_is_that_of_scikit_learn(self):
        examples = examples_with()
        (head,) = heads_of(examples, 0.02)
        features, labels = examples.inputs[:90].astype(np.float64), examples.labels[:90]
        centre = features.mean(axis=0)
        size = np.sqrt(((features - centre) ** 2).mean())
        other = LogisticRegression(C=1 / (0.02 * 90), tol=1e-8, max_iter=1000).fit((features - centre) / size, labels)
        np.testing.assert_allclose(head.kernel * size, other.coef_.T, atol=2e-4)  # products in float32
        logits = features @ head.kernel + head.bias
        theirs = other.decision_function((features - centre) / size)
        np.testing.assert_allclose(logits - logits.mean(1, keepdims=True), theirs, atol=2e-3)

    @pytest.mark.parametrize("smoothing", [0.0, 0.1])
    def test_its_losses_are_those_of_training_in_steps(self, smoothing):
        examples = examples_with(class_weights={0: 2.0, 1: 0.5, 2: 1.0})
        (head,) = heads_of(examples, 0.1, smoothing=smoothing)
        logits = (examples.inputs @ head.kernel + head.bias).astype(np.float32)
        each = keras.ops.convert_to_numpy(loss_of(recipe_of(0.1, smoothing=smoothing))(examples.labels, logits))
        weights = np.array([2.0, 0.5, 1.0])[examples.labels]
        assert head.loss == pytest.approx((each * weights)[:90].mean(), rel=1e-5)
        assert head.val_loss == pytest.approx(each[90:].mean(), rel=1e-5)
        right = logits.argmax(1) == examples.labels
        assert (head.accuracy, head.val_accuracy) == (right[:90].mean(), right[90:].mean())

    def test_a_class_that_counts_twice_is_a_class_that_stands_twice(self):
        plain = examples_with()
        twice = np.flatnonzero(plain.labels[:90] == 1)
        doubled = examples_with(training=np.concatenate([np.arange(90), twice]))
        (weighted,) = heads_of(examples_with(class_weights={1: 2.0}), 0.02 * 90 / len(doubled.training))
        # the penalty is weighed against the mean over 90, or more, and the features' variance is another
        centre = doubled.inputs[doubled.training].mean(axis=0)
        size, before = np.square(doubled.inputs[doubled.training] - centre).mean(), plain.inputs[:90].var(axis=0).mean()
        (repeated,) = heads_of(doubled, 0.02 * 90**2 / len(doubled.training) ** 2 * before / size)
        np.testing.assert_allclose(weighted.kernel, repeated.kernel, atol=2e-3)

    @pytest.mark.parametrize(("factor", "shift"), [(1000, 0), (0.001, 0), (1, 50)])
    def test_does_not_depend_on_the_features_size(self, factor, shift):
        features = examples_with().inputs
        (one,), (other,) = heads_of(examples_with(), 0.05), heads_of(examples_with(features * factor + shift), 0.05)
        assert other.val_loss == pytest.approx(one.val_loss, rel=1e-3)
        np.testing.assert_allclose(other.kernel * factor, one.kernel, atol=2e-3)

    def test_all_views_count(self):
        features = examples_with().inputs
        views = np.concatenate([features, features + 1])
        several = examples_with(views, views=2)
        twice = np.concatenate([np.arange(90), np.arange(150, 240)])
        single = Examples(views, np.tile(several.labels, 2), twice, several.validation)
        (one,), (other,) = heads_of(several, 0.05), heads_of(single, 0.05)
        np.testing.assert_array_equal(one.kernel, other.kernel)

    def test_features_of_one_value_give_the_classes_shares(self):
        (head,) = heads_of(examples_with(np.ones((150, 4), np.float32)), 0.1)
        shares = np.bincount(examples_with().labels[:90]) / 90
        np.testing.assert_allclose(np.exp(head.bias) / np.exp(head.bias).sum(), shares, atol=1e-3)


class TestPath:
    def test_ends_where_the_validation_loss_rises(self):
        heads = heads_of(examples_with(), 10.0, 1.0, 0.1, 0.01, 0.001, 0.0001)
        losses = [head.val_loss for head in heads]
        assert 2 < len(heads) < 6
        assert all(later < earlier for earlier, later in itertools.pairwise(losses[:-1]))
        assert losses[-1] >= losses[-2]
        assert [head.penalty for head in heads] == [10.0, 1.0, 0.1, 0.01, 0.001, 0.0001][: len(heads)]

    def test_is_the_same_each_time_and_from_features_that_are_read_again(self, monkeypatch):
        monkeypatch.setattr(solving, "_CHUNK", 32)
        one, again = heads_of(examples_with(), 1.0, 0.1), heads_of(examples_with(), 1.0, 0.1)
        monkeypatch.setattr(solving, "_KEPT", 0)
        streamed = heads_of(examples_with(), 1.0, 0.1)
        for head, *others in zip(one, again, streamed, strict=True):
            for other in others:
                np.testing.assert_array_equal(head.kernel, other.kernel)
                np.testing.assert_array_equal(head.bias, other.bias)


@pytest.mark.parametrize(
    ("settings", "solved"),
    [
        ({}, True), ({"head_only": True}, True), ({"balance": True}, True), ({"crop": 0.2}, True),
        ({"epochs": 3}, True), ({"recipe": "article"}, False), ({"mixup": 0.2}, False), ({"dropout": 0.5}, False),
        ({"dropout": 0.0}, True), ({"head_epochs": 4}, False), ({"head_only": True, "epochs": 4}, False),
        ({"head_only": True, "learning_rate": 0.1}, False), ({"batch_size": 4}, True),
    ],
)  # fmt: skip
def test_what_can_be_solved(settings, solved):
    head = recipes.recipes_of(TrainSettings(model="xception", weights="imagenet", **settings))[0]
    assert (head.solver is not None) == solved


THIN = {"image_size": 71, "depth_multiplier": 0.1, "final_endpoint": "block2"}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Pictures of three colours in `colours`, and weights of the beginning of a thin Xception."""
    root = tmp_path_factory.mktemp("solving")
    write_pictures(root / "colours", dict.fromkeys(COLOURS, 14))
    network = ception.build("xception", classes=3, seed=1, **THIN)
    fill(network, seed=3)
    network.save_weights(root / "x.weights.h5")
    return root


def trained(place: Path, runs: Path, **settings) -> tuple[ception.training.Run, Notes]:
    notes, weights = Notes(), str(place / "x.weights.h5")
    options = {"model": "xception", "weights": weights, "head_only": True} | THIN | settings
    return ception.train(place / "colours", runs=runs, reporter=notes, **options), notes


@pytest.fixture(scope="module")
def head(place) -> tuple[ception.training.Run, Notes]:
    return trained(place, place / "runs")


def scalars(folder: Path, name: str) -> list[float]:
    events = EventAccumulator(str(folder)).Reload()
    return [float(tensor_util.make_ndarray(event.tensor_proto)) for event in events.Tensors(name)]


class TestRun:
    def test_keeps_the_head_that_validates_best_and_calls_nothing_an_epoch(self, head):
        run, notes = head
        assert {row["epoch"] for row in run.history} == {0}
        best = min(run.history, key=lambda row: row["val_loss"])
        assert any(line.startswith(f"head solved  penalty {best['penalty']:g}  ") for line in notes.notes)
        assert "Phase 1 of 1: a fresh head is solved, all else stays as the weights have it" in notes.notes
        assert not any("epoch" in line for line in notes.notes)
        assert run.scores.best_epoch == 0
        assert f"head: the best of {len(run.history)} solved ones" in repr(run)
        table = (run.folder / "predictions.csv").read_text()
        assert table.startswith("path,label")

    def test_its_files_say_the_same(self, head):
        run, _ = head
        with (run.folder / "log.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert list(rows[0]) == ["epoch", "phase", "loss", "accuracy", "val_loss", "val_accuracy", "penalty", "seconds"]
        assert [row["penalty"] for row in read_log(run.folder / "log.csv")] == [row["penalty"] for row in run.history]
        losses = scalars(run.folder / "tensorboard" / "validation", "head_loss")
        assert losses == pytest.approx([row["val_loss"] for row in run.history])
        assert scalars(run.folder / "tensorboard" / "train", "head_penalty") == pytest.approx(
            [row["penalty"] for row in run.history]
        )
        page = (run.folder / "report.html").read_text()
        assert "what lies after the pooling, solved by L-BFGS" in page
        assert f"in all, {len(run.history)} solved heads" in page

    def test_its_model_is_the_head_on_the_frozen_network(self, head, place):
        run, _ = head
        network = ception.build("xception", classes=3, seed=1, **THIN)
        network.load_weights(place / "x.weights.h5")
        kept = variables(run.classifier.network)
        for name, tensor in variables(network).items():
            same = np.array_equal(keras.ops.convert_to_numpy(tensor), keras.ops.convert_to_numpy(kept[name]))
            assert same != name.startswith("logits/"), name

    def test_no_seed_changes_it(self, head, place, tmp_path):
        again, _ = trained(place, tmp_path, seed=5)
        for one, other in zip(
            head[0].classifier.network.get_weights(), again.classifier.network.get_weights(), strict=True
        ):
            np.testing.assert_array_equal(one, other)

    @pytest.mark.slow
    @pytest.mark.parametrize("at", [1, 2])
    def test_killed_and_resumed_it_is_the_same(self, place, tmp_path, at):
        whole, _ = trained(place, tmp_path / "whole", **BOTH)
        with killed("ception.training.state.save" if at == 1 else "ception.training.callbacks.write_log", at=1):
            trained(place, tmp_path / "killed", **BOTH)
        (run,) = (tmp_path / "killed").iterdir()
        resumed = ception.resume(run)
        assert_same_run(whole.folder, resumed.folder)
        assert [row["epoch"] for row in whole.history if row["phase"] == 2] == [1, 2]
        assert {row["epoch"] for row in whole.history if row["phase"] == 1} == {0}
        page = (run / "report.html").read_text()
        assert " solved heads, 2 epochs" in page

    @pytest.mark.slow
    def test_a_time_budget_cuts_epochs_alone(self, place, tmp_path):
        with killed("ception.training.fitting._probe", at=1):  # once the head is solved
            trained(place, tmp_path, time_budget=1e-4)
        (run,) = tmp_path.iterdir()
        notes = Notes()
        resumed = ception.resume(run, reporter=notes)
        assert "the head is solved" in notes.notes
        assert not any("--time-budget allows" in line for line in notes.lines)
        assert {row["epoch"] for row in resumed.history} == {0}

    def test_it_has_no_learning_rate_to_look_for(self, place, tmp_path, run_cli):
        options = ["--model", "xception", "--weights", place / "x.weights.h5", "--head-only", "--find-lr"]
        code, _, err = run_cli("train", place / "colours", *options)
        assert code == 2
        assert err == (
            "ception: the head is solved, which needs no learning rate: train without --find-lr, or name --epochs\n"
        )


BOTH = {"head_only": False, "from_": "block1", "epochs": 2, "batch_size": 8}
SOLVED = [{"epoch": 0, "phase": 1, "loss": 0.9 / n, "accuracy": 0.5, "val_loss": abs(n - 2.0) + 1, "val_accuracy": 0.5,
           "penalty": 1 / n, "seconds": 1.0} for n in (1, 2, 3)]  # fmt: skip
EPOCHS = [{"epoch": n, "phase": 2, "loss": 0.4, "accuracy": 0.9, "val_loss": 0.4 / n, "val_accuracy": 0.9,
           "learning_rate": 0.1, "seconds": 1.0} for n in (1, 2)]  # fmt: skip


class TestCurves:
    def test_of_a_head_alone_are_over_its_penalties(self):
        loss, _ = plots.curves_figure(SOLVED, 0).axes
        assert loss.get_xlabel() == "penalty of the head's weights"
        assert loss.get_xscale() == "log"
        assert list(loss.lines[0].get_xdata()) == [1, 1 / 2, 1 / 3]
        assert [line.get_xdata()[0] for line in loss.lines if line.get_label() == "kept: 0.5"] == [0.5]

    @pytest.mark.parametrize(("best", "kept"), [(0, "kept: the solved head"), (2, "kept: epoch 2")])
    def test_of_epochs_begin_with_the_solved_head(self, best, kept):
        loss, _ = plots.curves_figure([*SOLVED, *EPOCHS], best, ["head", "fine-tuning"]).axes
        assert list(loss.lines[0].get_xdata()) == [0, 1, 2]
        assert list(loss.lines[1].get_ydata()) == [1, 0.4, 0.2]
        marked = {line.get_label(): line.get_xdata()[0] for line in loss.lines[2:]}
        assert marked == {kept: best, "fine-tuning from epoch 1": 0.5}
