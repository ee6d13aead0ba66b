"""Data sets on a web server of this machine, in a repository of the hub, and in a bucket at gs://."""

from __future__ import annotations

import os
import re
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry as KNOWN

import ception
from ception.data import sources
from ception.errors import InputError
from support import hub, web
from support.data_sets import add, facts, write_parquet
from support.pictures import COLOURS, content, write_pictures
from support.reporters import Notes

SMALL = {"model": "separable_cnn", "epochs": 1, "image_size": 16}


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("data") / "photos", dict.fromkeys(COLOURS, 12))


def write_archive(path: Path, photos: Path) -> Path:
    with tarfile.open(path, "w") as archive:
        for picture in sorted(photos.rglob("*.png")):
            add(archive, f"{picture.parent.name}/{picture.stem}.png", picture.read_bytes())
    return path


@pytest.mark.usefixtures("own_cache")
class TestWeb:
    @pytest.fixture
    def place(self, photos: Path, tmp_path: Path) -> Path:
        """What the server has: the photos in a folder."""
        (tmp_path / "www").mkdir()
        (tmp_path / "www" / "photos").symlink_to(photos)
        return tmp_path / "www"

    @pytest.fixture
    def server(self, place: Path) -> Iterator[web.Web]:
        pytest.importorskip("aiohttp", reason="what reads http:// and https:// needs aiohttp")
        with web.serving(place) as server:
            yield server

    @pytest.mark.usefixtures("undrawn")
    def test_folders_are_checked_trained_on_and_predicted(self, server, photos, tmp_path, run_cli):
        address = f"{server.url}/photos/"
        assert facts(address) == facts(address[:-1]) == facts(photos)
        code, out, err = run_cli("check", address, "--out", tmp_path / "page.html")
        assert (code, "36 pictures" in out) == (0, True), err
        run = ception.train(address, runs=tmp_path / "runs", **SMALL)
        assert run.folder.name == "001-separable_cnn-photos"
        told = ception.predict(run.folder, address, allow_urls=True)
        expected = ception.predict(run.folder, photos)
        assert [one.top for one in told] == [one.top for one in expected]
        assert [one.path for one in told] == [
            f"{server.url}/photos/{Path(one.path).relative_to(photos)}" for one in expected
        ]
        with pytest.raises(InputError, match="is an address: give --allow-urls"):
            ception.predict(run.folder, address)

    def test_archives_and_parquet_files(self, server, place, photos, trained):
        write_archive(place / "a.tar", photos)
        write_parquet(place / "hub" / "all.parquet", sorted(photos.rglob("*.png")), sorted(COLOURS))
        for name in ("a.tar", "hub/all.parquet", "hub/"):
            assert facts(f"{server.url}/{name}") == facts(photos)
            assert len(ception.predict(trained, f"{server.url}/{name}", allow_urls=True)) == 36
            with pytest.raises(InputError, match="is an address: give --allow-urls"):
                ception.predict(trained, f"{server.url}/{name}")
        assert ("GET", "/a.tar", None) not in server.asked  # it was read in parts

    def test_shards_and_a_model(self, server, place, photos, trained):
        ception.shard(photos, place / "shards")
        assert facts(f"{server.url}/shards") == facts(photos)
        (place / "model.keras").symlink_to(trained / "model.keras")
        told = ception.predict(f"{server.url}/model.keras", f"{server.url}/shards/", allow_urls=True)
        assert [one.top for one in told] == [one.top for one in ception.predict(trained, place / "shards")]

    def test_a_list_with_a_folder_in_it_is_not_followed(self, server, trained):
        one, other = ception.predict(
            trained, [f"{server.url}/photos/", f"{server.url}/photos/red/000.png"], allow_urls=True
        )
        assert one.error
        assert not other.error

    def test_names_are_what_a_page_means_by_them(self, server, place):
        write_pictures(place / "others", {"grün & rot": 3, "50% blue": 3})
        (place / "others" / "sub.html").write_text("no listing")
        assert sources.load(f"{server.url}/others").class_names == ("50% blue", "grün & rot")
        assert facts(f"{server.url}/others") == facts(place / "others")

    def test_links_to_elsewhere_and_other_orders_are_not_followed(self, server, place):
        folder = write_pictures(place / "own", {"blue": 3, "red": 3})
        links = "./", "../", "/own/", "?C=N;O=D", "blue/", "red/", "gone/", "https://example.com/x/"
        (folder / "index.html").write_text("".join(f'<a href="{link}">x</a>' for link in links))
        assert facts(f"{server.url}/own") == facts(folder)
        assert {path for _, path, _ in server.asked} >= {"/own/", "/own/blue/", "/own/gone/"}
        assert not any("?" in path or ".." in path for _, path, _ in server.asked)

    def test_one_without_listings(self, server, place, run_cli):
        (place / "own").mkdir()
        (place / "own" / "index.html").write_text("<p>Welcome</p>")
        hint = "or its server lists no folders: name a .tar, .parquet, .csv or .npz file there"
        for name in ("own", "nowhere"):
            code, _, err = run_cli("check", f"{server.url}/{name}")
            assert (code, err) == (2, f"ception: there is nothing at {server.url}/{name}, {hint}\n")
        server.refused = {"/photos/": 403, "/photos/red/": 500}
        code, _, err = run_cli("check", f"{server.url}/photos")
        assert (code, err.count("\n"), "photos cannot be read: 403" in err) == (2, 1, True), err
        server.refused.pop("/photos/")
        with pytest.raises(InputError, match="photos cannot be read: 500"):  # not without its class
            sources.load(f"{server.url}/photos")

    def test_one_that_sends_whole_files(self, server, place, photos, run_cli):
        write_archive(place / "a.tar", photos)
        write_parquet(place / "b.parquet", sorted(photos.rglob("*.png")), sorted(COLOURS))
        ception.shard(photos, place / "shards")
        server.parts = False
        for name in ("a.tar", "b.parquet", "shards"):
            code, _, err = run_cli("train", f"{server.url}/{name}", "--image-size", "16")
            assert (code, err.count("\n")) == (2, 1), err
            assert "its server sends whole files, no parts of them: copy the file to this machine" in err
        assert facts(f"{server.url}/photos") == facts(photos)

    def test_what_is_not_there(self, server):
        for name in ("a.tar", "a.parquet", "a.csv", "a.npz"):
            with pytest.raises(InputError, match=rf"^there is no file {server.url}/{name}$"):
                sources.load(f"{server.url}/{name}")
        with pytest.raises(InputError, match=rf"^there is no file {server.url}/model.keras$"):
            ception.predict(f"{server.url}/model.keras", b"")

    def test_a_server_that_is_not_there(self, server):
        for name in ("photos", "a.tar", "a.parquet", "a.csv", "a.npz"):
            with pytest.raises(InputError, match=rf"^http://127.0.0.1:9/{name} cannot be read: Cannot connect to"):
                sources.load(f"http://127.0.0.1:9/{name}")

    def test_a_file_that_changed_is_read_anew(self, server, place):
        (place / "list.csv").write_text("path,label\nphotos/red/000.png,red\nphotos/blue/000.png,bl\n")
        assert sources.load(f"{server.url}/list.csv").class_names == ("bl", "red")
        (place / "list.csv").write_text("path,label\nphotos/red/000.png,red\nphotos/blue/000.png,bb\n")
        os.utime(place / "list.csv", (1e9, 1e9))
        assert sources.load(f"{server.url}/list.csv").class_names == ("bb", "red")


class TestHub:
    @pytest.fixture
    def hub(self, photos: Path, tmp_path: Path, own_cache, monkeypatch) -> Iterator[hub.Hub]:
        """The photos as one file each, and as Parquet files."""
        with hub.serving() as server:
            monkeypatch.setenv("HF_ENDPOINT", server.url)
            server.repositories["datasets/jane/photos"] = content(photos)
            for split, part in (("train", slice(0, None, 2)), ("test", slice(1, None, 2))):
                chosen = sorted(photos.rglob("*.png"))[part]
                write_parquet(tmp_path / "hub" / "data" / f"{split}-0.parquet", chosen, sorted(COLOURS))
            server.repositories["datasets/jane/table"] = {"README.md": b"# It", **content(tmp_path / "hub")}
            yield server

    @pytest.mark.usefixtures("undrawn")
    def test_pictures_are_checked_trained_on_and_predicted(self, hub, photos, tmp_path, run_cli):
        assert facts("hf://datasets/jane/photos") == facts(photos)
        code, out, err = run_cli("check", "hf://datasets/jane/photos", "--out", tmp_path / "page.html")
        assert (code, "36 pictures" in out) == (0, True), err
        run = ception.train("hf://datasets/jane/photos", runs=tmp_path / "runs", **SMALL)
        told = ception.predict(run.folder, "hf://datasets/jane/photos/red")
        assert [one.top for one in told] == [one.top for one in ception.predict(run.folder, photos / "red")]

    @pytest.mark.parametrize("revision", ["", "@v1", "@refs/convert/parquet"])
    def test_parquet_files(self, hub, photos, tmp_path, trained, revision):
        hub.revisions.add("refs/convert/parquet")
        address = f"hf://datasets/jane/table{revision}"
        assert facts(address) == facts(tmp_path / "hub")
        assert len(ception.predict(trained, f"{address}/data/test-0.parquet")) == 18

    def test_a_file_that_changed_is_read_anew(self, hub):
        for name in ("bl", "bb"):
            table = f"path,label\nred/000.png,red\nblue/000.png,{name}\n"
            hub.repositories["datasets/jane/photos"]["list.csv"] = table.encode()
            fsspec.get_filesystem_class("hf").clear_instance_cache()  # as in another process
            assert sources.load("hf://datasets/jane/photos/list.csv").class_names == tuple(sorted(["red", name]))

    @pytest.mark.parametrize(("address", "told"), [
        ("hf://datasets/jane/none", "there is nothing at hf://datasets/jane/none"),
        ("hf://datasets/jane/table@v2", "there is nothing at hf://datasets/jane/table@v2"),
        ("hf://datasets/jane/table/a.parquet", "there is no file hf://datasets/jane/table/a.parquet"),
        ("hf://datasets/jane/table/a.tar", "there is no file hf://datasets/jane/table/a.tar"),
        ("hf://jane/photos", "there is nothing at hf://jane/photos: the hub's data sets are at hf://datasets/USER/NAME"),
        ("hf://jane/colours", "hf://jane/colours is a trained model, not pictures: give the folder or file with the "
         "data in its place"),
    ])  # fmt: skip
    def test_what_is_no_data_set(self, hub, run_cli, address, told):
        hub.repositories["jane/colours"] = {"model.keras": b"it"}
        assert run_cli("check", address)[::2] == (2, f"ception: {told}\n")

    def test_a_hub_that_is_not_there(self, hub, run_cli, monkeypatch):
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
        code, _, err = run_cli("check", "hf://datasets/jane/photos")
        assert code == 2
        assert re.fullmatch(r"ception: hf://datasets/jane/photos cannot be read: .*Connection refused\n", err)


class Bucket(MemoryFileSystem):
    """In place of gcsfs, which is not installed: a bucket that has to be there."""

    protocol = ("gs", "gcs")
    store: ClassVar[dict[str, object]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    projects: ClassVar[set[str]] = set()

    def __init__(self, project: str = "", **options: object) -> None:
        super().__init__(**options)
        self.projects.add(project)

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(re.sub("^g(c?)s://", "/", path))

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        raise AssertionError("it may be a bucket that is made")


class TestGoogle:
    @pytest.fixture
    def bucket(self, photos: Path, own_cache, monkeypatch) -> Iterator[Bucket]:
        """One with the photos, for those who name their project."""
        for protocol in Bucket.protocol:
            monkeypatch.setitem(KNOWN, protocol, Bucket)
            monkeypatch.setitem(fsspec.config.conf, protocol, {"project": "colours"})
        system = fsspec.filesystem("gs")
        system.mkdir("/bucket")
        for name, picture in content(photos).items():
            system.pipe_file(f"/bucket/photos/{name}", picture)
        yield system
        Bucket.store.clear()
        Bucket.pseudo_dirs[:] = [""]
        Bucket.projects.clear()
        Bucket.clear_instance_cache()

    def test_it_is_an_address_as_others_are(self, bucket, photos, trained):
        assert facts("gs://bucket/photos") == facts("gcs://bucket/photos") == facts(photos)
        assert Bucket.projects == {"colours"}
        bucket.pipe_file("/bucket/model.keras", (trained / "model.keras").read_bytes())
        model, out = "gs://bucket/model.keras", "gs://bucket/answers"
        whole = ception.predict_into(model, "gs://bucket/photos/red", out, part_size=5)
        assert whole.pictures == 12
        assert bucket.find("/bucket/answers") == [
            f"/bucket/answers/{name}" for name in ("job.json", *(f"part-0000{number}.csv" for number in range(3)))
        ]
        bucket.rm_file("/bucket/answers/part-00001.csv")
        notes = Notes()
        assert ception.predict_into(model, "gs://bucket/photos/red", out, part_size=5, reporter=notes) == whole
        assert f"{out} has the answers for 7 of 12 pictures" in notes.notes

    def test_a_library_that_is_missing_is_named(self, trained, photos, tmp_path, run_cli, monkeypatch):
        monkeypatch.setitem(sys.modules, "gcsfs", None)
        assert "gs" not in KNOWN
        for words in (
            ("check", "gs://bucket/photos"), ("train", "gs://bucket/list.csv"), ("predict", trained, "gs://bucket/new"),
            ("predict", "gs://bucket/model.keras", photos), ("shard", "gs://bucket/photos", tmp_path / "shards"),
            ("predict", trained, photos, "--out", "gs://bucket/answers"),
        ):  # fmt: skip
            assert run_cli(*words)[::2] == (2, "ception: gs:// needs a library: pip install gcsfs\n"), words
