from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ception
from ception.data import sources
from ception.data.images import ImageContract
from ception.evaluation.plots import contact_sheet
from ception.evaluation.selection import matched
from ception.model_file import ModelDescription
from ception.models.config import NetworkConfig
from ception.prediction import predictions
from support.pictures import content, write_pictures
from support.reporters import Notes


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
            assert ception.evaluate(model, data, split="all", out=tmp_path).count == sum(counts.values()) == 120

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


class TestWhichPicturesAreScored:
    @pytest.fixture
    def new(self, tmp_path) -> Path:
        return write_pictures(tmp_path / "new", {"blue": 20, "green": 20, "red": 20}, seed=11)

    def test_new_pictures_without_a_split_are_all_scored(self, model, new, tmp_path):
        notes = Notes()
        found = ception.evaluate(model, new, out=tmp_path / "out", reporter=notes)
        assert (found.count, found.split) == (60, "all")
        assert notes.notes[0] == f"all 60 pictures: {new} states no split and is not what the model was trained on"
        assert "on all 60 pictures" in repr(found)

    def test_by_hand_they_are_split_and_that_is_said(self, model, new, tmp_path):
        notes = Notes()
        counts = [ception.evaluate(model, new, split=split, out=tmp_path / "out", reporter=notes).count
                  for split in ("train", "val", "test")]  # fmt: skip
        assert sum(counts) == 60
        assert 0 < counts[2] < 30
        assert f"{counts[2]} of 60 pictures: {new} states no test pictures, so these are those of the split" in (
            "\n".join(notes.notes)
        )

    def test_what_it_was_trained_on_is_split_also_with_some_pictures_more_or_less(self, trained, model, tmp_path):
        data = tmp_path / "grown"
        shutil.copytree(trained.parents[1] / "colours", data)
        notes = Notes()
        whole = ception.evaluate(model, data, out=tmp_path / "out", reporter=notes)
        assert whole.split == "test"
        assert f"{whole.count} of 120 pictures: those that the training left out for testing" in notes.notes
        for path in sorted((data / "red").iterdir())[:10]:
            path.unlink()
        write_pictures(data, {"green/more": 30}, seed=12)
        assert ception.evaluate(model, data, out=tmp_path / "out", reporter=Notes()).split == "test"

    def test_few_pictures_need_no_split(self, model, tmp_path):
        data = write_pictures(tmp_path / "d", {"red": 2}, seed=3)
        assert ception.evaluate(model, data, out=tmp_path / "out").count == 2
        with pytest.raises(ception.InputError, match="too few different pictures"):
            ception.evaluate(model, write_pictures(tmp_path / "e", {"red": 1}, seed=3), split="test")

    def test_a_stated_split_without_test_pictures_is_not_guessed(self, model, tmp_path):
        data = write_pictures(tmp_path / "d" / "val", {"red": 6, "blue": 5}, seed=3).parent
        with pytest.raises(ception.InputError, match=r"states a split without test pictures.*--split all"):
            ception.evaluate(model, data)
        assert ception.evaluate(model, data, split="val", out=tmp_path / "out").count == 11

    def test_two_models_are_compared_on_all_of_it(self, model, new, tmp_path):
        notes = Notes()
        assert ception.compare(model, model, new, out=tmp_path / "out", reporter=notes).count == 60
        assert notes.notes[0].endswith("is not what either model was trained on")

    def test_what_is_passed_over_is_said(self, model, tmp_path):
        data = write_pictures(tmp_path / "d", {"red": 2, "blue": 2}, seed=3)
        (data / "green").mkdir()
        notes = Notes()
        assert ception.evaluate(model, data, out=tmp_path / "out", reporter=notes).count == 4
        assert notes.notes[0] == f"Of {data} passed over: 1 empty folders"

    @pytest.mark.parametrize(("name", "says"), [
        ("Red", "rename 'Red' to 'red'$"), ("red ", "rename 'red ' to 'red'$"), ("mauve", "rename or remove what"),
    ])  # fmt: skip
    def test_a_class_with_another_name_is_refused_with_the_way_out(self, model, tmp_path, name, says):
        with pytest.raises(ception.InputError, match=says):
            ception.evaluate(model, write_pictures(tmp_path / "d", {name: 2, "blue": 2}))


class TestNumberedClasses:
    COUNT = 12

    def bars(self, labels: np.ndarray) -> np.ndarray:
        """Pictures whose bright bar lies the lower, the higher their label."""
        random = np.random.default_rng(len(labels))
        pictures = random.integers(0, 40, (len(labels), 28, 28), np.uint8)
        for picture, label in zip(pictures, labels, strict=True):
            picture[2 + 2 * label : 4 + 2 * label] = 250
        return pictures

    def write(self, root: Path, name: str = "{}") -> Path:
        """Folders with a picture for each number."""
        for label, picture in enumerate(self.bars(np.arange(self.COUNT))):
            folder = root / name.format(label)
            folder.mkdir(parents=True)
            Image.fromarray(picture).save(folder / "0.png")
        return root

    def model(self, class_names: tuple[str, ...], unnamed: bool = False) -> ModelDescription:
        return ModelDescription(
            config=NetworkConfig.of("separable_cnn", classes=len(class_names)), class_names=class_names,
            image=ImageContract(height=28, width=28, channels=1), unnamed=unnamed,
        )  # fmt: skip

    @pytest.mark.parametrize("name", ["{}", "{:02}", "{:03}"])
    def test_folders_match_a_model_without_names(self, tmp_path, name):
        dataset = sources.load(self.write(tmp_path / "d", name))
        strings = [str(number) for number in range(self.COUNT)]
        model = self.model(tuple(strings), unnamed=True)
        labels = matched(dataset, model, Notes())
        assert [int(Path(path).parent.name) for path in dataset.pictures.paths] == [int(strings[k]) for k in labels]
        assert matched(dataset, self.model(tuple(sorted(strings))), Notes()).tolist() == [
            sorted(strings).index(str(int(Path(path).parent.name))) for path in dataset.pictures.paths
        ]

    def test_arrays_match_a_model_of_folders_in_any_order(self, tmp_path):
        y = np.arange(self.COUNT)
        np.savez(tmp_path / "d.npz", x_test=self.bars(y), y_test=y)
        names = tuple(sorted(f"{number:02}" for number in range(self.COUNT)))[::-1]
        labels = matched(sources.load(tmp_path / "d.npz"), self.model(names), Notes())
        assert [int(names[label]) for label in labels] == y.tolist()

    def test_a_number_that_no_picture_has_does_not_count(self, tmp_path):
        np.savez(tmp_path / "d.npz", x_test=self.bars(np.array([1, 2, 2])), y_test=[1, 2, 2])
        model = self.model(("1", "2", "3"))
        assert matched(sources.load(tmp_path / "d.npz"), model, Notes()).tolist() == [0, 1, 1]

    def test_two_folders_of_one_number_are_refused(self, tmp_path):
        data = write_pictures(tmp_path / "d", {"1": 1, "01": 1, "2": 1})
        with pytest.raises(ception.InputError, match="'01' and '1' of d are the model's '1': put their pictures"):
            matched(sources.load(data), self.model(("0", "1", "2"), unnamed=True), Notes())

    def test_names_and_numbers_match_by_their_order_which_is_said(self, tmp_path):
        np.savez(tmp_path / "d.npz", x_test=self.bars(np.array([0, 1])), y_test=[0, 1])
        notes = Notes()
        matched(sources.load(tmp_path / "d.npz"), self.model(("cat", "dog")), notes)
        assert notes.notes == ["Classes are matched by their order: '0' is the model's 'cat', '1' is the model's 'dog'"]

    def test_training_and_scoring_agree_on_arrays_and_folders(self, tmp_path):
        y = np.arange(self.COUNT).repeat(30)
        test = np.arange(self.COUNT)
        np.savez(tmp_path / "bars.npz", x_train=self.bars(y), y_train=y, x_test=self.bars(test), y_test=test)
        run = ception.train(tmp_path / "bars.npz", epochs=6, flip=False, runs=tmp_path / "runs")
        data = self.write(tmp_path / "folders", "{:02}")
        found = ception.evaluate(run.folder, data, out=tmp_path / "out")
        assert (run.scores.accuracy, found.accuracy, found.count) == (1, 1, self.COUNT)
        said = ception.predict(run.folder, data, 1)
        assert [int(one.top[0].class_name) for one in said] == [int(Path(one.path).parent.name) for one in said]


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
