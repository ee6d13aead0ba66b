"""Which engine runs a model: the fastest by a remembered measurement, the one asked for, or what is left."""

from __future__ import annotations

import hashlib
import importlib.util
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import ception
from ception import measuring
from ception.engines import choosing
from ception.errors import InputError
from ception.predictor import Predictor
from support.pictures import write_pictures
from support.reporters import Notes

needs_openvino = pytest.mark.skipif(
    getattr(choosing.usual_runtime(), "name", None) != "openvino", reason="openvino is not installed"
)
needs_onnxruntime = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("onnx", "onnxruntime"))) or ception.backends.has_accelerator(),
    reason="onnx and onnxruntime are not installed",
)


def engine_of(model: Path, **options) -> str:
    with Predictor.open(model, **options) as predictor:
        return predictor.engine.name.split()[0]


def without(monkeypatch, *packages: str) -> None:
    """Let packages not be installed."""
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name in packages else real(name))


def is_whole(kept: Path) -> bool:
    """Whether a translation's digest is that of its content; made again, its bytes differ in the numbers of nodes."""
    content = kept.read_bytes()
    digest, parts = content[33:49], content[49:]
    return content.startswith(b"ception engine 1\n") and digest == hashlib.blake2b(parts, digest_size=16).digest()


class TestMeasuring:
    def test_it_is_remembered_on_this_machine_and_under_this_key(self, own_cache, monkeypatch):
        calls = []
        seconds = measuring.measured({"network": "a"}, lambda: calls.append(1))
        assert len(calls) == 4
        assert measuring.remembered({"network": "a"}) == seconds > 0
        assert measuring.remembered({"network": "b"}) is None
        monkeypatch.setattr(measuring, "machine", lambda: "another")
        assert measuring.remembered({"network": "a"}) is None

    def test_damaged_timings_are_none(self, own_cache):
        own_cache.mkdir()
        (own_cache / "timings.json").write_text('{"a": ')
        assert measuring.remembered({"network": "a"}) is None
        measuring.measured({"network": "a"}, lambda: None)
        assert measuring.remembered({"network": "a"})

    def test_where_the_cache_cannot_be_written_it_is_measured_again(self, monkeypatch):
        monkeypatch.setenv("CEPTION_CACHE", "/proc/none")
        assert measuring.measured({"network": "a"}, lambda: None) >= 0
        assert measuring.remembered({"network": "a"}) is None


@needs_openvino
class TestProof:
    """A translation is compared with the network before it is used."""

    @pytest.fixture
    def wrong(self, own_cache, monkeypatch):
        """Translations, of which OpenVINO makes something else."""
        from ception.engines import openvino

        right = openvino.opened

        class Wrong:
            def __init__(self, engine):
                self.engine = engine

            def run(self, batch):
                return self.engine.run(batch) * 1.01

            def close(self):
                self.engine.close()

        monkeypatch.setattr(openvino, "opened", lambda graph, precision: Wrong(right(graph, precision)))

    def test_one_that_answers_otherwise_is_not_used(self, trained, wrong, own_cache):
        notes = Notes()
        assert engine_of(trained, reporter=notes) != "openvino"
        assert "OpenVINO answers otherwise than separable_cnn in Keras (by 0.01 of" in notes.warnings[0]
        assert not list(own_cache.glob("engine-*"))

    def test_one_that_is_asked_for_is_refused(self, trained, wrong):
        with pytest.raises(InputError, match="leave out --engine, and please report this"):
            engine_of(trained, engine="openvino")


def test_what_is_no_number_is_no_answer(trained):
    classifier = ception.Classifier.load(trained)
    weights = classifier.network.get_weights()
    classifier.network.set_weights([weight * np.nan for weight in weights])
    with pytest.raises(ception.RunError, match=r"answers with what is no number, in .* its weights are damaged"):
        ception.predict(classifier, np.zeros((28, 28, 3), np.uint8))


def test_what_runs_a_model_is_said(trained, run_cli):
    picture = next((trained.parents[1] / "colours" / "red").iterdir())
    _, _, err = run_cli("predict", trained, picture, "--engine", "keras")
    assert f"Running on {ception.backends.choose()} " in err
    assert " in float32" in err


@needs_openvino
class TestChoice:
    def test_openvino_unless_another_is_asked_for(self, trained, own_cache):
        assert engine_of(trained) == "openvino"
        assert engine_of(trained, engine="keras") != "openvino"
        assert engine_of(trained, backend=ception.backends.choose()) != "openvino"
        assert engine_of(trained, device="cpu") != "openvino"

    def test_a_long_job_measures_both_and_remembers(self, trained, own_cache, monkeypatch):
        timed = []
        seconds = {"openvino": 0.001, "keras": 0.002}
        monkeypatch.setattr(
            choosing.measuring, "measured", lambda key, run: timed.append(key["engine"]) or seconds[key["engine"]]
        )
        assert engine_of(trained, pictures=200) == "openvino"
        assert timed == []
        assert engine_of(trained, pictures=10_000) == "openvino"
        assert timed == ["openvino"]  # a third of a second
        seconds["openvino"] = 1.0
        assert engine_of(trained, pictures=10_000) != "openvino"
        assert timed == ["openvino", "openvino", "keras"]
        monkeypatch.undo()

    def test_the_faster_one_is_taken(self, trained, own_cache, monkeypatch):
        times = {"openvino": 2.0, "keras": 1.0}
        monkeypatch.setattr(choosing.measuring, "remembered", lambda key: times[key["engine"]])
        assert engine_of(trained) != "openvino"
        times["keras"] = 3.0
        assert engine_of(trained) == "openvino"

    def test_without_measurements_what_is_installed_decides(self, trained, own_cache, monkeypatch):
        monkeypatch.setattr(
            choosing.measuring, "remembered", lambda key: {"openvino": 2.0, "keras": 1.0}[key["engine"]]
        )
        assert engine_of(trained, measure=False) == "openvino"

    def test_both_say_the_same(self, trained, own_cache):
        one, other = (ception.predict(trained, trained.parent.parent / "colours", engine=engine)
                      for engine in ("openvino", "keras"))  # fmt: skip
        for first, second in zip(one, other, strict=True):
            assert [guess.class_name for guess in first.top] == [guess.class_name for guess in second.top]
            for a, b in zip(first.top, second.top, strict=True):
                assert a.probability == pytest.approx(b.probability, abs=1e-4)

    def test_a_few_pictures_of_a_network_in_memory_stay_in_keras(self, trained):
        classifier = ception.Classifier.load(trained)
        assert engine_of(classifier, pictures=3) != "openvino"
        assert engine_of(classifier, pictures=1000) == "openvino"
        assert engine_of(classifier) == "openvino"  # opened once, asked often

    def test_batches_are_as_large_as_the_job(self, trained):
        for pictures, size in ((None, 16), (3, 3), (1000, 16)):
            with Predictor.open(trained, batch_size=16, pictures=pictures) as predictor:
                assert predictor.batch_size == size

    def test_threads_share_an_engine(self, trained):
        pixels = np.random.default_rng(0).integers(0, 256, (12, 8, 16, 16, 3), np.uint8)
        with Predictor.open(trained) as predictor, ThreadPoolExecutor(4) as pool:
            alone = [predictor.logits(batch) for batch in pixels]
            for one, other in zip(alone, pool.map(predictor.logits, pixels), strict=True):
                np.testing.assert_array_equal(one, other)


@needs_onnxruntime
class TestOnnxRuntime:
    def test_it_runs_what_openvino_would(self, trained, own_cache, monkeypatch):
        assert engine_of(trained, engine="onnxruntime") == "onnxruntime"
        without(monkeypatch, "openvino")
        assert engine_of(trained) == "onnxruntime"
        assert engine_of(trained, engine="keras") != "onnxruntime"
        without(monkeypatch, "openvino", "onnx")  # which writes what it runs
        assert engine_of(trained) not in ("openvino", "onnxruntime")
        with pytest.raises(InputError, match=r"ONNX Runtime is not installed: pip install 'ception\[onnx\]'"):
            Predictor.open(trained, engine="onnxruntime")

    def test_keras_takes_bfloat16(self, trained, own_cache, monkeypatch):
        with pytest.raises(InputError, match="ONNX Runtime does not compute in bfloat16"):
            Predictor.open(trained, engine="onnxruntime", dtype="bfloat16")
        without(monkeypatch, "openvino")
        assert engine_of(trained, dtype="bfloat16") not in ("openvino", "onnxruntime")

    def test_it_says_what_keras_says(self, trained, own_cache):
        colours = trained.parent.parent / "colours"
        ours, theirs = (ception.predict(trained, colours, engine=engine) for engine in ("onnxruntime", "keras"))
        for one, other in zip(ours, theirs, strict=True):
            assert [guess.class_name for guess in one.top] == [guess.class_name for guess in other.top]
            assert one.top[0].probability == pytest.approx(other.top[0].probability, abs=1e-4)

    def test_a_long_job_measures_it_too(self, trained, own_cache, monkeypatch):
        without(monkeypatch, "openvino")
        timed = []
        seconds = {"onnxruntime": 1.0, "keras": 0.5}
        monkeypatch.setattr(
            choosing.measuring, "measured", lambda key, run: timed.append(key["engine"]) or seconds[key["engine"]]
        )
        assert engine_of(trained, pictures=10_000) not in ("openvino", "onnxruntime")
        assert timed == ["onnxruntime", "keras"]

    def test_a_model_that_it_has_run_needs_no_keras(self, trained, own_cache):
        code = (
            "import sys, ception; said = ception.predict(sys.argv[1], sys.argv[2], engine='onnxruntime');"
            "print(len(said), *(name in sys.modules for name in ('keras', 'tensorflow', 'torch', 'jax', 'onnx')))"
        )
        assert engine_of(trained, engine="onnxruntime") == "onnxruntime"
        (kept,) = own_cache.glob("engine-*.bin")
        command = [sys.executable, "-c", code, trained, trained.parent.parent / "colours" / "blue"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        assert said == ["40", "False", "False", "False", "False", "False"]
        kept.write_bytes(kept.read_bytes()[:-1])
        assert engine_of(trained, engine="onnxruntime") == "onnxruntime"  # made again


@needs_openvino
class TestKept:
    def test_a_model_that_openvino_has_run_needs_no_keras(self, trained, own_cache, tmp_path):
        write_pictures(tmp_path / "new", {"blue": 3})
        code = (
            "import sys, ception; said = ception.predict(sys.argv[1], sys.argv[2]);"
            "print(len(said), *(module in sys.modules for module in ('keras', 'tensorflow', 'torch', 'jax')))"
        )
        assert engine_of(trained) == "openvino"
        command = [sys.executable, "-c", code, trained, tmp_path / "new"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        assert said == ["3", "False", "False", "False", "False"]

    def test_another_model_is_another_translation(self, trained, own_cache, tmp_path):
        engine_of(trained)
        classifier = ception.Classifier.load(trained)
        logits = classifier.network.get_layer("logits")
        logits.bias.assign(np.array([0, 9, 0], np.float32))
        classifier.save(tmp_path / "other.keras")
        said = ception.predict(tmp_path / "other.keras", trained.parent.parent / "colours")
        assert {result.top[0].class_name for result in said} == {classifier.class_names[1]}
        assert len(list(own_cache.glob("engine-*.bin"))) == 2

    @pytest.mark.parametrize("share", [0, 0.3, 0.999])
    def test_a_damaged_translation_is_made_again(self, trained, own_cache, share):
        expected = ception.predict(trained, trained.parent.parent / "colours")
        (kept,) = own_cache.glob("engine-*.bin")
        whole = kept.read_bytes()
        kept.write_bytes(whole[: int(len(whole) * share)])
        assert not is_whole(kept)
        assert ception.predict(trained, trained.parent.parent / "colours") == expected
        assert is_whole(kept)

    def test_a_flipped_bit_is_noticed(self, trained, own_cache):
        expected = ception.predict(trained, trained.parent.parent / "colours")
        (kept,) = own_cache.glob("engine-*.bin")
        content = bytearray(kept.read_bytes())
        content[-100] ^= 64
        kept.write_bytes(content)
        assert not is_whole(kept)
        assert ception.predict(trained, trained.parent.parent / "colours") == expected
        assert is_whole(kept)

    def test_it_keeps_to_the_caches_limit(self, trained, own_cache):
        engine_of(trained, cache_limit=1e-6)
        assert not list(own_cache.glob("engine-*"))

    def test_what_the_cache_cannot_hold_is_said(self, trained, monkeypatch):
        monkeypatch.setenv("CEPTION_CACHE", "/proc/none")
        notes = Notes()
        assert engine_of(trained, reporter=notes) == "openvino"
        assert "not kept for the next time" in notes.warnings[0]


class TestRefusals:
    def test_openvino_that_is_not_installed(self, trained, monkeypatch):
        without(monkeypatch, "openvino")
        with pytest.raises(InputError, match="OpenVINO is not installed"):
            Predictor.open(trained, engine="openvino")
        assert engine_of(trained) != "openvino"

    @needs_openvino
    def test_bfloat16_on_a_processor_without(self, trained, own_cache, monkeypatch):
        from ception.engines import openvino

        real = openvino.ov.Core

        class Plain:
            def __init__(self) -> None:
                self.core = real()

            def get_property(self, device, name):
                return [one for one in self.core.get_property(device, name) if one != "BF16"]

            def __getattr__(self, name):
                return getattr(self.core, name)

        monkeypatch.setattr(openvino, "core", Plain)
        with pytest.raises(InputError, match="does not compute in bfloat16"):
            Predictor.open(trained, dtype="bfloat16")

    def test_a_closed_engine_runs_no_more(self, trained):
        with Predictor.open(trained) as predictor:
            pixels = np.zeros((1, *predictor.description.image.shape), np.uint8)
            assert predictor.logits(pixels).shape == (1, 3)
        with pytest.raises(RuntimeError, match="closed"):
            predictor.logits(pixels)

    def test_pixels_of_another_shape(self, trained):
        with Predictor.open(trained) as predictor, pytest.raises(InputError, match="takes pictures of shape"):
            predictor.logits(np.zeros((1, 5, 5, 3), np.uint8))

    def test_no_class_at_all_is_refused(self, trained, folder):
        with Predictor.open(trained) as predictor, pytest.raises(InputError, match="top must be a whole number of at"):
            next(predictor.predictions(folder, top=0))
