"""Quicker layers one after another compute what Keras's do, and the kernels take them together."""

from __future__ import annotations

import gc
import re
from collections import Counter
from typing import Any

import keras
import numpy as np
import pytest

import ception
from ception import layers
from ception.models.blocks import Layers
from support.gradients import outputs_and_gradients

WITHIN = {"float32": 1e-5, "mixed_bfloat16": 2e-2}  # of the largest expected value

pytestmark = pytest.mark.usefixtures("made_of")


def network(ours: bool, shape: tuple[int, ...], padding: str, strides: int) -> keras.Model:
    """As in a middle flow: norm, ReLU and a convolution after another, a shortcut, and a ReLU of its sum."""
    made = Layers(dtype="float32", classes=layers.quicker("cpu") if ours else {})
    x = first = keras.Input(shape[1:], batch_size=shape[0])
    x = made.make("BatchNormalization", name="norm1")(x)
    x = made.make("ReLU", name="relu1")(x)
    x = made.make("SeparableConv2D", shape[-1], 3, padding="same", use_bias=False, name="separable1")(x)
    x = made.make("BatchNormalization", name="norm2", epsilon=1e-2)(x)
    x = made.make("SeparableConv2D", shape[-1], 3, padding="same", use_bias=False, name="separable2")(x)
    x = made.make("BatchNormalization", name="norm3", scale=False)(x)
    x = made.make("ReLU", name="sum_act")(made.make("Add", name="sum")([x, first]))
    x = made.make("DepthwiseConv2D", 3, padding=padding, strides=strides, use_bias=False, name="depthwise")(x)
    x = made.make("BatchNormalization", name="norm4")(x)
    x = relu = made.make("ReLU", name="relu4")(x)
    x = made.make("Conv2D", 5, 1, strides=2, use_bias=False, name="pointwise")(x)
    x = made.make("Add", name="end")([x, made.make("MaxPooling2D", 1, strides=2, name="pool")(relu)[..., :5]])
    return keras.Model(first, x)


def read_twice(ours: bool, shape: tuple[int, ...], dtype: str = "float32") -> keras.Model:
    """What is normalised, and what is clipped after it, each read by a convolution and by something else."""
    made = Layers(dtype=dtype, classes=layers.quicker("cpu") if ours else {})
    first = keras.Input(shape[1:], batch_size=shape[0])
    normed = made.make("BatchNormalization", name="norm")(first)
    relu = made.make("ReLU", name="relu")(normed)
    ends = [
        made.make("DepthwiseConv2D", 3, padding="same", use_bias=False, name=f"depthwise{number}")(x)
        for number, x in enumerate((normed, relu))
    ]
    return keras.Model(first, made.make("Add", name="sum")([normed, relu, *ends]))


def small_network(ours: bool, shape: tuple[int, ...]) -> keras.Model:
    """As `separable_cnn`: convolutions with bias and SELU, and max pools."""
    made = Layers(dtype="float32", classes=layers.quicker("cpu") if ours else {})
    options = {"padding": "same", "activation": "selu"}
    x = first = keras.Input(shape[1:], batch_size=shape[0])
    x = made.make("Conv2D", 7, 3, name="conv", **options)(x)
    x = made.make("SeparableConv2D", 9, 3, name="separable1", **options)(x)
    x = made.make("MaxPooling2D", 2, name="pool1")(x)
    x = made.make("SeparableConv2D", 18, 3, name="separable2", **options)(x)
    x = made.make("MaxPooling2D", 3, strides=2, padding="same", name="pool2")(x)
    return keras.Model(first, x)


def compare(
    shape: tuple[int, ...], padding: str = "same", strides: int = 1, *, training: bool = True, frozen: bool = False
) -> None:
    """Ask both networks of a middle flow for the same."""
    compare_networks(shape, [network(ours, shape, padding, strides) for ours in (False, True)], training, frozen)


def compare_networks(
    shape: tuple[int, ...], both: list[keras.Model], training: bool, frozen: bool = False, within: float = 1e-5
) -> None:
    """Ask both for the same, with the same random weights, and compare all that they give."""
    random = np.random.default_rng(sum(shape))
    stock, ours = both
    for one, other in zip(stock.weights, ours.weights, strict=True):
        positive = any(word in one.path for word in ("gamma", "variance"))
        value = random.uniform(0.5, 1.5, one.shape) if positive else random.normal(0, 0.4, one.shape)
        one.assign(value)
        other.assign(value)
    if frozen:
        for made in (stock, ours):
            made.get_layer("norm2").trainable = False
    inputs = random.standard_normal(shape).astype("float32")
    weights = random.standard_normal(stock.output_shape).astype("float32")
    expected, found = (
        outputs_and_gradients(made, inputs, weights, training=training, traced=True) for made in (stock, ours)
    )
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert np.abs(found[name] - value).max() <= within * max(np.abs(value).max(), 1e-2), name


@pytest.mark.parametrize("shape", [(2, 9, 8, 16), (3, 7, 11, 9)])
@pytest.mark.parametrize(("padding", "strides"), [("same", 1), ("valid", 1), ("same", 2)])
def test_they_compute_what_kerass_do(shape, padding, strides):
    compare(shape, padding, strides)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("frozen", [True, False])
def test_in_any_mode(training, frozen):
    compare((1, 8, 5, 21), training=training, frozen=frozen)


@pytest.mark.parametrize("shape", [(1, 9, 8, 1), (4, 12, 12, 3)])
def test_small_ones_compute_what_kerass_do(shape):
    compare_networks(shape, [small_network(ours, shape) for ours in (False, True)], training=True)


@pytest.mark.parametrize("dtype", WITHIN)
@pytest.mark.parametrize("training", [True, False])
def test_what_is_read_twice_is_what_kerass_layers_give(dtype, training):
    shape = (2, 6, 7, 19)
    compare_networks(shape, [read_twice(ours, shape, dtype) for ours in (False, True)], training, within=WITHIN[dtype])


def test_the_same_comes_out_bit_for_bit():
    shape = (2, 9, 8, 16)
    made, random = network(True, shape, "same", 1), np.random.default_rng(0)
    inputs, weights = (random.standard_normal(one).astype("float32") for one in (shape, made.output_shape))
    start, found = made.get_weights(), []
    for _ in range(2):
        made.set_weights(start)
        found.append(outputs_and_gradients(made, inputs, weights, training=True, traced=True))
    for name, value in found[0].items():
        np.testing.assert_array_equal(found[1][name], value, err_msg=name)


def operations_for(made: keras.Model, shape: tuple[int, ...]) -> list[tuple[str, Any]]:
    """The operations of TensorFlow that the outputs in training need, with their kinds."""
    import tensorflow as tf

    traced = tf.function(lambda x: made(x, training=True)).get_concrete_function(tf.TensorSpec(shape))
    needed, asked = {}, [traced.graph.outputs[0].op]
    while asked:
        operation = asked.pop()
        if operation.name not in needed:
            needed[operation.name] = operation
            asked += [tensor.op for tensor in operation.inputs]
    return [(one.type, one) for one in needed.values()]


needs_torch = pytest.mark.skipif(keras.backend.backend() != "torch", reason="maps of PyTorch that are computed late")
needs_jax = pytest.mark.skipif(keras.backend.backend() != "jax", reason="programs of XLA")
needs_operations = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the operations of a graph of TensorFlow"
)


@needs_operations
def test_bias_and_selu_are_part_of_an_operation(made_of):
    if made_of != "compiled":
        pytest.skip("only with the compiled kernels")
    shape = (2, 9, 8, 1)
    kinds = [kind for kind, _ in operations_for(small_network(True, shape), shape)]
    found = {kind: kinds.count(kind) for kind in set(kinds)}
    assert found.keys().isdisjoint({"Selu", "BiasAdd", "CeptionBiasSelu", "CeptionDepthwise", "Conv2D", "MatMul"})
    assert (found["CeptionConvolutionSelu"], found["CeptionSeparableSelu"]) == (1, 2)


@needs_operations
def test_what_follows_one_another_is_one_operation(made_of):
    """Nothing is normalised or clipped alone where a depthwise convolution reads it."""
    if made_of != "compiled":
        pytest.skip("only with the compiled kernels")
    shape = (2, 9, 8, 16)
    found = operations_for(network(True, shape, "same", 1), shape)
    kinds = [kind for kind, _ in found]
    ours = {kind: kinds.count(kind) for kind in sorted(set(kinds)) if kind.startswith("Ception") or kind == "Relu"}
    assert ours == {
        "CeptionDepthwise": 1,  # of the sum, which it clips while it reads
        "CeptionMoments": 4,
        "CeptionNormalize": 2,  # before the sum, and with ReLU before the pointwise convolution and the pool
        "CeptionNormalizedDepthwise": 2,
    }
    clipped = [one.get_attr("clipped") for kind, one in found if kind == "CeptionNormalizedDepthwise"]
    assert sorted(clipped) == [0, 1]


@needs_torch
def test_nothing_is_computed_alone_where_a_convolution_reads_it(made_of, monkeypatch):
    if made_of != "compiled":
        pytest.skip("only with the compiled kernels")
    from ception.layers import compiled_torch

    called, call = Counter(), compiled_torch._call
    monkeypatch.setattr(compiled_torch, "_call", lambda name, *rest: (called.update([name]), call(name, *rest)))
    shape = (2, 9, 8, 16)
    outputs_and_gradients(
        network(True, shape, "same", 1), np.ones(shape, "float32"), np.ones((2, 5, 4, 5)), training=True
    )
    assert (called["moments"], called["depthwise"], called["depthwise_gradients"]) == (4, 3, 3)
    assert (
        called["normalize"] == called["normalize_gradients"] == 2
    )  # before the sum; for pointwise convolution and pool


@needs_torch
def test_functions_that_know_nothing_of_it_get_values_and_gradients(made_of):
    if made_of != "compiled":
        pytest.skip("only with the compiled kernels")
    import torch

    from ception.layers import compiled_torch

    class Doubled(torch.autograd.Function):
        @staticmethod
        def forward(context, x):
            return 2 * x.reshape(-1)

        @staticmethod
        def backward(context, gradient):
            return 2 * gradient.reshape(1, 2, 2, 3)

    x = torch.arange(-6.0, 6.0).reshape(1, 2, 2, 3).requires_grad_()
    clipped = compiled_torch.relu(x)
    with torch.no_grad():
        assert clipped.sum() == 15
    both = torch.cat([Doubled.apply(clipped), clipped[:, ::2].flatten()])
    assert both.tolist() == [*(2 * max(0, value) for value in range(-6, 6)), *[0] * 6]
    both.sum().backward()
    assert x.grad.flatten().tolist() == [*[0] * 7, *[2] * 5]


def called_by_xla(made: keras.Model, shape: tuple[int, ...]) -> Counter[str]:
    """How often each operation of the kernels is called in a compiled training step."""
    import jax

    trained, kept = ([one.value for one in some] for some in (made.trainable_variables, made.non_trainable_variables))

    def loss(trained: Any, x: Any) -> Any:
        outputs, after = made.stateless_call(trained, kept, x, training=True)
        return (outputs**2).sum(), after

    step = jax.jit(jax.value_and_grad(loss, has_aux=True)).lower(trained, np.ones(shape, "float32"))
    return Counter(re.findall(r'custom_call_target="ception_(\w+)"', step.compile().as_text()))


@needs_jax
def test_xla_computes_nothing_alone_that_a_convolution_reads(made_of):
    if made_of != "compiled":
        pytest.skip("only with the compiled kernels")
    shape = (2, 9, 8, 16)
    called = called_by_xla(network(True, shape, "same", 1), shape)
    assert called == {
        "moments": 4,
        "normalize": 2,  # before the sum, and with ReLU before the pointwise convolution and the pool
        "normalize_gradients": 2,
        "depthwise": 1,  # of the sum, which it clips while it reads
        "depthwise_gradients": 1,
        "normalized_depthwise": 2,
        "normalized_depthwise_gradients": 2,
        "product": 9,
        "max_pool": 1,
        "max_pool_gradient": 1,
    }
    called = called_by_xla(small_network(True, (2, 9, 8, 1)), (2, 9, 8, 1))
    assert (called["convolution_selu"], called["separable_selu"]) == (1, 2)
    assert "bias_selu_gradients" not in called  # of which the gradient of the pictures would be made


@needs_jax
def test_xla_computes_no_gradient_of_pictures(made_of):
    """Of two convolutions the first one's input is nobody's output."""
    if made_of != "compiled":
        pytest.skip("only with the compiled kernels")
    picture = keras.Input((9, 8, 3))
    x = layers.quicker()["Conv2D"](8, 3, strides=2, use_bias=False)(picture)
    made = keras.Model(picture, layers.quicker()["Conv2D"](16, (1, 3), padding="same")(x))
    called = called_by_xla(made, (2, 9, 8, 3))
    assert called == {"convolution": 2, "convolution_gradient": 1, "convolution_kernel_gradient": 2}


@needs_jax
def test_nothing_is_kept_of_a_trace_that_ended(made_of):
    if made_of != "compiled":
        pytest.skip("only with the compiled kernels")
    from ception.layers import compiled_jax

    called_by_xla(small_network(True, (2, 4, 4, 1)), (2, 4, 4, 1))
    gc.collect()
    assert compiled_jax._READINGS == {}


@needs_jax
def test_where_arrays_may_be_spread_xla_computes(made_of, monkeypatch):
    """It cannot cut what it does not know, and would gather the whole batch on each device."""
    if made_of != "compiled":
        pytest.skip("only with the compiled kernels")
    import jax

    monkeypatch.setattr(jax, "device_count", lambda: 2)
    shape = (2, 9, 8, 16)
    assert called_by_xla(network(True, shape, "same", 1), shape) == {}
    compare(shape)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the others compute as they go")
def test_gradients_have_known_shapes_while_a_graph_is_traced():
    import tensorflow as tf

    for model in (network(True, (2, 9, 9, 8), "same", 1), small_network(True, (2, 8, 8, 3))):

        @tf.function
        def gradients(batch: Any, model: keras.Model = model) -> Any:
            with tf.GradientTape() as tape:
                total = tf.reduce_sum(model(batch, training=True))
            found = tape.gradient(total, model.trainable_variables)
            assert [one.shape for one in found] == [variable.shape for variable in model.trainable_variables]
            return found

        gradients(tf.zeros(model.input_shape))


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="processes add up their sums in layers on PyTorch")
@pytest.mark.parametrize(("dtype", "within"), [("float32", 1e-5), ("bfloat16", 2e-2)])
@pytest.mark.parametrize("shares", [(3, 3), (4, 2), (6, 0)])
def test_shares_of_a_batch_have_the_statistics_of_all(made_of, shares, dtype, within):
    if made_of == "plain":
        pytest.skip("the layers in Python have their own for several processes")
    import threading

    import torch

    from ception.layers import compiled_torch

    random = torch.Generator().manual_seed(0)
    whole = [torch.randn((6, 5, 7, 24), generator=random).to(getattr(torch, dtype)) for _ in range(3)]
    factors = [torch.rand(24, generator=random) + 0.5 for _ in range(2)]
    kernel = torch.randn((3, 3, 24, 1), generator=random).to(whole[0].dtype)
    meeting, sums = threading.Barrier(2), {}

    def trained(x, up, of_maps, added=None):
        """Outputs, and gradients for inputs, factors and kernel, where what is normalised is read twice."""
        given = [one.clone().requires_grad_() for one in (x, *factors, kernel)]
        normed, mean, variance = compiled_torch.batch_norm(*given[:3], 1e-3, added)
        read = compiled_torch.depthwise(compiled_torch.relu(normed), given[3], (1, 1), "same")
        torch.autograd.backward([read, normed * 1], [up, of_maps])
        return [read, mean, variance, *(one.grad for one in given)]

    found: list[Any] = [None, None]

    def work(index: int) -> None:
        def added(values):
            sums[index] = values
            meeting.wait(60)
            total = sums[0] + sums[1]
            meeting.wait(60)
            return values.copy_(total)

        begin = sum(shares[:index])
        found[index] = trained(*(one[begin : begin + shares[index]] for one in whole), added)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    expected = trained(*whole)
    one, other = found
    joined = [
        torch.cat([one[0], other[0]]), one[1], other[2], torch.cat([one[3], other[3]]),
        *(a + b for a, b in zip(one[4:], other[4:], strict=True)),
    ]  # fmt: skip
    for value, wanted in zip(joined, expected, strict=True):
        assert float((value - wanted).detach().abs().max()) <= within * float(wanted.detach().abs().max())


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="processes add up their sums in layers on PyTorch")
@pytest.mark.parametrize("error", [KeyboardInterrupt, ception.RunError("lost")])
def test_what_ends_the_adding_up_ends_the_step(made_of, error):
    if made_of == "plain":
        pytest.skip("the layers in Python have their own for several processes")
    import torch

    from ception.layers import compiled_torch

    x, factors, calls = torch.randn((2, 5, 7, 24)).requires_grad_(), [torch.ones(24), torch.zeros(24)], []

    def added(values):
        calls.append(values)
        if len(calls) > 1:  # in the backward pass
            raise error
        return values

    normed, _, _ = compiled_torch.batch_norm(x, *factors, 1e-3, added)
    with pytest.raises(error if isinstance(error, type) else type(error)):
        (normed * 1).sum().backward()
