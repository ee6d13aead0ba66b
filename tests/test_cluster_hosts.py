"""Hosts of a cluster that answer no more: who counts as lost, when, and what is told."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from ception import cluster, cluster_hosts
from ception.cluster_hosts import Host, Roll, told
from ception.distributed.team import SILENCE_S
from ception.errors import RunError
from ception.settings import ClusterSettings
from support.reporters import Notes

HEAD = Host("a", "10.0.0.1", 1, 4, is_head=True)
OTHER = Host("b", "10.0.0.2", 1, 3)


def test_a_host_that_answers_no_more_is_lost_once_and_may_come_back():
    silent: set[str] = set()
    roll = Roll(lambda host: host.key not in silent)
    assert roll.lost([HEAD, OTHER], 0) == []
    silent.add("b")
    assert roll.lost([HEAD, OTHER], SILENCE_S) == []
    assert roll.lost([HEAD, OTHER], SILENCE_S + 1) == [OTHER]
    assert roll.left([HEAD, OTHER], 2) == 2
    assert roll.lost([HEAD, replace(OTHER, is_alive=False)], SILENCE_S + 2) == []
    silent.clear()
    assert roll.lost([HEAD, OTHER], SILENCE_S + 3) == []
    assert roll.left([HEAD, OTHER], 2) == 3
    silent.add("b")
    assert roll.lost([HEAD, OTHER], 2 * SILENCE_S + 4) == [OTHER]


def test_a_host_that_the_cluster_gives_up_is_lost_at_once_where_it_was_there_before():
    roll, gone = Roll(lambda host: True), replace(OTHER, is_alive=False)
    assert roll.lost([HEAD, OTHER], 0) == []
    assert roll.lost([HEAD, gone], 1) == [gone]
    assert Roll(lambda host: True).lost([HEAD, gone], 1) == []


def test_where_nothing_leads_to_the_hosts_the_cluster_says_who_is_there():
    roll = Roll(lambda host: False)
    for now in (0.0, SILENCE_S + 1):
        assert roll.lost([HEAD, OTHER], now) == []
    assert roll.left([HEAD, OTHER], 1) == 7
    assert roll.lost([HEAD, replace(OTHER, is_alive=False)], SILENCE_S + 2) == [replace(OTHER, is_alive=False)]


@pytest.mark.parametrize(("host", "left", "expected"), [
    (OTHER, 1, "host 10.0.0.2 of the cluster is gone, or cannot be reached: once Ray gives it up, what it was at goes "
               "on by the 1 worker left"),
    (OTHER, 0, "host 10.0.0.2 of the cluster is gone, or cannot be reached: no worker is left, and Ray waits for "
               "another host; Ctrl-C ends it, what is done is kept"),
    (HEAD, 3, "host 10.0.0.1 of the cluster is gone, or cannot be reached, and it is the head, without which nothing "
              "goes on: begin again once it is back"),
])  # fmt: skip
def test_what_is_told(host, left, expected):
    assert told(host, left) == expected


def test_the_reporter_is_warned_meanwhile(monkeypatch):
    lists, warned = iter([[HEAD, OTHER]]), threading.Event()
    monkeypatch.setattr(cluster_hosts, "_ASKS_EVERY_S", 0.001)
    monkeypatch.setattr(cluster_hosts, "_listed", lambda: next(lists, [HEAD, replace(OTHER, is_alive=False)]))
    monkeypatch.setattr(cluster_hosts, "_answers", lambda host: True)
    notes = Notes()
    monkeypatch.setattr(notes, "warn", lambda text: (notes.warnings.append(text), warned.set()))
    with cluster_hosts.watched(4, notes):
        assert warned.wait(20)
    assert notes.warnings == [told(OTHER, 1)]


def test_a_cluster_that_wants_a_token_is_told_how_to_get_it(monkeypatch):
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(cluster, "_require_listening", lambda address: None)

    def refuse(**_: object) -> None:
        raise ConnectionError("Failed to connect to Ray cluster") from RuntimeError("AuthenticationError: RPC error")

    monkeypatch.setattr(ray, "init", refuse)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    wanted = "it wants a token: set RAY_AUTH_MODE=token, and copy ~/.ray/auth_token from its head"
    settings = ClusterSettings(on="ray://10.0.0.1:1")
    with pytest.raises(RunError, match=wanted), cluster.connected(settings, Notes()):
        pass
