"""How the compiled kernels are found, and what their library refuses."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from ception import layers
from ception.backends import cores, threads
from ception.layers import classes, compiled

needs_kernels = pytest.mark.skipif(compiled.kernels() is None, reason="the compiled kernels are not installed")


@pytest.fixture
def fresh_choice():
    for function in (compiled.kernels, classes.operations):
        function.cache_clear()
    yield
    for function in (compiled.kernels, classes.operations):
        function.cache_clear()


def test_without_kernels_the_layers_in_python_are_made(fresh_choice, monkeypatch):
    monkeypatch.setenv("CEPTION_KERNELS", "none")
    assert compiled.kernels() is None
    assert classes.operations().__name__ == f"ception.layers.{keras.backend.backend()}"


@needs_kernels
@pytest.mark.parametrize(("instructions", "on_tensorflow"), [("avx512", True), ("avx2", True), ("portable", False)])
def test_who_calls_them(monkeypatch, instructions, on_tensorflow):
    """TensorFlow's own operations are quicker than the kernels for any processor."""
    monkeypatch.setattr(compiled.kernels(), "instructions", lambda: instructions)
    for known in (True, False):
        monkeypatch.setattr(compiled, "are_known_to_xla", lambda known=known: known)
        found = [compiled.are_used(backend) for backend in ("tensorflow", "torch", "jax", "another")]
        assert found == [on_tensorflow, True, known, False]


@needs_kernels
def test_a_library_that_cannot_be_loaded_is_none(fresh_choice, monkeypatch):
    import ception_kernels

    def refuse(number: int) -> None:
        raise OSError("of another version")

    monkeypatch.setattr(ception_kernels, "set_threads", refuse)
    assert compiled.kernels() is None


@needs_kernels
@pytest.mark.parametrize("interface", [5, 7])
def test_those_of_another_version_are_none(fresh_choice, monkeypatch, interface):
    import ception_kernels

    monkeypatch.setattr(ception_kernels, "INTERFACE", interface)
    assert compiled.kernels() is None


@needs_kernels
@pytest.mark.skipif(keras.backend.backend() != "jax", reason="handlers of XLA")
class TestHandlers:
    @pytest.fixture
    def versions(self, monkeypatch):
        """Those that the handlers are said to be written for; XLA is not told of them."""
        import jax

        told: list[int] = []
        monkeypatch.setattr(compiled.kernels(), "xla_set_version", told.append)
        monkeypatch.setattr(jax.ffi, "register_ffi_target", lambda *rest, **options: None)
        return told

    @pytest.fixture
    def refuse(self, versions, monkeypatch):
        """Lets XLA take handlers of some versions alone."""
        import jax

        def only(*taken: int, words: str = "API version is incompatible") -> None:
            def register(*rest, **options):
                if versions[-1] not in taken:
                    raise jax.errors.JaxRuntimeError(words)

            monkeypatch.setattr(jax.ffi, "register_ffi_target", register)

        return only

    def test_xla_takes_those_of_its_version(self, versions):
        assert compiled.are_known_to_xla.__wrapped__()
        assert versions == [compiled.kernels().xla_version()]

    def test_an_earlier_xla_takes_those_of_an_earlier_version(self, versions, refuse):
        refuse(1)
        assert compiled.are_known_to_xla.__wrapped__()
        assert versions == [3, 2, 1]

    def test_none_are_used_that_xla_does_not_take(self, versions, refuse):
        refuse()
        assert not compiled.are_known_to_xla.__wrapped__()

    def test_what_else_fails_is_told(self, refuse):
        import jax

        refuse(words="another handler has this name")
        with pytest.raises(jax.errors.JaxRuntimeError, match="another handler"):
            compiled.are_known_to_xla.__wrapped__()

    def test_kernels_without_handlers_are_not_used(self, versions, monkeypatch):
        monkeypatch.delattr(compiled.kernels(), "xla_handlers")
        assert not compiled.are_known_to_xla.__wrapped__()

    def test_shapes_that_do_not_fit_are_refused(self):
        import jax

        from ception.layers.xla_calls import call

        x, kernel = np.ones((1, 4, 4, 5), "float32"), np.ones((3, 3, 5, 1), "float32")
        how = {"window_height": 3, "window_width": 3, "down": 1, "right": 1, "same": 1, "clipped": 0}
        short = [x[0, 0, 0]] * 3 + [x[0, 0, 0, :4]]
        (made,) = call("depthwise", "..:.", (x, kernel), [(x.shape, "float32")], **how)
        assert float(made[0, 1, 1, 0]) == 9
        for words, name, given, shapes, attributes in [
            ("the kernel does not fit the input", "depthwise", (x, kernel[:, :, :4]), [x.shape], how),
            ("a result does not fit the inputs", "depthwise", (x, kernel), [(1, 4, 5, 5)], how),
            ("the gradient does not fit", "depthwise_gradients", (x, kernel, x[:, 1:]), [x.shape, kernel.shape], how),
            ("gamma and beta do not fit", "normalized_depthwise", (x, kernel, *short), [x.shape], how),
            ("there are no values", "moments", (x[:0],), [(5,), (5,)], {}),
            ("the matrices do not fit", "product", (x[0, 0], x[0, 0]), [(4, 5)], {}),
            ("other inputs or outputs", "product", (x[0, 0],), [(4, 5)], {}),
            ("other inputs or outputs", "depthwise", (x, kernel.astype("float16")), [x.shape], how),
            ("other inputs or outputs", "moments", (x.astype("int32"),), [(5,), (5,)], {}),
        ]:
            with pytest.raises(jax.errors.JaxRuntimeError, match=words):
                jax.block_until_ready(call(name, "", given, [(shape, "float32") for shape in shapes], **attributes))

    @pytest.mark.skipif(shutil.which("c++") is None, reason="there is no C++ compiler")
    def test_they_know_xla_as_its_header_has_it(self, tmp_path):
        import jax

        root = Path(__file__).parents[1] / "kernels"
        command = ["c++", "-std=c++17", "-fsyntax-only", f"-I{jax.ffi.include_dir()}", f"-I{root / 'src'}"]
        subprocess.run([*command, root / "tests/test_xla_header.cpp"], check=True)


@pytest.mark.parametrize(
    ("size", "window", "stride", "padding", "made", "before"),
    [(7, 3, 2, "same", 4, 1), (8, 3, 2, "same", 4, 0), (8, 3, 1, "same", 8, 1), (8, 3, 2, "valid", 3, 0),
     (2, 3, 1, "valid", 0, 0)],
)  # fmt: skip
def test_margins_are_those_of_keras(size, window, stride, padding, made, before):
    assert compiled.margins(size, window, stride, padding) == (made, before)


def test_the_environment_says_how_many_threads(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "3")
    assert threads("TF_NUM_INTRAOP_THREADS") == 3
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "")
    assert threads("TF_NUM_INTRAOP_THREADS") == cores()


@needs_kernels
@pytest.mark.parametrize("named", ["portable", "avx2"])
def test_simpler_instructions_give_the_same(named):
    """In a process of its own, because the choice is made when the library is loaded."""
    code = """
import ctypes, numpy as np, ception_kernels as kernels
random = np.random.default_rng(0)
a, b = random.standard_normal((37, 19)).astype("float32"), random.standard_normal((19, 41)).astype("float32")
c = np.full((37, 41), np.nan, "float32")
point = lambda array: array.ctypes.data
assert kernels.library().ception_product(37, 41, 19, point(a), 0, point(b), 0, point(c)) == 0
assert np.abs(c - a @ b).max() < 1e-5 * np.abs(a @ b).max()
print(kernels.instructions())
"""
    told = subprocess.run([sys.executable, "-c", code], env=os.environ | {"CEPTION_KERNELS": named}, check=True,
                          capture_output=True, text=True).stdout.split()  # fmt: skip
    assert told[0] in (named, "portable")  # where the processor has no AVX2


@needs_kernels
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's operations")
def test_shapes_that_do_not_fit_are_refused():
    import tensorflow as tf

    from ception.layers.compiled_tensorflow import _operations

    options = {"window_height": 3, "window_width": 3, "down": 1, "right": 1, "same": 1, "clipped": 0}
    x, kernel = np.zeros((1, 4, 4, 5), "float32"), np.zeros((3, 3, 5, 1), "float32")
    statistics, short = [x[0, 0, 0]] * 4, [x[0, 0, 0]] * 3 + [x[0, 0, 0, :4]]
    with pytest.raises(tf.errors.InvalidArgumentError, match="the kernel does not fit the input"):
        _operations().ception_depthwise(x, kernel[:, :, :4], **options)
    with pytest.raises(tf.errors.InvalidArgumentError, match="the gradient does not fit the input"):
        _operations().ception_depthwise_gradients(x, kernel, x[:, 1:], **options)
    with pytest.raises(tf.errors.InvalidArgumentError, match="mean, variance, gamma and beta do not fit"):
        _operations().ception_normalized_depthwise(x, kernel, *short, epsilon=1e-3, **options)
    with pytest.raises(tf.errors.InvalidArgumentError, match="mean, variance, gamma and beta do not fit"):
        _operations().ception_normalize(x[:0], *statistics, epsilon=1e-3, clipped=0)


def test_what_is_missing_is_told(monkeypatch):
    monkeypatch.setattr(compiled, "are_used", lambda backend: False)
    told = layers.remark()
    assert (told is not None and "ception-kernels" in told) == (keras.backend.backend() != "tensorflow")
    monkeypatch.setattr(compiled, "are_used", lambda backend: True)
    assert layers.remark() is None
