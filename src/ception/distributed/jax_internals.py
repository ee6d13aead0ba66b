"""All that this package uses of JAX beyond its documented interface, in one place; only several processes need it.

Source: jax/_src/distributed.py and jax/_src/xla_bridge.py of JAX 0.10.
"""

from __future__ import annotations

import importlib
import inspect
from functools import partial
from operator import attrgetter
from typing import Any

import jax

from ception.errors import RunError

_NAMES = {
    "jax": ("config.jax_cpu_collectives_implementation", "config.jax_enable_recoverability"),
    "jax._src.distributed": ("global_state.client",),
    "jax._src.lib": tuple(f"_jax.{name}" for name in (
        "make_gloo_tcp_collectives", "DistributedRuntimeClient.key_value_set_bytes",
        "DistributedRuntimeClient.key_value_try_get_bytes", "DistributedRuntimeClient.key_value_delete",
    )),
    "jax._src.xla_bridge": ("make_cpu_client", "register_backend_factory"),
}  # fmt: skip
_OPTIONS = ("initialization_timeout", "heartbeat_timeout_seconds", "shutdown_timeout_seconds")  # of its initialize


def require() -> None:
    """Raise a RunError where the JAX that is installed lacks something of this."""
    missing = [f"{module}.{name}" for module, names in _NAMES.items() for name in names if not _has(module, name)]
    known = inspect.signature(jax.distributed.initialize).parameters
    missing += [f"jax.distributed.initialize({option}=...)" for option in _OPTIONS if option not in known]
    if missing:
        raise RunError(
            f"several processes cannot train together on JAX {jax.__version__}, which has no {missing[0]}: install "
            "another version, 0.8.1 at least, or train with --backend torch"
        )


def _has(module: str, name: str) -> bool:
    try:
        attrgetter(name)(importlib.import_module(module))
    except (ImportError, AttributeError):
        return False
    return True


def client() -> Any:
    """What this process reaches JAX's service of coordination by: JAX documents no other way to short messages."""
    from jax._src.distributed import global_state

    return global_state.client


def speak_by(**where: str) -> None:
    """Let gloo be reached at an address of this machine.

    Args:
        where: `hostname`, an address, or `interface`, the name of a network.
    """
    from jax._src import xla_bridge
    from jax._src.lib import _jax

    collectives = _jax.make_gloo_tcp_collectives(distributed_client=client(), **where)
    made = partial(xla_bridge.make_cpu_client, collectives)
    xla_bridge.register_backend_factory("cpu", made, priority=0, fail_quietly=False)
