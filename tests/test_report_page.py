"""What report.html and its pictures say, of tables whose right page is known."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import ception
from ception.data.images import ImageContract, PictureError
from ception.evaluation import plots
from ception.evaluation.calibration import coverage_curve, short_threshold_for, threshold_for
from ception.evaluation.metrics import confusion_order
from ception.evaluation.provenance import provenance
from ception.evaluation.report import _advice, write_report
from ception.evaluation.table import Table
from ception.results import CoveragePoint
from support.pictures import write_pictures


def table_of(probabilities: Sequence[Sequence[float]], labels: Sequence[int], names: Sequence[str] = "") -> Table:
    """A table of pictures of which a model says these probabilities."""
    logits = np.log(np.array(probabilities, np.float64) + 1e-12).astype(np.float32)
    classes = tuple(names or "abcdefgh"[: logits.shape[1]])
    return Table([f"{number}.png" for number in range(len(labels))], np.array(labels), logits, classes)


def page_of(table: Table, path: Path, **options: Any) -> str:
    """The report of a table, in one line, with what it shows alone."""
    write_report(
        path,
        table,
        dataclasses.replace(table.scores(), data="d", split="test"),
        **{"picture": lambda row: Image.new("RGB", (9, 9)), **options},
    )
    return " ".join(path.read_text().split())


def gallery(page: str, heading: str) -> tuple[str, list[str]]:
    """The text of a gallery and its captions."""
    section = page.split(f"<h2>{heading}</h2>")[1].split("<h2>")[0]
    text = re.search("<p>(.*?)</p>", section)
    assert text
    return text[1], re.findall(r'<span class="(?:good|bad)">(.*?)</span>', section)


HISTORY = [
    {"epoch": epoch, "phase": phase, "loss": 0.1, "accuracy": low, "val_loss": 0.2 / epoch, "val_accuracy": 0.99,
     "seconds": 50.0}
    for epoch, phase, low in ((1, 1, 0.97), (2, 1, 0.98), (3, 2, 0.98), (4, 2, 0.99))
]  # fmt: skip


class TestTraining:
    @pytest.mark.slow  # it trains twice
    def test_is_told_in_the_page_and_its_command_repeats_it(self, tmp_path, monkeypatch, run_cli):
        monkeypatch.chdir(tmp_path)
        write_pictures(tmp_path / "my data", {"red": 20, "blue": 20})
        settings = ["--model", "separable_cnn", "--epochs", "2", "--image-size", "8", "--no-flip", "--runs", "my runs"]
        assert run_cli("train", "my data", *settings, "--quiet")[0] == 0
        first = tmp_path / "my runs" / "001-separable_cnn-my-data"
        page = (first / "report.html").read_text()
        for told in ("separable_cnn", "8 x 8 x 3", "fresh", "article", "in all, 2 epochs", "--no-flip",
                     "--epochs</span> 2",
                     "all weights, sgd, learning rate 0.01 (constant), batches of 32, 2 epochs at most"):  # fmt: skip
            assert told in page.split("How it was trained")[1].split("<h2>")[0]
        found = re.search("<code>(.*?)</code>", page)
        assert found
        program, *command = shlex.split(re.sub("<.*?>", "", found[1]).replace("&#39;", "'"))
        assert program == "ception"
        assert run_cli(*command, "--quiet")[0] == 0
        logs = [[line.rsplit(",", 1)[0] for line in (run / "log.csv").read_text().splitlines()]
                for run in (first, first.with_name("002-separable_cnn-my-data"))]  # fmt: skip
        assert logs[0] == logs[1]

    def test_stands_in_an_evaluation_of_an_earlier_run_too(self, tmp_path):
        data = write_pictures(tmp_path / "d", {"red": 4, "blue": 4})
        model = Path(__file__).parent / "earlier_run" / "model.keras"
        ception.evaluate(model, data, split="all", out=tmp_path / "out")
        page = (tmp_path / "out" / "report.html").read_text()
        assert "The command that repeats it" in page
        assert "12 x 12 x 3" in page

    def test_a_broken_record_is_told(self, trained, tmp_path):
        model = ception.Classifier.load(trained)
        record = model.record | {"settings": model.record["settings"] | {"epochz": 2}}
        dataclasses.replace(model, record=record).save(tmp_path / "m.keras")
        ception.evaluate(tmp_path / "m.keras", trained.parents[1] / "colours", out=tmp_path / "out")
        page = (tmp_path / "out" / "report.html").read_text()
        assert "How it was trained cannot be read in the model file: unknown option &#39;epochz&#39;" in page
        assert "repeats it" not in page

    def test_says_nothing_of_the_log_where_that_is_not_known(self, trained):
        record = json.loads((trained / "settings.json").read_bytes())
        image = ImageContract(height=16, width=16, channels=3)
        found = provenance(record, image)
        assert (found.epochs, found.seconds) == (None, None)
        assert "Time" not in dict(found.rows())
        assert dict(provenance(record, image, HISTORY).rows())["Time"] == "4 epochs"
        whole = record | {"scores": {"training_seconds": 200.0}}
        assert dict(provenance(whole, image, HISTORY).rows())["Time"] == "3 min 20 s in all, 4 epochs"
        with pytest.raises(ception.InputError, match="the record lacks"):
            provenance({"settings": record["settings"]}, image)


class TestCurves:
    def test_have_the_border_between_phases(self):
        for axes in plots.curves_figure(HISTORY, 4, ("head", "fine-tuning")).axes:
            marked = {line.get_label(): line.get_xdata()[0] for line in axes.lines}
            assert marked["fine-tuning from epoch 3"] == 2.5
            assert marked["kept: epoch 4"] == 4
        labels = [line.get_label() for line in plots.curves_figure(HISTORY, 4).axes[0].lines]
        assert "phase 2 from epoch 3" in labels
        assert not any("phase" in str(line.get_label()) for line in plots.curves_figure(HISTORY[:2], 2).axes[0].lines)

    @pytest.mark.parametrize(("lowest", "begins"), [(0.97, 0.5), (0.5, 0.5), (0.49, 0), (0.02, 0)])
    def test_do_not_exaggerate(self, lowest, begins):
        history = [row | {"accuracy": lowest} for row in HISTORY]
        loss, accuracy = plots.curves_figure(history, 1).axes
        assert accuracy.get_ylim() == (begins, 1.01)
        assert loss.get_ylim()[0] == 0

    def test_a_loss_that_hardly_falls_is_not_on_the_frame(self):
        history = [row | {"loss": 1.79, "val_loss": 1.79 - 0.01 * row["epoch"]} for row in HISTORY]
        low, high = plots.curves_figure(history, 1).axes[0].get_ylim()
        assert 1.04 < high / 1.79 < 1.1
        assert low == 0

    def test_neither_does_that_of_coverage(self):
        table = table_of([[0.97, 0.03], [0.98, 0.02]], [0, 0])
        assert plots.coverage_figure(table, 1).axes[0].get_ylim() == (0.5, 1.01)


def test_pictures_are_counted_in_whole_numbers():
    figure = plots.reliability_figure(table_of([[0.97, 0.03], [0.98, 0.02]], [0, 0]), 1)
    figure.canvas.draw()
    assert [tick % 1 for tick in figure.axes[1].get_yticks()] == [0] * len(figure.axes[1].get_yticks())


class TestConfusionMatrix:
    def test_of_many_classes_has_together_what_is_confused(self):
        names = [f"class {number:02}" for number in range(43)]
        matrix = 50 * np.eye(43, dtype=int)
        for one, other in ((3, 41), (41, 17), (8, 30)):
            matrix[one, other] = matrix[other, one] = 20
        order = confusion_order(matrix, names).tolist()
        assert sorted(order) == list(range(43))
        assert {*order[:5]} == {3, 41, 17, 8, 30}
        place = {k: order.index(k) for k in order}
        assert abs(place[3] - place[41]) == abs(place[41] - place[17]) == abs(place[8] - place[30]) == 1
        assert order[5:] == [k for k in range(43) if k not in {3, 41, 17, 8, 30}]
        assert confusion_order(50 * np.eye(43, dtype=int), names).tolist() == list(range(43))

    def test_of_few_stays_in_order_and_numbers_are_numbers(self):
        matrix = np.full((3, 3), 5)
        assert confusion_order(matrix, ["c", "a", "b"]).tolist() == [0, 1, 2]
        assert confusion_order(matrix, ["10", "2", "1"]).tolist() == [2, 1, 0]
        as_texts = sorted(map(str, range(43)))
        ordered = [as_texts[k] for k in confusion_order(np.eye(43, dtype=int), as_texts)]
        assert ordered == [str(number) for number in range(43)]

    @pytest.mark.parametrize(("classes", "whole"), [(43, True), (60, True), (61, False)])
    def test_is_whole_up_to_sixty_classes(self, tmp_path, classes, whole):
        labels = np.repeat(np.arange(classes), 2)
        said = labels.copy()
        said[1] = classes - 1  # the second picture of the first class
        names = [str(number) for number in range(classes)]
        table = table_of(0.9 * np.eye(classes)[said] + 0.1 / classes, labels.tolist(), names)
        page = page_of(table, tmp_path / "r.html")
        section = page.split("<h2>What is taken for what</h2>")[1].split("<h2>")[0]
        assert section.count("<td style") == (classes**2 if whole else 0)
        if whole:
            columns = re.findall("<th><span>(.*?)</span>", section)
            assert {*columns[:2]} == {"0", str(classes - 1)}
            rows = re.findall("<tr><th>(.*?)</th>(.*?)</tr>", section.split("<tbody>")[1])
            assert [name for name, _ in rows] == columns
            counts = [[cell or "0" for cell in re.findall("<td.*?>(.*?)</td>", cells)] for _, cells in rows]
            assert counts[columns.index("0")][columns.index(str(classes - 1))] == "1"
            assert counts[columns.index("5")][columns.index("5")] == "2"
        else:
            assert f"The most confused pairs of {classes} classes" in section


class TestThresholds:
    @staticmethod
    def curve(*points: tuple[float, float, float]) -> list[CoveragePoint]:
        """Of thresholds with their coverage and the lower end of the precision."""
        return [CoveragePoint(threshold=t, coverage=c, precision=p, precision_low=p) for t, c, p in points]

    def test_have_two_digits_and_keep_the_promise(self):
        curve = self.curve((0.411111, 1, 0.8), (0.823456, 0.7, 0.96), (0.829, 0.69, 0.94), (0.835, 0.68, 0.97))
        assert threshold_for(0.95, curve) == 0.823456
        assert short_threshold_for(0.95, curve) == 0.82  # answers what 0.823456 does
        between = self.curve((0.8205, 1, 0.8), (0.823456, 0.7, 0.96), (0.829, 0.69, 0.94), (0.835, 0.68, 0.97))
        assert short_threshold_for(0.95, between) == 0.83

    def test_that_none_keeps_a_promise_is_said(self):
        assert "at least 95% from --min-confidence 0.82 on" in _advice(self.curve((0.4, 1, 0.8), (0.82, 0.7, 0.96)))
        assert "promise no precision of 95 % or more" in _advice(self.curve((0.4, 1, 0.8), (0.82, 0.7, 0.94)))

    def test_have_more_digits_where_two_lose_answers(self):
        curve = self.curve((0.9911, 1, 0.8), (0.991234, 0.7, 0.96), (0.9996, 0.3, 0.99))
        assert short_threshold_for(0.95, curve) == 0.9912
        curve = self.curve((0.99121, 1, 0.8), (0.991234, 0.7, 0.96), (0.9996, 0.3, 0.99))
        assert short_threshold_for(0.95, curve) == 0.991234
        assert short_threshold_for(0.9999, curve) is None

    def test_deliver_on_the_pictures_they_are_from(self):
        random = np.random.default_rng(3)
        confidences = random.uniform(0.3, 1, 2000)
        right = random.uniform(0, 1, 2000) < confidences
        curve = coverage_curve(right, confidences)
        for precision in (0.7, 0.8, 0.9):
            threshold = short_threshold_for(precision, curve)
            assert threshold == round(threshold, 2)
            assert right[confidences >= threshold].mean() > precision
            assert len(curve) == 500
            assert threshold_for(precision, curve) <= threshold < threshold_for(precision, curve) + 0.05

    def test_answer_the_same_pictures_where_there_are_few(self):
        confidences = np.array([0.5, 0.99121, 0.9934, 0.9956, 0.9978] * 20)
        right = confidences > 0.9
        curve = coverage_curve(right, confidences)
        assert (threshold_for(0.9, curve), short_threshold_for(0.9, curve)) == (0.99121, 0.99)

    def test_stand_so_in_the_page(self, tmp_path):
        curve = self.curve((0.4, 1, 0.8), (0.823456, 0.7, 0.955), (0.9, 0.69, 0.96))
        page = page_of(table_of([[0.9, 0.1]] * 3, [0, 0, 1]), tmp_path / "r.html", coverage=curve)
        assert "at least 95% from --min-confidence 0.82 on." in re.sub("<.*?>", "", page)
        assert "0.823456" not in page


class TestGalleries:
    def test_mistakes_come_by_confidence(self, tmp_path):
        table = table_of([[0.31, 0.3, 0.39], [0.8, 0.0, 0.2], [0.0, 1.0, 0.0], [0.9, 0.05, 0.05]], [1, 2, 1, 2])
        text, captions = gallery(page_of(table, tmp_path / "r.html"), "Worst mistakes")
        assert captions == ["a 90.0%", "a 80.0%", "c 39.0%"]
        assert text == "Named wrong, the surest first: from 90.0% down to 39.0%."

    def test_one_that_is_not_sure_is_not_called_so(self, tmp_path):
        table = table_of([[0.31, 0.3, 0.29, 0.1], [1, 0, 0, 0]], [1, 0])
        text, captions = gallery(page_of(table, tmp_path / "r.html"), "Worst mistakes")
        assert captions == ["a 31.0%"]
        assert text == "Named wrong, with a probability of 31.0%. The model was sure of none."

    def test_doubtful_is_by_margin(self, tmp_path):
        table = table_of([[0.93, 0.07], [0.51, 0.49], [0.55, 0.45], [0.7, 0.3]], [0, 0, 1, 0])
        text, captions = gallery(page_of(table, tmp_path / "r.html"), "Most doubtful")
        assert captions == ["a 51.0%, b 49.0%", "a 55.0%, b 45.0%"]
        assert text == "The first two classes are nearly as probable: the first is ahead by 10.0% at most."

    def test_where_nothing_is_doubtful_that_is_said(self, tmp_path):
        page = page_of(table_of([[0.93, 0.07], [0.04, 0.96]], [0, 1]), tmp_path / "r.html")
        text, captions = gallery(page, "Most doubtful")
        assert text == "None is doubtful: the first class is ahead by 86.0% or more. These are the closest."
        assert captions == ["a 93.0%, b 7.0%", "b 96.0%, a 4.0%"]
        assert gallery(page, "Worst mistakes") == ("There are none.", [])
        assert gallery(page, "Likely label errors")[0].startswith("There are none")

    def test_labels_are_not_doubted_by_what_guesses(self, tmp_path):
        table = table_of([[0.9, 0.1]] * 4 + [[0.1, 0.9]] * 2, [0, 0, 0, 1, 0, 0], ["cat", "dog"])
        page = page_of(table, tmp_path / "r.html")
        assert gallery(page, "Likely label errors") == (
            "None are named: what is no better than guessing, or than thumbnails, says nothing of labels.", []
        )  # fmt: skip

    def test_more_than_are_shown_are_counted(self, tmp_path):
        table = table_of([[0.9, 0.1]] * 30, [1] * 29 + [0])
        text, captions = gallery(page_of(table, tmp_path / "r.html"), "Worst mistakes")
        assert text.startswith("24 of 29 pictures are shown.")
        assert len(captions) == 24

    def test_pictures_that_have_gone_are_told(self, tmp_path):
        def gone(row: int) -> Image.Image:
            raise PictureError(f"{row}.png is not there")

        page = page_of(table_of([[0.9, 0.1]], [1]), tmp_path / "r.html", picture=gone)
        assert gallery(page, "Worst mistakes") == ("1 picture, of which none can be read any more.", [])


def test_one_picture_is_one(tmp_path):
    page = page_of(table_of([[0.9, 0.1]], [0]), tmp_path / "r.html")
    assert "100.0% of 1 picture right" in page
    assert "a model on 1 test picture of d" in page


def test_plots_keep_a_width_to_scroll_through(tmp_path):
    page = page_of(table_of([[0.9, 0.1]], [0]), tmp_path / "r.html", history=HISTORY)
    assert page.count('<div class="wide"><svg') == 3
    assert ".wide svg { width: 100%; min-width: 50rem;" in page
