"""`ception bench`: what is measured, in which order and how long, and what follows from it."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace

import keras
import pytest

import ception
from ception import backends, benchmarking, measuring
from ception.benchmarking import cases, measuring_process, processes
from ception.benchmarking.cases import Case, cases_of
from ception.benchmarking.processes import Outcome, carried_out
from ception.engines import choosing
from ception.errors import InputError, RunError
from ception.models.config import NetworkConfig
from ception.predictor import architecture_of
from ception.reporting import Reporter
from ception.results import Benchmark, Measurement
from ception.settings import BenchSettings
from support.reporters import Notes

TINY = NetworkConfig.of("separable_cnn", image_size=8, depth_multiplier=0.1)


def case_of(**changes) -> Case:
    backend = keras.backend.backend()
    given = {"task": "inference", "runner": backend, "dtype": "float32", "layers": "stock", "batch_sizes": (1, 2)}
    return Case(config=TINY.as_dict(), backend=backend, **{"remember": False} | given | changes)


@pytest.fixture
def three(monkeypatch):
    """A machine with two backends, both engines, and bfloat16."""
    monkeypatch.setattr(backends, "installed_backends", lambda: ["jax", "torch"])
    monkeypatch.setattr(backends, "choose", lambda wanted=None: "torch")
    monkeypatch.setattr(backends, "cpu_has_bfloat16", lambda: True)
    monkeypatch.setattr(choosing.Runtime, "installed", True)


class TestCases:
    def test_the_likely_fastest_come_first_and_engines_only_run(self, three):
        found = cases_of(TINY, BenchSettings())
        assert [(one.layers, one.task) for one in found[:3]] == [
            ("stock", "inference"), ("quicker", "training"), ("stock", "training"),
        ]  # fmt: skip
        assert [(one.runner, one.dtype, one.task) for one in found if one.layers == "stock"] == [
            ("torch", "float32", "inference"), ("torch", "float32", "training"), ("openvino", "float32", "inference"),
            ("torch", "bfloat16", "inference"), ("torch", "bfloat16", "training"),
            ("openvino", "bfloat16", "inference"), ("jax", "float32", "inference"), ("jax", "float32", "training"),
            ("onnxruntime", "float32", "inference"), ("jax", "bfloat16", "inference"), ("jax", "bfloat16", "training"),
        ]  # fmt: skip
        assert {one.runner: one.backend for one in found} == {
            "torch": "torch", "jax": "jax", "openvino": "torch", "onnxruntime": "torch",
        }  # fmt: skip
        assert {one.task: one.batch_sizes for one in found} == {"inference": (1, 32), "training": (32,)}

    @pytest.mark.parametrize(
        ("settings", "count"),
        [({"task": "training"}, 8), ({"dtype": "float32"}, 8), ({"runner": "onnxruntime"}, 1), ({"runner": "jax"}, 6)],
    )
    def test_what_is_asked_for_alone(self, three, settings, count):
        assert len(cases_of(TINY, BenchSettings(**settings))) == count

    def test_other_batches(self, three):
        large, headless = TINY.but(image_size=200), NetworkConfig.of("xception", final_endpoint="block2", classes=None)
        assert {one.batch_sizes for one in cases_of(large, BenchSettings(task="training"))} == {(8,)}
        assert {one.batch_sizes for one in cases_of(large, BenchSettings(batch_size=5))} == {(5,)}
        assert {one.task for one in cases_of(headless, BenchSettings())} == {"inference"}

    def test_what_cannot_be_measured_is_refused(self, three):
        with pytest.raises(
            InputError, match=r"^tensorflow is not installed: --runner can be torch, jax, openvino, onnx"
        ):
            cases_of(TINY, BenchSettings(runner="tensorflow"))
        with pytest.raises(InputError, match=r"^there is nothing to measure: openvino cannot do that"):
            cases_of(TINY, BenchSettings(runner="openvino", task="training"))

    def test_survive_the_way_to_their_process(self):
        case = case_of()
        assert Case.of(case.text()) == case


class TestProcess:
    @pytest.mark.parametrize(
        ("task", "layers"), [("inference", "stock"), ("training", "stock"), ("training", "quicker")]
    )
    def test_measures_each_batch_size(self, monkeypatch, task, layers):
        monkeypatch.setattr(measuring_process, "_SIDE", 64)
        first, told = (dict(one) for one in measuring_process.measured(case_of(task=task, layers=layers), 0.1))
        assert first["macs"] == told["macs"]
        assert [step["batch_size"] for step in told["steps"]] == [1, 2]
        assert all(step["seconds"] > 0 and step["peak_bytes"] > 1e7 for step in told["steps"])
        network = ception.build("separable_cnn", image_size=8, depth_multiplier=0.1)
        assert told["macs"] == ception.summary(network).macs
        assert told["ceilings"]["float32"] > 0

    def test_what_it_remembers_is_what_engines_are_chosen_by(self, monkeypatch, tmp_path):
        monkeypatch.setenv("CEPTION_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(measuring_process, "_SIDE", 64)
        runnable = choosing.Runnable("separable_cnn", (8, 8, 1), lambda _: None, None, architecture_of(TINY))
        key = choosing.key_of(runnable, "float32", "keras", 2)
        list(measuring_process.measured(case_of(), 0.1))
        assert measuring.remembered(key) is None
        *_, told = measuring_process.measured(case_of(remember=True), 0.1)
        assert measuring.remembered(key) == told["steps"][1]["seconds"]

    def test_what_it_remembers_is_of_any_number_of_classes(self):
        assert architecture_of(TINY.but(classes=2)) == architecture_of(TINY)
        assert architecture_of(TINY.but(image_size=9)) != architecture_of(TINY)

    def test_every_kind_of_layers_can_be_made(self):
        quicker, stock = map(measuring_process.classes, cases.LAYERS)
        assert (len(quicker) > 0, len(stock)) == (True, 0)

    @pytest.mark.slow
    def test_runs_by_itself(self):
        outcome = carried_out(case_of(), 60.0, 60.0)
        assert [one.batch_size for one in outcome.measurements] == [1, 2]
        assert all(one.images_per_s == pytest.approx(1000 * one.batch_size / one.ms, rel=0.1)
                   for one in outcome.measurements)  # fmt: skip
        refused = carried_out(replace(case_of(), layers="none"), 1.0, 120.0)
        assert (refused.macs, refused.measurements[0].error) == (0, "KeyError: 'none'")

    def test_that_ends_late_or_badly_is_told(self, monkeypatch):
        printed = b"no line of ours"

        def late(*arguments, timeout, **options):
            raise subprocess.TimeoutExpired("x", timeout, output=printed)

        monkeypatch.setattr(subprocess, "run", late)
        assert carried_out(case_of(), 1.0, 2.0) is None
        step = {"batch_size": 1, "seconds": 0.5, "peak_bytes": 1}
        printed = json.dumps({"ceilings": {}, "steps": [step], "macs": 7}).encode() + b'\n{"ceil'
        (one,) = carried_out(case_of(), 1.0, 2.0).measurements
        assert (one.batch_size, one.ms) == (1, 500.0)
        ended = subprocess.CompletedProcess([], -9, "", "")
        monkeypatch.setattr(subprocess, "run", lambda *arguments, **options: ended)
        (one,) = carried_out(case_of(), 1.0, 2.0).measurements
        assert (one.error, one.batch_size, one.ms) == ("its process ended with -9", 1, None)


def measurement(task: str = "inference", rate: float | None = 10.0, **changes) -> Measurement:
    given = {"runner": "jax", "dtype": "float32", "layers": "stock", "batch_size": 32} | changes
    return Measurement(task=task, images_per_s=rate, ms=rate and 32000 / rate, **given)


OUTCOMES = [
    Outcome((measurement(), measurement(rate=30.0, runner="openvino")), 10**9, {"float32": 40.0}),
    Outcome((measurement("training", rate=5.0, dtype="bfloat16"),), 10**9, {"bfloat16": 200.0}),
    Outcome((measurement("training", rate=3.0),), 10**9, {"float32": 100.0}),
    Outcome((measurement("training", rate=None, runner="torch", error="it broke"),), 0, {}),
    None,
]


@pytest.fixture
def canned(monkeypatch):
    """Five cases, the last of which does not end in time."""
    monkeypatch.setattr(benchmarking, "cases_of", lambda config, settings: [case_of()] * len(OUTCOMES))
    outcomes = iter(OUTCOMES)
    monkeypatch.setattr(benchmarking, "carried_out", lambda case, seconds, most: next(outcomes))


class TestResult:
    def test_shares_ceilings_and_what_is_fastest(self, canned):
        result = ception.bench("separable_cnn", reporter=Notes())
        assert result.ceilings == {"float32": 100.0, "bfloat16": 200.0}
        shares = [one.ceiling_share for one in result.measurements]
        assert shares == [0.2, 0.6, 0.15, 0.18, None]  # training is three times the arithmetic
        assert result.left_out == 5
        assert result.recommended == {
            "inference": "--engine openvino --dtype float32 --batch-size 32",
            "training": "--backend jax --dtype bfloat16 --stock-layers",
        }
        assert result.as_dict()["measurements"][4]["error"] == "it broke"
        assert "error" not in result.as_dict()["measurements"][0]
        assert "it broke" in result._repr_html_()

    def test_once_the_time_is_up_nothing_more_begins(self, monkeypatch):
        monkeypatch.setattr(benchmarking, "cases_of", lambda config, settings: [case_of()] * 3)
        clock = iter([0.0, 1.0, 61.0, 70.0])
        monkeypatch.setattr(benchmarking.time, "monotonic", lambda: next(clock))
        given = []
        monkeypatch.setattr(
            benchmarking, "carried_out", lambda case, seconds, most: given.append((seconds, most)) or OUTCOMES[0]
        )
        result = ception.bench("separable_cnn", time_budget=1, reporter=Notes())
        assert given == [(pytest.approx(59 / 3), 59.0)]
        assert result.left_out == 4

    def test_nothing_measured_is_an_error(self, monkeypatch):
        monkeypatch.setattr(benchmarking, "cases_of", lambda config, settings: [case_of()])
        monkeypatch.setattr(benchmarking, "carried_out", lambda *_: OUTCOMES[3])
        with pytest.raises(RunError, match="nothing could be measured: it broke"):
            ception.bench("separable_cnn", reporter=Notes())

    def test_modules_and_unknown_networks_are_refused(self):
        with pytest.raises(InputError, match="naive_inception is a module"):
            ception.bench("naive_inception")
        with pytest.raises(InputError, match="did you mean 'xception'"):
            ception.bench("xcepton")
        with pytest.raises(InputError, match="did you mean 'batch_size'"):
            ception.bench("xception", batchsize=3)
        with pytest.raises(InputError, match="--remember is of inference"):
            ception.bench("xception", task="training", remember=True)

    def test_the_command_prints_a_table_and_what_to_use(self, canned, run_cli):
        code, out, _ = run_cli("bench", "separable_cnn", "--quiet")
        assert code == 0
        rows = {line.split()[1]: line.split() for line in out.splitlines() if line.startswith("inference ")}
        assert rows["openvino"][4:] == ["32", "30.0", "1,066.7", "60%", "-"]
        assert "No training by torch in float32: it broke" in out
        assert "5 measurements left out for want of time" in out
        assert "Use here for inference: --engine openvino --dtype float32 --batch-size 32" in out

    def test_the_command_names_the_data_of_a_run(self, canned, run_cli, trained):
        out = run_cli("bench", trained)[1]
        assert f"Next: ception train {trained.parents[1] / 'colours'} --model separable_cnn" in out

    def test_the_command_as_json(self, canned, run_cli):
        code, out, _ = run_cli("bench", "separable_cnn", "--json", "--remember")
        told = json.loads(out)
        assert code == 0
        assert told["remembered"]
        assert set(told) == set(Benchmark.__dataclass_fields__)


def test_a_remembered_time_decides_the_engine(monkeypatch, tmp_path):
    monkeypatch.setenv("CEPTION_CACHE", str(tmp_path / "cache"))
    runnable = choosing.Runnable("x", (8, 8, 1), lambda _: None, None, architecture_of(TINY))

    class Usual:
        precision = "float32"

        def close(self) -> None:
            pass

    usual, other = Usual(), Usual()
    monkeypatch.setattr(choosing, "_with_keras", lambda *_: other)
    runtime = choosing.RUNTIMES[0]
    monkeypatch.setattr(choosing, "version", lambda package: "1")
    measuring.remember(choosing.key_of(runnable, "float32", runtime.name, 32), 2.0)
    assert choosing._faster(runtime, runnable, usual, 32, 10, Reporter()) is usual
    measuring.remember(choosing.key_of(runnable, "float32", "keras", 32), 1.0)
    assert choosing._faster(runtime, runnable, usual, 32, 10, Reporter()) is other


def test_a_timing_is_the_median_of_the_calls_there_is_time_for(monkeypatch):
    clock = iter([0.0, 1.0, 1.0, 4.0, 4.0, 6.0])
    monkeypatch.setattr(measuring.time, "perf_counter", lambda: next(clock))
    calls = []
    assert measuring.timed(lambda: calls.append(1), enough_s=5.0) == 2.0
    assert len(calls) == 4


def test_the_processes_module_is_the_one_that_measures():
    assert measuring_process.__name__ == processes._PROCESS
