"""On JAX the compiled kernels compute a batch whose shares lie on several devices, as one device computes the whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import keras
import pytest

pytestmark = pytest.mark.skipif(keras.backend.backend() != "jax", reason="programs of JAX over several devices")

_COMPARED = r"""
import json
import re

import jax
import jax.numpy as jnp
import numpy as np

from ception.layers import compiled_jax, jax as plain, xla_calls

random = np.random.default_rng(0)
shapes = [(6, 7, 8, 20), (6, 9, 8, 1), (3, 3, 20, 1), (20,), (20,), (1, 1, 20, 24), (24,), (3, 3, 1, 8), (8,),
          (3, 3, 20, 24)]
drawn = [jnp.asarray(random.standard_normal(shape), jnp.float32) for shape in shapes]
weights = [jnp.asarray(random.standard_normal(shape), jnp.float32) for shape in ((6, 7, 8, 24), (6, 9, 8, 8), (6, 3, 4, 20))]


def together(made):
    def computed(x, picture, kernel, gamma, beta, pointwise, bias, first, of_first, across):
        normed, mean, variance = made.batch_norm(x * 1, gamma, beta, 1e-3)
        relu = made.relu if hasattr(made, "relu") else jax.nn.relu
        y = made.depthwise(relu(normed), kernel, (1, 1), "same") + normed
        ends = [made.pointwise(y, pointwise, (1, 1)) + made.convolution(x, across, (1, 1), "same"), 0, made.max_pool(y, (2, 2), (2, 2), "valid")]
        if made is compiled_jax:
            ends[0] += made.separable_selu(x, kernel, pointwise, bias, (1, 1), "same")
            ends[1] = made.convolution_selu(picture, first, of_first, (1, 1), "same")
        else:
            ends[0] += jax.nn.selu(made.separable(x, kernel, pointwise, (1, 1), "same") + bias)
            ends[1] = jax.nn.selu(made.convolution(picture, first, (1, 1), "same") + of_first)
        total = sum(jnp.sum(end * weight) for end, weight in zip(ends, weights, strict=True))
        return total, (mean, variance)

    return jax.jit(jax.value_and_grad(computed, argnums=tuple(range(10)), has_aux=True))


mesh = jax.sharding.Mesh(np.array(jax.devices()), ("batch",))
placed = [jax.device_put(one, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*["batch"][: number < 2])))
          for number, one in enumerate(drawn)]
with xla_calls.spread_over(mesh):
    program = together(compiled_jax).lower(*placed).compile()
    found = program(*placed)
expected = together(plain)(*drawn)
apart = [float(np.abs(np.asarray(one, np.float64) - np.asarray(other, np.float64)).max() / np.abs(np.asarray(other, np.float64)).max())
         for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)]
text = program.as_text()
print(json.dumps({"devices": len(jax.devices()), "apart": apart, "ours": text.count('custom_call_target="ception_'),
                  "gathered": re.findall(r"= f32\[([\d,]*)\]\S* all-gather\(", text)}))
"""  # noqa: E501


def test_shares_of_a_batch_give_what_the_whole_gives():
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "KERAS_BACKEND": "jax"}
    done = subprocess.run(
        [sys.executable, "-c", _COMPARED], env=os.environ | flags, capture_output=True, text=True, check=True
    )
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["devices"] == 2
    assert told["ours"] >= 18
    assert told["gathered"] == ["2,2,20"]  # mean and variance, and no maps
    assert max(told["apart"]) <= 1e-5
