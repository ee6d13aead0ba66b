from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import ception
from ception.cli.app import main
from ception.data import sources
from ception.evaluation import plots
from ception.evaluation.calibration import confidence, wilson_interval
from ception.evaluation.table import Table
from support.pictures import write_pictures
from support.reporters import Notes


class Page(HTMLParser):
    """Counts tags and collects addresses; complains of tags that are not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.counts: dict[str, int] = {}
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.counts[tag] = self.counts.get(tag, 0) + 1
        self.addresses += [value for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_report_of_a_training_is_one_whole_page(trained):
    text = (trained / "report.html").read_text()
    page = Page(text)
    assert page.open == []
    assert page.counts["svg"] == 3
    assert page.counts["img"] >= 24
    assert all(address.startswith(("data:", "#")) for address in page.addresses)
    assert not re.search(r"https?://", text)
    assert len(text) < 5_000_000
    assert "width=device-width" in text
    assert "prefers-color-scheme: dark" in text


def test_report_shows_what_the_scores_say(trained):
    text = (trained / "report.html").read_text()
    scores = json.loads((trained / "scores.json").read_text())
    low, high = scores["accuracy_interval"]
    assert f"{low:.1%} to {high:.1%}" in text
    assert f"{scores['calibration_error']:.3f}" in text


def test_names_are_escaped(tmp_path):
    data = write_pictures(tmp_path / "d", {"<script>alert(1)</script>".replace("/", "\\"): 20, 'a"&b': 20})
    run = ception.train(data, epochs=1, image_size=8, runs=tmp_path / "runs")
    text = (run.folder / "report.html").read_text()
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    assert Page(text).open == []


class TestPrecisionAndSlices:
    @pytest.fixture
    def mixed(self, tmp_path) -> Path:
        place = write_pictures(tmp_path / "d", {"red": 6, "blue": 6}, seed=4)
        rows = ["path,label,camera"]
        for number, path in enumerate(sorted(place.rglob("*.png"))):
            label = path.parent.name if number % 4 else {"red": "blue", "blue": "red"}[path.parent.name]
            rows.append(f"{path.relative_to(tmp_path)},{label},{'old' if number % 4 == 0 else 'new'}")
        (tmp_path / "list.csv").write_text("\n".join(rows))
        return tmp_path / "list.csv"

    def test_by_a_column(self, trained, mixed, tmp_path):
        found = ception.evaluate(trained / "model.keras", mixed, split="all", by="camera", out=tmp_path / "out")
        groups = found.slices.groups
        assert {name: (group.count, group.accuracy) for name, group in groups.items()} == {
            "new": (9, 1.0), "old": (3, 0.0),
        }  # fmt: skip
        assert "By camera" in (tmp_path / "out" / "report.html").read_text()

    def test_by_size(self, trained, tmp_path):
        for number, side in enumerate((9, 10, 30, 100)):
            write_pictures(tmp_path / "d" / str(side), {"red": 3, "blue": 1}, seed=number, size=(side, side + 5))
        rows = [f"{path.relative_to(tmp_path)},{path.parent.name}" for path in (tmp_path / "d").rglob("*.png")]
        (tmp_path / "sizes.csv").write_text("\n".join(["path,label", *rows]))
        found = ception.evaluate(trained, tmp_path / "sizes.csv", split="all", by="size", out=tmp_path / "out")
        # the quartiles of the shorter sides lie at 9.75, 20 and 47.5
        assert [(name, group.count) for name, group in found.slices.groups.items()] == [
            ("above 48 px", 4), ("up to 10 px", 8), ("up to 48 px", 4),
        ]  # fmt: skip
        assert sum(group.accuracy * group.count for group in found.slices.groups.values()) == pytest.approx(
            found.accuracy * found.count
        )

    def test_by_what_is_not_there(self, trained, mixed):
        with pytest.raises(ception.InputError, match="did you mean 'camera'"):
            ception.evaluate(trained / "model.keras", mixed, by="camra")

    def test_wished_precision(self, trained, mixed, tmp_path):
        model = trained / "model.keras"
        found = ception.evaluate(model, mixed, split="all", target_precision=0.6, out=tmp_path / "out").selective
        table = Table.read(tmp_path / "out" / "predictions.csv")
        answered = confidence(table.logits, ception.Classifier.load(model).temperature) >= found.min_confidence
        hits = int((table.right & answered).sum())
        assert (found.wished, found.count, found.coverage) == (0.6, answered.sum(), answered.mean())
        assert found.precision == hits / found.count
        assert found.precision_interval == wilson_interval(hits, found.count)
        probabilities = [result.top[0].probability for result in ception.predict(model, tmp_path / "d")]
        limit = sorted(probabilities)[6] - 1e-9
        said = ception.predict(model, tmp_path / "d", min_confidence=limit)
        assert [result.unknown for result in said] == [p < limit for p in probabilities]
        assert all(result.top for result in said)

    def test_a_precision_that_cannot_be_promised(self, trained, mixed):
        model = trained / "model.keras"
        with pytest.raises(ception.InputError, match=r"too few.* a precision of 0\.9999") as refused:
            ception.evaluate(model, mixed, target_precision=0.9999)
        told = re.search(
            r"they promise (0\.\d{4}) at most, with \d+\.\d% of them answered: ask for --target-precision (0\.\d{4}), "
            r"or train on more pictures, with ception train DATA$",
            str(refused.value),
        )
        assert told, refused.value
        assert told[1] == told[2]
        assert ception.evaluate(model, mixed, target_precision=float(told[1])).selective.wished == float(told[1])

    def test_a_model_without_validation_pictures_promises_nothing(self, trained, mixed):
        model = dataclasses.replace(ception.Classifier.load(trained / "model.keras"), coverage=())
        with pytest.raises(ception.InputError, match="no validation pictures that promise a precision: leave out"):
            ception.evaluate(model, mixed, target_precision=0.5)

    def test_calibration_can_be_switched_off(self, trained, mixed, tmp_path):
        model = ception.Classifier.load(trained / "model.keras")
        assert model.temperature != 1
        one, other = (ception.predict(model, tmp_path / "d", 1, calibration=on) for on in (True, False))
        assert one[0].top[0].class_name == other[0].top[0].class_name
        assert one[0].top[0].probability != other[0].top[0].probability


class TestCompare:
    def test_two_runs_and_two_models(self, trained, tmp_path, run_cli):
        data = trained.parents[1] / "colours"
        worse = ception.train(data, epochs=1, learning_rate=1e-6, image_size=16, runs=tmp_path / "runs").folder
        found = ception.compare(worse, trained, out=tmp_path / "c")
        again = ception.compare(worse / "model.keras", trained / "model.keras", data, out=tmp_path / "c2")
        assert found.difference == again.difference > 0.2
        assert found.different
        assert found.difference_interval[0] > 0
        assert {path.name for path in (tmp_path / "c").iterdir()} == {".ception", "comparison.json", "changed.png"}
        code, out, _ = run_cli("compare", worse, trained, "--out", tmp_path / "c3")
        assert code == 0
        assert "a real difference" in out
        assert f"Next: ception evaluate {trained} {data}" in out

    def test_a_model_with_itself_differs_in_nothing(self, trained, tmp_path):
        found = ception.compare(trained, trained, out=tmp_path / "c")
        assert (found.difference, found.p_value, found.changed) == (0, 1, ())

    def test_different_pictures_are_refused(self, trained, tmp_path):
        other = tmp_path / "other"
        shutil.copytree(trained, other)
        lines = (other / "predictions.csv").read_text().splitlines()
        (other / "predictions.csv").write_text("\n".join(lines[:-1]))
        with pytest.raises(ception.InputError, match="different pictures"):
            ception.compare(trained, other)
        (other / "predictions.csv").unlink()
        with pytest.raises(ception.InputError, match=r"no predictions\.csv"):
            ception.compare(trained, other)


class TestCompareOnData:
    """Both models are evaluated anew."""

    @pytest.fixture
    def data(self, trained) -> Path:
        return trained.parents[1] / "colours"

    @pytest.fixture
    def confused(self, trained, tmp_path) -> Path:
        """The trained model, which calls blue green and green blue."""
        model = ception.Classifier.load(trained)
        assert model.class_names == ("blue", "green", "red")
        dataclasses.replace(model, class_names=("green", "blue", "red")).save(tmp_path / "confused.keras")
        return tmp_path / "confused.keras"

    @pytest.fixture
    def reads(self, monkeypatch) -> dict[str, list[str]]:
        """What is read from now on: data sets by name, files by path as they are decoded and digested."""
        read: dict[str, list[str]] = {"load": [], "open": [], "digest": []}

        def recorded(what: str, original):
            def function(*arguments, **options):
                index = arguments[1] if len(arguments) > 1 else None
                read[what].append(str(arguments[0]) if index is None else arguments[0].name(index))
                return original(*arguments, **options)

            return function

        monkeypatch.setattr(sources, "load", recorded("load", sources.load))
        for what in ("open", "digest"):
            monkeypatch.setattr(sources.Files, what, recorded(what, getattr(sources.Files, what)))
        return read

    def test_a_model_without_weights_is_refused(self, trained, data, tmp_path):
        model = ception.Classifier.load(trained)
        dataclasses.replace(model, record=model.record | {"missing": ["block1/kernel"]}).save(tmp_path / "m.keras")
        for pair in ((trained, tmp_path / "m.keras"), (tmp_path / "m.keras", trained)):
            with pytest.raises(ception.InputError, match="block1/kernel: train it first"):
                ception.compare(*pair, data, out=tmp_path / "c")
        assert not (tmp_path / "c").exists()

    def test_pictures_are_read_once_for_both(self, trained, data, confused, reads, tmp_path):
        count = ception.compare(trained, trained, data, out=tmp_path / "same").count
        assert (len(reads["load"]), len(reads["digest"]), len(reads["open"])) == (1, 120, count)
        assert len(set(reads["digest"])) == 120
        for names in reads.values():
            names.clear()
        changed = ception.compare(trained, confused, data, out=tmp_path / "c").changed
        assert (len(reads["load"]), len(reads["digest"])) == (1, 120)
        assert 2 < len(changed) < 30
        assert len(reads["open"]) == count + len(changed)  # which are drawn
        assert (tmp_path / "c" / "changed.png").is_file()

    def test_models_that_see_pictures_otherwise_decode_them_each_in_its_way(self, trained, data, reads, tmp_path):
        model = ception.Classifier.load(trained)
        padded = dataclasses.replace(model.image, resize="pad")
        dataclasses.replace(model, image=padded).save(tmp_path / "p.keras")
        result = ception.compare(tmp_path / "p.keras", trained, data, out=tmp_path / "c")
        assert (len(reads["load"]), len(reads["digest"])) == (1, 120)
        assert len(reads["open"]) == 2 * result.count + len(result.changed)
        alone = [ception.evaluate(model, data, out=tmp_path / "e") for model in (tmp_path / "p.keras", trained)]
        assert result.accuracy == tuple(scores.accuracy for scores in alone)

    def test_warns_of_pictures_that_either_was_trained_on(self, trained, data, confused, tmp_path):
        with pytest.warns(UserWarning, match="pictures were in") as caught:
            ception.compare(trained, confused, data, split="all", out=tmp_path / "c")
        said = [text for warning in caught if "pictures were in" in (text := str(warning.message))]
        assert [next(name for name in (str(trained), str(confused)) if name in text) for text in said] == [
            str(trained), str(confused),
        ]  # fmt: skip

    def test_other_classes_are_refused_before_a_picture_is_read(self, trained, data, reads, tmp_path):
        model = ception.Classifier.load(trained)
        dataclasses.replace(model, class_names=("blue", "green", "rose")).save(tmp_path / "m.keras")
        with pytest.raises(ception.InputError, match="only one of them knows 'red', 'rose'"):
            ception.compare(trained, tmp_path / "m.keras", data)
        assert reads["open"] == reads["digest"] == []

    @pytest.mark.slow
    def test_no_comparison_overwrites_another(self, trained, data, confused, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        other = write_pictures(tmp_path / "elsewhere", {"red": 20, "blue": 20}, seed=3)
        run = trained.name
        for split in (None, "test", "val", "all"):
            ception.compare(trained, confused, data, split=split, reporter=Notes())
            ception.compare(trained, confused, other, split=split)
        ception.compare(trained, trained)
        with pytest.raises(ception.InputError, match="--split val needs DATA"):
            ception.compare(trained, trained, split="val")
        assert {path.name for path in tmp_path.glob("comparison*")} == {
            f"comparison-{run}-{run}", f"comparison-{run}-confused-colours", f"comparison-{run}-confused-colours-val",
            f"comparison-{run}-confused-colours-all", f"comparison-{run}-confused-elsewhere",
            f"comparison-{run}-confused-elsewhere-test", f"comparison-{run}-confused-elsewhere-val",
        }  # fmt: skip
        for split in ("", "-test", "-val"):
            written = json.loads((tmp_path / f"comparison-{run}-confused-elsewhere{split}/comparison.json").read_text())
            assert written["data"] == str(other)


class TestWhatAReviewFound:
    @pytest.mark.slow
    def test_file_names_that_are_no_unicode(self, tmp_path):
        data = write_pictures(tmp_path / "d", {"a": 20, "b": 20})
        for path in list((data / "a").iterdir()):
            path.rename(os.fsdecode(os.fsencode(data / "a") + b"/\xe9" + os.fsencode(path.name)))
        run = ception.train(data, epochs=1, image_size=8, runs=tmp_path / "runs")
        assert ception.evaluate(run.folder / "model.keras", data).accuracy == run.scores.accuracy

    @pytest.mark.slow  # it trains
    def test_results_are_never_taken_for_data(self, tmp_path, monkeypatch):
        write_pictures(tmp_path, {"a": 20, "b": 20})
        monkeypatch.chdir(tmp_path)
        for _ in range(2):
            run = ception.train(".", epochs=1, image_size=8)
            ception.evaluate(run.folder / "model.keras", ".", out="evaluation")
        assert run.classifier.class_names == ("a", "b")

    @pytest.mark.slow  # it trains twice
    def test_unreadable_pictures_do_not_move_the_others(self, tmp_path):
        data = write_pictures(tmp_path / "d", {"a": 14, "b": 14})
        for number in range(5):
            (data / "a" / f"broken{number}.png").write_text(f"text {number}")
        run = ception.train(
            data, epochs=1, image_size=8, runs=tmp_path / "runs", skip_unreadable=True, reporter=Notes()
        )
        notes = Notes()
        found = ception.evaluate(run.folder / "model.keras", data, split="all", out=tmp_path / "o", reporter=notes)
        assert sum("left out" in text for text in notes.warnings) == 5
        seen = run.classifier.record["data"]["counts"]
        assert (found.count, found.including_seen.count) == (28 - seen["train"], 28)
        for part in ("val", "test"):
            count = ception.evaluate(run.classifier, data, split=part, reporter=Notes()).count
            assert count == seen[part]

    def test_numbers_as_names_are_names(self, tmp_path):
        data = write_pictures(tmp_path / "d", {"0": 20, "1": 20})
        run = ception.train(data, epochs=1, image_size=8, runs=tmp_path / "runs")
        other = write_pictures(tmp_path / "e", {"1": 20, "2": 20})
        with pytest.raises(ception.InputError, match="does not know class '2'"):
            ception.evaluate(run.classifier, other)


def test_letters_that_a_font_lacks_are_no_warning(tmp_path, recwarn):
    main(["--version"])
    plots.contact_sheet([np.zeros((8, 8, 3), np.uint8)], ["猫"], ["猫"], [True], tmp_path / "sheet.png")
    assert not recwarn.list
