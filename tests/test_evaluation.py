from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ception
from ception.evaluation.plots import contact_sheet
from ception.prediction import predictions
from support.pictures import content, write_pictures


@pytest.fixture
def model(trained) -> Path:
    return trained / "model.keras"


class TestEvaluate:
    def test_repeats_the_scores_of_the_training(self, trained, model):
        found = ception.evaluate(model, trained.parents[1] / "colours")
        saved = json.loads((trained / "scores.json").read_text())
        assert found.log_loss == pytest.approx(saved["log_loss"])
        for key in ("count", "accuracy", "per_class", "confused", "split"):
            assert found.as_dict()[key] == saved[key]
        assert Path(found.output) == trained / "evaluations" / "colours"
        assert {path.name for path in Path(found.output).iterdir()} == {
            ".ception", "scores.json", "predictions.csv", "confusion.png", "report.html",
        }  # fmt: skip

    def test_parts_of_the_split_make_up_the_whole(self, trained, model, tmp_path):
        data = trained.parents[1] / "colours"
        counts = {}
        for split in ("train", "val", "test"):
            counts[split] = ception.evaluate(model, data, split=split, out=tmp_path / split).count
        with pytest.warns(UserWarning, match=f"{counts['train']} of these 120 pictures were in the model's training"):
            whole = ception.evaluate(model, data, split="all", out=tmp_path)
        assert whole.including_seen.count == sum(counts.values()) == 120
        assert whole.count == counts["val"] + counts["test"]

    def test_classes_match_by_name_in_any_order_and_number(self, model, tmp_path):
        data = write_pictures(tmp_path / "d" / "test", {"red": 6, "blue": 3}, seed=5)
        found = ception.evaluate(model, data.parent, out=tmp_path / "out")
        assert found.accuracy == 1
        assert {name: of_class.support for name, of_class in found.per_class.items()} == {
            "blue": 3, "green": 0, "red": 6,
        }  # fmt: skip

    def test_unnamed_classes_match_by_index_when_counts_agree(self, model, tmp_path):
        random = np.random.default_rng(0)
        colours = np.array([(30, 40, 200), (20, 180, 60), (210, 30, 40)])
        y = np.arange(12) % 3
        x = np.clip(random.normal(colours[y][:, None, None], 20, (12, 16, 16, 3)), 0, 255).astype(np.uint8)
        np.savez(tmp_path / "d.npz", x_test=x, y_test=y)
        assert ception.evaluate(model, tmp_path / "d.npz", out=tmp_path / "out").accuracy == 1
        np.savez(tmp_path / "e.npz", x_test=x, y_test=np.minimum(y, 1))
        with pytest.raises(ception.InputError, match="does not know classes '0', '1'"):
            ception.evaluate(model, tmp_path / "e.npz", out=tmp_path / "out")

    def test_unknown_class(self, model, tmp_path):
        data = write_pictures(tmp_path / "d", {"red": 3, "mauve": 3})
        with pytest.raises(ception.InputError, match="class 'mauve' of d; it knows blue, green, red"):
            ception.evaluate(model, data)

    def test_unreadable_pictures_are_left_out_and_said(self, model, tmp_path):
        data = write_pictures(tmp_path / "d" / "test", {"red": 3, "blue": 3}, seed=5)
        (data / "red" / "bad.png").write_text("text")
        with pytest.warns(UserWarning, match=r"left out .*bad\.png: not a picture"):
            assert ception.evaluate(model, data.parent, out=tmp_path / "out").count == 6

    def test_changes_no_picture_and_writes_nothing_beside_them(self, model, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        data = write_pictures(tmp_path / "d", {"red": 9, "blue": 9}, seed=5)
        before = content(data)
        ception.evaluate(ception.Classifier.load(model), data)
        assert [path.name for path in tmp_path.iterdir()] == ["d"]
        (tmp_path / "alone.keras").write_bytes(model.read_bytes())
        assert ception.evaluate("alone.keras", "d").output == "evaluation-d"
        assert content(data) == before


class TestGuessing:
    def test_what_is_no_better_is_named(self, model, tmp_path, run_cli):
        data = write_pictures(tmp_path / "d", {"red": 12, "blue": 8}, seed=3)
        for one, other in (("red", "x"), ("blue", "red"), ("x", "blue")):
            (data / one).rename(data / other)
        code, out, _ = run_cli("evaluate", model, data, "--out", tmp_path / "out")
        said = (
            "Not better than guessing: 'blue' for every picture is right for 0.6000 of them; train with more --epochs"
        )
        assert code == 0
        assert out.splitlines()[1].startswith(said)
        page = re.sub("<.*?>", "", (tmp_path / "out" / "report.html").read_text())
        assert said.replace("'", "&#39;") in page
        assert json.loads((tmp_path / "out" / "scores.json").read_text())["better_than_guessing"] is False

    def test_what_is_better_is_not(self, trained, model, tmp_path, run_cli):
        _, out, _ = run_cli("evaluate", model, trained.parents[1] / "colours", "--out", tmp_path / "out")
        assert "guessing" not in out + (tmp_path / "out" / "report.html").read_text()
        assert json.loads((tmp_path / "out" / "scores.json").read_text())["better_than_guessing"] is True

    def test_after_a_training_too(self, folder, tmp_path, run_cli):
        options = ["--epochs", "1", "--image-size", "8", "--learning-rate", "1e-9", "--runs", tmp_path / "runs"]
        _, out, _ = run_cli("train", folder, *options)
        assert out.splitlines()[1].startswith("Not better than guessing: ")


class TestPredict:
    def test_names_the_classes(self, model, tmp_path):
        data = write_pictures(tmp_path / "d", {"red": 2, "blue": 2}, seed=7)
        found = ception.predict(model, data, top=2)
        assert [result.top[0].class_name for result in found] == ["blue", "blue", "red", "red"]
        assert all(len(result.top) == 2 for result in found)
        assert found[0].path == str(data / "blue" / "000.png")
        assert 0.5 < found[0].top[0].probability <= 1

    def test_takes_files_folders_and_patterns_in_order(self, model, tmp_path):
        data = write_pictures(tmp_path / "d", {"red": 3, "blue": 3}, seed=7)
        given = [data / "red" / "002.png", data / "blue", f"{data}/**/000.png"]
        assert [Path(result.path).relative_to(data).as_posix() for result in ception.predict(model, given)] == [
            "red/002.png", "blue/000.png", "blue/001.png", "blue/002.png", "blue/000.png", "red/000.png",
        ]  # fmt: skip

    def test_batches_do_not_change_the_answer(self, model, tmp_path):
        data = write_pictures(tmp_path / "d", {"red": 5, "blue": 6}, seed=7)
        one = ception.predict(model, data, batch_size=1)
        other = ception.predict(model, data, batch_size=4)
        assert [result.path for result in one] == [result.path for result in other]
        for first, second in zip(one, other, strict=True):
            for a, b in zip(first.top, second.top, strict=True):
                assert a.class_name == b.class_name
                assert a.probability == pytest.approx(b.probability, abs=2e-6)

    def test_an_unreadable_picture_does_not_stop_the_rest(self, model, tmp_path):
        data = write_pictures(tmp_path / "d", {"red": 3}, seed=7)
        (data / "red" / "001.png").write_bytes(b"")
        found = ception.predict(model, data)
        assert [result.error for result in found] == [None, "the file is empty", None]

    @pytest.mark.parametrize("given", ["none.png", "none*.png", []])
    def test_nothing_there(self, model, given):
        with pytest.raises(ception.InputError, match="no picture"):
            ception.predict(model, given)

    def test_streams(self, model, tmp_path):
        data = write_pictures(tmp_path / "d", {"red": 40}, seed=7)
        stream = predictions(model, data, batch_size=4)
        first = next(stream)
        for path in (data / "red").iterdir():
            path.unlink()
        assert first.top
        assert any(result.error for result in stream)


class TestContactSheet:
    def drawn(self, path: Path, right: list[bool]) -> np.ndarray:
        pictures = [Image.new(mode, (20, 30), "white") for mode in ("L", "RGB")] * 4
        contact_sheet(pictures[: len(right)], ["a"] * 8, ["a", "$b$"] * 4, right, path)
        return np.asarray(Image.open(path).convert("RGB")).astype(int)

    def test_the_grid_grows_with_the_pictures(self, tmp_path):
        small, large = self.drawn(tmp_path / "1.png", [True] * 2), self.drawn(tmp_path / "2.png", [True] * 8)
        assert large.shape[0] == pytest.approx(2 * small.shape[0], abs=2)
        assert large.shape[1] == pytest.approx(2.5 * small.shape[1], abs=2)

    def test_the_wrong_ones_are_red(self, tmp_path):
        def reddish(pixels: np.ndarray) -> np.ndarray:
            return (pixels[..., 0] > 100 + pixels[..., 1]).any(0)

        assert not reddish(self.drawn(tmp_path / "1.png", [True, True])).any()
        columns = reddish(self.drawn(tmp_path / "2.png", [True, False]))
        half = len(columns) // 2
        assert columns[half:].any()
        assert not columns[:half].any()
