"""A network as a model of LiteRT, which TensorFlow's converter writes.

Source: https://ai.google.dev/edge/litert/conversion/tensorflow/quantization/post_training_quantization
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import tensorflow as tf
from tensorflow.lite.tools import flatbuffer_utils

from ception import backends
from ception.engines import Precision
from ception.engines.operations import Operations
from ception.engines.tensorflow_graph import Graph
from ception.exporting import ranges
from ception.exporting.intermediate import litert_tensors, owners
from ception.reporting import silenced

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SOFTMAX = ["SOFTMAX"]  # stays in floats: else probabilities are multiples of 1/256, and many of them 0
_SELU = [
    "ADD",
    "ELU",
    "MUL",
    "RELU",
]  # so do its parts, for ELU has no kernel in int8, and to and fro costs time and bits


def model_of(
    network: Operations,
    *,
    output: str,
    precision: Precision,
    samples: NDArray[np.uint8] | None = None,
    kept: Collection[str] = (),
) -> bytes:
    """A network as a model that takes any number of uint8 pictures and gives float32.

    Args:
        network: The operations.
        output: What its result is called in the model's signature.
        precision: `float32`; `float16` for weights, of which CPUs make float32 when they read them, and GPUs do not; or
            `int8` for weights, each filter with a range of its own, and all that is computed from them.
        samples: Pictures (pictures, height, width, channels) that int8 takes its ranges from; else unused.
        kept: Convolutions and dense layers that stay in float32 beside int8.
    """
    graph = Graph(network, output=output, takes="uint8", plain=True)
    # what TensorFlow logs on the way it writes to standard output in a notebook
    with backends.importing(), silenced("tensorflow"):
        converter = tf.lite.TFLiteConverter.from_concrete_functions([graph.serve.get_concrete_function()], graph)
        if precision == "float16":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [tf.float16]
        if precision == "int8":
            if samples is None:
                raise ValueError("int8 needs samples")
            functions = {step.options.get("function") for step in network.steps}
            in_floats = _SOFTMAX + (_SELU if "selu" in functions else [])
            names = [step.name for step in network.steps]
            return _quantised(converter, samples, in_floats, kept, names)
        model: bytes = converter.convert()
        return model


def _tensors_of(model: bytes, layers: Collection[str], among: Collection[str]) -> list[str]:
    """What a model calls the tensors of some layers: with what is fused into one, such as `relu/Relu;conv/Conv2D`."""
    with _of_its_own_interpreter():
        interpreter = tf.lite.Interpreter(model_content=model)
    names = [tensor["name"] for tensor in interpreter.get_tensor_details()]
    return [name for name in names if not owners(name, among).isdisjoint(layers)]


@contextmanager
def _of_its_own_interpreter() -> Iterator[None]:
    """Without a warning that TensorFlow's own interpreter is older than LiteRT's."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"\s*Warning: tf\.lite\.Interpreter is deprecated")
        yield


def _quantised(
    converter: Any, samples: NDArray[np.uint8], in_floats: list[str], kept: Collection[str], names: Collection[str]
) -> bytes:
    """What the converter gives in int8 but for some of LiteRT's operations, which only its debugger can be told.

    It looks at one picture, which gives each tensor a range, and then gets ours: its own go up to the largest values.

    Args:
        converter: Of the network.
        samples: Pictures that the ranges are taken from.
        in_floats: Kinds of operations that stay in float32.
        kept: Layers that do so too.
        names: Of all layers.
    """
    plain: bytes = converter.convert()
    found = ranges.of(litert_tensors(plain), samples)

    def given() -> Iterator[list[NDArray[np.uint8]]]:
        yield [samples[:1]]

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = given
    options = tf.lite.experimental.QuantizationDebugOptions(
        denylisted_ops=in_floats, denylisted_nodes=_tensors_of(plain, kept, names)
    )
    with _of_its_own_interpreter():
        debugger = tf.lite.experimental.QuantizationDebugger(
            converter=converter, debug_dataset=given, debug_options=options
        )
    debugger.calibrated_model = _with_ranges(debugger.calibrated_model, found)
    model: bytes = debugger.get_nondebug_quantized_model()
    return model


def _with_ranges(calibrated: bytes, found: Mapping[str, tuple[float, float]]) -> bytes:
    """A model that the converter has calibrated, with other ranges of its tensors, all of which must be given."""
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(calibrated))
    for tensor in model.subgraphs[0].tensors:
        if tensor.quantization is not None and tensor.quantization.min is not None:
            low, high = found[tensor.name.decode()]
            tensor.quantization.min, tensor.quantization.max = [low], [high]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))
