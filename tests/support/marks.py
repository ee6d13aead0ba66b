"""Marks that several test modules give their tests."""

from __future__ import annotations

import keras
import pytest

not_on_jax = pytest.mark.skipif(
    keras.backend.backend() == "jax", reason="compiling takes long, and TensorFlow and PyTorch see it"
)
