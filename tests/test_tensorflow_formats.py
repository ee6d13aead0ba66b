"""Networks as functions of TensorFlow, SavedModels and LiteRT's models say what Keras says, and hold nothing else."""

from __future__ import annotations

import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest

import ception
from ception.artefacts import metadata
from ception.engines.keras_backend import KerasEngine
from ception.engines.translating import operations
from ception.errors import InputError
from support.networks import of_rare_layers
from support.parity import difference
from support.reporters import Notes

tf = pytest.importorskip("tensorflow", reason="tensorflow is not installed")
interpreter = pytest.importorskip("ai_edge_litert.interpreter", reason="ai-edge-litert is not installed")

from tensorflow.core.protobuf import saved_model_pb2  # noqa: E402

from ception.engines.litert import LiteRtEngine  # noqa: E402
from ception.engines.saved_model import SavedModelEngine, require_network  # noqa: E402
from ception.engines.tensorflow_graph import SIGNATURE, Graph, save  # noqa: E402
from ception.exporting.litert import model_of  # noqa: E402
from ception.exporting.writing import with_probabilities  # noqa: E402


@pytest.fixture(scope="module")
def tail() -> keras.Model:
    return of_rare_layers()


def pictures(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 11, 9, 4), np.uint8)


@pytest.fixture(scope="module")
def saved(tail, tmp_path_factory):
    """A SavedModel of ours."""
    folder = tmp_path_factory.mktemp("saved") / "it.saved-model"
    save(operations(tail), folder, output="probabilities")
    return folder


class TestNumbers:
    def test_of_every_kind_of_operation(self, tail):
        batch, steps = pictures(3), operations(tail)
        expected = KerasEngine(tail).run(batch)
        for plain in (False, True):
            written = Graph(steps, plain=plain).serve(tf.constant(batch, tf.float32))["scores"].numpy()
            assert difference(written, expected) < 1e-5

    def test_in_litert(self, tail):
        batch, steps = pictures(16), operations(tail)
        expected = KerasEngine(tail).run(batch)
        sizes = {}
        for precision, allowed in (("float32", 1e-5), ("float16", 5e-3), ("int8", 0.1)):
            model = model_of(steps, output="p", precision=precision, samples=batch)
            sizes[precision] = len(model)
            engine = LiteRtEngine(model, precision)
            for count in (16, 1, 5):  # any batch size
                given = engine.run(batch[:count])
                assert np.abs(given - expected[:count]).max() < allowed
                assert given.sum(-1) == pytest.approx(np.ones(count), abs=1e-5)  # no multiples of 1/256
        assert sizes["int8"] < sizes["float32"]

    def test_nothing_is_logged_while_it_is_written(self, tail, monkeypatch):
        told, handler, log = [], logging.Handler(), logging.getLogger("tensorflow")
        handler.emit = told.append
        monkeypatch.setattr(log, "handlers", [handler])
        before = log.level
        log.setLevel(logging.INFO)  # as TensorFlow has it in a notebook
        try:
            model_of(operations(tail), output="p", precision="float32", samples=None)
        finally:
            log.setLevel(before)
        assert [record.getMessage() for record in told] == []

    def test_of_the_signature_that_tensorflow_serving_runs(self, tail, saved):
        serve = tf.saved_model.load(str(saved)).signatures[SIGNATURE]
        for count in (4, 2):
            given = serve(pictures=tf.constant(pictures(count)))
            assert list(given) == ["probabilities"]
            assert difference(given["probabilities"].numpy(), KerasEngine(tail).run(pictures(count))) < 1e-5


def test_threads_share_an_engine(tail, saved):
    model = model_of(operations(tail), output="p", precision="float32")
    expected = KerasEngine(tail).run(pictures(8))
    for engine in (LiteRtEngine(model, "float32"), SavedModelEngine(saved)):
        with ThreadPoolExecutor(4) as pool:
            given = list(pool.map(lambda count: engine.run(pictures(8)[:count]), [1, 8, 3, 5] * 10))  # noqa: B023
        for result in given:
            assert np.abs(result - expected[: len(result)]).max() < 1e-5


def test_int8_has_a_range_for_each_filter_and_keeps_to_its_budget(trained, tmp_path):
    out = tmp_path / "it.tflite"
    report = ception.export(trained, "litert", dtype="int8", out=out, reporter=Notes())
    assert report.disagreement <= report.allowed == 0.01
    kernels = [tensor for tensor in interpreter.Interpreter(str(out)).get_tensor_details()
               if tensor["dtype"] == np.int8 and len(tensor["quantization_parameters"]["scales"]) > 1]  # fmt: skip
    assert len(kernels) >= 8
    assert report.size < 0.5 * report.size_of_model


def test_what_is_kept_stays_in_floats():
    given = keras.Input((12, 12, 3))
    x = keras.layers.Conv2D(8, 3, name="first", activation="relu")(keras.layers.Rescaling(1 / 127.5, offset=-1)(given))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3, name="firstborn", activation="relu")(x))
    network = with_probabilities(operations(keras.Model(given, keras.layers.Dense(2, name="logits")(x))), 1.0)
    samples = np.random.default_rng(0).integers(0, 256, (8, 12, 12, 3), np.uint8)
    written = model_of(network, output="probabilities", precision="int8", samples=samples, kept=["first"])
    kernels = {tuple(tensor["shape"]): tensor["dtype"]  # converters differ in names
               for tensor in interpreter.Interpreter(model_content=written).get_tensor_details()
               if len(tensor["shape"]) == 4 and tensor["shape"][1] == 3}  # fmt: skip
    assert kernels == {(8, 3, 3, 3): np.float32, (4, 3, 3, 8): np.int8}


def test_the_command_line_is_silent(run_cli, trained, tmp_path):
    code, _, err = run_cli("export", trained, "--to", "litert", "--dtype", "int8", "--out", tmp_path / "it.tflite",
                           "--pictures", "2", "--max-disagreement", "1", "--quiet")  # fmt: skip
    assert (code, err) == (0, "")


@pytest.mark.slow  # TensorFlow is imported anew
def test_keras_is_not_needed(tmp_path):
    """So a model of any backend is written, and none is needed to run what was written."""
    script = (
        "import sys\n"
        "sys.modules['keras'] = None\n"  # whoever imports it gets an ImportError
        "import numpy as np\n"
        "from pathlib import Path\n"
        "from ception.engines.operations import INPUT, Operation, Operations\n"
        "from ception.engines.saved_model import SavedModelEngine\n"
        "from ception.engines.tensorflow_graph import save\n"
        "mean = Operation('mean', 'global_average', (INPUT,), (3,), {}, {'keepdims': False})\n"
        "folder = Path(sys.argv[1])\n"
        "save(Operations('it', (4, 4, 3), (mean,)), folder, output='mean')\n"
        "print(SavedModelEngine(folder).run(np.full((1, 4, 4, 3), 7, np.uint8)).tolist())"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "it")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[[7.0, 7.0, 7.0]]\n"


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("ai_edge_litert", r"litert needs ai_edge_litert: pip install 'ception\[litert\]'"),
        ("tensorflow", r"litert in float32 needs tensorflow: pip install 'ception\[tensorflow\]'"),
    ],
)
def test_a_package_that_is_missing(trained, monkeypatch, missing, said):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == missing else name)
    with pytest.raises(InputError, match=said):
        ception.export(trained, "litert")


class TestWhatIsNotLoaded:
    """A SavedModel is a program: what does more than compute is refused, by name, before TensorFlow sees it."""

    @pytest.fixture(autouse=True)
    def _never_loaded(self, monkeypatch):
        def load(*_):
            raise AssertionError("it was loaded")

        monkeypatch.setattr(tf.saved_model, "load", load)

    def test_ours_would_be(self, saved):
        require_network(saved)
        with pytest.raises(AssertionError, match="it was loaded"):
            SavedModelEngine(saved)

    def test_an_operation_that_writes_a_file(self, trained, tmp_path):
        class Program(tf.Module):
            @tf.function(input_signature=[tf.TensorSpec([None, 16, 16, 3], tf.uint8)])
            def serve(self, pictures):
                tf.io.write_file(str(tmp_path / "written"), "by it")
                return {"probabilities": tf.zeros([tf.shape(pictures)[0], 3])}

        program = Program()
        folder = tmp_path / "program.saved-model"
        tf.saved_model.save(program, str(folder), signatures={SIGNATURE: program.serve})
        described = ception.Classifier.load(trained).as_json()
        metadata.write(folder, "saved-model", precision="float32", described=described)
        with pytest.raises(InputError, match="holds the operation WriteFile, which no network needs: it is not loaded"):
            ception.predict(folder, np.zeros((16, 16, 3), np.uint8))
        assert not (tmp_path / "written").exists()

    def test_an_object_that_is_filled_when_it_is_loaded(self, tmp_path):
        class Program(tf.Module):
            def __init__(self):
                super().__init__()
                (tmp_path / "words").write_text("one\n")
                words = tf.lookup.TextFileInitializer(
                    str(tmp_path / "words"), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64,
                    tf.lookup.TextFileIndex.LINE_NUMBER,
                )  # fmt: skip
                self.table = tf.lookup.StaticHashTable(words, -1)

        tf.saved_model.save(Program(), str(tmp_path / "program"))
        with pytest.raises(InputError, match="which no network needs: it is not loaded"):
            require_network(tmp_path / "program")

    def test_a_file_that_tensorflow_would_take_instead(self, tmp_path, saved):
        copied = self.changed(saved, tmp_path, lambda graph: None)
        require_network(copied)
        (copied / "saved_model.cpb").write_bytes(b"")
        with pytest.raises(InputError, match=r"holds the file saved_model\.cpb"):
            require_network(copied)

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (lambda graph: calling(graph), "a call of __inference__traced_save"),
            (lambda graph: graph.object_graph_def.nodes.add().resource.SetInParent(), "an object of the kind resource"),
            (lambda graph: graph.object_graph_def.nodes.add().user_object.__setattr__("identifier", "_tf_keras_layer"),
             "an object of the class _tf_keras_layer"),
            (lambda graph: graph.object_graph_def.nodes[0].__setattr__("registered_saver", "it"),
             "an object that restores itself"),
            (lambda graph: graph.graph_def.library.function[0].attr["api_implements"].__setattr__("s", b"it"),
             "the function attribute api_implements"),
            (lambda graph: exposed(graph), "the function __inference__traced_save"),
            (lambda graph: graph.graph_def.node.add(name="x", op="ReadFile"), "the operation ReadFile"),
        ],
    )  # fmt: skip
    def test_what_was_put_into_ours(self, saved, tmp_path, change, said):
        with pytest.raises(InputError, match=f"holds {said}"):
            require_network(self.changed(saved, tmp_path, change))

    @staticmethod
    def changed(saved, tmp_path, change):
        """A copy of a SavedModel with another graph."""
        copied = tmp_path / "changed"
        copied.mkdir()
        held = saved_model_pb2.SavedModel()
        held.ParseFromString((saved / "saved_model.pb").read_bytes())
        change(held.meta_graphs[0])
        (copied / "saved_model.pb").write_bytes(held.SerializeToString())
        return copied


def saving(graph):
    """The name of the function that writes variables."""
    return next(each.signature.name for each in graph.graph_def.library.function if "save" in each.signature.name)


def calling(graph):
    """What is served calls the function that writes variables, by way of an attribute of another call."""
    served = next(each for each in graph.graph_def.library.function if "serve" in each.signature.name)
    call = served.node_def.add(name="call", op="PartitionedCall").attr["f"].func
    call.name = served.signature.name
    call.attr["g"].func.name = saving(graph)


def exposed(graph):
    """The function that writes variables is one that can be called by its name in Python."""
    graph.object_graph_def.nodes.add().function.concrete_functions.append(saving(graph))
