from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from ception.data import cache, loading, sources
from ception.data.images import ImageContract, fit
from ception.errors import RunError
from ception.reporting import Reporter
from conftest import write_pictures

CONTRACT = ImageContract(height=12, width=10, channels=3)


def prepared(dataset, contract=CONTRACT, limit=10.0):
    digests, _ = sources.digests(dataset.pictures)
    return loading.prepare(dataset, contract, digests, cache_limit=limit, reporter=Reporter())


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("CEPTION_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class TestPrepare:
    def test_gives_each_picture_as_the_one_path_does(self, folder):
        dataset = sources.load(folder)
        pixels, failed = prepared(dataset)
        assert not failed
        order = np.array([7, 80, 7, 0])
        expected = [fit(dataset.pictures.open(int(index)), CONTRACT) for index in order]
        np.testing.assert_array_equal(pixels[order], expected)

    def test_decodes_once_for_all_runs(self, folder, monkeypatch):
        first, _ = prepared(sources.load(folder))
        monkeypatch.setattr(loading, "fit", lambda *_: pytest.fail("decoded again"))
        second, _ = prepared(sources.load(folder))
        np.testing.assert_array_equal(first[np.arange(90)], second[np.arange(90)])

    def test_a_changed_picture_or_contract_is_decoded_anew(self, folder):
        dataset = sources.load(folder)
        before, _ = prepared(dataset)
        Path(dataset.pictures.name(0)).write_bytes(Path(dataset.pictures.name(89)).read_bytes())
        after, _ = prepared(sources.load(folder))
        assert not np.array_equal(before[np.array([0])], after[np.array([0])])
        other, _ = prepared(dataset, ImageContract(height=12, width=10, channels=1))
        assert other[np.array([0])].shape == (1, 12, 10, 1)

    def test_unreadable_pictures_are_told_and_nothing_is_kept(self, folder, own_cache):
        dataset = sources.load(folder)
        Path(dataset.pictures.name(5)).write_text("no picture")
        _, failed = prepared(dataset)
        assert failed == {5: "not a picture of a known format"}
        assert list(own_cache.iterdir()) == []

    def test_above_the_limit_pictures_are_decoded_when_asked_for(self, folder, own_cache):
        dataset = sources.load(folder)
        with pytest.warns(UserWarning, match="--cache-limit"):
            pixels, failed = prepared(dataset, limit=0.00001)
        assert not failed
        assert not own_cache.exists()
        np.testing.assert_array_equal(pixels[np.array([3])][0], fit(dataset.pictures.open(3), CONTRACT))

    def test_a_truncated_cache_is_made_again(self, folder, own_cache):
        dataset = sources.load(folder)
        before = prepared(dataset)[0][np.arange(90)]
        (cached,) = own_cache.iterdir()
        cached.write_bytes(cached.read_bytes()[:5000])
        np.testing.assert_array_equal(prepared(dataset)[0][np.arange(90)], before)

    def test_arrays_of_the_right_shape_are_used_as_they_are(self, tmp_path, own_cache):
        x = np.random.default_rng(0).integers(0, 256, (30, 8, 8), np.uint8)
        np.savez(tmp_path / "d.npz", x_train=x, y_train=np.arange(30) % 2, x_test=x[:4], y_test=np.arange(4) % 2)
        dataset = sources.load(tmp_path / "d.npz")
        files = set(own_cache.iterdir())
        pixels, _ = prepared(dataset, ImageContract(height=8, width=8, channels=1))
        np.testing.assert_array_equal(pixels[np.array([31, 2])][..., 0], x[[1, 2]])
        assert set(own_cache.iterdir()) == files

    def test_a_cache_that_cannot_be_written_is_one_clear_error(self, folder, monkeypatch):
        monkeypatch.setenv("CEPTION_CACHE", "/proc/nowhere")
        with pytest.raises(RunError, match="CEPTION_CACHE"):
            prepared(sources.load(folder))


class TestStream:
    def test_keeps_the_order_and_names_what_cannot_be_read(self, folder):
        dataset = sources.load(folder)
        Path(dataset.pictures.name(4)).write_bytes(b"")
        indices = np.array([9, 4, 2, 88, 1])
        seen, reasons = [], {}
        for chosen, batch, failed in loading.stream(
            dataset.pictures, indices, CONTRACT, 2, reporter=Reporter(), label=""
        ):
            assert batch.shape == (len(chosen), 12, 10, 3)
            seen += chosen.tolist()
            reasons |= failed
        assert seen == [9, 2, 88, 1]
        assert reasons == {4: "the file is empty"}

    def test_decodes_a_bounded_number_ahead(self, folder, monkeypatch):
        dataset = sources.load(folder)
        opened = []
        read = sources.images.read
        monkeypatch.setattr(sources.images, "read", lambda path: opened.append(path) or read(path))
        batches = loading.stream(dataset.pictures, np.arange(90), CONTRACT, 4, reporter=Reporter(), label="")
        next(batches)
        batches.close()
        assert len(opened) <= 4 * (3 + -(-2 * loading.THREADS // 4))


class TestBatches:
    def batches(self, seed, epoch=0, batch_size=8):
        pixels = np.arange(50, dtype=np.uint8).reshape(50, 1, 1, 1)
        made = loading.dataset_of_batches(pixels, np.arange(50), np.arange(5, 45), batch_size, seed=seed)
        made.epoch = epoch
        return [made[step] for step in range(len(made))]

    def test_each_epoch_has_every_picture_once_with_its_label(self):
        for epoch in range(3):
            found = self.batches(seed=0, epoch=epoch)
            labels = np.concatenate([labels for _, labels in found])
            assert sorted(labels.tolist()) == list(range(5, 45))
            np.testing.assert_array_equal(np.concatenate([x for x, _ in found])[:, 0, 0, 0], labels)

    def test_order_follows_from_seed_and_epoch_alone(self):
        def order(**options):
            return np.concatenate([labels for _, labels in self.batches(**options)]).tolist()

        assert order(seed=1, epoch=4) == order(seed=1, epoch=4) == order(seed=1, epoch=4, batch_size=16)
        assert order(seed=1, epoch=4) != order(seed=1, epoch=5)
        assert order(seed=1, epoch=4) != order(seed=2, epoch=4)
        assert order(seed=None) == list(range(5, 45))

    def test_a_step_may_be_asked_for_twice(self):
        pixels = np.arange(50, dtype=np.uint8).reshape(50, 1, 1, 1)
        made = loading.dataset_of_batches(pixels, np.arange(50), np.arange(50), 8, seed=0)
        for step in (0, 1, 0, 5, 2):
            np.testing.assert_array_equal(made[step][1], self_order(made, step))


def self_order(made, step):
    return loading.order(np.arange(50), 0, made.epoch)[step * 8 : step * 8 + 8]


def test_mean_and_deviation_are_exact():
    pixels = np.random.default_rng(0).integers(0, 256, (70, 5, 4, 3), np.uint8)
    chosen = np.arange(3, 70, 2)
    mean, deviation = loading.mean_and_deviation(pixels, chosen)
    assert mean == pytest.approx(pixels[chosen].mean(), rel=1e-12)
    assert deviation == pytest.approx(pixels[chosen].std(), rel=1e-12)


def test_colour_is_found(tmp_path):
    from PIL import Image

    write_pictures(tmp_path / "rgb", {"a": 2, "b": 2})
    assert loading.channels_of(sources.load(tmp_path / "rgb").pictures) == 3
    for path in (tmp_path / "rgb").rglob("*.png"):
        Image.open(path).convert("L").save(path)
    assert loading.channels_of(sources.load(tmp_path / "rgb").pictures) == 1


class TestCache:
    @staticmethod
    def name(letter: str) -> str:
        return f"pixels-{letter * 24}.npy"

    def put(self, letter: str, size: int, limit_gb: float = 1.0) -> None:
        with cache.writing(self.name(letter), size, limit_gb) as path:
            path.write_bytes(b"x" * size)

    def test_the_least_recently_used_goes_first(self, own_cache):
        for letter in "abc":
            self.put(letter, 1000)
        for age, letter in enumerate("bac"):
            os.utime(own_cache / self.name(letter), (1e9 + age, 1e9 + age))
        assert cache.find(self.name("b"), 1000)  # used just now
        self.put("d", 1000, limit_gb=3e-6)
        assert sorted(path.name for path in own_cache.iterdir()) == [self.name(letter) for letter in "bcd"]

    def test_what_fails_in_the_middle_leaves_nothing(self, own_cache):
        def fail() -> None:
            with cache.writing(self.name("a"), 10, 1.0) as path:
                path.write_bytes(b"half")
                raise KeyError

        with pytest.raises(KeyError):
            fail()
        assert list(own_cache.iterdir()) == []

    def test_clear(self, own_cache):
        self.put("a", 1000)
        assert cache.clear() == 1000
        assert cache.entries() == []

    def test_files_of_others_are_never_touched(self, own_cache):
        own_cache.mkdir()
        (own_cache / "thesis.txt").write_text("years of work")
        (own_cache / "pixels-notes.npy").mkdir()
        self.put("a", 1000, limit_gb=1e-9)
        assert cache.clear() == 1000
        assert sorted(path.name for path in own_cache.iterdir()) == ["pixels-notes.npy", "thesis.txt"]

    def test_a_full_disk_is_an_error(self, folder, monkeypatch, own_cache):
        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "posix_fallocate", full)
        with pytest.raises(RunError, match="No space left"):
            prepared(sources.load(folder))
        assert list(own_cache.iterdir()) == []
