from __future__ import annotations

import csv
import json
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import ception
from ception.evaluation.table import Table
from ception.reporting import Reporter
from ception.training import examples, recipes
from ception.training.callbacks import TensorBoard
from ception.training.optimizers import loss_of, optimizer_of
from support.pictures import COLOURS, content, write_pictures
from support.reporters import Notes


def train(data: Path, tmp_path: Path, reporter: Reporter | None = None, **settings):
    settings = {"epochs": 1, "batch_size": 16, "image_size": 8} | settings
    return ception.train(data, runs=tmp_path / "runs", reporter=reporter or Notes(), **settings)


def scalars(folder: Path, name: str) -> list[float]:
    """The values that TensorBoard finds under a name."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return [event.tensor_proto.float_val[0] for event in events.Tensors(name)]


pytestmark = pytest.mark.usefixtures("undrawn")


class TestRun:
    def test_learns_and_leaves_the_promised_files(self, trained):
        names = {path.name for path in trained.iterdir()} - {"evaluations"}
        assert trained.name == "001-separable_cnn-colours"
        assert names == {
            "model.keras", "settings.json", "scores.json", "log.csv", "curves.png", "confusion.png",
            "predictions.csv", "report.html", "tensorboard", "neighbours.npz", ".ception",
        }  # fmt: skip
        assert json.loads((trained / "scores.json").read_text())["accuracy"] == 1
        for name in ("curves.png", "confusion.png"):
            with Image.open(trained / name) as picture:
                assert min(picture.size) > 300

    def test_shows_itself_as_a_table(self, trained):
        table = ception.resume(trained)._repr_html_()
        assert f"<caption>Run in {trained}</caption>" in table
        assert "<tr><td>network</td><td>separable_cnn at 16 x 16 x 3</td></tr>" in table

    def test_log_has_a_row_per_epoch(self, trained):
        rows = list(csv.DictReader((trained / "log.csv").read_text().splitlines()))
        assert [row["epoch"] for row in rows] == ["1", "2", "3"]
        assert float(rows[-1]["val_loss"]) < float(rows[0]["val_loss"])
        whole = json.loads((trained / "scores.json").read_text())["training_seconds"]
        assert whole >= sum(float(row["seconds"]) for row in rows)

    def test_scores_follow_from_the_saved_table(self, trained):
        saved = json.loads((trained / "scores.json").read_text())
        temperature = ception.Classifier.load(trained / "model.keras").temperature
        computed = Table.read(trained / "predictions.csv").scores(temperature).as_dict()
        beside = ("model", "data", "split", "output", "best_epoch", "thumbnails", "better_than_thumbnails",
                  "training_seconds")  # fmt: skip
        assert saved == computed | {key: saved[key] for key in beside}

    def test_settings_are_recorded_in_the_model_too(self, trained):
        record = json.loads((trained / "settings.json").read_text())
        assert record["settings"]["epochs"] == 3
        assert record["phases"][0]["recipe"]["learning_rate"] == 0.01
        assert record["data"]["counts"]["train"] > record["data"]["counts"]["test"] > 0
        loaded = ception.Classifier.load(trained / "model.keras").record
        assert {key: loaded[key] for key in record} == record
        assert loaded["scores"]["accuracy"] == 1

    def test_tensorboard_finds_the_curves(self, trained):
        rows = list(csv.DictReader((trained / "log.csv").read_text().splitlines()))
        for part, prefix in (("train", ""), ("validation", "val_")):
            values = scalars(trained / "tensorboard" / part, "epoch_loss")
            assert values == pytest.approx([float(row[f"{prefix}loss"]) for row in rows], rel=1e-6)

    def test_scaling_is_that_of_the_training_pictures(self, tmp_path):
        root = tmp_path / "d"
        for part, colours in (("train", ("blue", "red")), ("val", ("bright", "dark")), ("test", ("bright", "dark"))):
            drawn = write_pictures(tmp_path / part, dict.fromkeys(colours, 8), size=(8, 8), seed=len(part))
            for colour, name in zip(colours, "ab", strict=True):
                (root / part).mkdir(parents=True, exist_ok=True)
                (drawn / colour).rename(root / part / name)
        pixels = np.stack([np.asarray(Image.open(path)) for path in (root / "train").rglob("*.png")])
        scaling = list(train(root, tmp_path).classifier.config.scaling)
        assert scaling == pytest.approx([pixels.mean(), pixels.std()], rel=1e-4)

    def test_the_same_seed_gives_the_same_run_and_another_another(self, folder, tmp_path):
        runs = [train(folder, tmp_path, seed=seed) for seed in (1, 1, 2)]
        weights = [run.classifier.network.get_weights() for run in runs]
        for one, two in zip(weights[0], weights[1], strict=True):
            np.testing.assert_array_equal(one, two)
        assert not np.array_equal(weights[0][0], weights[2][0])
        assert [run.folder.name[:3] for run in runs] == ["001", "002", "003"]

    def test_keeps_the_best_epoch_not_the_last(self, folder, tmp_path, monkeypatch):
        class Spoil(keras.callbacks.Callback):
            def __init__(self, *_):
                super().__init__()

            def on_epoch_begin(self, epoch, logs=None):
                if epoch == 2:
                    self.model.set_weights([weight * 0 - 5 for weight in self.model.get_weights()])

        monkeypatch.setattr("ception.training.callbacks.TensorBoard", Spoil)
        run = train(folder, tmp_path, epochs=3, learning_rate=1e-3)
        assert run.scores.best_epoch == 2
        assert min(float(weight.min()) for weight in run.classifier.network.get_weights()) > -5

    def test_early_stopping(self, folder, tmp_path):
        notes = Notes()
        run = train(folder, tmp_path, notes, epochs=9, learning_rate=1e-9, patience=2)
        assert len(run.history) == 3
        assert any("Stopped early" in note for note in notes.notes)

    def test_the_users_files_stay_as_they_are(self, folder, tmp_path):
        before = content(folder)
        train(folder, tmp_path)
        assert content(folder) == before


class TestData:
    @pytest.mark.slow  # it trains twice
    def test_grey_pictures_make_a_grey_network(self, tmp_path):
        write_pictures(tmp_path / "d", {"a": 20, "b": 20})
        for path in (tmp_path / "d").rglob("*.png"):
            Image.open(path).convert("L").save(path)
        assert train(tmp_path / "d", tmp_path).classifier.image.channels == 1
        assert train(tmp_path / "d", tmp_path, channels=3).classifier.image.channels == 3

    def test_imbalance_is_said(self, tmp_path):
        notes = Notes()
        train(write_pictures(tmp_path / "d", {"a": 60, "b": 8}), tmp_path, notes)
        assert any("imbalanced" in text and "'b'" in text for text in notes.warnings)

    def test_duplicates_across_classes_and_parts_are_said(self, tmp_path):
        write_pictures(tmp_path / "d" / "train", {"a": 20, "b": 20})
        write_pictures(tmp_path / "d" / "test", {"a": 5, "b": 5}, seed=1)
        first = (tmp_path / "d/train/a/000.png").read_bytes()
        (tmp_path / "d/test/a/000.png").write_bytes(first)
        (tmp_path / "d/train/b/000.png").write_bytes(first)
        notes = Notes()
        train(tmp_path / "d", tmp_path, notes)
        assert any("two classes" in text for text in notes.warnings)

    def test_unreadable_pictures_stop_or_are_skipped(self, folder, tmp_path):
        (folder / "red" / "broken.jpg").write_text("text")
        (folder / "blue" / "empty.png").touch()
        notes = Notes()
        with pytest.raises(ception.InputError, match=r"2 pictures cannot be read.*--skip-unreadable"):
            train(folder, tmp_path, notes)
        assert len(notes.warnings) == 2
        assert not (tmp_path / "runs").exists()
        assert train(folder, tmp_path, skip_unreadable=True).scores.count > 0

    def test_one_colour_is_refused(self, tmp_path):
        for name in ("a", "b"):
            (tmp_path / "d" / name).mkdir(parents=True)
            for number in range(30):
                Image.new("RGB", (8 + number, 9), (7, 7, 7)).save(tmp_path / "d" / name / f"{name}{number}.png")
        with pytest.raises(ception.InputError, match="single colour"):
            train(tmp_path / "d", tmp_path)


class TestFailure:
    @pytest.mark.parametrize("rate", [1e30, 1e18])
    def test_a_diverged_training_says_so_and_leaves_no_model(self, folder, tmp_path, rate):
        with pytest.raises(ception.RunError, match="lower --learning-rate"):
            train(folder, tmp_path, learning_rate=rate, epochs=3)
        assert not list((tmp_path / "runs").rglob("model.keras"))

    def test_unwritable_runs_folder(self, folder):
        with pytest.raises(ception.RunError, match="--runs"):
            ception.train(folder, epochs=1, image_size=8, runs=Path("/proc/none"))

    @pytest.mark.parametrize(("settings", "says"), [
        ({"model": "xeption"}, "unknown model"),
        ({"recipe": "artcle"}, "did you mean 'article'"),
        ({"image_size": 7}, "at least 8"),
        ({"device": "gpu:77"}, "gpu:77"),
        ({"backend": "jax" if keras.backend.backend() != "jax" else "torch"}, "already runs on"),
    ])  # fmt: skip
    def test_wrong_settings(self, folder, tmp_path, settings, says):
        with pytest.raises(ception.InputError, match=says):
            train(folder, tmp_path, **settings)
        assert not (tmp_path / "runs").exists()


def test_tensorboard_needs_no_tensorflow(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "tensorboard"]:
        monkeypatch.delitem(sys.modules, name)  # what is imported anew meets no TensorFlow
    row = {"epoch": 1, "loss": 0.5, "accuracy": 0.25, "learning_rate": 0.1, "val_loss": 0.75, "val_accuracy": 1.0}
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "tensorflow", None)
        callback = TensorBoard(tmp_path, lambda: [row], Notes())
        callback.on_train_begin()
        callback.on_train_end()
    assert scalars(tmp_path / "train", "epoch_loss") == [0.5]
    assert scalars(tmp_path / "train", "epoch_learning_rate") == pytest.approx([0.1])
    assert scalars(tmp_path / "validation", "epoch_accuracy") == [1.0]


@pytest.mark.parametrize("error", [
    pytest.param(ImportError("no module named pkg_resources"), marks=pytest.mark.slow),
    TypeError("Descriptors\ncannot be"),
])  # fmt: skip
def test_a_tensorboard_that_cannot_be_imported_stops_no_training(folder, tmp_path, monkeypatch, error):
    class Failing:
        def find_spec(self, name: str, *_: object) -> None:
            if name.startswith("tensorboard"):
                raise error

    for name in [name for name in sys.modules if name.split(".")[0] == "tensorboard"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Failing(), *sys.meta_path])
    notes = Notes()
    run = train(folder, tmp_path, notes, epochs=2)
    assert len(run.history) == 2
    told = " ".join(str(error).split())
    assert notes.warnings == [f"nothing is written for TensorBoard, which cannot be imported here: {told}"]
    assert (run.folder / "model.keras").is_file()


def test_class_names_are_those_of_the_folders(trained):
    assert ception.Classifier.load(trained / "model.keras").class_names == tuple(COLOURS)


def test_help_names_the_recipes_values():
    from ception.settings import TrainSettings

    told = " ".join(TrainSettings.__doc__.split())
    for option in ("epochs", "batch_size", "learning_rate", "patience"):
        values = ", ".join(f"{name}: {getattr(recipe, option):g}" for name, recipe in recipes.RECIPES.items())
        tuned = ", ".join(f"{name}: {getattr(last, option):g}" for name, (_, last) in recipes.FINE_TUNING.items())
        start = told.index(f" {option}: ")
        assert f"({values}; with weights {tuned})" in told[start : start + 300], option
    start = told.index("head_epochs: ")
    values = ", ".join(f"{name}: {head.epochs}" for name, (head, _) in recipes.FINE_TUNING.items())
    assert f"({values})" in told[start : start + 200]


class TestBalance:
    def test_every_class_weighs_the_same(self):
        factors = examples.balanced(np.array([0] * 6 + [2] * 2))
        assert factors == {0: 8 / 12, 2: 2.0}
        assert sum(factors[label] for label in [0] * 6 + [2] * 2) == 8

    @pytest.mark.slow  # what the factors are is tested above
    @pytest.mark.parametrize("auxiliary", [False, True])
    def test_what_cannot_be_told_apart_is_as_probable_as_the_weights_say(self, tmp_path, auxiliary):
        options = {"epochs": 6, "batch_size": 8, "image_size": 16, "learning_rate": 0.003}
        if auxiliary:
            options |= {"model": "inception_v3", "auxiliary": True, "image_size": 107, "depth_multiplier": 0.1}
        random = np.random.default_rng(0)
        for name, count in (("common", 80), ("rare", 20)):
            (tmp_path / "noise" / name).mkdir(parents=True)
            for number in range(count):
                picture = random.integers(0, 256, (16, 16, 3), np.uint8)
                Image.fromarray(picture).save(tmp_path / "noise" / name / f"{number}.png")
        shares = []
        for balance in (False, True):
            run = train(tmp_path / "noise", tmp_path, balance=balance, **options)
            size = options["image_size"]
            noise = random.integers(0, 256, (64, size, size, 3), np.uint8)
            shares.append(run.classifier.probabilities(noise, calibrated=False)[:, 1].mean())
        assert shares[0] < 0.35
        assert shares[1] > shares[0] + 0.1


KNOWN = recipes.RECIPES | {
    f"{name}, {phase}": recipe
    for name, pair in recipes.FINE_TUNING.items() for phase, recipe in zip(("head", "rest"), pair, strict=True)
}  # fmt: skip


class TestRecipes:
    @pytest.mark.parametrize("name", KNOWN)
    def test_the_optimizer_is_what_the_recipe_states(self, name):
        recipe, steps = KNOWN[name], 10
        optimizer = optimizer_of(recipe, steps)
        kinds = {"sgd": keras.optimizers.SGD, "rmsprop": keras.optimizers.RMSprop, "adamw": keras.optimizers.AdamW,
                 "muon": keras.optimizers.Muon}  # fmt: skip
        assert isinstance(optimizer, kinds[recipe.algorithm])
        assert (optimizer.weight_decay or 0, optimizer.global_clipnorm) == (recipe.weight_decay, recipe.clip_norm)
        assert getattr(optimizer, "adam_weight_decay", optimizer.weight_decay) == optimizer.weight_decay
        assert (optimizer.use_ema, optimizer.ema_momentum if recipe.averaging else 0) == (
            recipe.averaging > 0, recipe.averaging,
        )  # fmt: skip
        last, rates = recipe.epochs * steps, {}
        for step in {0, *np.linspace(0, last, 21).round(), round(recipe.warmup_epochs * steps), last}:
            optimizer.iterations.assign(int(step))
            rates[int(step)] = float(optimizer.learning_rate)
        ends = {
            "constant": 1,
            "cosine": 0,
            "exponential": recipe.decay_rate ** (recipe.epochs // recipe.decay_epochs),
            "inverse_time": 1 / (1 + recipe.decay_rate * last),
        }
        assert rates[0] == pytest.approx(0 if recipe.warmup_epochs else recipe.learning_rate)
        assert max(rates.values()) == pytest.approx(recipe.learning_rate)
        assert rates[last] == pytest.approx(recipe.learning_rate * ends[recipe.schedule], rel=1e-4, abs=1e-9)

    @pytest.mark.parametrize("name", KNOWN)
    def test_documents_named_as_sources_exist(self, name):
        source = KNOWN[name].source
        document = source.split(":")[0]
        assert not source.startswith("docs/") or (Path(__file__).parents[1] / document).is_file()
        assert len(source.split()) > 3  # says what in it

    def test_cosine_rises_and_falls(self):
        optimizer = optimizer_of(replace(recipes.RECIPES["best"], epochs=24), 100)
        rates = [float(optimizer.learning_rate)]
        for step in (100, 200, 1300, 2400):
            optimizer.iterations.assign(step)
            rates.append(float(optimizer.learning_rate))
        assert rates == pytest.approx([0, 0.0015, 0.003, 0.0015, 0], abs=1e-9)

    def test_label_smoothing_is_that_of_keras(self):
        random = np.random.default_rng(0)
        logits, labels = random.normal(0, 2, (9, 5)).astype("float32"), random.integers(0, 5, 9)
        found = keras.ops.mean(loss_of(recipes.RECIPES["best"])(labels, logits))
        reference = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
        assert float(found) == pytest.approx(float(reference(np.eye(5)[labels], logits)), rel=1e-5)

    @pytest.mark.slow  # it trains
    def test_best_trains(self, folder, tmp_path):
        run = train(folder, tmp_path, recipe="best", epochs=3)
        assert run.history[-1]["learning_rate"] < 1e-4
        assert run.scores.accuracy > 0.5
