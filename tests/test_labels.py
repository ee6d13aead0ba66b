"""Labels that may be wrong: doubted by a classifier that saw neither the picture nor its copies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import ception
from ception.checking import labels as checking
from ception.data.images import ImageContract
from ception.errors import InputError
from ception.models import NetworkConfig
from ception.reporting import Reporter
from support.findings import findings_of, paths
from support.pictures import COLOURS, content, write_pictures

THIN = {"name": "inception_v1", "classes": 3, "image_size": 32, "depth_multiplier": 0.1}


def clouds(apart: float, count: int = 80, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Points in 20 dimensions around a centre for each class, and their classes."""
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(classes), count)
    centres = random.normal(0, apart, (classes, 20))
    return (centres[labels] + random.normal(0, 1, (len(labels), 20))).astype(np.float32), labels


def doubted(features: np.ndarray, labels: np.ndarray, groups: np.ndarray | None = None) -> dict[int, int]:
    """The places that are doubted, the surest first, each with what it is said to be."""
    groups = np.arange(len(labels)) if groups is None else groups
    places, found = checking.out_of_fold(features, labels, groups, Reporter())
    return {int(places[one.place]): one.label for one in checking.doubtful(found, labels[places])}


class TestProbe:
    def test_planted_errors_are_found_and_nothing_else(self):
        features, labels = clouds(2.0)
        assert doubted(features, labels) == {}
        wrong = labels.copy()
        planted = np.random.default_rng(1).choice(len(labels), 8, replace=False)
        wrong[planted] = (wrong[planted] + [1, 2] * 4) % 3
        found = doubted(features, wrong)
        assert set(found) <= set(planted.tolist())
        assert len(found) >= 6
        assert all(found[place] == labels[place] for place in found)

    def test_one_that_is_wrong_beyond_measure_hides_no_other(self):
        features, labels = clouds(2.0)
        wrong = labels.copy()
        wrong[[3, 90]] = [1, 2]
        features[3] *= 1e4  # so far out that the probability of its label is 0 in floating point
        assert set(doubted(features, wrong)) == {3, 90}

    def test_what_is_like_both_classes_is_not_doubted(self):
        features, labels = clouds(0.15)
        assert len(doubted(features, labels)) <= 2

    def test_copies_do_not_vouch_for_each_other(self):
        features, labels = clouds(2.0)
        labels[:4] = 1
        features[1:4] = features[0]  # the same wrong picture four times
        for row in range(4):  # which the rest of its new class would not explain
            features[row, 0] += 1e-3 * row
        groups = checking.together(len(labels), [np.arange(4)], None)
        assert set(doubted(features, labels, groups)) == {0, 1, 2, 3}
        held = {frozenset(np.flatnonzero(groups == number).tolist()) for number in groups[:5]}
        assert held == {frozenset(range(4)), frozenset([4])}

    def test_no_group_is_parted_by_a_fold(self, monkeypatch):
        seen = []

        class Spy:
            def __init__(self, features):
                self.features = features

            def __getitem__(self, places):
                seen.append(set(places.tolist()))
                return self.features[places]

        features, labels = clouds(2.0, count=20)
        groups = checking.together(
            60, [np.array([0, 7]), np.array([7, 12])], ["a", "b"] * 5 + [str(k) for k in range(50)]
        )
        checking.out_of_fold(Spy(features), labels, groups, Reporter())
        for fitted, told in zip(seen[::2], seen[1::2], strict=True):
            assert not fitted & told
            assert not {groups[place] for place in fitted} & {groups[place] for place in told}

    def test_names_of_groups_hold_pictures_together(self):
        groups = checking.together(5, [np.array([0, 1])], ["x", "y", "y", "z", "x"])
        assert len(set(groups[[0, 1, 2, 4]].tolist())) == 1
        assert groups[3] != groups[0]

    def test_classes_of_few_different_pictures_are_left_out(self):
        features, labels = clouds(2.0, count=10)
        groups = np.arange(30)
        groups[:10] = 0
        places, found = checking.out_of_fold(features, labels, groups, Reporter())
        assert places.tolist() == list(range(10, 30))
        assert found.shape == (20, 3)
        np.testing.assert_allclose(found.sum(axis=1), 1)
        groups[10:20] = 1
        assert len(checking.out_of_fold(features, labels, groups, Reporter())[0]) == 0

    def test_many_pictures_are_fitted_on_a_part(self, monkeypatch):
        features, labels = clouds(2.0)
        labels[5] = 2
        monkeypatch.setattr(checking, "_TRIED_ON", 100)
        monkeypatch.setattr(checking, "_FITTED_ON", 90)
        monkeypatch.setattr(checking, "_OF_CLASS", 20)
        monkeypatch.setattr(checking, "_AT_ONCE", 7)
        assert doubted(features, labels) == {5: 0}

    def test_the_order_is_by_the_ratio_and_the_threshold_by_the_class(self):
        found = np.array([[0.9, 0.1, 0.0]] * 3 + [[0.02, 0.97, 0.01], [0.01, 0.8, 0.19], [0.14, 0.86, 0.0]])
        labels = np.array([0, 0, 0, 0, 0, 0])
        rest = [[0.3, 0.7, 0.0]] * 9
        ones = np.concatenate([labels, [1] * 9])
        assert [one.place for one in checking.doubtful(np.vstack([found, rest]), ones)] == [4, 3]
        # what is said must be as probable as that class is for its own pictures on average
        surer = [[0.1, 0.9, 0.0]] * 9
        assert [one.place for one in checking.doubtful(np.vstack([found, surer]), ones)] == [3]


@pytest.fixture
def colours(tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pictures in three colours, a red one among the blue, in the current folder, with an empty cache."""
    monkeypatch.chdir(tmp_path)
    data = write_pictures(tmp_path / "data", dict.fromkeys(COLOURS, 24))
    (data / "red" / "007.png").rename(data / "blue" / "odd.png")
    return data


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model file of a thin network with random weights, which tell colours apart all the same."""
    ception.Classifier(
        network=ception.build(**THIN, seed=1),
        config=NetworkConfig.of(**THIN),
        class_names=tuple(COLOURS),
        image=ImageContract(height=32, width=32, channels=3),
    ).save(tmp_path / "model.keras")
    return tmp_path / "model.keras"


class TestCheck:
    def test_a_wrong_label_is_named_with_the_right_one(self, colours, model, run_cli):
        before = content(colours)
        finding = findings_of(colours, model=model)["mislabelled"]
        assert (paths(finding), finding.severity) == ([["odd.png"]], "note")
        (case,) = finding.items
        assert case.suggested == "red"
        assert case.probability > 0.5
        assert case.as_dict()["suggested"] == "red"
        code, out, _ = run_cli("check", "data", "--model", model)
        assert code == 0
        assert "odd.png: looks like red (" in out
        assert "looks like red (" in Path("check-data.html").read_text()
        assert content(colours) == before

    def test_pictures_are_computed_once_and_what_is_unreadable_is_left_out(self, colours, model, monkeypatch):
        from ception.training import activations

        (colours / "red" / "bad.png").write_text("no picture")
        first = findings_of(colours, model=model)
        assert paths(first["mislabelled"]) == [["odd.png"]]

        def refuse(*_):
            raise AssertionError("computed again")

        monkeypatch.setattr(activations, "_computed", refuse)
        assert findings_of(colours, model=model)["mislabelled"] == first["mislabelled"]

    @pytest.mark.slow  # it trains
    def test_weights_for_a_network_share_the_cache_with_a_training(self, colours, tmp_path):
        from support.reporters import Notes

        short = {"image_size": 32, "final_endpoint": "mixed3b"}
        ception.build("inception_v1", classes=3, seed=1, **short).save_weights(tmp_path / "w.weights.h5")
        named = {"model": "inception_v1", "weights": tmp_path / "w.weights.h5", **short}
        assert paths(findings_of(colours, **named)["mislabelled"]) == [["odd.png"]]
        notes = Notes()
        ception.train(colours, **named, head_only=True, head_epochs=1, flip=False, reporter=notes)
        assert not [line for line in notes.lines if "Decoding" in line or "Computing" in line]

    def test_weights_for_a_network(self, colours, tmp_path):
        short = {"image_size": 32, "final_endpoint": "mixed3b"}
        ception.build("inception_v1", classes=3, seed=1, **short).save_weights(tmp_path / "w.weights.h5")
        found = findings_of(colours, model="inception_v1", weights=tmp_path / "w.weights.h5", **short)
        assert paths(found["mislabelled"]) == [["odd.png"]]

    def test_without_weights_nothing_is_doubted_and_it_says_how_to_ask(self, colours):
        result = ception.check(colours, model="inception_v1")
        assert "mislabelled" not in {finding.kind for finding in result.findings}
        assert "--weights imagenet" in result.not_checked[-1]

    def test_a_model_that_was_trained_on_them_says_so(self, colours, model):
        from dataclasses import replace

        from ception.data import sources
        from ception.model_file import shortened

        digests, _ = sources.digests(sources.load(colours).pictures, Reporter())
        replace(ception.Classifier.load(model), training_digests=np.sort(shortened(digests[:9]))).save(model)
        assert "9 pictures only in part" in ception.check(colours, model=model).not_checked[-1]

    def test_too_few_pictures_for_it(self, tmp_path, own_cache, model, monkeypatch):
        monkeypatch.chdir(tmp_path)
        data = write_pictures(tmp_path / "few", {"red": 4, "blue": 20})
        assert "no two classes with 5" in ception.check(data, model=model).not_checked[-1]

    @pytest.mark.parametrize(
        ("named", "says"),
        [
            ({"model": "model.keras", "weights": "imagenet"}, "leave out --weights"),
            ({"weights": "no-such"}, "no-such is neither a file nor published weights"),
            ({"model": "inception_v1", "weights": "no-such"}, "no-such is neither a file nor published weights"),
            ({"final_endpoint": "mixed4e"}, "--final-endpoint belongs to --weights"),
            ({"partial": True}, "--partial belongs to --weights"),
        ],
    )
    def test_what_does_not_go_together_is_told_before_anything_is_read(self, colours, model, named, says):
        with pytest.raises(InputError, match=says):
            ception.check("no such data", **named)

    def test_a_network_without_pooling_tells_classes_by_what_its_logits_are_made_of(self, colours, tmp_path):
        arguments = {"name": "separable_cnn", "classes": 3, "image_size": 28, "channels": 3}
        ception.Classifier(
            network=ception.build(**arguments, seed=1),
            config=NetworkConfig.of(**arguments, scaling=(128.0, 60.0)),
            class_names=tuple(COLOURS),
            image=ImageContract(height=28, width=28, channels=3),
        ).save(tmp_path / "small.keras")
        assert paths(findings_of(colours, model=tmp_path / "small.keras")["mislabelled"]) == [["odd.png"]]


def test_a_run_by_its_short_name(trained, run_cli, tmp_path, monkeypatch):
    monkeypatch.chdir(trained.parents[1])
    code, out, err = run_cli("check", "colours", "--model", trained.name[:3], "--out", tmp_path / "page.html")
    assert (code, err.count("\nception: ")) == (0, 0), err
    assert "Checked for 001 at 16 x 16 pixels" in out
    assert out.splitlines()[-1] == "Next: ception evaluate 001 colours"


def test_a_network_is_one_though_a_folder_is_called_so_too(data):
    data.rename(data.parent / "xception")
    assert ception.check("xception", model="xception").image_size == (299, 299)
