"""What is used of Keras beyond its documented interface is still there, means what it did, and is used in one place."""

from __future__ import annotations

import ast
from pathlib import Path

import keras
import numpy as np
import pytest

from ception import keras_internals

SOURCE = Path(keras_internals.__file__).parent


def network() -> keras.Model:
    image = keras.Input((3,), name="image")
    x = keras.layers.Dense(4, name="one")(image)
    return keras.Model(image, keras.layers.Add(name="sum")([x, keras.layers.Dense(4, name="two")(x)]))


def compiled(**options) -> keras.Model:
    model = network()
    model.compile(keras.optimizers.SGD(0.1, **options), "mse", jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    return model


def test_where_a_tensor_comes_from():
    model = network()
    layer, inputs = keras_internals.producer(model.output)
    assert layer.name == "sum"
    assert [keras_internals.producer(tensor)[0].name for tensor in inputs] == ["one", "two"]
    assert keras_internals.producer(model.input)[1] == []


def test_the_running_averages():
    model = compiled(use_ema=True, ema_momentum=0.5)
    pairs = keras_internals.with_averages(model.optimizer)
    assert [id(variable) for variable, _ in pairs] == [id(variable) for variable in model.trainable_variables]
    assert [tuple(average.shape) for _, average in pairs] == [tuple(one.shape) for one in model.trainable_variables]


def test_the_gradients_of_parts_of_a_batch():
    assert keras_internals.partial_gradients(compiled().optimizer) == []
    model = compiled(gradient_accumulation_steps=2)
    model.train_on_batch(np.ones((2, 3)), np.zeros((2, 4)))
    partial = keras_internals.partial_gradients(model.optimizer)
    assert [tuple(one.shape) for one in partial] == [tuple(one.shape) for one in model.trainable_variables]
    assert any(np.abs(keras.ops.convert_to_numpy(one)).max() > 0 for one in partial)


def after_steps(kind, shape, name) -> np.ndarray:
    """What three steps with the same gradients make of a variable."""
    variable = keras.Variable(np.random.default_rng(0).normal(size=shape).astype("float32"), name=name)
    optimizer, random = kind(0.01, weight_decay=0.1, adam_weight_decay=0.1), np.random.default_rng(1)
    for _ in range(3):
        optimizer.apply([keras.ops.convert_to_tensor(random.normal(size=shape).astype("float32"))], [variable])
    return keras.ops.convert_to_numpy(variable)


def test_muon_takes_kernels_as_matrices():
    ours, kerass = keras_internals.muon(), keras.optimizers.Muon
    for shape in ((1, 1, 8, 36), (3, 3, 4, 8)):
        flat = after_steps(kerass, (np.prod(shape[:-1]), shape[-1]), "kernel")
        np.testing.assert_allclose(after_steps(ours, shape, "kernel").ravel(), flat.ravel(), rtol=1e-5, atol=1e-6)
    adamw = after_steps(kerass, (36, 1, 8), "kernel")  # which is none for Keras
    others = (((3, 3, 4, 8), "depthwise_kernel"), ((3, 3, 32, 1), "kernel"), ((36, 8), "logits"), ((288,), "bias"))
    for shape, name in others:  # the second is of a layer that is a depthwise convolution alone
        np.testing.assert_allclose(after_steps(ours, shape, name).ravel(), adamw.ravel(), rtol=1e-5, atol=1e-6)
    assert np.abs(adamw.ravel() - flat.ravel()).max() > 0.001


def test_the_number_of_steps():
    model = compiled()
    keras_internals.set_steps(model.optimizer, 7)
    model.train_on_batch(np.ones((2, 3)), np.zeros((2, 4)))
    assert int(model.optimizer.iterations) == 8


def private(path: Path) -> set[str]:
    """Attributes with an underscore that a file takes of what is not its own: of no name of its classes or modules."""
    tree = ast.parse(path.read_text())
    return {
        f"{path.relative_to(SOURCE)}: {node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__")
        and not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"))
    }  # fmt: skip


def test_only_there():
    used = {
        name for path in sorted(SOURCE.rglob("*.py")) if path.name != "keras_internals.py" for name in private(path)
    }
    own = {name for name in used if name.endswith((": _KEYS", ": _OMITTED", ": _attribute"))}
    of_python = {"distributed/jax.py: _exit"}  # of os, documented in spite of its name
    # by which PyTorch's documentation ("Extending PyTorch") has tensors made that wrap others
    of_torch = {f"layers/compiled_torch.py: {name}"
                for name in ("_C", "_disabled_torch_function_impl", "_make_wrapper_subclass")}  # fmt: skip
    assert used - own - of_python == of_torch


def test_modules_of_jax_that_are_its_own_are_imported_in_one_place():
    found = {
        str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*.py") for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (getattr(node, "module", None), *(alias.name for alias in node.names))
        if name and (name == "_jax" or name.startswith("jax._"))
    }  # fmt: skip
    assert found == {"distributed/jax_internals.py"}


@pytest.mark.parametrize("name", ["_keras_history", "_trainable_variables", "_iterations"])
def test_the_search_finds_them(name):
    assert any(one.endswith(f": {name}") for one in private(Path(keras_internals.__file__)))


class Counted(keras.utils.PyDataset):
    """Two batches of three."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return np.full((3, 3), index + 1.0, "float32"), np.arange(3)


def test_batches_are_read_ahead_without_being_tuned():
    given, losses = keras_internals.untuned(Counted(), {0: 1.0, 1: 3.0, 2: 0.5}), []
    if keras.backend.backend() == "tensorflow":
        assert given.get_tf_dataset().options().autotune.enabled is False
    else:
        assert isinstance(given, Counted)
    for batches in (given, Counted()):
        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
        history = model.fit(
            batches, class_weight={0: 1.0, 1: 3.0, 2: 0.5}, validation_data=keras_internals.untuned(Counted()),
            epochs=2, shuffle=False, verbose=0,
        ).history  # fmt: skip
        losses.append(history["loss"] + history["val_loss"])
    assert losses[0] == losses[1]
    assert losses[0][0] != losses[0][2]
