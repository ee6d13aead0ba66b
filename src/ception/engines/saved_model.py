"""Networks in TensorFlow, from folders in its own format that hold nothing but a network.

"TensorFlow models are programs": what a SavedModel holds may read and write files when it is loaded or run. So only
what such a network consists of is let through, operations that compute numbers from numbers.

Source: "Using TensorFlow Securely", https://github.com/tensorflow/tensorflow/blob/master/SECURITY.md; what is loaded,
tensorflow/python/saved_model/load.py of TensorFlow 2.21.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from ception import backends
from ception.engines import Precision
from ception.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAME = f"tensorflow {tf.__version__}"
_SIGNATURE = "serving_default"
_COMPUTES = frozenset({
    "AddV2", "AvgPool", "BatchToSpaceND", "BiasAdd", "Cast", "ConcatV2", "Const", "Conv2D", "DepthwiseConv2dNative",
    "Elu", "Identity", "MatMul", "MaxPool", "Mean", "Mul", "NoOp", "Pad", "PartitionedCall", "Placeholder", "Relu",
    "Reshape", "Selu", "Softmax", "SpaceToBatchND", "StatefulPartitionedCall", "StridedSlice",
})  # fmt: skip
_SAVES = frozenset({
    "MergeV2Checkpoints", "Pack", "RestoreV2", "SaveV2", "Select", "ShardedFilename", "StaticRegexFullMatch",
    "StringJoin",
})  # fmt: skip
_FILES = frozenset({
    "saved_model.pb", "fingerprint.pb", "variables/variables.index", "variables/variables.data-00000-of-00001",
})  # fmt: skip
_EXTRA = "assets.extra/"  # where files of others lie, which TensorFlow does not look at
_ATTRIBUTES = frozenset({"_construction_context", "_input_shapes"})  # others let TensorFlow call something else
_OBJECTS = frozenset({"_generic_user_object", "signature_map"})  # classes of Python that may be made


class SavedModelEngine:
    """A SavedModel that holds a network alone, on this machine's CPU.

    Args:
        folder: The folder.

    Raises:
        InputError: it holds something else; the message names it.
    """

    any_thread = True

    def __init__(self, folder: Path) -> None:
        require_network(folder)
        with backends.importing():
            loaded = tf.saved_model.load(str(folder))
        self.name = NAME
        self.precision: Precision = "float32"
        self._loaded: Any = loaded  # without it its function has no numbers
        self._function = loaded.signatures[_SIGNATURE]
        ((self._taken, spec),) = self._function.structured_input_signature[1].items()
        self._dtype = spec.dtype.as_numpy_dtype
        self._lock = Lock()

    def run(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """As `Engine.run`."""
        with self._lock:
            if self._loaded is None:
                raise RuntimeError("the engine is closed")
            given = tf.constant(np.ascontiguousarray(batch, self._dtype))
            (result,) = self._function(**{self._taken: given}).values()
            return np.array(result, np.float32)

    def close(self) -> None:
        """As `Engine.close`."""
        with self._lock:
            self._loaded = self._function = None


def require_network(folder: Path) -> None:
    """Raise an InputError unless a SavedModel holds nothing but a network. Nothing of it is loaded.

    Args:
        folder: The folder.

    Raises:
        InputError: it has files, operations or objects that a network does not need; the message names one.
    """
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())
    held = saved_model_pb2.SavedModel()
    held.ParseFromString((folder / "saved_model.pb").read_bytes())
    foreign = [f"the file {name}" for name in names if name not in _FILES and not name.startswith(_EXTRA)]
    if len(held.meta_graphs) == 1:
        foreign += _foreign_operations(held.meta_graphs[0]) or _foreign_objects(held.meta_graphs[0])
    else:
        foreign.append(f"{len(held.meta_graphs)} graphs")
    if foreign:
        raise InputError(f"{folder} holds {foreign[0]}, which no network needs: it is not loaded")


def _foreign_operations(graph: Any) -> list[str]:
    """Operations that do more than compute numbers from numbers, and calls of functions with such.

    What writes and reads variables is in every SavedModel, and has operations of its own. The outer graph calls it, of
    which nothing is run where a model is loaded like this.
    """
    outer, functions = graph.graph_def.node, graph.graph_def.library.function
    names, saves = {function.signature.name for function in functions}, _saving(graph)
    found = _unknown(outer, _COMPUTES)
    for function in functions:
        found += _unknown(function.node_def, _COMPUTES | _SAVES if function.signature.name in saves else _COMPUTES)
        found += [f"the function attribute {name}" for name in function.attr if name not in _ATTRIBUTES]
        called = {name for node in function.node_def for name in _called(node.attr)}
        found += [f"a call of {name}" for name in sorted(called - (names - saves))]
    return found


def _foreign_objects(graph: Any) -> list[str]:
    """Objects that are more than functions with what holds them, and functions that write and read variables."""
    objects, saves = graph.object_graph_def, _saving(graph)
    found = [f"the function {name}" for name in objects.concrete_functions if name in saves]
    for node in objects.nodes:
        kind = node.WhichOneof("kind")
        made = {*node.function.concrete_functions, node.bare_concrete_function.concrete_function_name}
        found += [f"the function {name}" for name in sorted(made & saves)]
        if kind not in ("user_object", "function", "bare_concrete_function"):
            found.append(f"an object of the kind {kind}")
        elif kind == "user_object" and node.user_object.identifier not in _OBJECTS:
            found.append(f"an object of the class {node.user_object.identifier}")
        elif node.saveable_objects or node.registered_name or node.registered_saver:
            found.append("an object that restores itself")
    return found


def _saving(graph: Any) -> set[str]:
    """The functions that write and read variables."""
    saver = graph.saver_def
    nodes = {name.partition(":")[0] for name in (saver.save_tensor_name, saver.restore_op_name)}
    return {called for node in graph.graph_def.node if node.name in nodes for called in _called(node.attr)}


def _unknown(nodes: Iterable[Any], known: frozenset[str]) -> list[str]:
    return [f"the operation {node.op}" for node in nodes if node.op not in known]


def _called(attributes: Any) -> Iterator[str]:
    """Names of the functions in the attributes of a node, and in the attributes of those."""
    for value in attributes.values():
        for called in (value.func, *value.list.func):
            if called.name:
                yield called.name
                yield from _called(called.attr)
