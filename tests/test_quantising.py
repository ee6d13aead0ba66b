"""Exports in int8: their numbers, what they cost, and which layers stay in float32 where that is too much."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

import ception
from ception.artefacts import files_of, metadata, size_of
from ception.engines.translating import operations
from ception.errors import InputError, RunError
from ception.exporting import gate, mixed, quantising, ranges, writing
from ception.exporting.gate import Agreement
from support.contents import require_private
from support.reporters import Notes

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
pytest.importorskip("openvino", reason="openvino is not installed")
pytest.importorskip("nncf", reason="nncf is not installed")

SUFFIXES = {"onnx": ".onnx", "openvino": ".xml", "litert": ".tflite"}
BY_NNCF = ("onnx", "openvino")
KERNELS = ("/Conv2D", "/depthwise", "/MatMul")  # LiteRT's names of what TensorFlow's operations take


def litert_interpreter():
    pytest.importorskip("tensorflow", reason="tensorflow is not installed")
    return pytest.importorskip("ai_edge_litert.interpreter", reason="ai-edge-litert is not installed")


def weights_of(path) -> dict[str, str]:
    """The type in which the weights of each convolution and dense layer are kept."""
    if path.suffix == ".onnx":
        model = onnx.load(path)
        made = {name: node for node in model.graph.node for name in node.output}
        kept = {tensor.name: onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).name
                for tensor in model.graph.initializer}  # fmt: skip
        found = {}
        for node in model.graph.node:
            if node.op_type in ("Conv", "Gemm"):
                kernel = node.input[1]
                found[node.name] = kept[made[kernel].input[0] if kernel in made else kernel]
        return found
    if path.suffix == ".tflite":
        tensors = litert_interpreter().Interpreter(str(path)).get_tensor_details()
        kernels = [tensor for tensor in tensors if tensor["name"].endswith(KERNELS) and len(tensor["shape"]) > 1]
        return {tensor["name"].partition("/")[0]: tensor["dtype"].__name__ for tensor in kernels
                if tensor["shape_signature"][0] != -1}  # fmt: skip
    from ception.engines.openvino import core

    found = {}
    for node in core().read_model(path).get_ops():
        if node.get_type_name() in ("Convolution", "GroupConvolution", "MatMul"):
            kernel = node.input_value(1).get_node()
            while kernel.get_type_name() != "Constant":
                kernel = kernel.input_value(0).get_node()
            found[node.get_friendly_name()] = kernel.get_element_type().to_dtype().name
    return found


def first_of(model) -> list[str]:
    return quantising.first_layers(operations(ception.Classifier.load(model).network))


def wide() -> keras.Model:
    """A network whose depthwise convolution takes one channel a thousand times as large as the others."""
    given = x = keras.Input((12, 12, 3))
    x = keras.layers.Conv2D(8, 3, name="first", activation="relu")(x)
    x = keras.layers.DepthwiseConv2D(3, name="depthwise")(x)
    x = keras.layers.Conv2D(8, 1, name="pointwise", activation="relu")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    network = keras.Model(given, keras.layers.Dense(4, name="logits")(x))
    random = np.random.default_rng(0)
    network.set_weights([random.normal(0, 0.1, weight.shape) for weight in network.get_weights()])
    first, pointwise = (network.get_layer(name) for name in ("first", "pointwise"))
    scale = np.where(np.arange(8) == 0, 1000, 1)
    first.kernel.assign(np.array(first.kernel) * scale)
    pointwise.kernel.assign(np.array(pointwise.kernel) / scale[:, None])
    return network


def pixels(count: int, side: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, side, side, 3), np.uint8)


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    """Nobody reads how fast these are."""
    monkeypatch.setattr("ception.exporting.gate._ENOUGH_S", 0.0)


@pytest.mark.parametrize("to", ["onnx", pytest.param("openvino", marks=pytest.mark.slow)])
def test_a_model_in_int8(to, trained, tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in [name for name in os.environ if name == "CI" or name.startswith("PYTEST")]:
        monkeypatch.delenv(name)
    out = tmp_path / f"it{SUFFIXES[to]}"
    report = ception.export(trained, to, out=out, dtype="int8", reporter=Notes(), max_disagreement=0.1)
    assert capfd.readouterr() == ("", "")  # NNCF speaks to nobody
    assert not (tmp_path / "intel").exists()  # its telemetry keeps a number for the user there
    assert report.precision == metadata.read(out).precision == "int8"
    assert report.speed.runtime.endswith("in int8")
    kept = weights_of(out)
    assert [name for name, dtype in kept.items() if dtype != "int8"] == first_of(trained)
    assert len(kept) == 13
    require_private(files_of(out), trained.parents[1], tmp_path, Path(tempfile.gettempdir()))
    exact = tmp_path / f"exact{SUFFIXES[to]}"
    ception.export(trained, to, out=exact, pictures=2, reporter=Notes())
    assert size_of(out) < 0.75 * size_of(exact)  # the biases, the text of ours and the graph stay as large
    colours = trained.parents[1] / "colours"
    ours, theirs = (ception.predict(model, colours, reporter=Notes()) for model in (out, exact))
    gaps = [abs(one.top[0].probability - other.top[0].probability) for one, other in zip(ours, theirs, strict=True)]
    assert 0 < max(gaps) < 0.1


def counting(monkeypatch) -> list[str]:
    """What is timed from here on."""
    timed: list[str] = []

    def speed(engine, shape):
        timed.append(engine.name)
        return measured(engine, shape)

    measured = gate.speed
    monkeypatch.setattr(gate, "speed", speed)
    return timed


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_what_takes_pictures_stays_in_floats(padding):
    given = keras.Input((12, 12, 3))
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(given)
    one, other = (keras.layers.Conv2D(4, 3, padding=padding, name=name)(x) for name in ("one", "other"))
    x = keras.layers.Conv2D(4, 1, name="behind")(keras.layers.add([one, other]))
    network = operations(keras.Model(given, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(x))))
    assert sorted(quantising.first_layers(network)) == ["one", "other"]


class TestMixed:
    @pytest.mark.parametrize("to", SUFFIXES)
    def test_the_layer_that_loses_most_is_found(self, to, tmp_path):
        if to == "litert":
            litert_interpreter()
        network = writing.with_probabilities(operations(wide()), 1.0)
        out, samples = tmp_path / f"it{SUFFIXES[to]}", pixels(4, 12)
        coarse = [
            replace(step, arrays=step.arrays | {"kernel": step.arrays["kernel"].round(1)})
            if step.name == "pointwise"
            else step
            for step in network.steps
        ]
        writing.write(replace(network, steps=tuple(coarse)), to, out, "float32", None)
        layers = mixed.costly_layers(network, to, out, samples)
        assert layers[0] == "pointwise"
        assert sorted(layers) == ["depthwise", *["logits"] * (to != "litert"), "pointwise"]

    @pytest.mark.slow
    @pytest.mark.parametrize("to", BY_NNCF)
    def test_small_channels_beside_a_large_one_count_and_stay(self, to, tmp_path):
        network = writing.with_probabilities(operations(wide()), 1.0)
        out, samples = tmp_path / f"it{SUFFIXES[to]}", pixels(16, 12)
        writing.write(network, to, out, "int8", samples)
        layers = mixed.costly_layers(network, to, out, samples)
        assert layers[0] == "depthwise"
        writing.write(network, to, out, "int8", samples, kept=layers[:1])
        kept = weights_of(out)
        assert kept == {"first": "float32", "depthwise": "float32", "pointwise": "int8", "logits": "int8"}

    def test_what_is_named_stays_in_floats_in_litert(self, tmp_path):
        litert_interpreter()
        network, out = writing.with_probabilities(operations(wide()), 1.0), tmp_path / "it.tflite"
        writing.write(network, "litert", out, "int8", pixels(4, 12))
        kept = {"first": "float32", "depthwise": "int8", "pointwise": "int8", "logits": "float32"}
        assert weights_of(out) == kept
        assert mixed.costly_layers(network, "litert", out, pixels(4, 12))[0] == "depthwise"
        writing.write(network, "litert", out, "int8", pixels(4, 12), kept=["depthwise"])
        assert weights_of(out) == kept | {"depthwise": "float32"}

    def test_more_of_them_until_it_is_enough(self):
        first, layers, asked = agreement(differing=9), [f"layer{number}" for number in range(20)], []

        def attempt(kept):
            asked.append(list(kept))
            return agreement(differing=2 if len(kept) < 3 else 1)

        found, notes = mixed.tried(first, layers[::-1], attempt, allowed=0.01, order=layers)
        assert asked == [layers[:2], layers[:6]]
        assert found.differing == 1
        assert notes == (
            "With 20 layers in int8 9.0% of the labels would be other ones and the accuracy 0.9000 for "
            "0.9000. Most is lost in layer19, layer18, layer17, layer16, layer15",
            f"6 of 20 layers stay in float32: {', '.join(layers[:6])}",
        )

    @pytest.mark.parametrize(
        ("allowed", "of_all", "tries", "told"),
        [(0.01, 9, [2, 6], "2 of 20 layers stay in float32: layer0, layer1"),  # none will do: nothing is left to write
         (0.04, 9, [2, 6, 2], "2 of 20 layers stay in float32: layer0, layer1"),
         (0.04, 2, [2, 6, 0], "With up to 6 of them in float32 it is no nearer")],
    )  # fmt: skip
    def test_the_one_that_costs_least_where_all_cost_too_much(self, allowed, of_all, tries, told):
        asked = []

        def attempt(kept):
            asked.append(len(kept))
            wrong = {0: of_all, 2: 3, 6: 5}[len(kept)]
            return agreement(differing=wrong, accuracy=0.85)

        layers = [f"layer{number}" for number in range(20)]
        first = agreement(differing=of_all, accuracy=0.85)
        found, notes = mixed.tried(first, layers, attempt, allowed=allowed, order=layers)
        assert found.differing == min(of_all, 3)
        assert asked == tries
        assert notes[1] == told

    def test_in_litert_those_nearest_the_pictures_come_first(self):
        network, layers = operations(wide()), ["logits", "pointwise", "depthwise"]
        assert mixed.in_turn(network, "litert", layers) == ["depthwise", "pointwise", "logits"]
        assert mixed.in_turn(network, "onnx", layers) == layers

    def test_what_is_too_much(self):
        for found, too_much in (
            (agreement(differing=1), False),
            (agreement(differing=2), True),
            (agreement(differing=0, accuracy=0.895), False),
            (agreement(differing=0, accuracy=0.89), True),
            (replace(agreement(differing=0), accuracy=None), False),
        ):
            assert mixed.costs_too_much(found, 0.01) is too_much

    def test_an_export_tries_it(self, trained, tmp_path, monkeypatch):
        tries = []

        def wrong(network, to, path, precision, samples, kept):
            tries.append(list(kept))
            if len(kept) < 2:
                step = next(step for step in network.steps if step.name == "logits")
                flipped = replace(step, arrays={name: -values for name, values in step.arrays.items()})
                network = replace(network, steps=tuple(flipped if one is step else one for one in network.steps))
            writing.write(network, to, path, "float32", None)

        monkeypatch.setattr("ception.exporting.write", wrong)
        timed = counting(monkeypatch)
        out = tmp_path / "it.onnx"
        found = ception.export(trained, "onnx", out=out, dtype="int8", reporter=Notes())
        assert [len(kept) for kept in tries] == [0, 1, 4]
        assert found.differing == 0
        assert len(timed) == 2  # the last version and the model in Keras, not what came before
        assert "With 12 layers in int8 " in found.notes[0]
        assert found.notes[1].startswith("4 of 12 ")
        monkeypatch.setattr(mixed, "_SHARES", (0.1,))
        with pytest.raises(RunError, match=r"nothing is left.*With 12 layers in int8 .*Most is lost in logits, [^.]*$"):
            ception.export(trained, "onnx", out=tmp_path / "other.onnx", dtype="int8", reporter=Notes())
        assert not (tmp_path / "other.onnx").exists()
        assert len(timed) == 2


class TestRanges:
    def test_what_is_lost_least(self):
        """The best of all shares, by brute force on the values themselves."""
        values = np.append(np.random.default_rng(0).normal(size=200000), [-8.0, 8.0])
        low, high = min(0.0, values.min()), values.max()

        def lost(share):
            step = (high - low) * share / 255
            return np.square(
                np.clip(np.round((values - low * share) / step), 0, 255) * step + low * share - values
            ).sum()

        counts = np.histogram(values, 2048, (low, high))[0]
        found = ranges.least_square(counts, low, high)
        assert found[0] / low == pytest.approx(found[1] / high)
        assert found[1] < 0.9 * high  # the largest values are far off
        best = min(lost(share) for share in np.linspace(0.2, 1, 81))
        assert lost(found[1] / high) < 1.02 * best < 0.97 * lost(1)

    def test_what_fills_its_range_keeps_all_of_it(self):
        assert ranges.least_square(np.ones(2048, np.int64), 0.0, 5.0) == (0.0, 5.0)
        assert ranges.least_square(np.array([7] + [0] * 2047), 0.0, 0.0) == (0.0, 0.0)

    def test_of_all_pictures(self):
        made = {0: [3.0, -1.0], 1: [1.0, 5.0]}
        samples = np.arange(2, dtype=np.uint8)[:, None, None, None]
        found = ranges.of(lambda batch: {"it": np.array(made[int(batch.item())], np.float32)}, samples)
        assert found["it"] == pytest.approx((-1, 5), rel=0.1)

    def test_litert_gets_them(self, tmp_path, monkeypatch):
        litert = litert_interpreter()
        network, out = writing.with_probabilities(operations(wide()), 1.0), tmp_path / "it.tflite"
        monkeypatch.setattr(ranges, "least_square", lambda counts, low, high: (low / 2, high / 2))
        factors = []
        for _ in range(2):
            writing.write(network, "litert", out, "int8", pixels(4, 12))
            tensors = litert.Interpreter(str(out)).get_tensor_details()
            factors.append({one["name"]: one["quantization"][0] for one in tensors
                            if one["dtype"] == np.int8 and one["shape_signature"][0] == -1})  # fmt: skip
            monkeypatch.setattr(ranges, "least_square", lambda counts, low, high: (low, high))
        halves, wholes = factors
        assert len(wholes) >= 3
        assert {name: 2 * factor for name, factor in halves.items()} == pytest.approx(wholes)


def agreement(*, differing: int, accuracy: float = 0.9) -> Agreement:
    return Agreement(pictures=100, differing=differing, largest_gap=0.1, accuracy=(accuracy, 0.9))


class TestRefusals:
    def test_what_nncf_says_of_a_file_that_it_cannot_read(self, tmp_path):
        (tmp_path / "none.onnx").write_bytes(b"nothing")
        with pytest.raises(RunError, match=r"NNCF cannot write out.onnx in int8: .*DecodeError") as refused:
            quantising.quantise(tmp_path / "none.onnx", tmp_path / "out.onnx", pixels(1, 4))
        assert "\n" not in str(refused.value)

    def test_nncf_that_is_not_installed(self, trained, monkeypatch):
        real = quantising.sys.modules["importlib.util"].find_spec
        monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None if name == "nncf" else real(name))
        with pytest.raises(InputError, match=r"onnx in int8 needs nncf: pip install 'ception\[nncf\]'"):
            ception.export(trained, "onnx", dtype="int8")
