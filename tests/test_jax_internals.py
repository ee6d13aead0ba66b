"""What several processes use of JAX beyond its documented interface is there; what is missing is told in a line."""

from __future__ import annotations

import keras
import pytest

from ception.distributed import Place
from ception.errors import RunError

if keras.backend.backend() != "jax":
    pytest.skip("only several processes on JAX need it", allow_module_level=True)

import jax
from jax._src import distributed, xla_bridge
from jax._src.lib import _jax

from ception.distributed import jax as joining
from ception.distributed import jax_internals


def test_all_is_there():
    jax_internals.require()


def initialize(coordinator_address, initialization_timeout, heartbeat_timeout_seconds):
    """As JAX 0.8.0 has it."""


@pytest.mark.parametrize(("module", "gone", "said"), [
    (distributed, "global_state", "jax._src.distributed.global_state.client"),
    (_jax, "make_gloo_tcp_collectives", "jax._src.lib._jax.make_gloo_tcp_collectives"),
    (xla_bridge, "register_backend_factory", "jax._src.xla_bridge.register_backend_factory"),
    (jax.distributed, initialize, "jax.distributed.initialize(shutdown_timeout_seconds=...)"),
])  # fmt: skip
def test_what_is_not_there_is_told_before_anybody_is_waited_for(monkeypatch, module, gone, said):
    if callable(gone):
        monkeypatch.setattr(module, "initialize", gone)
    else:
        monkeypatch.delattr(module, gone)
    with pytest.raises(RunError) as told:
        joining.join(Place(0, 2, "127.0.0.1", 1))
    assert str(told.value) == (
        f"several processes cannot train together on JAX {jax.__version__}, which has no {said}: install another "
        "version, 0.8.1 at least, or train with --backend torch"
    )
