"""PyTorch's programs compute what Keras computes, and nothing in one is run as code."""

from __future__ import annotations

import json
import re
import threading
import zipfile
from contextlib import suppress

import keras
import numpy as np
import pytest

from ception import MODELS
from ception.artefacts import metadata
from ception.artefacts.opening import engine_of
from ception.engines.keras_backend import KerasEngine
from ception.engines.operations import Operations
from ception.engines.torch_archive import UnsafeError, safe
from ception.engines.translating import operations
from ception.errors import InputError
from ception.exporting import writing
from support.networks import thin
from support.parity import difference, fill

SPECS = {
    "in_spec": '[1, {"type": "builtins.tuple", "context": "null", "children_spec": [{"type": "builtins.tuple", '
    '"context": "null", "children_spec": [{"type": null, "context": null, "children_spec": []}]}, {"type": '
    '"builtins.dict", "context": "[]", "children_spec": []}]}]',
    "out_spec": '[1, {"type": null, "context": null, "children_spec": []}]',
}


@pytest.fixture
def graphs():
    return pytest.importorskip("ception.engines.torch_graph", reason="torch is not installed")


def run(graphs, network: Operations, batch: np.ndarray, precision: str = "float32") -> np.ndarray:
    """What the module computes, which a program is a trace of."""
    torch = pytest.importorskip("torch")
    with torch.inference_mode():
        return graphs.Network(network, precision).eval()(torch.from_numpy(batch)).numpy()


@pytest.mark.parametrize("name", [name for name in MODELS if name not in ("xception_65", "xception_71")])
def test_every_network(graphs, name):
    built = thin(name)
    fill(built, seed=3)
    batch = np.random.default_rng(0).integers(0, 256, (2, *built.input.shape[1:]), np.uint8)
    expected = KerasEngine(built).run(batch)
    # relative to the largest logit: sums in another order, of a network with random statistics
    assert difference(run(graphs, operations(built), batch), expected) < 1e-4
    assert difference(run(graphs, operations(built), batch, "bfloat16"), expected) < 0.05


@pytest.mark.parametrize("side", [8, 9])
@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("strides", [1, 2, 3])
def test_padding_is_that_of_tensorflow(graphs, side, size, strides):
    """More behind than before where it is uneven, never counted in an average, below all else in a maximum."""
    given = keras.Input((side, side + 1, 4))
    options = {"strides": strides, "padding": "same"}
    made = [
        keras.layers.Conv2D(8, size, groups=2, **options)(given),
        keras.layers.DepthwiseConv2D(size, **options)(given),
        keras.layers.AveragePooling2D(size, **options)(given),
        keras.layers.MaxPooling2D(size, **options)(given),
    ]
    batch = np.random.default_rng(0).normal(-3, 1, (2, side, side + 1, 4)).astype(np.float32)
    for output in made:
        model = keras.Model(given, output)
        expected = reference(model.layers[-1], batch, size, strides)
        assert difference(run(graphs, operations(model), batch), expected) < 1e-5


def reference(layer: keras.layers.Layer, batch: np.ndarray, size: int, strides: int) -> np.ndarray:
    """What TensorFlow's documentation says of "same", window by window."""
    _, height, width, channels = batch.shape
    starts = []
    for side in (height, width):
        count = -(-side // strides)
        before = max((count - 1) * strides + size - side, 0) // 2
        starts.append([number * strides - before for number in range(count)])
    rows = []
    for top in starts[0]:
        row = []
        for left in starts[1]:
            inside = slice(max(top, 0), top + size), slice(max(left, 0), left + size)
            window = batch[:, inside[0], inside[1]]
            if "pooling" in layer.name:
                row.append(window.max((1, 2)) if "max" in layer.name else window.mean((1, 2)))
                continue
            kernel = np.asarray(keras.ops.convert_to_numpy(layer.kernel))
            held = kernel[inside[0].start - top :, inside[1].start - left :][: window.shape[1], : window.shape[2]]
            if "depthwise" in layer.name:
                row.append(np.einsum("bhwc,hwc->bc", window, held[..., 0]))
            else:
                half = channels // 2
                parts = [np.einsum("bhwc,hwcf->bf", window[..., :half], held[..., :4]),
                         np.einsum("bhwc,hwcf->bf", window[..., half:], held[..., 4:])]  # fmt: skip
                row.append(np.concatenate(parts, -1))
        rows.append(np.stack(row, 1))
    return np.stack(rows, 1)


def test_all_other_layers(graphs, tmp_path):
    maps = x = keras.Input((9, 9, 4))
    for layer in (
        keras.layers.ZeroPadding2D(((1, 0), (0, 2))),
        keras.layers.Cropping2D(((0, 1), (1, 0))),
        keras.layers.DepthwiseConv2D(3, depth_multiplier=2, dilation_rate=2, padding="same", activation="elu"),
        keras.layers.BatchNormalization(scale=False),
        keras.layers.Activation("selu"),
    ):
        x = layer(x)
    added = keras.layers.Add()([x, x, keras.layers.ReLU()(x)])
    pools = (keras.layers.MaxPooling2D, keras.layers.AveragePooling2D)
    even = [pool(2, strides=1, padding="same")(added) for pool in pools]
    x = keras.layers.Flatten()(keras.layers.Concatenate()([added, x, *even]))
    tail = keras.Model(maps, keras.layers.Dense(5, activation="softmax")(x))
    batch = np.random.default_rng(0).normal(size=(3, 9, 9, 4)).astype(np.float32)
    assert difference(run(graphs, operations(tail), batch), KerasEngine(tail).run(batch)) < 1e-5
    writing.write(operations(tail), "torch", tmp_path / "it.pt2", "bfloat16", None)  # all of it is known to be safe
    body = keras.Model(maps, added)  # feature maps keep their channels last
    assert difference(run(graphs, operations(body), batch), KerasEngine(body).run(batch)) < 1e-5
    kept = keras.Model(maps, keras.layers.GlobalAveragePooling2D(keepdims=True)(maps))
    assert difference(run(graphs, operations(kept), batch), KerasEngine(kept).run(batch)) < 1e-5


@pytest.fixture
def written(graphs, tmp_path):
    """A program as `export` writes it, and its network."""
    built = thin("separable_cnn")
    path = tmp_path / "it.pt2"
    writing.write(writing.with_probabilities(operations(built), 1.0), "torch", path, "float32", None)
    return path, built


def test_threads_may_share_one(written):
    path, built = written
    metadata.write(path, "torch", precision="float32", described={})
    engine = engine_of(metadata.read(path))
    batches = np.random.default_rng(0).integers(0, 256, (4, 3, *built.input.shape[1:]), np.uint8)
    batches.flags.writeable = False  # as memory-mapped pixels are
    given: dict[int, np.ndarray] = {}
    threads = [
        threading.Thread(target=lambda n=n: given.update({n: engine.run(batches[n])})) for n in range(len(batches))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, batch in enumerate(batches):
        np.testing.assert_array_equal(given[number], engine.run(batch))


def test_nothing_tells_of_the_machine_that_wrote_it(written):
    path, _ = written
    content = path.read_bytes()
    for word in (b".py", b"/home", b"/work", b"stack_trace", b"site-packages"):
        assert word not in content


def test_a_pytorch_that_writes_pickles_is_to_be_upgraded(graphs, tmp_path, monkeypatch):
    def earlier(program, path):
        pack(path, plain() | {"data/weights/model.pt": "x"})

    monkeypatch.setattr("torch.export.save", earlier)
    with pytest.raises(
        InputError, match=r"could run code \(it holds data/weights/model.pt.*pip install --upgrade torch"
    ):
        writing.write(operations(thin("separable_cnn")), "torch", tmp_path / "it.pt2", "float32", None)


def test_a_changed_program_does_not_run(written, tmp_path):
    """The digest is no secret: whoever changes a program can write a fitting one."""
    path, _ = written
    ran = tmp_path / "ran"
    with zipfile.ZipFile(path) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    (program,) = (name for name in held if name.endswith("models/model.json"))
    code = f"__import__('pathlib').Path('{ran}').touch() or 1"
    held[program] = re.sub(rb"Symbol\('s\d+'[^)]*\)", code.encode(), held[program])
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in held.items():
            archive.writestr(name, content)
    torch = pytest.importorskip("torch")
    with suppress(Exception):  # by then it is too late
        torch.export.load(str(path))
    assert ran.exists()  # this is what the look is for
    ran.unlink()
    metadata.write(path, "torch", precision="float32", described={})
    with pytest.raises(InputError, match=r"it\.pt2 cannot be run: its expr_str is .__import__"):
        engine_of(metadata.read(path))
    assert not ran.exists()


def plain() -> dict[str, object]:
    """What a small program holds, but for what PyTorch wants besides."""
    symbol = "Symbol('s77', positive=True, integer=True)"
    node = {"target": "torch.ops.aten.relu.default", "name": "relu", "metadata": {},
            "inputs": [{"name": "self", "arg": {"as_tensor": {"name": "x"}}, "kind": 1}]}  # fmt: skip
    weight = {"path_name": "weight_0", "use_pickle": False}
    return {
        "archive_format": "pt2",
        "data/weights/weight_0": "numbers",
        "data/weights/model_weights_config.json": {"config": {"step_0_kernel": weight}},
        "data/constants/model_constants_config.json": {"config": {}},
        "data/sample_inputs/model.pt": "",
        "models/model.json": {
            "graph": {"nodes": [node], "sizes": [{"as_expr": {"expr_str": symbol}}]}, "signature": SPECS,
            "guards_code": [], "torch_version": "2.13.0+cpu",
        },
    }  # fmt: skip


def pack(path, held, compression=zipfile.ZIP_STORED, root="it"):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in held.items():
            archive.writestr(f"{root}/{name}", content if isinstance(content, str) else json.dumps(content))
    return path


class TestLookingAt:
    def test_what_is_plain_is_handed_on(self, tmp_path):
        held = plain()
        with zipfile.ZipFile(safe(pack(tmp_path / "it.pt2", held))) as archive:
            assert set(archive.namelist()) == {f"program/{name}" for name in held}
            assert archive.read("program/data/weights/weight_0") == b"numbers"

    @pytest.mark.parametrize(
        ("name", "said"),
        [
            ("data/weights/model.pt", "data/weights/model.pt, which may be code"),
            ("data/constants/custom_obj_0", "custom_obj_0, which may be code"),
            ("data/aotinductor/model/it.so", "it.so, which may be code"),
            ("data/weights/../../weight_0", "which may be code"),
            ("models/other.json", "which may be code"),
        ],
    )
    def test_files(self, tmp_path, name, said):
        with pytest.raises(UnsafeError, match=said):
            safe(pack(tmp_path / "it.pt2", plain() | {name: "x"}))

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("target", "torch.load"),
            ("target", "torch.ops.aten.from_file.default"),
            ("target", "_operator.call"),
            ("name", "x = print()  #"),
            ("expr_str", "__import__('os').system('true')"),
            ("expr_str", "Symbol('s77', positive=print())"),
            ("in_spec", SPECS["in_spec"].replace("builtins.dict", "collections.defaultdict")),
            ("out_spec", '[1, {"type": "builtins.list", "context": "{\\"__enum__\\": true}", "children_spec": []}]'),
            ("guards_code", ["True"]),
            ("guards_code", "True"),
            ("print()", 1),
        ],
    )
    def test_texts(self, tmp_path, key, value):
        held = plain()
        held["models/model.json"]["graph"]["nodes"][0][key] = value
        with pytest.raises(UnsafeError, match=key.replace("(", r"\(").replace(")", r"\)")):
            safe(pack(tmp_path / "it.pt2", held))

    def test_pickles(self, tmp_path):
        held = plain()
        held["data/weights/model_weights_config.json"]["config"]["step_0_kernel"]["use_pickle"] = True
        with pytest.raises(UnsafeError, match=r"model_weights_config.json names what is a pickle"):
            safe(pack(tmp_path / "it.pt2", held))
        held = plain()
        held["data/constants/model_constants_config.json"]["config"]["it"] = {
            "path_name": "opaque_obj_0", "use_pickle": False,
        }  # fmt: skip
        with pytest.raises(UnsafeError, match=r"model_constants_config.json names what is a pickle"):
            safe(pack(tmp_path / "it.pt2", held))
        with pytest.raises(UnsafeError, match="examples of inputs are a pickle"):
            safe(pack(tmp_path / "it.pt2", plain() | {"data/sample_inputs/model.pt": "x"}))

    def test_archives_that_two_readers_may_read_otherwise(self, tmp_path):
        with pytest.raises(UnsafeError, match="is compressed"):
            safe(pack(tmp_path / "it.pt2", plain(), zipfile.ZIP_DEFLATED))
        path = pack(tmp_path / "it.pt2", plain())
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("other/archive_format", "pt2")
        with pytest.raises(UnsafeError, match="not one root"):
            safe(path)
        with pytest.raises(UnsafeError, match=r"it has no models/model.json"):
            safe(pack(path, {name: held for name, held in plain().items() if name != "models/model.json"}))
