"""The hosts of a Ray cluster, and a word where one of them can be reached no more.

Ray itself gives a host up after 65 seconds without an answer, unless the cluster's owner has set otherwise, and then
says nothing to whoever waits.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from ception.distributed.team import SILENCE_S, within
from ception.reporting import Reporter, counted

_ASKS_EVERY_S = 2.0
_ANSWERS_WITHIN_S = 2.0


@dataclass(frozen=True)
class Host:
    """A host, as the cluster lists it.

    Attributes:
        key: What no other host has, not even the same one where it comes back.
        address: Where the others reach it.
        port: On which its part of Ray listens.
        cores: Of it, that Ray hands out.
        is_head: Whether the cluster's head is there, without which no other host knows what to do.
        is_alive: Whether the cluster counts it in.
    """

    key: str
    address: str
    port: int
    cores: int
    is_head: bool = False
    is_alive: bool = True


class Roll:
    """Who of a cluster was heard of when.

    Args:
        answers: Whether a host does, now.
    """

    def __init__(self, answers: Callable[[Host], bool]) -> None:
        self._answers = answers
        self._known: set[str] = set()
        self._heard: dict[str, float] = {}
        self._lost: set[str] = set()

    def lost(self, hosts: Sequence[Host], now: float) -> list[Host]:
        """Those that are lost since the last call: the cluster gives them up, or they answer no more.

        One that never answered, because nothing leads there from here, is the cluster's to give up.

        Args:
            hosts: All that the cluster lists.
            now: In seconds.
        """
        found = []
        for host in hosts:
            if host.is_alive and self._answers(host):
                self._heard[host.key] = now
                self._lost.discard(host.key)
            elif host.key not in self._lost and self._is_silent(host, now):
                self._lost.add(host.key)
                found.append(host)
            if host.is_alive:
                self._known.add(host.key)
        return found

    def left(self, hosts: Sequence[Host], worker_cores: int) -> int:
        """How many workers of so many cores the hosts that are not lost have room for."""
        return sum(host.cores // worker_cores for host in hosts if host.is_alive and host.key not in self._lost)

    def _is_silent(self, host: Host, now: float) -> bool:
        if not host.is_alive:
            return host.key in self._known
        return now - self._heard.get(host.key, now) > SILENCE_S


@contextmanager
def watched(worker_cores: int, reporter: Reporter) -> Iterator[None]:
    """A context in which hosts of the cluster that this process is connected with are told where they are lost.

    Args:
        worker_cores: How many a worker has.
        reporter: Warned once of each.
    """
    over, roll = threading.Event(), Roll(_answers)

    def watch() -> None:
        hosts: list[Host] = []
        while not over.wait(_ASKS_EVERY_S):
            with suppress(Exception):  # of which Ray has many, where its head is lost
                hosts = within(_ANSWERS_WITHIN_S, _listed)
            for host in roll.lost(hosts, time.monotonic()):
                reporter.warn(told(host, roll.left(hosts, worker_cores)))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()  # for whoever asks Ray once it has ended starts another one


def told(host: Host, left: int) -> str:
    """What a loss means, and what is to be done.

    Args:
        host: The one that is lost.
        left: How many workers are.
    """
    lost = f"host {host.address} of the cluster is gone, or cannot be reached"
    if host.is_head:
        return f"{lost}, and it is the head, without which nothing goes on: begin again once it is back"
    if not left:
        return f"{lost}: no worker is left, and Ray waits for another host; Ctrl-C ends it, what is done is kept"
    return f"{lost}: once Ray gives it up, what it was at goes on by the {counted(left, 'worker')} left"


def _listed() -> list[Host]:
    import ray

    return [
        Host(
            node["NodeID"], node["NodeManagerAddress"], node["NodeManagerPort"],
            int(node["Resources"].get("CPU", 0)), "node:__internal_head__" in node["Resources"], node["Alive"],
        )
        for node in ray.nodes()
    ]  # fmt: skip


def _answers(host: Host) -> bool:
    """Whether a connection comes about."""
    try:
        socket.create_connection((host.address, host.port), timeout=_ANSWERS_WITHIN_S).close()
    except OSError:
        return False
    return True
