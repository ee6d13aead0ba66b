"""What int8 costs each layer: its results beside those in float32, in the runtime of the file."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ception.artefacts import SUFFIXES
from ception.engines.operations import INPUT, Operations
from ception.exporting.quantising import WEIGHED

if TYPE_CHECKING:
    from numpy.typing import NDArray


def added(network: Operations, plain: Path, quantised: Path, samples: NDArray[np.uint8]) -> dict[str, float]:
    """How much noise each convolution and dense layer adds to what it takes, those that add most first.

    The noise of a result is the mean square of its difference from float32, relative to the mean square of itself: of
    each channel, at most 1, and the mean of these. So what is lost of small channels beside a large one counts.

    Args:
        network: What both files hold; it ends in a softmax.
        plain: In float32.
        quantised: In int8.
        samples: Pictures as the network takes them.
    """
    names = [step.name for step in network.steps[:-1]]
    one, other = _results(plain, names), _results(quantised, names)
    differences: defaultdict[str, NDArray[np.float64]] = defaultdict(lambda: np.zeros(1))
    squares: defaultdict[str, NDArray[np.float64]] = defaultdict(lambda: np.zeros(1))
    for picture in samples:
        first, second = one(picture[None]), other(picture[None])
        for name in names:
            differences[name] = differences[name] + _by_channel(second[name] - first[name])
            squares[name] = squares[name] + _by_channel(first[name])
    noise = {INPUT: 0.0}
    for name in names:
        relative = differences[name] / np.maximum(squares[name], np.finfo(float).tiny)
        noise[name] = float(np.minimum(relative, 1).mean())
    costs = {
        step.name: noise[step.name] - max(noise[name] for name in step.inputs)
        for step in network.steps
        if step.kind in WEIGHED
    }
    return dict(sorted(costs.items(), key=lambda item: -item[1]))


def _by_channel(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """The sum of the squares of each channel; the channels come behind the batch."""
    squares: NDArray[np.float64] = np.square(values, dtype=np.float64).sum((0, *range(2, values.ndim)))
    return squares


_Results = Callable[["NDArray[np.uint8]"], Mapping[str, "NDArray[np.float32]"]]


def _results(path: Path, names: list[str]) -> _Results:
    """What gives the results of all operations of a file."""
    return (_in_onnxruntime if path.suffix == SUFFIXES["onnx"] else _in_openvino)(path, names)


def _in_onnxruntime(path: Path, names: list[str]) -> _Results:
    import onnx
    import onnxruntime as ort

    model = onnx.load(path)
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0].name
    return lambda pixels: dict(zip(names, session.run(names, {given: pixels}), strict=True))


def _in_openvino(path: Path, names: list[str]) -> _Results:
    import openvino as ov

    from ception.engines.openvino_graph import BIASED

    graph = ov.Core().read_model(path)
    nodes = {node.get_friendly_name(): node for node in graph.get_ops()}
    graph.add_outputs([nodes.get(name + BIASED, nodes[name]).output(0) for name in names])
    request = ov.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}).create_infer_request()

    def run(pixels: NDArray[np.uint8]) -> Mapping[str, NDArray[np.float32]]:
        request.infer([pixels])  # the first result is the network's own
        return {name: request.get_output_tensor(at).data for at, name in enumerate(names, start=1)}

    return run
