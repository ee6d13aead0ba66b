"""Processes that train together on JAX: one program over the devices of all, whose arrays span them.

Networks and optimisers lie on every device, batches are spread over them, and XLA adds up what follows from a whole
batch: gradients, the statistics of batch normalisation, metrics.
"""

from __future__ import annotations

import atexit
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from ception import backends
from ception.distributed import jax_internals
from ception.distributed.places import Place
from ception.distributed.team import GATHERING_S, SILENCE_S, LostError, Several, Value
from ception.errors import RunError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_INDEX = 8  # digits of a process's number, as it tells it where they meet
_KNOCK_S, _PAUSE_S = 1.0, 0.1  # in which it has to, and between two looks
_UNHEARD_S = 3600  # after which JAX would end processes in its own words; a team finds out before
_LEAVING_S = 1.0  # in which the others leave the first one, whose service ends those that have not


class _Service:
    """JAX's service of coordination as a board."""

    def __init__(self) -> None:
        self.client: Any = jax_internals.client()

    def put(self, key: str, value: bytes) -> None:
        """As `Board.put`."""
        self.client.key_value_set_bytes(key, value, allow_overwrite=True)

    def get(self, key: str) -> bytes | None:
        """As `Board.get`."""
        try:
            return bytes(self.client.key_value_try_get_bytes(key))
        except jax.errors.JaxRuntimeError as error:
            if "NOT_FOUND" in str(error):
                return None
            raise

    def remove(self, key: str) -> None:
        """As `Board.remove`."""
        self.client.key_value_delete(key)


class JaxTeam(Several):
    """Processes whose devices compute each step as one."""

    manner = "spread"

    def __init__(self, place: Place) -> None:
        self._parted_well = False
        atexit.register(self._end)
        super().__init__(place, _Service())
        self.mesh = jax.sharding.Mesh(np.array(jax.devices()), ("batch",))

    def arrays(self, arrays: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """As `Team.arrays`."""
        from jax.experimental import multihost_utils

        self.everyone(None)
        flat = np.concatenate([_bytes(array) for array in arrays]) if arrays else np.zeros(0, np.uint8)
        sent = self._exchanged(lambda: multihost_utils.broadcast_one_to_all(flat, is_source=self.index == 0))
        ends = np.cumsum([array.nbytes for array in arrays])[:-1]
        parts = np.split(sent, ends)
        return [part.view(array.dtype).reshape(array.shape) for part, array in zip(parts, arrays, strict=False)]

    def gathered(self, array: NDArray[Any]) -> list[NDArray[Any]]:
        """As `Team.gathered`."""
        from jax.experimental import multihost_utils

        sizes = self.everyone(array.nbytes)
        flat = np.zeros(max(sizes), np.uint8)  # of which XLA wants the same number from each
        flat[: array.nbytes] = _bytes(array)
        all_ = self._exchanged(lambda: multihost_utils.process_allgather(flat))
        return [
            np.ascontiguousarray(one[:size]).view(array.dtype).reshape(-1, *array.shape[1:])
            for one, size in zip(all_, sizes, strict=True)
        ]

    def scope(self) -> AbstractContextManager[Any]:
        """A context in which Keras makes functions whose arrays lie on every device."""
        import keras

        distribution = keras.distribution.DataParallel(devices=jax.devices(), auto_shard_dataset=False)
        scope: AbstractContextManager[Any] = distribution.scope()
        return scope

    def spread(self, variables: Sequence[Any]) -> None:
        """Let variables lie on every device."""
        for variable in variables:
            variable.assign(self._everywhere(variable.value))

    def spreading(self, function: Callable[..., Any], is_whole: Callable[[], bool]) -> Callable[..., Any]:
        """Keras's function of a step, from variables and batches wherever they lie.

        Args:
            function: Takes the state, and an iterator of batches.
            is_whole: Whether every process has the whole of the next batch, and not its share.
        """

        def step(state: Any, batches: Any) -> Any:
            given = (self._batch(batch, is_whole()) for batch in batches)
            with self._spread_layers():
                made = self._reached(lambda: function(jax.tree.map(self._everywhere, state), given))
            return self._reached(lambda: self.while_all_live(lambda: jax.block_until_ready(made)))

        return step

    def _spread_layers(self) -> AbstractContextManager[None]:
        """A context in which layers are traced whose batches lie on all devices."""
        from ception.layers import compiled_jax, xla_calls
        from ception.layers.classes import operations

        return xla_calls.spread_over(self.mesh) if operations() is compiled_jax else nullcontext()

    def close(self) -> None:
        """Leave; where others are gone, without the meeting at the end that JAX would wait for.

        Raises:
            LostError: they were there until now.
        """
        is_lost = self.is_over
        super().close()
        if is_lost:
            return
        try:
            self.everyone(None)
            if self.index == 0:
                time.sleep(_LEAVING_S)
            jax.distributed.shutdown()
        except LostError as error:
            raise type(error)(f"all is done and written, but as the processes parted, {error}") from None
        except jax.errors.JaxRuntimeError:
            raise self.lost("all is done and written, but JAX could not end its service") from None
        self._parted_well = True

    def _end(self) -> None:
        """At the end of the program, where others are gone: JAX's own end would wait for them, or abort.

        The exit code is 1, also of a program that has caught the error: what its own would be cannot be known here.
        """
        if not self._parted_well:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(1)

    def _everywhere(self, value: Any) -> Any:
        """An array that lies on every device."""
        if isinstance(value, jax.Array) and not value.is_fully_addressable:
            return value
        return self._placed(value, jax.sharding.PartitionSpec())

    def _batch(self, batch: Any, whole: bool) -> Any:
        spec = jax.sharding.PartitionSpec() if whole else jax.sharding.PartitionSpec("batch")
        return jax.tree.map(lambda leaf: self._placed(leaf, spec), batch)

    def _placed(self, value: Any, spec: Any) -> Any:
        sharding = jax.sharding.NamedSharding(self.mesh, spec)
        return jax.make_array_from_process_local_data(sharding, np.asarray(value))

    def _exchanged(self, call: Callable[[], Any]) -> NDArray[Any]:
        """What JAX sends between the processes in a call that all of them make."""
        return self._reached(lambda: self.while_all_live(lambda: np.asarray(call())))

    def _reached(self, call: Callable[[], Value]) -> Value:
        """The result of a call that all processes make.

        Raises:
            RunError: another one is gone, or cannot be reached.
        """
        try:
            return call()
        except jax.errors.JaxRuntimeError as error:
            if backends.ran_out_of_memory(error):
                raise
            raise self.lost() from None


def _bytes(array: NDArray[Any]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def join(place: Place) -> JaxTeam:
    """The team of which this process is one, once all are there.

    Raises:
        RunError: they do not come together, or this version of JAX cannot do it.
    """
    jax_internals.require()
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.config.update("jax_enable_recoverability", True)  # or JAX ends all processes where one dies, in many words
    try:
        with backends.importing():  # what is logged as they meet
            address = _meet(place)
            jax.distributed.initialize(
                f"{place.host}:{place.port}", place.count, place.index, initialization_timeout=GATHERING_S,
                heartbeat_timeout_seconds=_UNHEARD_S, shutdown_timeout_seconds=int(SILENCE_S),
            )  # fmt: skip
            _speak_by(address)
            team = JaxTeam(place)
            team.gathered(np.zeros(1, np.uint8))
            return team
    except (RuntimeError, OSError, ValueError) as error:
        raise RunError(
            f"{place} cannot reach the first one at {place.host}:{place.port} ({str(error).splitlines()[0]}): start "
            f"all {place.count} of them, and let that port through"
        ) from None


def _speak_by(address: str) -> None:
    """Let gloo be reached at an address of this machine, or by the network that `GLOO_SOCKET_IFNAME` names.

    JAX itself takes what the machine's name leads to, which others may not reach, and has no option for it.
    """
    network = os.environ.get("GLOO_SOCKET_IFNAME")
    jax_internals.speak_by(**({"interface": network} if network else {"hostname": address}))


def _meet(place: Place) -> str:
    """Wait until all processes are there: one that waits in vain JAX would end with an abort.

    Returns:
        An address of this machine that the others reach.

    Raises:
        OSError: they are not, in time.
    """
    until = time.monotonic() + GATHERING_S
    return _wait_outside(place, until) if place.index else _let_in(place, until)


def _wait_outside(place: Place, until: float) -> str:
    """Knock at the first process until it says that all are there, or a time is over; this machine's address.

    On the first one's machine that may be known to it alone, which sees the connections from others.
    """
    why: OSError = TimeoutError("no answer")
    while (left := until - time.monotonic()) > 0:
        try:
            with socket.create_connection((place.host, place.port), timeout=left) as door:
                door.sendall(str(place.index).zfill(_INDEX).encode())
                if door.recv(1) == b"1":
                    told, own = door.makefile().readline().strip(), _own_address(door)
                    return told if ip_address(own).is_loopback else own
        except OSError as error:  # it has not started yet, or is gone
            why = error
        time.sleep(_PAUSE_S)
    raise why


def _let_in(place: Place, until: float) -> str:
    """Wait until all others (strangers do not count) stand outside at once, and tell them; this machine's address."""
    kind = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
    come: dict[int, socket.socket] = {}
    with (
        socket.create_server(("", place.port), family=kind, dualstack_ipv6=kind == socket.AF_INET6) as server,
        ExitStack() as opened,
    ):
        server.settimeout(_PAUSE_S)
        while len(come := {index: one for index, one in come.items() if _is_there(one)}) < place.count - 1:
            if time.monotonic() > until:
                raise TimeoutError(f"{place.count - 1 - len(come)} did not come in {GATHERING_S} s")
            with suppress(OSError):  # nobody has knocked, or is gone already
                one = opened.enter_context(server.accept()[0])
                one.settimeout(_KNOCK_S)
                name = one.recv(_INDEX)
                if name.isdigit() and 0 < int(name) < place.count:
                    come[int(name)] = one
        addresses = [_own_address(one) for one in come.values()]
        reached = next((one for one in addresses if not ip_address(one).is_loopback), addresses[0])
        for one in come.values():
            one.sendall(f"1{reached}\n".encode())
        return reached


def _own_address(one: socket.socket) -> str:
    """The address by which this machine speaks on a connection."""
    return str(one.getsockname()[0]).removeprefix("::ffff:")


def _is_there(one: socket.socket) -> bool:
    """Whether who knocked still waits."""
    one.setblocking(False)
    try:
        return one.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False
