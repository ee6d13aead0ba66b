"""Processes that train together: as threads with a board of their own, and as real ones."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ception.distributed.places import Place
from ception.distributed.team import Several


class Dictionary:
    """A board in memory."""

    def __init__(self) -> None:
        self.messages: dict[str, bytes] = {}
        self.lock = threading.Lock()

    def put(self, key: str, value: bytes) -> None:
        with self.lock:
            self.messages[key] = value

    def get(self, key: str) -> bytes | None:
        with self.lock:
            return self.messages.get(key)

    def remove(self, key: str) -> None:
        with self.lock:
            self.messages.pop(key, None)


class Thread(Several):
    """One of several threads, which exchanges arrays as numbers in messages."""

    def arrays(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        told = self.first([array.tolist() for array in arrays])
        return [np.array(values, array.dtype) for values, array in zip(told, arrays, strict=True)]

    def gathered(self, array: np.ndarray) -> list[np.ndarray]:
        return [np.array(values, array.dtype).reshape(-1, *array.shape[1:]) for values in self.everyone(array.tolist())]


def together(do: Callable[[Thread], Any], count: int = 2, board: Dictionary | None = None) -> list[Any]:
    """What each of several threads gets from a function; what it raises, where it does."""
    board = board or Dictionary()

    def run(index: int) -> Any:
        team = None
        try:
            team = Thread(Place(index, count, "nowhere", 1), board)
            return do(team)
        except Exception as error:
            return error
        finally:
            if team:
                team.close()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


@dataclass
class Command:
    """`ception` as several processes of one training, on a port of their own.

    Attributes:
        arguments: After `ception`.
        place: The folder that it runs in.
        count: Processes.
        caches: Their caches; one for all when not given.
        by_hand: Whether each is told its place by --process, not by torchrun's variables.
    """

    arguments: Sequence[str]
    place: Path
    count: int = 2
    caches: Sequence[Path] = ()
    by_hand: bool = False
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self) -> Command:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        for index in range(self.count):
            own, said = {"OMP_NUM_THREADS": "1"}, list[str]()
            if self.by_hand:
                said = ["--process", f"{index}/{self.count}@127.0.0.1:{port}"]
            else:
                own |= {"RANK": str(index), "WORLD_SIZE": str(self.count), "MASTER_ADDR": "127.0.0.1",
                        "MASTER_PORT": str(port)}  # fmt: skip
            if self.caches:
                own["CEPTION_CACHE"] = str(self.caches[index])
            self.processes.append(subprocess.Popen(
                [sys.executable, "-m", "ception", *self.arguments, *said], cwd=self.place, env=os.environ | own,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            ))  # fmt: skip
        return self

    def ended(self) -> list[tuple[int, str, str]]:
        """Exit code, standard output and error of each."""
        with ThreadPoolExecutor(self.count) as pool:
            told = list(pool.map(lambda process: process.communicate(timeout=240), self.processes))
        return [(process.returncode, *texts) for process, texts in zip(self.processes, told, strict=True)]


def run(
    arguments: Sequence[str], place: Path, count: int = 2, caches: Sequence[Path] = ()
) -> list[tuple[int, str, str]]:
    """What several processes of one command say, once all have ended."""
    return Command(arguments, place, count, caches).start().ended()
