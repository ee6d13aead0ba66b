"""A head trained on a frozen network: cached features, the weights that stay, runs that end early and go on."""

from __future__ import annotations

import re
from pathlib import Path

import keras
import numpy as np
import pytest

import ception
from ception import build, keras_internals
from ception.errors import InputError
from ception.settings import TrainSettings
from ception.training import batch_norm, phases, recipes
from ception.training.batch_norm import Probe
from ception.training.optimizers import loss_of, optimizer_of
from ception.weights.checkpoints import read
from ception.weights.names import variables
from support.marks import not_on_jax
from support.parity import difference, fill
from support.pictures import COLOURS, write_pictures
from support.reporters import Notes
from support.runs import assert_indexed, assert_same_run, killed

THIN = {"image_size": 71, "depth_multiplier": 0.1}
SHORT = {"final_endpoint": "block4"}
pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Pictures of three colours in `colours`, and weights of a thin Xception with three classes."""
    root = tmp_path_factory.mktemp("features")
    write_pictures(root / "colours", dict.fromkeys(COLOURS, 14))
    network = build("xception", classes=3, seed=1, **THIN)
    fill(network, seed=3)
    network.save_weights(root / "xception.weights.h5")
    return root


def trained(place: Path, runs: Path, **settings) -> tuple[ception.training.Run, Notes]:
    notes = Notes()
    options = {
        "model": "xception",
        "weights": str(place / "xception.weights.h5"),
        "epochs": 3,
        "batch_size": 8,
        "head_only": True,
    }
    return ception.train(place / "colours", runs=runs, reporter=notes, **THIN | SHORT | options | settings), notes


class TestHead:
    def test_the_body_stays_and_the_head_learns(self, place, tmp_path, own_cache):
        run, notes = trained(place, tmp_path, final_endpoint=None)
        assert "Phase 1 of 1, head: trained: 615 weights after the pooling; frozen: the rest" in notes.lines
        stored, kept = read(place / "xception.weights.h5").tensors, variables(run.classifier.network)
        for name, tensor in kept.items():
            same = np.array_equal(keras.ops.convert_to_numpy(tensor), stored[name])
            assert same != name.startswith("logits/"), name
        assert run.history[-1]["loss"] < run.history[0]["loss"]
        assert_indexed(run.folder)
        assert len([line for line in notes.notes if line.startswith("Computing what stays frozen")]) == 1
        assert run.classifier.record["settings"]["recipe"] is None
        assert run.classifier.record["phases"][0]["recipe"]["source"].startswith("docs/recipes.md: a dense layer")

    @not_on_jax
    @pytest.mark.slow  # it trains
    def test_the_files_head_is_not_taken_even_with_the_same_classes(self, place, tmp_path):
        run, _ = trained(place, tmp_path, epochs=1, learning_rate=1e-12, final_endpoint=None)
        head = run.classifier.network.get_layer("logits").get_weights()
        assert difference(head[0], read(place / "xception.weights.h5").tensors["logits/kernel"]) > 0.1
        np.testing.assert_allclose(head[1], 0, atol=1e-9)

    @not_on_jax
    @pytest.mark.slow
    def test_networks_that_end_early(self, place, tmp_path):
        run, notes = trained(place, tmp_path, epochs=1)
        assert any(line.startswith("Phase 1 of 1, head") for line in notes.lines)
        again = ception.Classifier.load(run.folder)
        assert [layer.name for layer in again.network.layers][-4:] == ["block4", "pool", "prelogits", "logits"]
        assert ception.evaluate(run.folder, place / "colours", out=tmp_path / "e").accuracy == run.scores.accuracy

    def test_more_than_the_limit_is_refused(self, place, tmp_path):
        with pytest.raises(InputError, match=r"the activations take .* above --cache-limit 1e-06 GB: raise it"):
            trained(place, tmp_path, cache_limit=1e-6, seed=77, final_endpoint="block3")


BOTH = {"head_only": False, "from_": "block3", "head_epochs": 2, "epochs": 2}


@pytest.fixture(scope="module")
def both(place) -> tuple[ception.training.Run, Notes]:
    """A training of a head and of what lies behind block3, with a cache of its own, empty at first."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("CEPTION_CACHE", str(place / "cache"))
        return trained(place, place / "runs", **BOTH)


class TestPhases:
    @pytest.mark.slow
    def test_the_head_waits_for_its_own_views_alone_but_there_is_room_for_all(self, both, place, tmp_path, monkeypatch):
        _, notes = both
        told = [re.search(r"at block3 of (\d+) .*\(([\d.]+) of ([\d.]+) MB\)", line) for line in notes.lines]
        first, later = (found for found in told if found)
        assert int(later[1]) < int(first[1])  # the mirrored ones, without those for validation
        assert float(first[2]) < float(first[3]) == float(later[3])
        monkeypatch.setenv("CEPTION_CACHE", str(tmp_path / "other"))
        with pytest.raises(InputError, match="the activations take"):
            trained(place, tmp_path / "refused", cache_limit=(float(first[2]) + float(first[3])) / 2000, **BOTH)
        (run,) = (tmp_path / "refused").iterdir()
        assert not (run / "log.csv").exists()

    def test_notes_say_what_happens_and_details_how(self, both):
        _, notes = both
        assert [note for note in notes.notes if note.startswith("Phase")] == [
            "Phase 1 of 2: a fresh head is trained, all else stays as the weights have it",
            "Phase 2 of 2: what lies after block3 is trained with the head",
        ]
        jargon = ("weights after", "batch norm", "Activations", "Features", "computing in")
        assert not [note for note in notes.notes if any(word in note for word in jargon)]
        details = "\n".join(notes.details)
        assert all(word in details for word in jargon)

    @pytest.mark.slow
    @pytest.mark.parametrize("flags", [["--verbose"], [], ["--quiet"]])
    def test_details_are_shown_where_they_are_asked_for(self, place, tmp_path, monkeypatch, run_cli, flags):
        monkeypatch.setenv("CEPTION_CACHE", str(tmp_path / "cache"))
        options = ["--model", "xception", "--weights", place / "xception.weights.h5", "--epochs", "1", "--head-only"]
        thin = [
            "--image-size",
            "71",
            "--depth-multiplier",
            "0.1",
            "--final-endpoint",
            "block4",
            "--runs",
            tmp_path / "r",
        ]
        code, _, err = run_cli("train", place / "colours", *options, *thin, *flags)
        assert code == 0
        assert ("Phase 1 of 1: a fresh head is trained" in err) == (flags != ["--quiet"])
        for detail in ("head: trained: 219 weights after the pooling", "Backend: ", "Features of "):
            assert (detail in err) == (flags == ["--verbose"])

    def test_quiet_and_verbose_exclude_each_other(self, place, run_cli):
        code, out, err = run_cli("train", place / "colours", "--quiet", "--verbose")
        assert (code, out) == (2, "")
        assert err == "ception: --quiet and --verbose exclude each other: leave out one of them\n"

    @pytest.mark.parametrize("batch_norm", ["frozen", "train"])
    @pytest.mark.slow
    def test_statistics_that_do_not_fit_say_what_to_do(self, place, tmp_path, monkeypatch, batch_norm):
        monkeypatch.setattr("ception.training.batch_norm.probe", lambda *_: Probe(0.25, 0.75))
        _, notes = trained(place, tmp_path, batch_norm=batch_norm, **BOTH | {"epochs": 1, "head_epochs": 1})
        told = [line for line in notes.warnings if "do not fit" in line]
        assert len(told) == (batch_norm == "train")
        assert all("25% of 5 are right with them, 75% with their own" in line for line in told)
        assert all(line.endswith("train again with --batch-norm frozen") for line in told)
        assert "score 0.250 in inference mode, 0.750" in notes.details[-1]

    @pytest.mark.parametrize("batch_norm", ["frozen", pytest.param("adapt", marks=not_on_jax), "train"])
    @pytest.mark.slow
    def test_what_lies_before_the_place_stays(self, both, place, tmp_path, batch_norm):
        is_default = TrainSettings.batch_norm == batch_norm
        run, notes = both if is_default else trained(place, tmp_path, batch_norm=batch_norm, **BOTH)
        assert [row["phase"] for row in run.history] == [1, 1, 2, 2]
        assert [row["epoch"] for row in run.history] == [1, 2, 3, 4]
        told = "\n".join(notes.lines)
        assert "Phase 1 of 2, head: trained: " in told
        assert "Phase 2 of 2, fine-tuning: trained: " in told
        assert "after block3; frozen: the rest; batch norm there: " in told
        assert "validation pictures score" in told
        last = run.classifier.record["phases"][1]
        assert (last["after"], last["batch_norm"]) == ("block3", batch_norm)
        assert_indexed(run.folder)
        assert run.scores.best_epoch in (1, 2, 3, 4)

    @not_on_jax
    @pytest.mark.parametrize(
        "mode", ["frozen", *(pytest.param(mode, marks=pytest.mark.slow) for mode in ("adapt", "train"))]
    )
    def test_each_weight_moves_or_stays(self, place, mode):
        network = build("xception", classes=3, final_endpoint="block4", weights=place / "xception.weights.h5", **THIN)
        before = {name: keras.ops.convert_to_numpy(tensor).copy() for name, tensor in variables(network).items()}
        settings = TrainSettings(weights="w", batch_norm=mode, from_="block3")
        phase = phases.phases_of(settings, recipes.recipes_of(settings), network)[1]
        random = np.random.default_rng(0)
        with phases.trainee(network, phase) as made:
            inputs = random.normal(2, 3, (16, *made.input.shape[1:])).astype("float32")
            if mode == "adapt":
                batch_norm.adapt(made, lambda: iter([inputs[:8], inputs[8:]]))
            made.compile(optimizer_of(phase.recipe, 2, phases.rates(network, phase.recipe)), loss_of(phase.recipe))
            made.fit(inputs, random.integers(0, 3, 16), batch_size=8, epochs=2, verbose=0)
        assert all(layer.trainable for layer in network.layers)
        moved = {name for name, tensor in variables(network).items()
                 if not np.array_equal(keras.ops.convert_to_numpy(tensor), before[name])}  # fmt: skip
        assert moved
        assert all(name.startswith(("block4", "logits")) for name in moved)
        kinds = {name.rsplit("/")[-1] for name in moved if "bn" in name}
        statistics, scales = {"moving_mean", "moving_variance"}, {"gamma", "beta"}
        assert kinds == {"frozen": set(), "adapt": statistics, "train": statistics | scales}[mode]

    @not_on_jax
    def test_adapted_statistics_are_those_of_all_inputs(self):
        given = keras.Input((4, 4, 3))
        layer = keras.layers.BatchNormalization()
        made = keras.Model(given, keras.layers.GlobalAveragePooling2D()(layer(given)))
        inputs = np.random.default_rng(0).normal(5, 2, (32, 4, 4, 3)).astype("float32")
        batch_norm.adapt(made, lambda: iter(np.split(inputs, 4)))
        np.testing.assert_allclose(layer.moving_mean, inputs.mean((0, 1, 2)), rtol=1e-4)
        parts = np.mean([part.var((0, 1, 2)) for part in np.split(inputs, 4)], 0)
        np.testing.assert_allclose(layer.moving_variance, parts, rtol=1e-3)

    @not_on_jax
    def test_the_probe_sees_statistics_that_do_not_fit_and_changes_nothing(self):
        given = keras.Input((2, 2, 3))
        x = keras.layers.GlobalAveragePooling2D()(keras.layers.BatchNormalization()(given))
        made = keras.Model(given, keras.layers.Dropout(0.9)(x))
        labels = np.random.default_rng(0).integers(0, 3, 64)
        inputs = np.eye(3, dtype="float32")[labels][:, None, None] * np.ones((1, 2, 2, 1), "float32")
        before = [np.copy(weight) for weight in made.get_weights()]
        found = batch_norm.probe(made, inputs, labels)
        assert found == Probe(1.0, 1.0)
        assert not found.parted
        made.layers[1].moving_mean.assign([9.0, 0.0, -9.0])
        made.layers[1].trainable = False
        for size in (64, 30):
            assert batch_norm.probe(made, inputs, labels, size).parted
        assert not made.layers[1].trainable
        np.testing.assert_array_equal(made.get_weights()[3], before[3])
        assert made.layers[-1].rate == 0.9

    @not_on_jax
    def test_earlier_stages_learn_slower(self, place):
        network = build("xception", classes=3, weights=place / "xception.weights.h5", **THIN)
        found = phases.rates(network, recipes.FINE_TUNING["best"][1])
        assert found["logits/kernel"] == 1
        assert found["block14_sepconv2/pointwise_kernel"] == 0.5
        assert found["block1_conv1/kernel"] == min(found.values()) < 0.1
        kind = keras_internals.discriminating(keras.optimizers.SGD, {"slow": 0.25})
        slow, fast = (keras.Variable(np.ones(2), name=name) for name in ("slow", "fast"))
        kind(0.1).apply([keras.ops.ones(2), keras.ops.ones(2)], [slow, fast])
        np.testing.assert_allclose(slow, 0.975, rtol=1e-6)
        np.testing.assert_allclose(fast, 0.9, rtol=1e-6)

    @pytest.mark.parametrize(("name", "end", "after"), [
        ("xception", None, "block12"), ("inception_v3", None, "mixed8"), ("inception_v3", "mixed8", "mixed6"),
    ])  # fmt: skip
    def test_the_last_two_blocks_are_trained(self, name, end, after):
        network = build(name, classes=3, depth_multiplier=0.1, final_endpoint=end)

        def phases_of(**options):
            settings = TrainSettings(weights="w", **options)
            return phases.phases_of(settings, recipes.recipes_of(settings), network)

        assert phases_of()[1].after == after
        whole = phases_of(from_="input")
        assert [phase.after for phase in whole] == ["pool", "input"]


SAVING, PREPARING = "ception.training.state.save", "ception.training.fitting.examples_of"


@pytest.mark.parametrize(("place_of_death", "time"), [
    *((SAVING, time) for time in (1, 2, 3, 4)), *((PREPARING, time) for time in (1, 2)),
])  # fmt: skip
@pytest.mark.slow
def test_killed_and_resumed(both, place, tmp_path, monkeypatch, place_of_death, time):
    whole, _ = both
    with killed(place_of_death, time):
        trained(place, tmp_path / "runs", **BOTH)
    (run,) = (tmp_path / "runs").iterdir()
    monkeypatch.chdir(tmp_path)
    ception.resume(run, reporter=Notes())
    assert_same_run(whole.folder, run)


@pytest.fixture
def moved(place):
    """Moves the weights away for as long as a test goes on, once it is called."""
    weights, elsewhere = place / "xception.weights.h5", place / "elsewhere.h5"
    yield lambda: weights.rename(elsewhere)
    elsewhere.rename(weights)


@pytest.mark.slow  # each trains three times
@pytest.mark.parametrize("time", [2, 3, 4])  # 3: in the second phase's first epoch, its weights saved as the best
def test_resumed_without_the_weights(both, place, tmp_path, moved, time):
    whole, _ = both
    with killed(SAVING, time):
        trained(place, tmp_path / "runs", **BOTH)
    (run,) = (tmp_path / "runs").iterdir()
    moved()
    notes = Notes()
    ception.resume(run, reporter=notes)
    assert any("xception.weights.h5 is no longer there" in line for line in notes.notes)
    assert_same_run(whole.folder, run)


def test_without_the_weights_before_the_first_epoch_is_done(place, tmp_path, moved):
    with killed(SAVING, 1):
        trained(place, tmp_path / "runs", epochs=1)
    (run,) = (tmp_path / "runs").iterdir()
    moved()
    with pytest.raises(InputError, match=r"no longer in .*xception\.weights\.h5, and no epoch is done: train anew"):
        ception.resume(run, reporter=Notes())


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"recipe": "xception"}, "no recipe 'xception' for fine-tuning"),
        ({"from_": "block2"}, "leave out --head-only"),
        ({"from_": "pool", "head_only": False}, "ask for that with --head-only"),
        ({"from_": "block99", "head_only": False}, "no endpoint 'block99'"),
        ({"from_": "block4_sepconv1", "head_only": False}, "lies inside a block: name its end"),
        ({"crop": 0.3, "views": 2}, "need --views 3 or more, got 2"),
        ({"colour": 0.3, "views": 1, "flip": False}, "need --views 2 or more, got 1"),
        ({"weights": None, "views": 3, "head_only": False}, "--views belongs to --weights"),
        ({"model": "inception_v3", "auxiliary": True, "image_size": 75, "final_endpoint": None}, "without --weights"),
        ({"weights": None, "partial": True}, "--partial belongs to --weights"),
        ({"weights": "nowhere.h5"}, "neither a file nor published weights"),
        pytest.param(
            {"model": "inception_v1", "image_size": 32, "final_endpoint": None},
            "does not fit inception_v1",
            marks=pytest.mark.slow,
        ),
        ({"final_endpoint": "block99"}, "no endpoint 'block99'"),
        ({"final_endpoint": "logits"}, "a head goes on feature maps"),
    ],
)
def test_what_cannot_be_trained_is_one_line(place, tmp_path, settings, says):
    with pytest.raises(InputError, match=says):
        trained(place, tmp_path, **settings)
    assert not list(tmp_path.glob("0*"))


@pytest.mark.parametrize("settings", [
    pytest.param({"model": "inception_v3", "image_size": 75, "final_endpoint": None}, marks=pytest.mark.slow),
    {"from_": "block99", "head_only": False},
    {"final_endpoint": "block99"},
])  # fmt: skip
def test_what_does_not_fit_is_told_before_the_pictures_are_decoded(place, tmp_path, monkeypatch, settings):
    monkeypatch.setattr("ception.data.loading.prepare", lambda *_, **__: pytest.fail("pictures were decoded"))
    with pytest.raises(InputError):
        trained(place, tmp_path, **settings)


def test_a_class_of_the_validation_pictures_alone(place, tmp_path):
    write_pictures(tmp_path / "d" / "train", {"blue": 3, "red": 3})
    write_pictures(tmp_path / "d" / "val", {"blue": 2, "green": 2, "red": 2}, seed=1)
    with pytest.raises(InputError, match="has no training picture of class 'green': add some, or remove the class"):
        ception.train(tmp_path / "d", image_size=16, runs=tmp_path)


def test_a_network_without_pooling(tmp_path, place, folder):
    build("separable_cnn", image_size=16, classes=3, channels=3).save_weights(tmp_path / "s.weights.h5")
    with pytest.raises(InputError, match="separable_cnn has no pooling"):
        ception.train(
            folder, model="separable_cnn", image_size=16, weights=str(tmp_path / "s.weights.h5"), runs=tmp_path
        )


def test_redrawn_pictures_are_seen_in_further_views():
    head, rest = recipes.recipes_of(TrainSettings(weights="w", crop=0.3, colour=0.1, randaugment=5))
    assert (head.views, rest.views) == (4, 4)
    assert (rest.augmentation.crop, rest.augmentation.colour, rest.augmentation.randaugment) == (0.3, 0.1, 5)
    assert recipes.recipes_of(TrainSettings(weights="w", crop=0.3, views=3))[1].views == 3
    assert [recipe.views for recipe in recipes.recipes_of(TrainSettings(weights="w"))] == [1, 2]
    assert recipes.recipes_of(TrainSettings(weights="w", flip=False))[1].views == 1


class TestClassifier:
    def test_a_built_one_is_saved_and_loaded(self, place, tmp_path):
        made = ception.Classifier.build(
            "xception", ["x", "y"], weights=place / "xception.weights.h5", resize="crop", **THIN
        )
        made.save(tmp_path / "m.keras")
        again = ception.Classifier.load(tmp_path / "m.keras")
        assert (again.class_names, again.image.resize, again.image.shape) == (("x", "y"), "crop", (71, 71, 3))
        picture = np.random.default_rng(0).integers(0, 256, (1, 71, 71, 3), np.uint8)
        np.testing.assert_allclose(again.logits(picture), made.logits(picture), rtol=1e-5)
        stored = read(place / "xception.weights.h5").tensors
        body = keras.ops.convert_to_numpy(again.network.get_layer("block4_sepconv1").pointwise_kernel)
        np.testing.assert_array_equal(body, stored["block4_sepconv1/pointwise_kernel"])

    def test_what_it_cannot_be(self):
        with pytest.raises(InputError, match="no option 'weights_path'"):
            ception.Classifier.build("xception", ["x"], weights_path="w")
