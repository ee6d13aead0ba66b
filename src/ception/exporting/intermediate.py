"""What a network computes on its way, as an artefact of it has it: the results of its operations in its own runtime."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ception import backends
from ception.artefacts import SUFFIXES

if TYPE_CHECKING:
    from numpy.typing import NDArray

Results = Callable[["NDArray[np.uint8]"], Mapping[str, "NDArray[np.float32]"]]


def results(path: Path, names: Sequence[str], among: Collection[str]) -> Results:
    """What gives the results of operations for pictures (batch, height, width, channels), channels last.

    LiteRT fuses an activation with what comes before it: both have the activation's result. An operation that left no
    result of its own has none here.

    Args:
        path: An artefact in one of the formats that can be in int8.
        names: Of the operations.
        among: The names of all operations: one may begin like another's, such as `conv` and `conv/2`.
    """
    if path.suffix == SUFFIXES["litert"]:
        return _in_litert(path, names, among)
    run = (_in_onnxruntime if path.suffix == SUFFIXES["onnx"] else _in_openvino)(path, names)
    return lambda pixels: {name: np.moveaxis(values, 1, -1) for name, values in run(pixels).items()}


def _in_onnxruntime(path: Path, names: Sequence[str]) -> Results:
    import onnx
    import onnxruntime as ort

    model = onnx.load(path)
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0].name
    return lambda pixels: dict(zip(names, session.run(list(names), {given: pixels}), strict=True))


def _in_openvino(path: Path, names: Sequence[str]) -> Results:
    from ception.engines.openvino import core
    from ception.engines.openvino_graph import BIASED

    graph = core().read_model(path)
    nodes = {node.get_friendly_name(): node for node in graph.get_ops()}
    graph.add_outputs([nodes.get(name + BIASED, nodes[name]).output(0) for name in names])
    request = core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}).create_infer_request()

    def run(pixels: NDArray[np.uint8]) -> Mapping[str, NDArray[np.float32]]:
        request.infer([pixels])  # the first result is the network's own
        return {name: request.get_output_tensor(at).data for at, name in enumerate(names, start=1)}

    return run


def _in_litert(path: Path, names: Sequence[str], among: Collection[str]) -> Results:
    tensors, wanted, known = litert_tensors(path), set(names), set(among)

    def run(pixels: NDArray[np.uint8]) -> Mapping[str, NDArray[np.float32]]:
        made = tensors(pixels).items()
        return {name: values for tensor, values in made for name in owners(tensor, known) & wanted}

    return run


def owners(tensor: str, names: Collection[str]) -> set[str]:
    """Those operations of some that are in one tensor of LiteRT, such as `relu/Relu;conv/Conv2D`."""
    found = set()
    for part in tensor.split(";"):
        while (part := part.rpartition("/")[0]) and part not in names:  # a name may itself hold a stroke
            continue
        found.add(part)
    return found - {""}


def litert_tensors(model: Path | bytes) -> Results:
    """What gives all that a model of LiteRT computes, by the names of its tensors."""
    from ai_edge_litert.interpreter import Interpreter

    given = {"model_path": str(model)} if isinstance(model, Path) else {"model_content": model}
    with warnings.catch_warnings(), backends.importing():
        warnings.filterwarnings("ignore", message=r"\s*Warning: Enabling `experimental_preserve_all_tensors`")
        interpreter = Interpreter(**given, experimental_preserve_all_tensors=True)
        interpreter.allocate_tensors()
    (taken,) = interpreter.get_input_details()
    computed = [
        tensor for tensor in interpreter.get_tensor_details()
        if tensor["index"] != taken["index"] and [*tensor["shape_signature"][:1]] == [-1]  # of each picture
    ]  # fmt: skip

    def run(pixels: NDArray[np.uint8]) -> Mapping[str, NDArray[np.float32]]:
        if pixels.shape != tuple(interpreter.get_input_details()[0]["shape"]):
            interpreter.resize_tensor_input(taken["index"], pixels.shape)
            interpreter.allocate_tensors()
        interpreter.set_tensor(taken["index"], pixels)
        interpreter.invoke()
        return {
            tensor["name"]: _in_floats(interpreter.get_tensor(tensor["index"]), *tensor["quantization"])
            for tensor in computed
        }

    return run


def _in_floats(values: NDArray[np.generic], factor: float, zero: int) -> NDArray[np.float32]:
    if values.dtype == np.int8:
        return (values.astype(np.float32) - np.float32(zero)) * np.float32(factor)
    return np.asarray(values, np.float32)
