"""Decoding, the engine and the caller at the same time: the same answers in the same order, and clean ends."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from ception.data import images, loading, sources
from ception.data.images import to_pixels
from ception.drift import brightness
from ception.engines.batching import one_ahead
from ception.model_file import describe, model_file
from ception.predictor import Predictor, answered
from ception.reporting import Reporter

PATIENCE = 60.0  # seconds, after which a thread is taken to hang


class Engine:
    """Three classes' logits that follow from the pixels; remembers which threads asked."""

    name, precision = "engine of the test", "float32"

    def __init__(self, any_thread: bool = True, failing_at: int | None = None) -> None:
        self.any_thread, self.failing_at = any_thread, failing_at
        self.threads: list[int] = []

    def run(self, batch):
        self.threads.append(threading.get_ident())
        if len(self.threads) - 1 == self.failing_at:
            raise ArithmeticError("the engine failed")
        return batch.astype(np.float32).mean((1, 2))

    def close(self) -> None:
        pass


@pytest.fixture
def dataset(folder):
    return sources.load(folder)


@pytest.fixture
def predictor_of(trained):
    return lambda engine: Predictor(describe(model_file(trained)), engine, batch_size=16, reporter=Reporter())


@pytest.fixture(autouse=True)
def no_thread_stays():
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def answers(predictor, pictures, **options):
    everything = np.arange(len(pictures))
    return answered([predictor], pictures, everything, label="", reporter=Reporter(), **options)


def first_indices(answered):
    return (int(one.indices[0]) for one in answered)


class TestAnswered:
    @pytest.mark.parametrize("any_thread", [True, False])
    def test_says_of_each_picture_what_it_would_alone(self, dataset, predictor_of, any_thread):
        Path(dataset.pictures.name(17)).write_bytes(b"")
        predictor = predictor_of(Engine(any_thread))
        found = list(answers(predictor, dataset.pictures, digests=True))
        assert [index for one in found for index in one.indices] == [index for index in range(90) if index != 17]
        assert [one.errors for one in found] == [{}, {17: "the file is empty"}, {}, {}, {}, {}]
        contract = predictor.description.image
        for one in found:
            pixels = np.stack([to_pixels(dataset.pictures.open(int(index)), contract) for index in one.indices])
            np.testing.assert_array_equal(one.logits[0], predictor.logits(pixels))
            np.testing.assert_array_equal(one.brightness, pixels.mean((1, 2, 3)) / 255)
            np.testing.assert_array_equal(one.digests, loading.pixel_digests(pixels))
            assert one.shorter_sides.tolist() == [20] * len(pixels)

    def test_pictures_that_cannot_be_read_leave_a_batch_empty(self, dataset, predictor_of):
        for index in range(16, 32):
            Path(dataset.pictures.name(index)).write_bytes(b"")
        found = list(answers(predictor_of(Engine()), dataset.pictures, digests=True))[1]
        assert found.logits[0].shape == (0, 3)
        assert found.digests.shape == found.brightness.shape == found.shorter_sides.shape == (0,)
        assert list(found.errors) == list(range(16, 32))

    def test_an_engine_whose_device_hangs_on_the_thread_runs_in_the_callers(self, dataset, predictor_of):
        here = threading.get_ident()
        bound, free = Engine(any_thread=False), Engine()
        both = [predictor_of(bound), predictor_of(free)]
        assert len(list(answered(both, dataset.pictures, np.arange(90), label="", reporter=Reporter()))) == 6
        assert set(bound.threads) == set(free.threads) == {here}
        list(answers(predictor_of(alone := Engine()), dataset.pictures))
        assert len(set(alone.threads)) == 1
        assert here not in alone.threads

    @pytest.mark.parametrize("any_thread", [True, False])
    def test_a_failing_engine_is_told_after_what_it_did_before(self, dataset, predictor_of, any_thread):
        told = first_indices(answers(predictor_of(Engine(any_thread, failing_at=3)), dataset.pictures))
        assert [next(told) for _ in range(3)] == [0, 16, 32]
        with pytest.raises(ArithmeticError, match="the engine failed"):
            next(told)

    @pytest.mark.parametrize("any_thread", [True, False])
    def test_a_failing_decoder_is_told_after_what_came_before(self, dataset, predictor_of, any_thread, monkeypatch):
        broken, read = dataset.pictures.name(40), images.read_bytes

        def failing(path):
            if path == broken:
                raise MemoryError("no room for the picture")
            return read(path)

        monkeypatch.setattr(images, "read_bytes", failing)
        told = first_indices(answers(predictor_of(Engine(any_thread)), dataset.pictures))
        assert [next(told) for _ in range(2)] == [0, 16]
        with pytest.raises(MemoryError, match="no room for the picture"):
            next(told)

    def test_whoever_stops_early_leaves_no_thread(self, dataset, predictor_of):
        engine = Engine()
        for count, _ in enumerate(running := answers(predictor_of(engine), dataset.pictures), 1):
            if count == 2:
                break
        running.close()
        assert len(engine.threads) <= 4  # the two, the one that is computed, and one that may have begun


class TestOneAhead:
    def test_computes_the_next_while_the_caller_has_the_last(self):
        begun = [threading.Event() for _ in range(4)]
        results = one_ahead(lambda k: (begun[k].set(), k)[1], iter(range(4)))
        for number in range(3):
            assert next(results) == number
            assert begun[number + 1].wait(PATIENCE)
        assert list(results) == [3]

    def test_asks_for_batches_in_the_callers_thread_and_no_more_than_two_ahead(self):
        asked = []

        def batches():
            for number in range(100):
                asked.append(threading.get_ident())
                yield number

        results = one_ahead(lambda number: number, batches())
        for number in range(10):
            assert next(results) == number
            assert len(asked) == number + 2
        results.close()
        assert set(asked) == {threading.get_ident()}

    def test_an_interrupt_of_the_caller_ends_with_the_running_batch(self):
        computed = []

        def batches():
            yield from range(2)
            raise KeyboardInterrupt

        results = one_ahead(computed.append, batches())
        next(results)
        with pytest.raises(KeyboardInterrupt):
            next(results)
        assert computed in ([0], [0, 1])

    def test_of_nothing_there_is_nothing(self):
        assert list(one_ahead(pytest.fail, iter(()))) == []


def test_brightness_of_the_lightest_large_picture_is_exact():
    white = np.full((1, 2400, 2400, 3), 255, np.uint8)  # whose sum no 32 bits hold
    assert brightness(white).tolist() == [1.0]
