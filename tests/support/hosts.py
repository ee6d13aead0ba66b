"""Two hosts on one machine, each a network namespace with an address of its own, and a cable between them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

FIRST, SECOND = "10.77.0.1", "10.77.0.2"


@dataclass
class Hosts:
    """Two network namespaces, joined by a pair of devices.

    Attributes:
        names: Of the namespaces.
        processes: What this process has started in them, and has not asked yet how it ended.
    """

    names: tuple[str, str]
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(
        self, index: int, words: Sequence[object], *, folder: Path, environment: Mapping[str, str]
    ) -> subprocess.Popen[str]:
        """Start a Python program on a host.

        Args:
            index: Of the host.
            words: As after `python`.
            folder: Where it runs.
            environment: What it sees beside what this process does.
        """
        own = {"OMP_NUM_THREADS": "1", **environment}
        process = subprocess.Popen(
            ["ip", "netns", "exec", self.names[index], sys.executable, *map(str, words)], cwd=folder,
            env=os.environ | own, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.processes.append(process)
        return process

    def cut(self) -> None:
        """Unplug the first host."""
        ip("-n", self.names[0], "link", "set", f"{self.names[0]}d", "down")

    def told(self) -> list[tuple[int, str]]:
        """Exit code and standard error of all that was started, once it has ended."""
        said = [process.communicate(timeout=250)[1] for process in self.processes]
        codes = [process.returncode for process in self.processes]
        self.processes.clear()
        return list(zip(codes, said, strict=True))

    def running(self) -> list[int]:
        """The processes on both, whoever started them."""
        told = [subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True) for name in self.names]
        return [int(word) for one in told for word in one.stdout.split()]

    def clear(self) -> None:
        """End all that runs on them, and wait until nothing does."""
        while running := self.running():
            for process in running:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            for process in self.processes:
                process.poll()  # or the dead ones stay listed
            time.sleep(0.05)
        for process in self.processes:
            process.communicate()


@contextmanager
def apart() -> Iterator[Hosts]:
    """A context with two hosts, on which nothing runs any more once it ends; the test is skipped where none can be."""
    names = f"cept{os.getpid()}a", f"cept{os.getpid()}b"
    hosts = Hosts(names)
    try:
        try:
            for name in names:
                ip("netns", "add", name)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("network namespaces need Linux, ip and root")
        devices = [f"{name}d" for name in names]
        ip("link", "add", devices[0], "netns", names[0], "type", "veth", "peer", "name", devices[1], "netns", names[1])
        for name, device, address in zip(names, devices, (FIRST, SECOND), strict=True):
            ip("-n", name, "addr", "add", f"{address}/24", "dev", device)
            ip("-n", name, "link", "set", device, "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield hosts
    finally:
        with suppress(FileNotFoundError):  # where there is no `ip`
            hosts.clear()
            for name in names:
                subprocess.run(["ip", "netns", "del", name], capture_output=True, timeout=20)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=20)


@contextmanager
def ray_across(hosts: Hosts, port: int = 6379) -> Iterator[dict[str, str]]:
    """A context with a Ray cluster of a core on each host, and the environment in which a process is led to it."""
    own = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    place = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))  # Ray's sockets lie there, whose paths must be short
    common = ["--num-cpus=1", "--object-store-memory=100000000", f"--temp-dir={place}"]
    first = ["--head", f"--node-ip-address={FIRST}", f"--port={port}", "--include-dashboard=false"]
    second = [f"--address={FIRST}:{port}", f"--node-ip-address={SECOND}"]
    try:
        for index, words in enumerate((first, second)):
            (place / str(index)).mkdir()
            done = subprocess.run(
                ["ip", "netns", "exec", hosts.names[index], sys.executable, "-m", "ray.scripts.scripts", "start",
                 *words, *common[:-1], f"{common[-1]}/{index}"],
                env=os.environ | own, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                text=True, timeout=120,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
        yield own | {"RAY_ADDRESS": f"{FIRST}:{port}"}
    finally:
        hosts.clear()
        shutil.rmtree(place, ignore_errors=True)
