from __future__ import annotations

import os
import threading
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from ception.data import cache, images, loading, sources
from ception.data.images import ImageContract, to_pixels
from ception.errors import RunError
from ception.files import locked
from ception.reporting import Reporter
from support.pictures import write_pictures

CONTRACT = ImageContract(height=12, width=10, channels=3)


def prepared(dataset, contract=CONTRACT, limit=10.0):
    digests, _ = sources.digests(dataset.pictures)
    return loading.prepare(dataset, contract, digests, cache_limit=limit, reporter=Reporter())


pytestmark = pytest.mark.usefixtures("own_cache")


class TestPrepare:
    def test_gives_each_picture_as_the_one_path_does(self, folder):
        dataset = sources.load(folder)
        pixels, failed = prepared(dataset)
        assert not failed
        order = np.array([7, 80, 7, 0])
        expected = [to_pixels(dataset.pictures.open(int(index)), CONTRACT) for index in order]
        np.testing.assert_array_equal(pixels[order], expected)

    def test_decodes_once_for_all_runs(self, folder, monkeypatch):
        first, _ = prepared(sources.load(folder))
        monkeypatch.setattr(loading, "to_pixels", lambda *_: pytest.fail("decoded again"))
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

    def test_unreadable_pictures_are_told_and_the_others_kept(self, folder, own_cache):
        dataset = sources.load(folder)
        for index in (5, 7):
            Path(dataset.pictures.name(index)).write_text("no picture")
        pixels, failed = prepared(dataset)
        assert failed == dict.fromkeys((5, 7), "not a picture of a known format")
        expected = to_pixels(dataset.pictures.open(8), CONTRACT)
        np.testing.assert_array_equal(pixels[np.array([8])][0], expected)
        again, failed = prepared(dataset.without([5, 7]))
        assert not failed
        np.testing.assert_array_equal(again[np.array([6])][0], expected)

    def test_above_the_limit_pictures_are_decoded_when_asked_for(self, folder, own_cache):
        dataset = sources.load(folder)
        with pytest.warns(UserWarning, match="--cache-limit"):
            pixels, failed = prepared(dataset, limit=0.00001)
        assert not failed
        assert not own_cache.exists()
        np.testing.assert_array_equal(pixels[np.array([3])][0], to_pixels(dataset.pictures.open(3), CONTRACT))

    @pytest.mark.parametrize("damage", ["cut off", "other bytes", "no index"])
    def test_a_damaged_cache_is_mended(self, folder, own_cache, damage):
        dataset = sources.load(folder)
        before = prepared(dataset)[0][np.arange(90)]
        (cached,) = own_cache.glob("*.rows")
        content = bytearray(cached.read_bytes())
        content[7] ^= 255
        if damage == "cut off":
            cached.write_bytes(cached.read_bytes()[:5000])
        elif damage == "no index":
            cached.with_suffix(".index").unlink()
        else:
            cached.write_bytes(content)
        with pytest.warns(UserWarning, match="1 of 90 rows .* damaged") if damage == "other bytes" else nullcontext():
            np.testing.assert_array_equal(prepared(dataset)[0][np.arange(90)], before)

    def test_only_new_pictures_are_decoded(self, folder, own_cache, monkeypatch):
        prepared(sources.load(folder))
        new = write_pictures(folder.parent / "new", {"red": 2}, seed=9) / "red"
        for path in new.iterdir():
            path.rename(folder / "red" / f"new-{path.name}")
        calls = []
        real = loading.to_pixels
        monkeypatch.setattr(loading, "to_pixels", lambda *given: calls.append(1) or real(*given))
        dataset = sources.load(folder)
        pixels, _ = prepared(dataset)
        assert len(calls) == 2
        for index in (0, 60, 91):
            np.testing.assert_array_equal(pixels[np.array([index])][0], real(dataset.pictures.open(index), CONTRACT))

    def test_pictures_of_the_past_make_room(self, folder, own_cache):
        dataset = sources.load(folder)
        limit = 1.2 * 90 * np.prod(CONTRACT.shape) / 1e9
        prepared(dataset, limit=limit)
        for number, path in enumerate(sorted(folder.rglob("*.png"))):
            Image.fromarray(np.full((9, 9, 3), number, np.uint8)).save(path)
        pixels, _ = prepared(sources.load(folder), limit=limit)
        assert (pixels[np.array([17])] == 17).all()
        assert sum(path.stat().st_size for path in own_cache.glob("*.rows")) <= limit * 1e9

    def test_another_process_is_waited_for(self, folder, own_cache):
        dataset = sources.load(folder)
        before = prepared(dataset)[0][np.arange(90)]
        (lock,) = own_cache.glob("*.lock")
        held, done = threading.Event(), []

        def hold() -> None:
            with locked(lock, "never"):
                held.set()
                time.sleep(0.3)
                done.append(True)

        thread = threading.Thread(target=hold)
        thread.start()
        held.wait()
        np.testing.assert_array_equal(prepared(dataset)[0][np.arange(90)], before)
        assert done
        thread.join()

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
        for batch in loading.stream(dataset.pictures, indices, CONTRACT, 2, reporter=Reporter(), label=""):
            assert batch.pixels.shape == (len(batch.indices), 12, 10, 3)
            assert batch.shorter_sides.tolist() == [20] * len(batch.indices)  # as they are in their files
            seen += batch.indices.tolist()
            reasons |= batch.errors
        assert seen == [9, 2, 88, 1]
        assert reasons == {4: "the file is empty"}

    def test_threads_tell_of_the_pixels_that_they_decoded(self, folder):
        dataset = sources.load(folder)
        Path(dataset.pictures.name(1)).write_bytes(b"")
        threads = set()

        def tell(pixels):
            threads.add(threading.get_ident())
            return pixels.copy()

        for batch in loading.stream(
            dataset.pictures, np.arange(9), CONTRACT, 4, reporter=Reporter(), label="", tell=tell
        ):
            np.testing.assert_array_equal(batch.told, batch.pixels)
        assert threads
        assert threading.get_ident() not in threads

    def test_decodes_a_bounded_number_ahead(self, folder, monkeypatch):
        dataset = sources.load(folder)
        opened = []
        read = images.read_bytes
        monkeypatch.setattr(images, "read_bytes", lambda path: opened.append(path) or read(path))
        batches = loading.stream(dataset.pictures, np.arange(90), CONTRACT, 4, reporter=Reporter(), label="")
        next(batches)
        batches.close()
        assert 4 <= len(opened) <= 4 * (2 + -(-2 * loading.THREADS // 4))


def test_mean_and_std_are_exact():
    pixels = np.random.default_rng(0).integers(0, 256, (70, 5, 4, 3), np.uint8)
    chosen = np.arange(3, 70, 2)
    mean, deviation = loading.mean_and_std(pixels, chosen)
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
        return f"array-{letter * 24}.npy"

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
        (own_cache / f"pixels-{'0' * 24}.lock").touch()  # which another process may hold
        self.put("a", 1000, limit_gb=1e-9)
        assert cache.clear() == 1000
        assert sorted(path.name for path in own_cache.iterdir()) == [
            f"pixels-{'0' * 24}.lock", "pixels-notes.npy", "thesis.txt",
        ]  # fmt: skip

    def test_a_write_that_fails_is_one_clear_error(self, folder):
        resource = pytest.importorskip("resource")
        dataset = sources.load(folder)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
        try:
            with pytest.raises(RunError, match=r"cannot be written: File too large; set CEPTION_CACHE"):
                prepared(dataset)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert not prepared(dataset)[1]

    def test_a_full_disk_is_told_beforehand(self, folder, monkeypatch):
        monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10))
        with pytest.raises(RunError, match=r"has room for .* CEPTION_CACHE"):
            prepared(sources.load(folder))
