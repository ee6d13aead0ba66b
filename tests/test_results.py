from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ception.results import (
    Calibration,
    Case,
    CasePicture,
    Changed,
    CheckResult,
    ClassComparison,
    ClassScores,
    Comparison,
    Confusion,
    Finding,
    GroupScores,
    Scores,
    Selective,
    Slices,
    Thumbnails,
    plain,
)


@pytest.fixture
def scores() -> Scores:
    return Scores(
        count=1200, accuracy=0.75, accuracy_interval=(0.7, 0.8), top5_accuracy=0.95, balanced_accuracy=0.7,
        log_loss=0.5, calibration_error=0.03, temperature=1.5,
        uncalibrated=Calibration(log_loss=0.625, calibration_error=0.11),
        per_class={"a": ClassScores(precision=0.5, recall=0.25, f1=1 / 3, support=4)},
        confused=(Confusion(label="a", predicted="b", count=3),), data="<photos>", split="val",
    )  # fmt: skip


@pytest.fixture
def all_of_it(scores) -> Scores:
    interval = (0.5, 0.9)
    return replace(
        scores, model="m.keras", output="o", best_epoch=2, top5_accuracy=None,
        selective=Selective(wished=0.9, min_confidence=0.5, precision=0.8, precision_interval=interval,
                            coverage=0.5, count=2),
        slices=Slices(by="camera", groups={"new": GroupScores(count=2, accuracy=0.5, accuracy_interval=interval)}),
        seen_in_training=300, including_seen=GroupScores(count=1500, accuracy=0.5, accuracy_interval=interval),
        thumbnails=Thumbnails(side=8, count=1200, accuracy=0.6, difference=0.15, difference_interval=(0.125, 0.175)),
    )  # fmt: skip


class TestScores:
    def test_come_back_from_json(self, scores, all_of_it):
        for one in (scores, all_of_it):
            assert Scores.from_dict(json.loads(json.dumps(one.as_dict()))) == one

    def test_keys_of_json(self, scores, all_of_it):
        keys = [
            "count", "accuracy", "accuracy_interval", "top5_accuracy", "balanced_accuracy", "log_loss",
            "calibration_error", "temperature", "uncalibrated", "per_class", "confused", "model", "data", "split",
            "output",
        ]  # fmt: skip
        derived = ["seen_share", "majority_share", "better_than_guessing"]
        assert list(scores.as_dict()) == [*keys, "seen_in_training", *derived]
        assert list(all_of_it.as_dict()) == [
            *keys, "best_epoch", "selective", "slices", "seen_in_training", "including_seen", "thumbnails", *derived,
            "better_than_thumbnails",
        ]  # fmt: skip
        assert all_of_it.as_dict()["including_seen"] == {
            "count": 1500, "accuracy": 0.5, "accuracy_interval": [0.5, 0.9],
        }  # fmt: skip
        assert (scores.as_dict()["seen_share"], all_of_it.as_dict()["seen_share"]) == (None, 0.2)
        assert scores.as_dict()["accuracy_interval"] == [0.7, 0.8]
        assert scores.as_dict()["confused"] == [{"label": "a", "predicted": "b", "count": 3}]

    @pytest.mark.parametrize("missing", ["accuracy", "uncalibrated", "per_class"])
    def test_what_is_missing_is_noticed(self, scores, missing):
        values = scores.as_dict()
        del values[missing]
        with pytest.raises((KeyError, TypeError), match=missing):
            Scores.from_dict(values)

    def test_representations(self, scores, all_of_it):
        assert repr(scores) == (
            "Scores(accuracy=0.7500 (0.7000 to 0.8000) on 1,200 val pictures, "
            "balanced_accuracy=0.7000, log_loss=0.5000)"
        )
        table = scores._repr_html_()
        assert "<caption>1,200 val pictures of &lt;photos&gt;</caption>" in table
        for cell in ("0.7500", "95 % interval 0.7000 to 0.8000", "0.9500", "0.6250 without temperature"):
            assert f"<td>{cell}</td>" in table
        assert "top-5" not in all_of_it._repr_html_()
        assert "300 of 1,500 pictures (20.0%) were in the model&#x27;s training" in all_of_it._repr_html_()

    @pytest.mark.parametrize(
        ("supports", "accuracy", "interval", "better", "says"),
        [
            ((60, 40), 0.8, (0.61, 0.9), True, ()),
            (
                (60, 40),
                0.8,
                (0.6, 0.9),
                False,
                ("Not surely better than guessing: 'a'", "score more pictures, or train"),
            ),
            (
                (40, 60),
                0.6,
                (0.5, 0.7),
                False,
                ("Not better than guessing: 'b'", "right for 0.6000", "; train with more --epo"),
            ),
            ((0, 100), 1.0, (0.9, 1.0), None, ("All pictures are of class 'b'",)),
        ],
    )
    def test_whether_they_are_better_than_guessing(self, scores, supports, accuracy, interval, better, says):
        per_class = {
            name: ClassScores(precision=0.5, recall=0.5, f1=0.5, support=support)
            for name, support in zip("ab", supports, strict=True)
        }
        found = replace(scores, count=100, accuracy=accuracy, accuracy_interval=interval, per_class=per_class)
        assert found.better_than_guessing is better
        assert len(found.cautions) == bool(says)
        assert all(text in found.cautions[0] for text in says)

    def test_cautions_about_one_picture_say_so(self, scores):
        one = replace(scores, count=1, seen_in_training=1)
        assert one.cautions == (
            "The only picture was in the model's training: these scores say nothing of new pictures",
            "The only picture is of class 'a': score others too, or the accuracy says little",
        )
        of_two = GroupScores(count=2, accuracy=0.5, accuracy_interval=(0.1, 0.9))
        assert replace(one, including_seen=of_two).cautions[0] == (
            "1 of 2 pictures (50.0%) was in the model's training and does not count; with it the accuracy is 0.5000"
        )

    def test_cautions_of_a_comparison_about_one_picture_say_so(self):
        one = ClassComparison(recall=(1.0, 1.0), support=1, p_value=1.0)
        result = Comparison(
            count=1, accuracy=(1.0, 1.0), accuracy_interval=((0.2, 1.0), (0.2, 1.0)), difference=0.0,
            difference_interval=(-1.0, 1.0), only_one_right=0, only_other_right=0, p_value=1.0, different=False,
            per_class={"a": one}, changed=(), seen_in_training=(1, 0),
        )  # fmt: skip
        assert result.cautions[0].startswith("The only picture was in a model's training (1 in that of the first)")
        of_two = GroupScores(count=2, accuracy=1.0, accuracy_interval=(0.1, 1.0))
        (line,) = replace(result, including_seen=(of_two, of_two)).cautions
        assert line.startswith("1 of 2 pictures was in a model's training (1 in that of the first) and does not count")
        assert "on 1 picture, difference" in repr(result)

    @pytest.mark.parametrize(
        ("difference", "interval", "better", "says"),
        [
            (0.1, (0.01, 0.2), True, ()),
            (
                0.1,
                (-0.01, 0.2),
                False,
                ("Not surely better than a linear classifier", "; score more pictures, or train"),
            ),
            (0.0, (-0.1, 0.1), False, ("Not better than a linear", "8 x 8 pixels", "0.6500 of 100; train with more")),
        ],
    )
    def test_whether_they_are_better_than_thumbnails(self, scores, difference, interval, better, says):
        per_class = {name: ClassScores(precision=0.5, recall=0.5, f1=0.5, support=50) for name in "ab"}
        linear = Thumbnails(side=8, count=100, accuracy=0.65, difference=difference, difference_interval=interval)
        found = replace(scores, count=100, accuracy_interval=(0.6, 0.8), per_class=per_class, thumbnails=linear)
        assert found.better_than_thumbnails is better
        assert found.as_dict()["better_than_thumbnails"] is better
        assert len(found.cautions) == bool(says)
        assert all(text in found.cautions[0] for text in says)
        # what is no better than guessing needs to be told once
        guessing = replace(found, accuracy_interval=(0.4, 0.6), accuracy=0.5)
        assert [line[:24] for line in guessing.cautions] == ["Not better than guessing"]


def test_a_comparison_says_which_model_is_no_better_than_guessing():
    per_class = {
        name: ClassComparison(recall=(0.5, 0.5), support=support, p_value=1.0)
        for name, support in (("a", 60), ("b", 40))
    }
    result = Comparison(
        count=100, accuracy=(0.9, 0.65), accuracy_interval=((0.8, 0.95), (0.55, 0.74)), difference=-0.25,
        difference_interval=(-0.3, -0.2), only_one_right=25, only_other_right=0, p_value=0.0, different=True,
        per_class=per_class, changed=(),
    )  # fmt: skip
    assert (result.majority_share, result.better_than_guessing) == (0.6, (True, False))
    assert result.cautions == (
        "The second model is not surely better than guessing: 'a' for every picture is right for 0.6000 of them",
    )
    worse = replace(result, accuracy=(0.6, 0.9), accuracy_interval=((0.5, 0.7), (0.8, 0.95)))
    assert worse.cautions[0].startswith("The first model is not better than guessing: 'a'")
    seen = replace(result, seen_in_training=(100, 100))
    assert [line.split()[0] for line in seen.cautions] == ["All", "The"]


def test_a_comparison_in_plain_values_and_words():
    result = Comparison(
        count=10, accuracy=(0.5, 0.75), accuracy_interval=((0.2, 0.8), (0.4, 0.9)),
        difference=0.25, difference_interval=(-0.125, 0.5), only_one_right=1,
        only_other_right=2, p_value=1.0, different=False,
        per_class={"a": ClassComparison(recall=(0.5, 1.0), support=2, p_value=0.5)},
        changed=(Changed(path="p", label="a", predicted=("a", "b")),), models=("m", "n"),
    )  # fmt: skip
    assert plain([result]) == [{
        "count": 10, "accuracy": [0.5, 0.75], "accuracy_interval": [[0.2, 0.8], [0.4, 0.9]],
        "difference": 0.25, "difference_interval": [-0.125, 0.5],
        "only_one_right": 1, "only_other_right": 2, "p_value": 1.0, "different": False,
        "per_class": {"a": {"recall": [0.5, 1.0], "support": 2, "p_value": 0.5}},
        "changed": [{"path": "p", "label": "a", "predicted": ["a", "b"]}], "models": ["m", "n"], "data": None,
        "output": "", "seen_in_training": [None, None], "majority_share": 0.2,
        "better_than_guessing": [None, None],
    }]  # fmt: skip
    assert "0.5000 and 0.7500 on 10 pictures, difference=+0.2500 (-0.1250 to +0.5000)" in repr(result)


def test_a_check_in_plain_values_and_words():
    picture = CasePicture(path="a/1.png", class_name="a", split=None)
    finding = Finding(
        kind="copies", severity="note", title="Copies", count=1, counted="1 group", in_training="Each counts.",
        way_out="Delete them.", items=(Case(pictures=(picture, picture)), Case(note="n")),
    )  # fmt: skip
    result = CheckResult(
        data="d/", name="d", pictures=1200, classes={"a": 1200}, class_splits=None, split=None, model="xception",
        image_size=(299, 200),
        findings=(finding,), errors=0, warnings=0, notes=1, verdict="1 note", ok=True, not_checked=(), page="p.html",
    )  # fmt: skip
    shown = {"path": "a/1.png", "class": "a", "split": None}
    assert result.as_dict() == {
        "data": "d/", "name": "d", "pictures": 1200, "classes": {"a": 1200}, "class_splits": None, "split": None,
        "model": "xception",
        "image_size": [299, 200], "errors": 0, "warnings": 0, "notes": 1, "verdict": "1 note", "ok": True,
        "not_checked": [], "page": "p.html",
        "findings": [{
            "kind": "copies", "severity": "note", "title": "Copies", "count": 1, "counted": "1 group",
            "in_training": "Each counts.", "way_out": "Delete them.",
            "items": [{"pictures": [shown, shown], "note": ""}, {"pictures": [], "note": "n"}],
        }],
    }  # fmt: skip
    assert repr(result).splitlines() == [
        "CheckResult(d: 1,200 pictures in 1 classes, 1 note)", "  note: Copies, 1 group",
    ]  # fmt: skip
