"""A data set in tar shards is the data set that they were written from, or is refused."""

from __future__ import annotations

import json
import shutil
import tarfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ception
from ception.data import shards, sources, splitting
from ception.data.dataset import Dataset
from ception.data.images import PictureError
from ception.data.pictures import Files
from ception.data.shard_writing import Picture, ShardWriter
from ception.errors import InputError
from support.pictures import COLOURS, content, write_pictures
from support.reporters import Notes


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("data") / "photos", dict.fromkeys(COLOURS, 20))


@pytest.fixture(scope="module")
def written(photos: Path) -> Path:
    """The shards of the photos, several for the training pictures."""
    out = photos.parent / "shards"
    ception.shard(photos, out, shard_size=0.02)
    return out


@pytest.fixture
def copied(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "copied"))


def facts(data: Path) -> dict[bytes, tuple[str, int, bool, int]]:
    """By digest each picture's class, split, whether it is grey, and its shorter side."""
    dataset = sources.load(data)
    digests = sources.digests(dataset.pictures)[0]
    splits = splitting.split(dataset, digests)
    pictures = dataset.pictures
    return {
        digests[index].tobytes(): (
            dataset.class_names[dataset.labels[index]], int(splits[index]), pictures.is_grey(index),
            pictures.shorter_side(index),
        ) for index in range(len(pictures))
    }  # fmt: skip


def test_they_hold_the_data_set(photos: Path, written: Path):
    assert facts(written) == facts(photos)


def test_they_hold_the_files_as_they_are(photos: Path, written: Path):
    dataset = sources.load(written)
    read = sorted(dataset.pictures.read(index) for index in range(len(dataset.labels)))
    assert read == sorted(content(photos).values())


@pytest.mark.slow
def test_what_is_written_is_not_kept(tmp_path: Path):
    peaks = []
    for count in (1_000, 5_000):
        (folder := tmp_path / str(count)).mkdir()
        tracemalloc.start()
        with ShardWriter(folder, 256_000_000) as writer:
            for number in range(count):
                writer.write(Picture(name=f"{number}.png", suffix=".png", data=b"x", digest=np.void(bytes(16)), label=0,
                                     split=0, grey=False, side=1))  # fmt: skip
            writer.finish(Dataset(name="x", class_names=("a",), pictures=Files([]), labels=np.zeros(0, np.int32),
                                  stated_splits=np.zeros(0, np.int8), ignored={}))  # fmt: skip
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(shards.read(str(folder)).labels) == count
        assert {path.name for path in folder.iterdir()} == {"index.npy", "names.txt", "shards.json", "train-000000.tar"}
    assert peaks[1] - peaks[0] < 4_000 * 10  # bytes; an entry of the index has 52


def test_they_are_archives_that_others_read(written: Path):
    names = sources.load(written).class_names
    archives = sorted(written.glob("*.tar"))
    assert {path.name.partition("-")[0] for path in archives} == {"train", "val", "test"}
    assert len(archives) > 4
    told = {}
    for path in archives:
        with tarfile.open(path) as archive:
            members = {member.name: archive.extractfile(member).read() for member in archive}
        for name, data in members.items():
            if name.endswith(".png"):
                told[data] = names[int(members[name.removesuffix("png") + "cls"])]
    assert sorted(told.values()) == sorted([name for name in COLOURS for _ in range(20)])


def test_classes_are_mixed(written: Path):
    labels = sources.load(written).labels[:20]
    assert (np.diff(labels) != 0).sum() > 5


@pytest.mark.slow  # it trains twice
def test_a_training_on_them_is_one_on_the_data_set(photos: Path, written: Path, tmp_path: Path):
    options = {"model": "separable_cnn", "epochs": 1, "image_size": 16, "runs": tmp_path / "runs"}
    run = ception.train(written, **options)
    scores = ception.evaluate(run.folder, photos).as_dict()
    own = ception.evaluate(run.folder, written).as_dict()
    assert scores["count"] == own["count"] == len([one for one in facts(photos).values() if one[1] == 2])
    assert scores["log_loss"] == pytest.approx(own["log_loss"], abs=1e-6)


def test_pictures_in_them_are_predicted(written: Path, trained: Path):
    alone = ception.predict(trained, written)
    assert len(alone) == 60
    assert all(one.path.startswith(str(written)) for one in alone)
    others = ception.predict(trained, [written, written])
    assert [one.best for one in others] == [one.best for one in alone] * 2


def test_they_are_checked(written: Path, tmp_path: Path):
    result = ception.check(written, out=tmp_path / "page.html")
    assert result.pictures == 60
    assert result.split["train"] > result.split["test"]


def test_arrays_become_png(tmp_path: Path):
    x = np.random.default_rng(0).integers(0, 256, (40, 8, 9, 1), np.uint8)
    np.savez(tmp_path / "data.npz", x_train=x, y_train=np.arange(40) % 2)
    ception.shard(tmp_path / "data.npz", tmp_path / "out")
    assert facts(tmp_path / "out") == facts(tmp_path / "data.npz")
    dataset = sources.load(tmp_path / "out")
    assert dataset.unnamed
    pixels = {np.asarray(dataset.pictures.open(index)).tobytes() for index in range(40)}
    assert pixels == {one.tobytes() for one in x}


def test_a_group_stays_together(tmp_path: Path):
    photos = write_pictures(tmp_path / "photos", {"blue": 80, "red": 80})
    ception.shard(photos, tmp_path / "out", group=r"(.*)\d")
    splits = {}
    dataset = sources.load(tmp_path / "out")
    for index, split in enumerate(dataset.stated_splits):
        name = Path(dataset.pictures.name(index)).stem.split("-")[1]
        splits.setdefault((dataset.labels[index], name[:-1]), set()).add(int(split))
    assert len(splits) == 16
    assert all(len(one) == 1 for one in splits.values())


def test_what_cannot_be_read_is_named(tmp_path: Path):
    photos = write_pictures(tmp_path / "photos", {"blue": 30, "red": 30})
    (photos / "red" / "broken.png").write_bytes((photos / "red" / "000.png").read_bytes()[:200])
    with pytest.raises(InputError, match=r"1 picture cannot be read.*broken\.png.*--skip-unreadable"):
        ception.shard(photos, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]
    notes = Notes()
    result = ception.shard(photos, tmp_path / "out", skip_unreadable=True, reporter=notes)
    assert result.pictures == 60
    assert result.errors == 1
    assert len(result.left_out) == 1
    assert any("broken.png" in line for line in notes.warnings)


def test_a_folder_that_is_there_is_left_alone(photos: Path, written: Path):
    before = content(written)
    with pytest.raises(InputError, match="exists: name a new folder"):
        ception.shard(photos, written)
    assert content(written) == before


def test_the_data_set_is_not_written_into(photos: Path):
    with pytest.raises(InputError, match=r"lies in .* which stays as it is"):
        ception.shard(photos, photos / "shards")
    assert not (photos / "shards").exists()


def test_what_a_killed_command_left_is_told(photos: Path, tmp_path: Path):
    (tmp_path / ".shards.1.tmp").mkdir()
    notes = Notes()
    ception.shard(photos, tmp_path / "shards", reporter=notes)
    assert [line for line in notes.warnings if ".shards.1.tmp was left by a command that was killed" in line]


def test_an_address_is_no_folder_to_write_them_to(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for address in ("s3://bucket/shards", Path("s3://bucket/shards")):
        with pytest.raises(InputError, match=r"must be a path on this machine, not the address s3://bucket/"):
            ception.shard(photos, address)
    assert not list(tmp_path.iterdir())


def test_columns_are_not_kept_without_a_word(photos: Path, tmp_path: Path):
    lines = [f"{path},{path.parent.name},x" for path in sorted(photos.rglob("*.png"))]
    (tmp_path / "list.csv").write_text("\n".join(["path,label,camera", *lines]))
    notes = Notes()
    ception.shard(tmp_path / "list.csv", tmp_path / "out", reporter=notes)
    assert any("no columns: camera" in line for line in notes.warnings)


class TestDamage:
    def test_a_shard_that_is_missing(self, copied: Path):
        (copied / "val-000000.tar").unlink()
        with pytest.raises(InputError, match=r"val-000000\.tar is missing: copy .* again"):
            sources.load(copied)

    def test_a_shard_that_is_cut_off(self, copied: Path):
        path = copied / "val-000000.tar"
        path.write_bytes(path.read_bytes()[:-1000])
        with pytest.raises(InputError, match=r"val-000000\.tar has [\d,]+ bytes, not [\d,]+"):
            sources.load(copied)

    def test_a_picture_that_has_changed(self, copied: Path):
        dataset = sources.load(copied)
        member = dataset.pictures.members[0]
        path = copied / dataset.pictures.shards[member["shard"]]
        data = bytearray(path.read_bytes())
        data[int(member["offset"]) + 50] ^= 1
        path.write_bytes(data)
        with pytest.raises(PictureError, match=r"train-000000\.tar has changed"):
            dataset.pictures.open(0)

    def test_an_index_of_other_shards(self, copied: Path):
        members = np.load(copied / shards.INDEX)
        members["offset"][3] = 1 << 40
        np.save(copied / shards.INDEX, members)
        with pytest.raises(InputError, match="it has changed"):
            sources.load(copied)
        told = json.loads((copied / shards.DESCRIPTION).read_text())
        told["digest"] = shards.digest_of_index(copied / shards.INDEX, copied / shards.NAMES)
        (copied / shards.DESCRIPTION).write_text(json.dumps(told))
        with pytest.raises(InputError, match="it points to what is not there"):
            sources.load(copied)

    def test_a_newer_format(self, copied: Path):
        path = copied / shards.DESCRIPTION
        path.write_text(path.read_text().replace('"ception_shards": 1', '"ception_shards": 2'))
        with pytest.raises(InputError, match="has format 2, which needs a newer version"):
            sources.load(copied)

    def test_a_name_that_leads_out(self, copied: Path):
        path = copied / shards.DESCRIPTION
        path.write_text(path.read_text().replace("val-000000.tar", "../val-000000.tar"))
        with pytest.raises(InputError, match="is no name of a file"):
            sources.load(copied)

    @settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    def test_any_damage_is_an_input_error(self, written: Path, tmp_path: Path, data: st.DataObject):
        name = data.draw(st.sampled_from([shards.DESCRIPTION, shards.INDEX, shards.NAMES]))
        folder = tmp_path / "damaged"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(written, folder)
        changed = bytearray((folder / name).read_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
        changed = changed[: data.draw(st.integers(len(changed) // 2, len(changed)))]
        (folder / name).write_bytes(changed)
        try:
            dataset = sources.load(folder)
        except InputError:
            return
        assert len(dataset.labels) == 60  # a letter of a class name, or nothing


def test_the_command(run_cli, photos: Path, tmp_path: Path):
    code, out, _ = run_cli("shard", photos, tmp_path / "out")
    assert code == 0
    assert "60 pictures (" in out
    assert f"Next: ception train {tmp_path / 'out'}" in out
    code, _, err = run_cli("shard", photos, tmp_path / "out")
    assert code == 2
    assert "exists" in err
