"""The training pictures most like a picture: kept beside the model, found again, and shown only where they may be."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import ception
from ception.data.images import read as read_picture
from ception.data.images import to_pixels
from ception.errors import InputError
from ception.explaining import index_beside, index_of_training, neighbours
from ception.explaining.insight import Subject, look
from ception.explaining.neighbours import Index, identity, some, unit
from ception.models.endpoints import before_head
from support.networks import thin
from support.pictures import COLOURS, write_pictures
from support.reporters import Notes


@pytest.fixture(scope="module")
def classifier(trained) -> ception.Classifier:
    return ception.Classifier.load(trained)


@pytest.fixture(scope="module")
def index(trained, classifier) -> Index:
    return index_beside(trained / "model.keras", classifier)


def copied(trained: Path, target: Path, *, index: bool = True) -> Path:
    """A model file and its index without the rest of its run."""
    target.mkdir()
    for name in ("model.keras", "neighbours.npz")[: 2 if index else 1]:
        shutil.copyfile(trained / name, target / name)
    return target


class TestIndex:
    def test_holds_what_the_network_sees_in_the_training_pictures(self, trained, classifier, index):
        assert index.model == identity(classifier.network)
        digests = len(classifier.training_digests)
        assert len(index.labels) == len(index.paths) == len(index.thumbnails) == digests == len(index.features)
        subject = Subject.of(classifier)
        for row in (0, digests // 2, digests - 1):
            path = Path(index.paths[row])
            assert classifier.class_names[index.labels[row]] == path.parent.name
            features, _ = subject.seen(to_pixels(read_picture(path), classifier.image))
            assert np.abs(unit(features[None])[0] - index.features[row]).max() < 2e-3
            small = index.picture(row)
            assert small.size == (96, 78)  # six times what the network takes, in the shape of the file
            ours, theirs = (np.asarray(one.convert("RGB"), float).mean((0, 1)) for one in (small, Image.open(path)))
            assert np.abs(ours - theirs).max() < 6

    def test_a_training_picture_is_its_own_neighbour(self, classifier, index):
        subject = Subject.of(classifier, index)
        for row in range(0, len(index.labels), 7):
            found = look(subject, read_picture(index.paths[row]), 3).nearest
            assert found[0][0].distance < 1e-3
            assert index.paths[row] in [one.path for one, _ in found]
            assert [one.distance for one, _ in found] == sorted(one.distance for one, _ in found)

    def test_new_pictures_are_like_those_of_their_class(self, classifier, index, tmp_path):
        subject, right = Subject.of(classifier, index), []
        for path in sorted(write_pictures(tmp_path / "new", dict.fromkeys(COLOURS, 5), seed=5).rglob("*.png")):
            right += [one.class_name == path.parent.name for one, _ in look(subject, read_picture(path)).nearest]
        assert np.mean(right) > 0.9

    def test_of_many_pictures_some_are_kept_and_of_rare_classes_all(self):
        labels = np.repeat([0, 1, 2], [3, 900, 5000])
        chosen = some(labels, 500)
        assert len(chosen) == len(set(chosen.tolist())) == 500
        counts = np.bincount(labels[chosen])
        assert counts[0] == 3
        assert counts[1] >= 50
        assert 4 < counts[2] / counts[1] < 8
        assert some(labels, 10_000).tolist() == list(range(len(labels)))

    def test_can_be_left_out(self, trained, tmp_path):
        run = ception.train(
            trained.parents[1] / "colours", model="separable_cnn", epochs=1, image_size=16, neighbours=False,
            runs=tmp_path,
        )  # fmt: skip
        assert not (run.folder / "neighbours.npz").exists()
        assert (run.folder / "report.html").is_file()

    @pytest.mark.parametrize("name", ["separable_cnn", "inception_v1", "xception"])
    def test_every_network_has_features_before_its_head(self, name):
        network = thin(name)
        features, logits = neighbours.with_features(network).output
        assert before_head(network) == ("head_dense" if name == "separable_cnn" else "pool")
        assert features.shape[-1] != logits.shape[-1] == 5


class TestFile:
    def damaged(self, trained: Path, folder: Path, change) -> Path:
        path = copied(trained, folder) / "neighbours.npz"
        with np.load(path) as stored:
            arrays = dict(stored)
        np.savez(path, **(arrays | change(arrays)))
        return path

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (lambda one: {"features": one["features"][:-1]}, "features do not fit"),
            (lambda one: {"features": one["features"].astype(np.float64)}, "features do not fit"),
            (lambda one: {"labels": one["labels"] + 3}, "its classes are not those"),
            (lambda one: {"thumbnails": one["thumbnails"][:-1]}, "cut off"),
            (lambda one: {"path_ends": one["path_ends"][:-1]}, "cut off"),
            (lambda one: {"labels": np.array(["a"], object)}, "allow_pickle"),
        ],
    )
    def test_a_broken_one_is_refused(self, trained, classifier, tmp_path, change, said):
        path = self.damaged(trained, tmp_path / "it", change)
        with pytest.raises(InputError, match=f"neighbours.npz is broken: .*{said}"):
            neighbours.read(path, classifier)

    def test_one_cut_off_or_compressed_is_refused(self, trained, classifier, tmp_path):
        path = copied(trained, tmp_path / "it") / "neighbours.npz"
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(InputError, match="is broken"):
            neighbours.read(path, classifier)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("features.npy", b"0" * 1000)
        with pytest.raises(InputError, match="is broken: it is compressed"):
            neighbours.read(path, classifier)

    def test_one_of_another_model_is_refused(self, trained, classifier):
        other = ception.Classifier.load(trained)
        other.network.get_layer("logits").bias.assign([1.0, 2.0, 3.0])
        with pytest.raises(InputError, match="belongs to another model"):
            index_beside(trained / "model.keras", other)

    def test_names_that_are_no_unicode_come_through(self, index, classifier, tmp_path):
        odd = replace(index, paths=[f"{number}-\udcff.png" for number in range(len(index.paths))])
        odd.save(tmp_path / "neighbours.npz")
        assert list(neighbours.read(tmp_path / "neighbours.npz", classifier).paths) == odd.paths


class TestExplain:
    def test_shows_them_in_the_sheet_and_names_them(self, run_cli, trained, index, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        picture = index.paths[3]
        code, out, err = run_cli("explain", trained, picture, "--no-checks", "--neighbours", "2", "--out", "why")
        assert code == 0, err
        (told,) = json.loads((tmp_path / "why" / "explanations.json").read_text())
        assert len(told["nearest"]) == 2
        assert told["nearest"][0]["class"] == Path(picture).parent.name
        assert set(told["nearest"][0]) == {"path", "class", "distance"}
        assert re.search(r"most like it in the training: \w+ \(0\.\d\d, .*000", out.replace(picture, "000"))
        with Image.open(tmp_path / "why" / "sheet.png") as sheet:
            assert sheet.size == (4 * 240, 240 + 24)
            shown = np.asarray(sheet.crop((490, 60, 700, 180)).convert("RGB"), float).mean((0, 1))
        middle = np.asarray(Image.open(picture).convert("RGB"), float).mean((0, 1))
        assert shown.argmax() == middle.argmax()

    def test_none_where_none_are_wanted(self, trained, index, tmp_path):
        (told,) = ception.explain(trained, index.paths[0], neighbours=0, checks=False, out=tmp_path)
        assert told.nearest is None
        assert "nearest" not in told.as_dict()

    def test_a_run_without_an_index_is_one_line(self, trained, index, tmp_path):
        lonely = copied(trained, tmp_path / "lonely", index=False)
        (told,) = ception.explain(
            lonely, index.paths[0], checks=False, out=tmp_path / "out", reporter=(notes := Notes())
        )
        assert told.nearest is None
        assert [line for line in notes.lines if "No training pictures are shown: " in line and "is not there" in line]
        with pytest.raises(InputError, match=r"neighbours.npz is not there, .*: train anew, without --no-neighbours"):
            ception.explain(lonely, index.paths[0], neighbours=2, out=tmp_path / "other")

    def test_a_classifier_in_memory_has_none(self, classifier, index, tmp_path):
        (told,) = ception.explain(classifier, index.paths[0], checks=False, out=tmp_path, reporter=(notes := Notes()))
        assert told.nearest is None
        assert not any("training pictures" in line for line in notes.lines)
        with pytest.raises(InputError, match="in memory has no index"):
            ception.explain(classifier, index.paths[0], neighbours=2, out=tmp_path)

    def test_a_repository_of_the_hub_has_none(self, classifier):
        notes = Notes()
        assert index_of_training("hf://jane/colours", classifier, None, notes) is None
        assert "hf://jane/colours has none of them, which lie in its run folder alone" in notes.lines[-1]
        with pytest.raises(InputError, match="hf://jane/colours has none of them"):
            index_of_training(Path("hf://jane/colours"), classifier, 2, notes)


def flat(classifier: ception.Classifier) -> ception.Classifier:
    """A classifier whose network has no places to look at."""
    image = keras.Input((16, 16, 3))
    logits = keras.layers.Dense(3, name="logits")(keras.layers.Flatten(name="head_flatten")(image))
    return replace(classifier, network=keras.Model(image, logits, name="flat"))


@pytest.fixture
def mislabelled(trained, tmp_path) -> Path:
    """Pictures of which some stand in the wrong class."""
    root = write_pictures(tmp_path / "mixed", dict.fromkeys(COLOURS, 4), seed=11)
    for number in range(2):
        (root / "red" / f"{number:03}.png").rename(root / "blue" / f"wrong{number}.png")
    return root


class TestReport:
    def test_an_evaluation_explains_the_worst_mistakes(self, run_cli, trained, mislabelled, tmp_path):
        code, _, err = run_cli("evaluate", trained, mislabelled, "--explain", "--out", tmp_path / "out", "--quiet")
        assert code == 0, err
        page = (tmp_path / "out" / "report.html").read_text()
        mistakes = page.split("<h2>Worst mistakes</h2>")[1].split("<h2>")[0]
        assert mistakes.count('<div class="looked">') == mistakes.count("What spoke for it") == 2
        assert mistakes.count("Nearest in training:") == 2
        assert "how far they are from it, 0 being the same" in mistakes
        assert "0 being the same" not in page.split("<h2>Most doubtful</h2>")[1]
        assert len(re.findall(r"<br>red 0\.\d\d<br>", mistakes)) == 6
        assert "looked" not in page.split("<h2>Most doubtful</h2>")[1]

    def test_without_it_nothing_is_looked_into(self, trained, mislabelled, tmp_path):
        ception.evaluate(trained, mislabelled, out=tmp_path / "out")
        assert '<div class="looked">' not in (tmp_path / "out" / "report.html").read_text()

    def test_a_model_without_places_has_no_heat_maps(self, classifier, mislabelled, tmp_path):
        ception.evaluate(flat(classifier), mislabelled, explain=True, out=tmp_path, reporter=(notes := Notes()))
        assert "No heat maps are drawn: flat has no endpoint with more than one place" in notes.notes
        assert "What spoke for it" not in (tmp_path / "report.html").read_text()
        with pytest.raises(InputError, match="flat has no endpoint with more than one place: take --method occlusion"):
            ception.explain(flat(classifier), np.zeros((16, 16, 3), np.uint8), out=tmp_path / "why")

    def test_an_export_is_refused_before_anything_is_scored(self, mislabelled, tmp_path, trained):
        pytest.importorskip("onnx", reason="onnx is not installed")
        ception.export(trained, "onnx", out=tmp_path / "it.onnx", pictures=2)
        with pytest.raises(
            InputError, match="is an export, which gives answers, but no weights and no gradients: name"
        ):
            ception.evaluate(tmp_path / "it.onnx", mislabelled, explain=True, out=tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_a_training_shows_what_its_mistakes_are_like(self, tmp_path):
        root = write_pictures(tmp_path / "odd", dict.fromkeys(COLOURS, 30))
        for number in range(0, 30, 3):
            (root / "red" / f"{number:03}.png").rename(root / "blue" / f"wrong{number}.png")
        run = ception.train(root, model="separable_cnn", epochs=2, image_size=16, runs=tmp_path / "runs")
        page = (run.folder / "report.html").read_text()
        mistakes = page.split("<h2>Worst mistakes</h2>")[1].split("<h2>")[0]
        assert 1 <= mistakes.count("Nearest in training:") == min(12, mistakes.count('<span class="bad">'))
        assert "What spoke for it" not in page


@pytest.fixture
def made():
    """Makes servers of a model without a network."""
    pytest.importorskip("fastapi", reason="fastapi is not installed")
    from support.serving import Server

    servers = []

    def make(path: Path, **options) -> Server:
        servers.append(Server({"it": path}, **options))
        return servers[-1]

    yield make
    for one in servers:
        one.models.close()


class TestServer:
    def test_shows_small_copies_and_nothing_else_of_the_training(self, made, trained, index, tmp_path):
        moved = copied(trained, tmp_path / "elsewhere")
        server = made(moved / "model.keras")
        assert server.ask("GET", "/models").json()[0]["neighbours"] is True
        answer = server.ask("POST", "/neighbours?count=2", content=Path(index.paths[3]).read_bytes())
        assert answer.status_code == 200, answer.text
        assert set(answer.json()) == {"model", "neighbours"}
        first, second = answer.json()["neighbours"]
        assert set(first) == {"class", "distance", "thumbnail"}
        assert first["distance"] <= second["distance"]
        head, _, data = first["thumbnail"].partition(";base64,")
        assert head == "data:image/jpeg"
        with Image.open(io.BytesIO(base64.b64decode(data))) as small:
            assert max(small.size) <= 96
        for path in index.paths:
            assert path not in answer.text
            assert Path(path).name not in answer.text

    def test_refusals(self, made, trained, tmp_path, files):
        server = made(copied(trained, tmp_path / "bare", index=False) / "model.keras")
        assert server.ask("GET", "/models").json()[0]["neighbours"] is False
        answer = server.ask("POST", "/neighbours", content=files[0])
        assert (answer.status_code, answer.json()["error"]) == (422, "it has no training pictures to show")
        assert server.ask("POST", "/neighbours?count=0", content=files[0]).status_code == 422
        shutil.copyfile(trained / "scores.json", tmp_path / "bare" / "neighbours.npz")
        answer = server.ask("POST", "/neighbours", content=files[0])
        assert answer.status_code == 422
        assert answer.json()["error"] == "the training pictures of it cannot be shown: ception explain says why"

    def test_can_be_forbidden(self, made, trained, files):
        server = made(trained / "model.keras", neighbours=False)
        assert server.ask("GET", "/models").json()[0]["neighbours"] is False
        answer = server.ask("POST", "/neighbours", content=files[0])
        assert answer.status_code == 422
        assert "started with --no-neighbours" in answer.json()["error"]
        assert server.ask("POST", "/explain", content=files[0]).status_code == 200
