"""Which pictures are scored, as which classes, and what becomes of those that the model was trained on."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ception
from ception.data import sources
from ception.data.images import ImageContract
from ception.evaluation.selection import matched
from ception.evaluation.table import Table
from ception.model_file import ModelDescription, describe
from ception.models.config import NetworkConfig
from support.pictures import write_pictures
from support.reporters import Notes


@pytest.fixture
def model(trained) -> Path:
    return trained / "model.keras"


def of_data(notes: Notes) -> list[str]:
    """What was said of the data, not of what ran the model."""
    return [said for said in notes.notes if not said.startswith("Running on")]


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
        assert of_data(notes)[2] == (
            f"{counts[2]} of 60 pictures: the test part of the split that a training on {new} would make; "
            "--split all scores all"
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

    def test_a_stated_test_set_needs_no_pictures_to_train_on(self, model, tmp_path):
        data = write_pictures(tmp_path / "d" / "test", {"red": 3, "blue": 3}, seed=3).parent
        write_pictures(data / "train", {"red": 1}, seed=4)
        notes = Notes()
        found = ception.evaluate(model, data, out=tmp_path / "out", reporter=notes)
        assert (found.count, found.split, of_data(notes)) == (6, "test", [])
        with pytest.raises(ception.InputError, match="too few different pictures"):
            ception.evaluate(model, data, split="train")

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


class TestPicturesSeenInTraining:
    """They do not count, and that is written wherever a score is."""

    @pytest.fixture
    def leaky(self, trained, tmp_path) -> Path:
        """New pictures, called wrong, and a third more that the model was trained on, called right."""
        data = write_pictures(tmp_path / "leaky", {"red": 10, "blue": 10}, seed=21)
        (data / "red").rename(data / "green")
        (data / "red").mkdir()
        model, colours = describe(trained), sources.load(trained.parents[1] / "colours")
        digests, _ = sources.digests(colours.pictures, Notes())
        of_training = [colours.pictures.name(int(k)) for k in np.flatnonzero(model.seen_in_training(digests))]
        for number, path in enumerate([path for path in of_training if "/red/" in path][:10]):
            shutil.copy(path, data / "red" / f"{number}.png")
        return data

    def test_they_do_not_count(self, model, leaky, tmp_path):
        notes = Notes()
        found = ception.evaluate(model, leaky, out=tmp_path / "out", reporter=notes)
        assert (found.split, found.count, found.seen_in_training, found.seen_share) == ("all", 20, 10, 1 / 3)
        assert found.accuracy == 0.5  # all blue ones
        assert (found.including_seen.count, found.including_seen.accuracy) == (30, 2 / 3)
        assert found.per_class["red"].support == 0
        assert "on 20 pictures not seen in training" in repr(found)
        assert notes.warnings == ["10 of these 30 pictures were in the model's training: they do not count"]

    def test_one_picture_is_no_plural(self, model, leaky, tmp_path):
        for path in sorted((leaky / "red").iterdir())[1:]:
            path.unlink()
        notes = Notes()
        ception.evaluate(model, leaky, out=tmp_path / "out", reporter=notes)
        assert notes.warnings == ["1 of these 21 pictures was in the model's training: it does not count"]
        for path in [path for path in leaky.rglob("*.png") if path.parent.name != "red"]:
            path.unlink()
        notes = Notes()
        ception.evaluate(model, leaky, out=tmp_path / "out", reporter=notes)
        assert notes.warnings == [
            "the only picture was in the model's training: the scores say nothing of new pictures"
        ]

    def test_they_are_marked_in_every_file(self, model, leaky, tmp_path):
        out = tmp_path / "out"
        ception.evaluate(model, leaky, out=out, reporter=Notes())
        saved = json.loads((out / "scores.json").read_text())
        assert (saved["seen_in_training"], saved["including_seen"]["count"]) == (10, 30)
        assert saved["seen_share"] == pytest.approx(1 / 3)
        rows = list(csv.DictReader((out / "predictions.csv").read_text().splitlines()))
        assert {Path(row["path"]).parent.name for row in rows if row["seen_in_training"] == "1"} == {"red"}
        assert [row["seen_in_training"] for row in rows].count("0") == 20
        said = (
            "10 of 30 pictures (33.3%) were in the model&#39;s training and do not count; with them the accuracy is 0.6"
        )
        assert said in (out / "report.html").read_text()

    def test_groups_and_wished_precision_are_without_them(self, model, leaky, tmp_path):
        found = ception.evaluate(model, leaky, by="size", target_precision=0.6, out=tmp_path / "out", reporter=Notes())
        assert sum(group.count for group in found.slices.groups.values()) == 20
        assert found.selective.count <= 20

    def test_where_all_were_seen_that_comes_first(self, trained, model, tmp_path, run_cli):
        data = trained.parents[1] / "colours"
        code, out, err = run_cli("evaluate", model, data, "--split", "train", "--out", tmp_path / "out")
        count = json.loads((tmp_path / "out" / "scores.json").read_text())["count"]
        assert (code, "warning" in err) == (0, False)
        assert out.startswith(f"All {count} pictures were in the model's training: these scores say nothing of new")
        assert "pictures right, but all were in the training</h1>" in (tmp_path / "out" / "report.html").read_text()

    def test_what_a_training_was_given_as_its_training_part_is_no_new_data(self, tmp_path):
        for split, count in (("train", 20), ("val", 5), ("test", 5)):
            write_pictures(tmp_path / "d" / split, {"red": count, "blue": count}, seed=count)
        for number in range(3):
            shutil.copy(tmp_path / f"d/train/red/00{number}.png", tmp_path / f"d/test/red/leak{number}.png")
            shutil.copy(tmp_path / f"d/train/red/00{number}.png", tmp_path / f"d/val/red/leak{number}.png")
        notes = Notes()
        run = ception.train(tmp_path / "d", epochs=1, image_size=8, runs=tmp_path / "runs", reporter=notes)
        assert "6 validation or test pictures stand in training too: they do not count in the scores" in notes.warnings
        assert (run.scores.count, run.scores.seen_in_training, run.scores.including_seen.count) == (10, 3, 13)
        assert "were in the model's training" in repr(run)
        tenths = [10 * point.coverage for point in run.classifier.coverage]  # of the 10 validation pictures not seen
        assert tenths == pytest.approx([round(one) for one in tenths])
        assert "3 of 13 pictures" in (run.folder / "report.html").read_text()
        again = ception.evaluate(run.folder, tmp_path / "d", reporter=Notes())
        assert again.as_dict()["per_class"] == run.scores.as_dict()["per_class"]
        assert again.including_seen == run.scores.including_seen
        notes = Notes()
        seen = ception.evaluate(run.folder, tmp_path / "d" / "train", out=tmp_path / "out", reporter=notes)
        assert (seen.split, seen.count, seen.all_seen) == ("all", 40, True)
        assert notes.warnings == [
            "40 of these 40 pictures were in the model's training: the scores say nothing of new pictures"
        ]

    def test_a_model_that_does_not_say_what_it_was_trained_on(self, model, leaky, tmp_path):
        forgetful = dataclasses.replace(ception.Classifier.load(model), training_digests=np.zeros(0, "V6"))
        notes = Notes()
        found = ception.evaluate(forgetful, leaky, out=tmp_path / "out", reporter=notes)
        assert of_data(notes) == [
            f"all 30 pictures: {leaky} states no split and what the model was trained on is not known"
        ]
        assert (found.count, found.seen_in_training, found.seen_share, found.including_seen) == (30, None, None, None)
        assert Table.read(tmp_path / "out" / "predictions.csv").seen is None

    def test_a_comparison_is_without_what_either_model_has_seen(self, trained, model, leaky, tmp_path, run_cli):
        other = dataclasses.replace(ception.Classifier.load(model), training_digests=np.zeros(1, "V6"),
                                    training_pixels=np.zeros(1, "V6"))  # fmt: skip
        other.save(tmp_path / "other.keras")
        code, out, _ = run_cli("compare", tmp_path / "other.keras", model, leaky, "--out", tmp_path / "out")
        saved = json.loads((tmp_path / "out" / "comparison.json").read_text())
        assert (code, saved["count"], saved["accuracy"], saved["seen_in_training"]) == (0, 20, [0.5, 0.5], [0, 10])
        assert [one["count"] for one in saved["including_seen"]] == [30, 30]
        assert out.startswith(
            "10 of 30 pictures were in a model's training (10 in that of the second) and do not count"
        )
        data = trained.parents[1] / "colours"
        result = ception.compare(model, model, data, split="train", out=tmp_path / "out")
        assert result.all_seen
        assert result.cautions[0].startswith(f"All {result.count} pictures were in a model's training")


class TestTheSamePicturesInAnotherForm:
    """A training is known by what the network got, whatever files or arrays that came from."""

    @pytest.fixture
    def folder(self, tmp_path) -> Path:
        return write_pictures(tmp_path / "d", {"red": 20, "blue": 20})

    @pytest.fixture
    def archive(self, folder) -> Path:
        """The pictures of the folder as arrays, without a split."""
        paths = sorted(folder.rglob("*.png"))
        labels = np.array([["blue", "red"].index(path.parent.name) for path in paths])
        np.savez(folder.parent / "d.npz", images=np.stack([np.asarray(Image.open(path)) for path in paths]),
                 labels=labels, class_names=np.array(["blue", "red"]))  # fmt: skip
        return folder.parent / "d.npz"

    @pytest.mark.parametrize("trained_on_arrays", [pytest.param(False, marks=pytest.mark.slow), True])
    def test_arrays_and_files(self, folder, archive, tmp_path, trained_on_arrays):
        data, other = (archive, folder) if trained_on_arrays else (folder, archive)
        run = ception.train(data, epochs=1, image_size=8, runs=tmp_path / "runs", reporter=Notes())
        assert run.scores.seen_in_training == 0
        count = json.loads((run.folder / "settings.json").read_text())["data"]["counts"]["train"]
        found = ception.evaluate(run.folder, other, split="all", out=tmp_path / "out", reporter=Notes())
        assert (found.seen_in_training, found.count) == (count, 40 - count)
        assert f"{count} of 40 pictures" in found.cautions[0]

    def test_files_written_anew_without_loss(self, folder, tmp_path):
        run = ception.train(folder, epochs=1, image_size=8, runs=tmp_path / "runs", reporter=Notes())
        for path in sorted(folder.rglob("*.png")):
            Image.open(path).save(path.with_suffix(".tiff"))
            path.unlink()
        found = ception.evaluate(run.folder, folder, split="all", out=tmp_path / "out", reporter=Notes())
        assert found.seen_in_training == len(run.classifier.training_digests)

    def test_what_is_decoded_in_each_epoch_is_not_decoded_once_more_for_it(self, folder, tmp_path):
        with pytest.warns(UserWarning, match="decoded again in each epoch"):
            run = ception.train(folder, epochs=1, image_size=8, runs=tmp_path / "runs", cache_limit=1e-6)
        assert len(run.classifier.training_pixels) == 0
        assert len(run.classifier.training_digests) > 20


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

    @pytest.mark.slow
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
