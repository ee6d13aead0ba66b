"""Data sets in other people's tar archives and Parquet files, and at addresses, are those that lie in folders."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import fsspec
import numpy as np
import pytest

import ception
from ception.data import sources, stores
from ception.data.formats import PictureError
from ception.data.pictures import Encoded
from ception.errors import InputError, RunError
from support import s3
from support.data_sets import add, facts, write_parquet
from support.pictures import COLOURS, write_pictures
from support.reporters import Notes
from support.runs import assert_same_run, killed


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("data") / "photos", dict.fromkeys(COLOURS, 20))


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    """The file system of memory://, empty."""
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


def upload(system: fsspec.AbstractFileSystem, folder: Path, to: str) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            system.pipe_file(f"{to}/{path.relative_to(folder).as_posix()}", path.read_bytes())


class TestArchives:
    @pytest.fixture(params=["cls", "json", "folder"])
    def archive(self, request, photos: Path, tmp_path: Path) -> Path:
        """The photos in one archive, with their classes said in one of the usual ways."""
        path = tmp_path / "tars" / "all-000.tar"
        path.parent.mkdir()
        with tarfile.open(path, "w") as archive:
            add(archive, "README.txt", b"of no class")
            for number, picture in enumerate(sorted(photos.rglob("*.png"))):
                name = picture.parent.name
                key = f"{name}/{number:04}" if request.param == "folder" else f"{number:04}"
                add(archive, f"{key}.png", picture.read_bytes())
                if request.param == "cls":
                    add(archive, f"{key}.cls", name.encode())
                elif request.param == "json":
                    add(archive, f"{key}.json", json.dumps({"width": 20, "label": name}).encode())
        return path

    def test_they_are_the_data_set(self, archive: Path, photos: Path):
        expected = facts(photos)
        for data in (archive, archive.parent):
            notes = Notes()
            assert facts(data, notes) == expected
            assert any("1 tar archive: the classes are those of" in line for line in notes.notes)

    def test_they_are_indexed_once(self, archive: Path, monkeypatch: pytest.MonkeyPatch):
        first = facts(archive)
        monkeypatch.setattr(tarfile, "open", None)
        assert facts(archive) == first

    def test_numbers_are_no_names(self, photos: Path, tmp_path: Path):
        with tarfile.open(tmp_path / "train-0.tar", "w") as archive:
            for number, picture in enumerate(sorted(photos.rglob("*.png"))):
                add(archive, f"{number:04}.png", picture.read_bytes())
                add(archive, f"{number:04}.cls", str(number % 3).encode())
        dataset = sources.load(tmp_path)
        assert dataset.unnamed
        assert dataset.class_names == ("0", "1", "2")
        assert set(dataset.stated_splits.tolist()) == {sources.TRAIN}

    def test_without_a_class_they_are_predicted_only(self, trained: Path, photos: Path, tmp_path: Path):
        path = tmp_path / "some.tar"
        with tarfile.open(path, "w") as archive:
            for number in range(3):
                add(archive, f"{number}.png", (photos / "red" / "000.png").read_bytes())
        with pytest.raises(InputError, match=r"nothing says of which class .*some\.tar/0\.png is"):
            sources.load(path)
        assert [one.top[0].class_name for one in ception.predict(trained, path)] == ["red"] * 3

    def test_a_class_beside_most_pictures_is_not_the_folder_of_the_others(self, photos: Path, tmp_path: Path):
        for number, name in enumerate(sorted(COLOURS)):  # in the second archive alone
            with tarfile.open(tmp_path / f"{number}.tar", "w") as archive:
                for picture in sorted((photos / name).glob("*.png")):
                    add(archive, f"all/{picture.name}", picture.read_bytes())
                    if (number, picture.name) != (1, "003.png"):
                        add(archive, f"all/{picture.stem}.cls", name.encode())
        with pytest.raises(
            InputError, match=r"nothing says of which class .*1\.tar/all/003\.png.*as there is of others"
        ):
            sources.load(tmp_path)

    def test_one_without_pictures(self, trained: Path, tmp_path: Path):
        with tarfile.open(tmp_path / "a.tar", "w"):
            pass
        for use in (sources.load, lambda path: ception.predict(trained, path)):
            with pytest.raises(InputError, match=r"a\.tar holds no pictures"):
                use(tmp_path / "a.tar")

    def test_two_pictures_of_one_name(self, photos: Path, tmp_path: Path):
        with tarfile.open(tmp_path / "a.tar", "w") as archive:
            for side in ("left", "right"):
                add(archive, f"x/0.{side}.png", (photos / "red" / "000.png").read_bytes())
        with pytest.raises(InputError, match=r"x/0 has x/0\.left\.png and x/0\.right\.png: a sample must have one"):
            sources.load(tmp_path)

    def test_one_that_is_cut_off(self, archive: Path):
        archive.write_bytes(archive.read_bytes()[:5000])
        with pytest.raises(InputError, match=r"all-000\.tar is broken"):
            sources.load(archive)

    def test_one_that_breaks_off_between_two_files_or_is_damaged_there(self, archive: Path):
        whole = archive.read_bytes()
        with tarfile.open(archive) as opened:
            middle = opened.getmembers()[20].offset
        for broken in (whole[:middle], whole[:middle] + b"x" * 512 + whole[middle + 512 :]):
            archive.write_bytes(broken)
            with pytest.raises(InputError, match=rf"all-000\.tar is broken: at byte {middle:,} there is neither"):
                sources.load(archive)

    def test_one_that_is_packed(self, archive: Path, tmp_path: Path):
        with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as packed:
            packed.add(archive, "x")
        (tmp_path / "packed").mkdir()
        (tmp_path / "a.tar.gz").rename(tmp_path / "packed" / "a.tar.gz")
        for data in (tmp_path / "packed" / "a.tar.gz", tmp_path / "packed"):
            with pytest.raises(InputError, match=r"a\.tar\.gz is packed.*unpack it to \.tar"):
                sources.load(data)

    def test_one_beside_class_folders_is_left_alone(self, photos: Path, tmp_path: Path):
        folder = write_pictures(tmp_path / "photos", {"blue": 20, "red": 20})
        (folder / "photos.tar").write_bytes(b"what it was unpacked from")
        assert sources.load(folder).class_names == ("blue", "red")


class TestParquet:
    @pytest.fixture
    def folder(self, photos: Path, tmp_path: Path) -> Path:
        """The photos as a data set of the hub has them."""
        paths = sorted(photos.rglob("*.png"))
        for split, part in (("train", paths[::2]), ("test", paths[1::2])):
            write_parquet(tmp_path / "hub" / "data" / f"{split}-00000-of-00001.parquet", part, sorted(COLOURS))
        return tmp_path / "hub"

    def test_it_is_the_data_set(self, folder: Path, photos: Path):
        told = facts(folder)
        assert {key: name for key, (name, _) in told.items()} == {key: name for key, (name, _) in facts(photos).items()}
        assert sum(split == sources.TEST for _, split in told.values()) == 30
        assert facts(folder / "data" / "train-00000-of-00001.parquet").keys() < told.keys()

    def test_it_is_trained_on_and_predicted(self, folder: Path, tmp_path: Path):
        run = ception.train(folder, model="separable_cnn", epochs=1, image_size=16, runs=tmp_path / "runs")
        predictions = ception.predict(run.folder, folder / "data" / "test-00000-of-00001.parquet")
        assert len(predictions) == 30
        assert not any(one.error for one in predictions)

    def test_each_file_names_its_own_numbers(self, photos: Path, tmp_path: Path):
        paths = sorted(photos.rglob("*.png"))
        for number, names in enumerate((sorted(COLOURS), sorted(COLOURS, reverse=True))):
            write_parquet(tmp_path / f"{number}.parquet", paths[number::2], names)
        told = facts(tmp_path)
        assert {key: name for key, (name, _) in told.items()} == {key: name for key, (name, _) in facts(photos).items()}

    def test_files_that_are_not_alike(self, trained: Path, photos: Path, tmp_path: Path):
        pa = pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
        from pyarrow import parquet

        data = (photos / "red" / "000.png").read_bytes()
        parquet.write_table(pa.table({"image": [data], "label": ["red"]}), tmp_path / "a.parquet")
        for other, told in (
            ({"image": [data], "label": [0]}, r"numbers without names in \S+b\.parquet and names in \S+a\.parquet"),
            ({"image": [data], "class": ["red"]}, r"a\.parquet has the classes .* 'label', \S+b\.parquet in 'class'"),
            ({"photo": [data], "label": ["red"]}, r"a\.parquet has the pictures .* 'image', \S+b\.parquet in 'photo'"),
        ):
            parquet.write_table(pa.table(other), tmp_path / "b.parquet")
            with pytest.raises(InputError, match=told):
                sources.load(tmp_path)
        with pytest.raises(InputError, match=r"'image', .* in 'photo'"):
            ception.predict(trained, tmp_path)

    def test_one_without_rows(self, trained: Path, tmp_path: Path):
        pa = pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
        from pyarrow import parquet

        empty = pa.table({"image": pa.array([], pa.binary()), "label": pa.array([], pa.string())})
        parquet.write_table(empty, tmp_path / "a.parquet")
        for use in (sources.load, lambda path: ception.predict(trained, path)):
            with pytest.raises(InputError, match=r"a\.parquet holds no pictures"):
                use(tmp_path / "a.parquet")

    def test_one_without_pictures(self, tmp_path: Path):
        pa = pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
        from pyarrow import parquet

        parquet.write_table(pa.table({"text": ["a"], "label": [0]}), tmp_path / "a.parquet")
        with pytest.raises(
            InputError, match=r"^\S+a\.parquet has no column with pictures' files.*text \(string\), label \(int64\)"
        ):
            sources.load(tmp_path / "a.parquet")
        parquet.write_table(pa.table({"image": [b"a"], "klass": [0]}), tmp_path / "a.parquet")
        with pytest.raises(InputError, match=r"has no column label: .*klass"):
            sources.load(tmp_path / "a.parquet")
        (tmp_path / "a.parquet").write_bytes(b"PAR1 and nothing else")
        with pytest.raises(InputError, match=r"a\.parquet cannot be read"):
            sources.load(tmp_path / "a.parquet")


@pytest.mark.usefixtures("memory")
class TestAddresses:
    def test_folders(self, memory, photos: Path):
        upload(memory, photos, "/bucket/photos")
        assert facts("memory://bucket/photos") == facts(photos)

    def test_a_table_with_pictures_beside_it(self, memory, photos: Path):
        upload(memory, photos, "/bucket/photos")
        lines = [f"photos/{path.relative_to(photos)},{path.parent.name}" for path in photos.rglob("*.png")]
        memory.pipe_file("/bucket/list.csv", "\n".join(["path,label", *lines]).encode())
        assert facts("memory://bucket/list.csv") == facts(photos)
        memory.pipe_file("/bucket/list.csv", b"path,label\nphotos/red/nowhere.png,red\n")
        with pytest.raises(InputError, match=r"line 2: there is no file memory://bucket/photos/red/nowhere\.png"):
            sources.load("memory://bucket/list.csv")

    def test_a_table_here_of_pictures_there(self, memory, photos: Path, tmp_path: Path):
        upload(memory, photos, "/bucket/photos")
        lines = [
            f"memory://bucket/photos/{path.relative_to(photos)},{path.parent.name}" for path in photos.rglob("*.png")
        ]
        (tmp_path / "list.csv").write_text("\n".join(["path,label", *lines]))
        assert facts(tmp_path / "list.csv") == facts(photos)

    def test_shards(self, memory, photos: Path, tmp_path: Path):
        ception.shard(photos, tmp_path / "shards")
        upload(memory, tmp_path / "shards", "/bucket/shards")
        assert facts("memory://bucket/shards") == facts(photos)
        memory.rm("/bucket/shards/val-000000.tar")
        with pytest.raises(InputError, match=r"memory://bucket/shards/val-000000\.tar is missing"):
            sources.load("memory://bucket/shards")

    def test_a_model_and_pictures(self, memory, trained: Path, photos: Path):
        upload(memory, photos / "red", "/bucket/new")
        memory.pipe_file("/bucket/run/model.keras", (trained / "model.keras").read_bytes())
        expected = ception.predict(trained, photos / "red")
        for model in ("memory://bucket/run", "memory://bucket/run/model.keras", Path("memory://bucket/run")):
            told = ception.predict(model, "memory://bucket/new")
            assert [one.top for one in told] == [one.top for one in expected]
        one = ception.predict(trained, "memory://bucket/new/000.png")
        assert [guess.top for guess in one] == [expected[0].top]

    def test_one_picture_at_an_address_of_this_machine(self, trained: Path, photos: Path):
        (one,) = ception.predict(trained, f"file://{photos}/red/000.png")
        assert one.top == ception.predict(trained, photos / "red" / "000.png")[0].top

    def test_a_copy_is_made_anew_when_the_file_changes(self, memory, trained: Path):
        memory.pipe_file("/bucket/model.keras", b"something else")
        with pytest.raises(InputError, match="model"):
            ception.predict("memory://bucket/model.keras", np.zeros((8, 8, 3), np.uint8))
        memory.pipe_file("/bucket/model.keras", (trained / "model.keras").read_bytes())
        assert len(ception.predict("memory://bucket/model.keras", np.zeros((8, 8, 3), np.uint8))) == 1

    def test_training_and_scoring(self, memory, photos: Path, tmp_path: Path):
        upload(memory, photos, "/bucket/photos")
        options = {"model": "separable_cnn", "epochs": 1, "image_size": 16, "runs": tmp_path / "runs"}
        run = ception.train("memory://bucket/photos", **options)
        assert run.folder.name == "001-separable_cnn-photos"
        scores = ception.evaluate(run.folder, "memory://bucket/photos")
        assert scores.log_loss == pytest.approx(run.scores.log_loss, abs=1e-6)
        result = ception.check("memory://bucket/photos", out=tmp_path / "page.html")
        assert result.pictures == 60

    @pytest.mark.slow
    def test_an_interrupted_training_goes_on(self, memory, photos: Path, tmp_path: Path):
        upload(memory, photos, "/bucket/photos")
        options = {"model": "separable_cnn", "epochs": 2, "image_size": 8}
        whole = ception.train("memory://bucket/photos", runs=tmp_path / "whole", **options)
        with killed("ception.training.state.save", at=2):
            ception.train("memory://bucket/photos", runs=tmp_path / "runs", **options)
        resumed = ception.resume(tmp_path / "runs" / whole.folder.name)
        assert_same_run(whole.folder, resumed.folder)

    def test_parts_of_files_are_asked_for_as_every_file_system_takes_them(self, memory, monkeypatch):
        whole = type(memory).cat_file
        memory.pipe_file("/bucket/it", b"0123456789")

        def cat_file(system, path, version_id=None, start=None, end=None):  # as s3fs has it
            assert version_id is None
            return whole(system, path, start, end)

        monkeypatch.setattr(type(memory), "cat_file", cat_file)
        assert stores.read_part("memory://bucket/it", 2, 3) == b"234"
        monkeypatch.setattr(type(memory), "cat_file", lambda system, path, start=None, end=None: whole(system, path))
        assert stores.read_part("memory://bucket/it", 0, 3) == b"012"
        with pytest.raises(PictureError, match="its server sends whole files, no parts of them"):
            stores.read_part("memory://bucket/it", 2, 3)

    def test_no_bucket_is_made(self, memory, monkeypatch):
        monkeypatch.setattr(stores, "opened", lambda where: (memory, where.partition("://")[2]))
        stores.write("s3://bucket/it", b"1")
        assert not memory.pseudo_dirs.count("/bucket")
        stores.write("memory://bucket/it", b"1")
        assert memory.pseudo_dirs.count("/bucket")

    def test_what_is_not_there(self):
        with pytest.raises(InputError, match="there is nothing at memory://bucket/nowhere"):
            sources.load("memory://bucket/nowhere")
        with pytest.raises(InputError, match=r"s5://bucket.*did you mean 's3'"):
            sources.load("s5://bucket/photos")

    def test_a_library_that_is_missing(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setitem(__import__("sys").modules, "gcsfs", None)
        with pytest.raises(InputError, match="gs:// needs a library: pip install gcsfs"):
            sources.load("gs://bucket/photos")


@pytest.mark.slow
def test_s3(photos: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    ception.shard(photos, tmp_path / "shards")
    with s3.serving(monkeypatch, {"shards": tmp_path / "shards", "photos": photos}) as system:
        assert facts("s3://bucket/shards") == facts("s3://bucket/photos") == facts(photos)
        there, here = (sources.load(data).pictures for data in ("s3://bucket/shards", tmp_path / "shards"))
        assert isinstance(there, Encoded)
        assert isinstance(here, Encoded)
        assert [there.read(index) for index in range(3)] == [here.read(index) for index in range(3)]
        for out in ("s3://bucket/answers", "s3://nobody/answers"):
            with nullcontext() if "bucket" in out else pytest.raises(RunError, match="bucket does not exist"):
                ception.predict_into(trained, "s3://bucket/shards", out)
        assert system.find("bucket/answers") == ["bucket/answers/job.json", "bucket/answers/part-00000.csv"]
        assert not system.exists("nobody")
