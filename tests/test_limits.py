"""What a training does at the machine's limits: precision, memory, time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

import ception
from ception import backends, build
from ception.backends import ran_out_of_memory
from ception.errors import RunError
from ception.reporting import Task
from ception.training import limits
from ception.training.callbacks import NotFiniteError, StepProgress
from ception.training.optimizers import loss_of, optimizer_of
from ception.training.recipes import RECIPES
from ception.training.state import Decisions
from ception.training.state import Progress as TrainingProgress
from support.pictures import COLOURS, write_pictures
from support.reporters import Notes
from support.runs import Killed, assert_same_run

SMALL = {"epochs": 2, "batch_size": 8, "image_size": 8}
IN_EACH_EPOCH = [pytest.param(2, marks=pytest.mark.slow), 12]  # steps in the first, and in the second
pytestmark = pytest.mark.usefixtures("undrawn")


def train(folder: Path, runs: Path, **settings) -> tuple[ception.Run, list[str]]:
    notes = Notes()
    return ception.train(folder, runs=runs, reporter=notes, **SMALL | settings), notes.lines


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("limits") / "colours", dict.fromkeys(COLOURS, 30))


@pytest.fixture(scope="module")
def plain(folder) -> tuple[ception.Run, list[str]]:
    """A training of which nothing special was asked."""
    return train(folder, folder.parent / "plain")


@pytest.fixture(scope="module")
def half(folder) -> tuple[ception.Run, list[str]]:
    """A training in bfloat16."""
    return train(folder, folder.parent / "half", dtype="bfloat16")


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException, *, step: int, times: int = 1) -> list[int]:
    """Let the training fail that often, each time at its step of that number; the list of all steps."""
    monkeypatch.setattr(limits, "steps_at_once", lambda made, batch_size: 1)
    real, calls, failed = StepProgress.on_train_batch_end, [], []

    def dying(progress, batch, logs=None):
        calls.append(batch)
        if len(failed) < times and len(calls) - (failed[-1] if failed else 0) == step:
            failed.append(len(calls))
            raise error
        real(progress, batch, logs)

    monkeypatch.setattr(StepProgress, "on_train_batch_end", dying)
    return calls


class Counted(Notes):
    """Remembers how a training's steps were reported."""

    def __init__(self) -> None:
        super().__init__()
        self.total, self.reports = 0, []

    @contextmanager
    def task(self, label: str, total: int) -> Iterator[Task]:
        with super().task(label, total) as task:
            if label == "Training":
                self.total, task.advance = total, lambda steps=1, detail="": self.reports.append(steps)
            yield task


class TestStepsAtOnce:
    @pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="only there several are made at once")
    def test_they_train_as_any_other_number_does(self, plain, folder, tmp_path, monkeypatch):
        monkeypatch.setattr(limits, "steps_at_once", lambda made, batch_size: 3)
        told = Counted()
        run = ception.train(folder, runs=tmp_path, reporter=told, **SMALL)
        assert_same_run(run.folder, plain[0].folder)
        assert max(told.reports) == 3
        assert sum(told.reports) == told.total  # whatever is left in the last ones of an epoch

    def test_short_steps_alone_are_made_together(self):
        network = build("separable_cnn", classes=3, image_size=64)
        expected = (10, 1) if keras.backend.backend() == "tensorflow" else (1, 1)
        assert (limits.steps_at_once(network, 1), limits.steps_at_once(network, 128)) == expected


class TestPrecision:
    def test_fresh_weights_are_trained_in_float32_unless_asked_otherwise(self, plain, half):
        run, lines = plain
        assert any(line.endswith("computing in float32") for line in lines)
        assert run.classifier.record["precision"] == "float32"
        other, lines = half
        assert any(line.endswith("computing in bfloat16") for line in lines)
        assert other.classifier.record["precision"] == "bfloat16"
        assert not np.array_equal(run.classifier.network.get_weights()[0], other.classifier.network.get_weights()[0])
        kinds = {layer.compute_dtype for layer in ception.Classifier.load(other.folder).network.layers}
        assert kinds == {"float32"}
        assert keras.saving.load_model(other.folder / "model.keras").layers[-1].compute_dtype == "float32"

    @pytest.mark.parametrize("step", IN_EACH_EPOCH)
    def test_a_loss_that_is_no_number_in_bfloat16_falls_back(self, folder, tmp_path, monkeypatch, step):
        failing(monkeypatch, NotFiniteError("the loss became nan in step 2: lower it"), step=step)
        run, lines = train(folder, tmp_path, dtype="bfloat16")
        assert "warning: the loss became nan in step 2 in bfloat16: it goes on in float32" in lines
        assert len(run.history) == 2
        assert run.scores.accuracy > 0.3
        assert run.classifier.record["precision"] == "float32"
        assert json.loads((run.folder / "settings.json").read_text())["precision"] == "float32"

    def test_a_loss_that_is_no_number_in_float32_either_ends_the_run(self, folder, tmp_path):
        with pytest.raises(RunError, match="lower --learning-rate"):
            train(folder, tmp_path, dtype="bfloat16", learning_rate=1e30)
        decided = json.loads(next(tmp_path.glob("0*/checkpoints/decided.json")).read_text())
        assert decided["precision"] == "float32"

    def test_a_resumed_training_keeps_to_it(self, folder, half, tmp_path, monkeypatch):
        with monkeypatch.context() as patched:
            failing(patched, Killed(), step=12)
            with pytest.raises(Killed):
                train(folder, tmp_path / "runs", dtype="bfloat16")
        (run,) = (tmp_path / "runs").iterdir()
        notes = Notes()
        ception.resume(run, reporter=notes)
        assert any(line.endswith("computing in bfloat16") for line in notes.lines)
        assert_same_run(half[0].folder, run)

    def test_known_processors(self, monkeypatch):
        monkeypatch.setattr(backends, "devices", lambda: ["cpu:0"])
        for flags, fast in (({"avx512_bf16"}, True), ({"amx_bf16"}, True), ({"avx2"}, False)):
            monkeypatch.setattr(backends, "cpu_flags", lambda flags=flags: flags)
            assert backends.fast_at_bfloat16() == (fast and keras.backend.backend() == "tensorflow")


class TestMemory:
    @pytest.mark.parametrize("step", IN_EACH_EPOCH)
    def test_batches_are_cut_when_memory_runs_out(self, folder, tmp_path, monkeypatch, step):
        calls = failing(monkeypatch, MemoryError(), step=step)
        run, lines = train(folder, tmp_path)
        told = "memory ran out; batches of 8 are computed 4 at a time, their gradients averaged"
        assert f"warning: {told}" in lines
        assert [row["epoch"] for row in run.history] == [1, 2]
        assert run.history[-1]["loss"] < run.history[0]["loss"] + 0.1
        assert len(calls) > 16

    @pytest.mark.slow
    def test_parts_of_parts_go_on_at_the_same_step(self, folder, tmp_path, monkeypatch):
        monkeypatch.setattr(limits, "parts_that_fit", lambda *_: 2)
        failing(monkeypatch, MemoryError(), step=20)  # in the second epoch of 63 pictures in parts of 4
        run, lines = train(folder, tmp_path, recipe="best")
        assert any("computed 2 at a time" in line for line in lines)
        whole, _ = train(folder, tmp_path, recipe="best")
        rates = [[row["learning_rate"] for row in one.history] for one in (run, whole)]
        np.testing.assert_allclose(*rates, rtol=0.1, atol=1e-4)

    def test_memory_that_runs_out_in_scoring_is_one_line(self, folder, tmp_path, monkeypatch):
        def full(*_: object) -> None:
            raise MemoryError

        with monkeypatch.context() as patched:
            patched.setattr("ception.training.scoring._table", full)
            with pytest.raises(RunError, match=r"memory ran out: .* --resume "):
                train(folder, tmp_path)
        assert ception.resume(next(tmp_path.glob("0*")), reporter=Notes()).scores.count

    def test_when_one_picture_is_too_many(self, folder, tmp_path, monkeypatch):
        failing(monkeypatch, MemoryError(), step=1, times=99)
        with pytest.raises(RunError, match="even one picture at a time takes more memory"):
            train(folder, tmp_path, batch_size=4)

    def test_other_errors_are_not_swallowed(self, folder, tmp_path, monkeypatch):
        failing(monkeypatch, RuntimeError("something else"), step=1)
        with pytest.raises(RuntimeError, match="something else"):
            train(folder, tmp_path)

    def test_parts_follow_from_the_free_memory(self, folder, tmp_path, monkeypatch):
        network = build("separable_cnn", classes=3)
        free = [limits.parts_that_fit(network, 64, bytes_) for bytes_ in (None, 1 << 40, 60_000_000, 1)]
        assert free[:2] == [1, 1]
        assert 1 < free[2] < 64
        assert free[3] == 64
        sizes, parts = [], 1
        while parts < 50:
            parts = limits.more(parts, 50)
            sizes.append(-(-50 // parts))
        assert sizes == [25, 10, 5, 2, 1]
        monkeypatch.setattr(limits, "free_bytes", lambda: 1)
        _, lines = train(folder, tmp_path)
        assert "batches of 8 are computed 1 at a time, their gradients averaged, which fits the free memory" in lines

    def test_parts_of_a_batch_give_the_gradient_of_the_whole(self):
        random = np.random.default_rng(0)
        x, y = random.normal(size=(8, 3)).astype("float32"), random.integers(0, 2, 8)
        results = []
        for parts in (1, 2, 4):
            given = keras.Input((3,))
            network = keras.Model(given, keras.layers.Dense(2, kernel_initializer="ones")(given))
            recipe = replace(RECIPES["article"], averaging=0.5, momentum=0.9)
            optimizer = optimizer_of(recipe, 3 * parts, parts=parts)
            network.compile(optimizer, loss_of(recipe), jit_compile=False)
            for _ in range(3):
                for part in range(parts):
                    network.train_on_batch(x[part::parts], y[part::parts])
            results.append(network.get_weights()[0])
        np.testing.assert_allclose(results[1], results[0], rtol=1e-5)
        np.testing.assert_allclose(results[2], results[0], rtol=1e-5)

    @pytest.mark.parametrize(("files", "free"), [
        ({"/proc/meminfo": "MemTotal: 9000 kB\nMemAvailable: 4000 kB\n"}, 4_096_000),
        ({"/proc/meminfo": "MemAvailable: 4000 kB\n", "/sys/fs/cgroup/memory.max": "3000000",
          "/sys/fs/cgroup/memory.current": "1000000", "/sys/fs/cgroup/memory.stat": "file 7\ninactive_file 500000\n"},
         2_500_000),
        ({"/proc/meminfo": "MemAvailable: 4000 kB\n", "/sys/fs/cgroup/memory.max": "max",
          "/sys/fs/cgroup/memory.current": "1000000", "/sys/fs/cgroup/memory.stat": "file 7\n"}, 4_096_000),
        ({}, None),
    ])  # fmt: skip
    def test_free_memory_is_the_least_of_what_machine_and_container_leave(self, monkeypatch, files, free):
        def read(path: Path) -> str:
            if str(path) not in files:
                raise FileNotFoundError(path)
            return files[str(path)]

        monkeypatch.setattr(limits, "_gpu", lambda: None)
        with monkeypatch.context() as patched:
            patched.setattr(Path, "read_text", read)
            found = limits.free_bytes()
        assert found == free

    def test_what_backends_say(self):
        exhausted = type("ResourceExhaustedError", (Exception,), {})("OOM when allocating tensor")
        xla = RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 1 bytes")
        torch = RuntimeError(
            "[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried"
        )
        assert all(map(ran_out_of_memory, (MemoryError(), exhausted, xla, torch)))
        assert not any(map(ran_out_of_memory, (ValueError("out of memory"), RuntimeError("shape mismatch"), Killed())))


class TestTime:
    @pytest.mark.slow
    def test_epochs_that_do_not_fit_are_left_out(self, folder, tmp_path):
        run, lines = train(folder, tmp_path, epochs=100_000, patience=100_000, learning_rate=0.001, time_budget=0.05)
        told = [line for line in lines if line.startswith("--time-budget allows ")]
        count = int(told[0].split()[2])
        assert 1 <= len(run.history) <= count < 100_000
        assert sum(row["seconds"] for row in run.history[1:]) < 3

    def test_one_epoch_is_trained_whatever_it_takes(self, folder, tmp_path):
        run, _ = train(folder, tmp_path, epochs=5, time_budget=1e-6)
        assert len(run.history) == 1
        assert run.scores.best_epoch == 1

    @pytest.mark.parametrize(
        ("seconds", "left", "wanted", "epochs"),
        [
            ([], 100, 10, None),
            ([5.0], 100, 10, 10),
            ([5.0], 30, 10, None),  # the first compiles, and there is time for a second one
            ([5.0], 12, 10, 3),
            ([5.0, 2.0], 11, 10, 6),  # a schedule that is cut is compiled once more, which takes 3 s
            ([5.0, 2.0], 100, 10, 10),
            ([5.0, 2.0], -4, 10, 2),
            ([5.0], -4, 10, 1),
        ],
    )
    def test_how_many_epochs_fit(self, seconds, left, wanted, epochs):
        rows = [{"seconds": each} for each in seconds]
        assert limits.epochs_that_fit(rows, wanted, left) == epochs

    def test_computing_activations_costs_a_phase_no_epoch(self, tmp_path, monkeypatch):
        """The share of an early phase is that of the time which is left once its inputs are there."""
        from ception.training import fitting

        clock, shares = [0.0], []

        class Ended(Exception):
            pass

        def carry_out(job, *rest):
            shares.append(job.until - clock[0])
            raise Ended

        def examples_of(*rest):
            clock[0] += 60
            return

        monkeypatch.setattr(fitting, "examples_of", examples_of)
        monkeypatch.setattr(fitting, "_carry_out", carry_out)
        monkeypatch.setattr(fitting, "time", SimpleNamespace(monotonic=lambda: clock[0]))
        plan = SimpleNamespace(phases=(None, None))
        with pytest.raises(Ended):
            fitting.fit(plan, None, None, TrainingProgress(), deadline=100.0, reporter=Notes())
        assert shares == [10.0]

    def test_a_budget_that_is_large_enough_changes_nothing(self, folder, plain, tmp_path):
        run, lines = train(folder, tmp_path, time_budget=60)
        assert not any("--time-budget" in line for line in lines)
        assert_same_run(plain[0].folder, run.folder)

    def test_a_broken_file_of_decisions(self, tmp_path):
        (tmp_path / "decided.json").write_text("{")
        with pytest.raises(RunError, match="start the training anew"):
            Decisions.load(tmp_path / "decided.json")
        Decisions("bfloat16", {2: 5}, {1: 2}).save(tmp_path / "decided.json")
        assert Decisions.load(tmp_path / "decided.json") == Decisions("bfloat16", {2: 5}, {1: 2})
