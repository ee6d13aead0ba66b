from __future__ import annotations

import gzip
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ception.data import labelled_arrays, sources, splitting
from ception.data.sources import TEST, TRAIN, UNSTATED, VAL, Dataset
from ception.errors import InputError
from support.pictures import content, write_pictures
from support.reporters import Notes


def arrays(count: int = 60, classes: int = 3, shape: tuple[int, ...] = (8, 8), seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    made = {}
    for part in ("train", "test"):
        made[f"x_{part}"] = random.integers(0, 256, (count, *shape), np.uint8)
        made[f"y_{part}"] = np.arange(count) % classes
    return made


def write_idx(folder: Path, made: dict[str, np.ndarray], zipped: bool) -> Path:
    folder.mkdir()
    for role, name in {
        "x_train": "train-images-idx3-ubyte", "y_train": "train-labels-idx1-ubyte",
        "x_test": "t10k-images-idx3-ubyte", "y_test": "t10k-labels-idx1-ubyte",
    }.items():  # fmt: skip
        values = made[role].astype(np.uint8)
        data = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes()
        path = folder / (name + (".gz" if zipped else ""))
        path.write_bytes(gzip.compress(data) if zipped else data)
    return folder


class TestFolders:
    def test_a_folder_per_class(self, tmp_path):
        dataset = sources.load(write_pictures(tmp_path / "d", {"b": 2, "a": 3}))
        assert dataset.class_names == ("a", "b")
        assert dataset.labels.tolist() == [0, 0, 0, 1, 1]
        assert (dataset.stated_splits == UNSTATED).all()
        assert dataset.pictures.name(0).endswith("a/000.png")

    @pytest.mark.parametrize(
        ("train", "val", "test"),
        [("train", "val", "test"), ("Training", "validation", "testing"), ("train", "valid", "test")],
    )
    def test_split_folders(self, tmp_path, train, val, test):
        for seed, (name, count) in enumerate({train: 3, val: 1, test: 2}.items()):
            write_pictures(tmp_path / name, {"x": count, "y": count}, seed=seed)
        dataset = sources.load(tmp_path)
        counts = [int((dataset.stated_splits == part).sum()) for part in (TRAIN, VAL, TEST)]
        assert counts == [6, 2, 4]
        assert dataset.class_names == ("x", "y")

    def test_a_class_may_be_called_test(self, tmp_path):
        assert sources.load(write_pictures(tmp_path, {"test": 2, "exam": 2})).class_names == ("exam", "test")

    def test_hidden_and_other_files_are_counted_and_left_out(self, tmp_path):
        write_pictures(tmp_path, {"a": 2, "b": 2, ".git": 1})
        (tmp_path / "a" / ".DS_Store").touch()
        (tmp_path / "a" / "notes.txt").touch()
        (tmp_path / "readme.md").touch()
        (tmp_path / "nothing").mkdir()
        dataset = sources.load(tmp_path)
        assert len(dataset.labels) == 4
        assert dataset.ignored == {
            "hidden": 2, "not a picture": 2, "empty folders": 1,
        }  # fmt: skip

    def test_folders_within_classes_belong_to_them(self, tmp_path):
        write_pictures(tmp_path, {"a": 1, "b": 1})
        write_pictures(tmp_path / "a", {"more": 2}, seed=1)
        assert sources.load(tmp_path).labels.tolist() == [0, 0, 0, 1]

    def test_strange_names(self, tmp_path):
        dataset = sources.load(write_pictures(tmp_path, {"two words": 1, "new\nline": 1, "日本": 1, "$x$ [b]": 1}))
        assert set(dataset.class_names) == {"two words", "new\nline", "日本", "$x$ [b]"}


def test_classes_that_are_all_numbers_are_sorted_as_numbers(tmp_path):
    names = [str(number) for number in range(12)]
    data = sources.load(write_pictures(tmp_path / "d", dict.fromkeys(names, 1)))
    assert data.class_names == tuple(names)
    assert [Path(path).parent.name for path in data.pictures.paths] == [names[label] for label in data.labels]
    mixed = sources.load(write_pictures(tmp_path / "e", dict.fromkeys(["2", "10", "a"], 1)))
    assert mixed.class_names == ("10", "2", "a")
    picture = data.pictures.paths[0]
    (tmp_path / "list.csv").write_text("path,label\n" + "".join(f"{picture},{n}\n" for n in ("10", "9", "1" * 5000)))
    assert sources.load(tmp_path / "list.csv").class_names == ("10", "1" * 5000, "9")


class TestArrays:
    @pytest.mark.parametrize(
        "names",
        [
            ("x_train", "y_train", "x_test", "y_test"), ("X_train", "y_train", "X_test", "y_test"),
            ("train_images", "train_labels", "test_images", "test_labels"),
        ],
    )  # fmt: skip
    def test_usual_names(self, tmp_path, names):
        made = arrays()
        np.savez(tmp_path / "d.npz", **dict(zip(names, made.values(), strict=True)), other=np.zeros(3))
        notes = Notes()
        dataset = sources.load(tmp_path / "d.npz", reporter=notes)
        assert dataset.stated_splits.tolist() == [TRAIN] * 60 + [TEST] * 60
        assert dataset.pictures.name(60) == f"{names[2]}[0]"
        assert len(notes.lines) == (names[0] != "x_train")

    @pytest.mark.parametrize(("x", "y"), [("x", "y"), ("images", "labels")])
    def test_no_split(self, tmp_path, x, y):
        made = arrays()
        np.savez(tmp_path / "d.npz", **{x: made["x_train"], y: made["y_train"]})
        assert (sources.load(tmp_path / "d.npz").stated_splits == UNSTATED).all()

    @pytest.mark.parametrize(
        "labels",
        [
            np.eye(3, dtype=int)[np.arange(60) % 3], np.eye(3)[np.arange(60) % 3], np.arange(60) % 3.0,
            (np.arange(60) % 3).astype(">i4"), np.arange(60)[:, None] % 3,
        ],
        ids=["one-hot", "one-hot floats", "floats", "big-endian", "a column"],
    )  # fmt: skip
    def test_labels_whose_meaning_is_plain(self, tmp_path, labels):
        np.savez(tmp_path / "d.npz", **arrays() | {"y_train": labels})
        dataset = sources.load(tmp_path / "d.npz")
        assert (dataset.labels == np.arange(120) % 3).all()

    def test_labels_that_are_names(self, tmp_path):
        made = arrays()
        names = np.array(["line", "box", "circle"])
        made |= {key: names[made[key]] for key in ("y_train", "y_test")}
        np.savez(tmp_path / "d.npz", **made)
        dataset = sources.load(tmp_path / "d.npz")
        assert (dataset.class_names, dataset.unnamed) == (("box", "circle", "line"), False)
        assert dataset.labels[:3].tolist() == [2, 0, 1]
        np.savez(tmp_path / "d.npz", **made, class_names=np.array(["line", "box", "circle"]))
        assert sources.load(tmp_path / "d.npz").labels[:3].tolist() == [0, 1, 2]

    def test_npz(self, tmp_path):
        made = arrays()
        np.savez_compressed(tmp_path / "d.npz", **made, class_names=np.array(["x", "y", "z"]))
        dataset = sources.load(tmp_path / "d.npz")
        assert dataset.class_names == ("x", "y", "z")
        assert not dataset.unnamed
        assert dataset.stated_splits.tolist() == [TRAIN] * 60 + [TEST] * 60
        np.testing.assert_array_equal(dataset.pictures.open(61), made["x_test"][1])
        assert dataset.pictures.name(61) == "x_test[1]"
        assert all(isinstance(part, np.memmap) for _, part in dataset.pictures.parts)

    def test_unnamed_classes_are_numbers(self, tmp_path):
        np.savez(tmp_path / "d.npz", **arrays())
        dataset = sources.load(tmp_path / "d.npz")
        assert dataset.class_names == ("0", "1", "2")
        assert dataset.unnamed

    @pytest.mark.parametrize("zipped", [True, False])
    def test_idx(self, tmp_path, zipped):
        made = arrays()
        dataset = sources.load(write_idx(tmp_path / "mnist", made, zipped))
        assert dataset.class_names == ("0", "1", "2")
        np.testing.assert_array_equal(dataset.pictures.open(60), made["x_test"][0])
        assert dataset.labels[60:].tolist() == made["y_test"].tolist()

    def test_idx_lacking_a_file_names_it(self, tmp_path):
        folder = write_idx(tmp_path / "mnist", arrays(), False)
        (folder / "t10k-labels-idx1-ubyte").unlink()
        with pytest.raises(InputError, match="lacks t10k-labels"):
            sources.load(folder)

    def test_broken_idx(self, tmp_path):
        folder = write_idx(tmp_path / "mnist", arrays(), True)
        whole = (folder / "train-images-idx3-ubyte.gz").read_bytes()
        (folder / "train-images-idx3-ubyte.gz").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(InputError, match=r"train-images-idx3-ubyte\.gz"):
            sources.load(folder)

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            ({"x_train": None, "x_test": None}, "holds y_test, y_train; it needs x_train"),
            ({"y_test": np.full(60, 3)}, r"y_test\[0\] is 3, out of range: labels go from 0 to 2"),
            ({"y_train": np.arange(60) % 3 - 1}, "is -1, out of range"),
            ({"y_train": np.arange(59)}, "one whole number for each of 60"),
            ({"y_train": np.linspace(0, 1, 60)}, "one whole number"),
            ({"x_train": np.zeros((60, 8, 8))}, "must be uint8"),
            ({"x_train": np.zeros((60, 64), np.uint8)}, "must be uint8"),
            ({"x_train": np.zeros((60, 3, 8, 8), np.uint8)}, r"transpose\(0, 2, 3, 1\)"),
            ({"x_train": np.array([{}] * 60)}, r"x_train is an array of Python objects: .*np\.stack"),
            ({"y_train": np.array(["a"] * 60, object)}, "y_train is an array of Python objects"),
            (
                {"y_train": np.arange(60) % 3 + 1, "y_test": np.arange(60) % 3 + 1},
                "labels begin at 1.*save y_train - 1",
            ),
            (
                {
                    "y_train": np.arange(60) % 3 + 1,
                    "y_test": np.arange(60) % 3 + 1,
                    "class_names": np.array(["a", "b", "c"]),
                },
                "labels begin at 1",
            ),
            ({"y_train": np.array(["a", "b"] * 30)}, "some labels are names and some are numbers"),
            ({"X_train": np.zeros((60, 8, 8), np.uint8)}, "has x_train and X_train: leave one, called x_train"),
            ({"y_train": np.full(60, 10**12)}, "out of range"),
        ],
    )
    def test_what_is_wrong_is_named(self, tmp_path, change, says):
        made = {key: value for key, value in (arrays() | change).items() if value is not None}
        np.savez(tmp_path / "d.npz", **made)
        with pytest.raises(InputError, match=says):
            sources.load(tmp_path / "d.npz")

    def test_truncated_npz_and_text(self, tmp_path):
        np.savez(tmp_path / "d.npz", **arrays())
        whole = (tmp_path / "d.npz").read_bytes()
        for data in (whole[:-100], b"text"):
            (tmp_path / "d.npz").write_bytes(data)
            with pytest.raises(InputError, match=r"no whole \.npz"):
                sources.load(tmp_path / "d.npz")


class TestNames:
    def test_the_sample(self):
        dataset = sources.load("fashion-mnist-sample")
        assert np.bincount(dataset.labels[dataset.stated_splits == TRAIN]).tolist() == [1000] * 10
        assert np.bincount(dataset.labels[dataset.stated_splits == TEST]).tolist() == [200] * 10
        assert dataset.class_names == labelled_arrays.FASHION_CLASSES

    def test_the_sample_is_of_the_real_set(self, shared):
        sample, whole = sources.load("fashion-mnist-sample"), sources.load(shared / "fashion_mnist.npz")
        known, _ = sources.digests(whole.pictures)
        label_of = dict(zip(known.tolist(), whole.labels.tolist(), strict=True))
        found, _ = sources.digests(sample.pictures)
        assert [label_of[digest] for digest in found.tolist()] == sample.labels.tolist()

    def test_fashion_mnist_is_downloaded_and_read(self, tmp_path, monkeypatch):
        import http.server
        import threading
        from functools import partial

        import keras

        served = write_idx(tmp_path / "served", arrays(classes=10, shape=(28, 28)), True)
        handler = partial(http.server.SimpleHTTPRequestHandler, directory=served)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/"
        module = sys.modules[keras.datasets.fashion_mnist.load_data.__module__]
        get_file = module.get_file

        def get_locally(name, origin, **options):
            assert origin.endswith(name)
            return get_file(name, origin=address + name, cache_dir=str(tmp_path / "keras"), **options)

        monkeypatch.setattr(module, "get_file", get_locally)
        try:
            dataset = sources.load("fashion-mnist")
        finally:
            server.shutdown()
            server.server_close()
        assert dataset.class_names == labelled_arrays.FASHION_CLASSES
        assert dataset.stated_splits.tolist() == [TRAIN] * 60 + [TEST] * 60

    def test_a_failed_download_is_one_line_with_the_way_out(self, tmp_path, monkeypatch):
        import keras

        module = sys.modules[keras.datasets.fashion_mnist.load_data.__module__]
        get_file = module.get_file
        monkeypatch.setattr(module, "get_file", lambda name, origin, **options: get_file(
            name, origin="http://127.0.0.1:9/" + name, cache_dir=str(tmp_path), **options))  # fmt: skip
        with pytest.raises(InputError, match=r"could not be downloaded.*or use fashion-mnist-sample") as caught:
            sources.load("fashion-mnist")
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("name", "says"),
        [("fashion-mnits", "did you mean 'fashion-mnist"), ("no/such", "no file"), ("x.csv", "no file")],
    )
    def test_unknown(self, name, says):
        with pytest.raises(InputError, match=says):
            sources.load(name)

    def test_empty_folder_and_other_file(self, tmp_path):
        with pytest.raises(InputError, match="holds no pictures: make one folder per class"):
            sources.load(tmp_path)
        np.save(tmp_path / "x.npy", np.zeros(3))
        with pytest.raises(InputError, match=r"one array without labels: np\.savez"):
            sources.load(tmp_path / "x.npy")
        (tmp_path / "notes.txt").touch()
        with pytest.raises(InputError, match="no data set"):
            sources.load(tmp_path / "notes.txt")


def random_dataset(labels: list[int], keys: list[int], stated: list[int] | None = None) -> tuple[Dataset, np.ndarray]:
    names = tuple(str(number) for number in range(max(labels) + 1))
    digests = np.frombuffer(b"".join(np.random.default_rng(key).bytes(16) for key in keys), "V16")
    given = np.full(len(labels), UNSTATED) if stated is None else np.array(stated)
    dataset = Dataset(name="d", class_names=names, pictures=sources.Files([""] * len(labels)),
                      labels=np.array(labels, np.int32), stated_splits=given.astype(np.int8), ignored={})  # fmt: skip
    return dataset, digests


class TestSplit:
    def test_shares_without_test_set(self):
        dataset, digests = random_dataset([0, 1] * 5000, list(range(10000)))
        shares = np.bincount(splitting.split(dataset, digests)) / 10000
        np.testing.assert_allclose(shares, [0.7, 0.1, 0.2], atol=0.015)

    def test_shares_with_test_set_which_stays(self):
        dataset, digests = random_dataset([0, 1] * 5000, list(range(10000)), [TRAIN] * 9000 + [TEST] * 1000)
        place = splitting.split(dataset, digests)
        assert (place[9000:] == TEST).all()
        np.testing.assert_allclose(np.bincount(place[:9000], minlength=3) / 9000, [0.9, 0.1, 0], atol=0.015)

    def test_given_validation_and_test_sets_stay(self):
        dataset, digests = random_dataset([0, 1] * 30, list(range(60)), [TRAIN] * 20 + [VAL] * 20 + [TEST] * 20)
        assert splitting.split(dataset, digests).tolist() == [TRAIN] * 20 + [VAL] * 20 + [TEST] * 20

    @given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30)), min_size=1, max_size=60))
    def test_equal_pictures_never_part_and_every_class_is_everywhere(self, pairs):
        labels, keys = [list(column) for column in zip(*pairs, strict=True)]
        labels = np.unique(labels, return_inverse=True)[1].tolist()
        dataset, digests = random_dataset(labels, keys)
        try:
            place = splitting.split(dataset, digests)
        except InputError:
            return
        for key in set(keys):
            assert len({int(p) for p, k in zip(place, keys, strict=True) if k == key}) == 1
        for label in set(labels):
            assert {TEST, VAL} <= set(place[np.array(labels) == label].tolist())

    @given(st.integers(1, 200), st.integers(1, 200))
    def test_does_not_change_when_pictures_are_added_to_a_large_set(self, more, seed):
        labels = [0, 1] * 200
        dataset, digests = random_dataset(labels, list(range(400)))
        larger, more_digests = random_dataset(labels + [0] * more, [*range(400), *range(1000, 1000 + more)])
        np.testing.assert_array_equal(splitting.split(dataset, digests), splitting.split(larger, more_digests)[:400])

    def test_three_pictures_are_enough_and_two_are_not(self):
        dataset, digests = random_dataset([0] * 50 + [1] * 3, list(range(53)))
        assert sorted(splitting.split(dataset, digests)[50:].tolist()) == [TRAIN, VAL, TEST]
        dataset, digests = random_dataset([0] * 50 + [1] * 2, list(range(52)))
        with pytest.raises(InputError, match="class '1' has too few"):
            splitting.split(dataset, digests)

    def test_follows_from_the_bytes_alone(self, tmp_path):
        write_pictures(tmp_path / "one", {"a": 20, "b": 20})
        first = sources.load(tmp_path / "one")
        place = splitting.split(first, sources.digests(first.pictures)[0])
        by_content = {Path(first.pictures.name(i)).read_bytes(): p for i, p in enumerate(place)}
        for index in range(20):  # other names, other order
            (tmp_path / "one" / "a" / f"{index:03d}.png").rename(tmp_path / "one" / "a" / f"z{97 - index}.png")
        second = sources.load(tmp_path / "one")
        again = splitting.split(second, sources.digests(second.pictures)[0])
        assert [by_content[Path(second.pictures.name(i)).read_bytes()] for i in range(40)] == again.tolist()

    def test_unreadable_files_are_told(self, folder):
        dataset = sources.load(folder)
        Path(dataset.pictures.name(3)).unlink()
        _, failed = sources.digests(dataset.pictures)
        assert failed == {3: "cannot be read: No such file or directory"}


def test_loading_changes_no_file(folder):
    before = content(folder)
    dataset = sources.load(folder)
    splitting.split(dataset, sources.digests(dataset.pictures)[0])
    assert content(folder) == before
