"""A server without a network, and one in a process of its own."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

import ception
from ception import serving
from ception.serving import app, hosting, running
from ception.serving.limits import Limits
from ception.serving.metrics import Metrics
from support.reporters import Notes

LIMITS = Limits(most_bytes=200_000, most_pixels=250_000, most_pictures=4, most_requests=3, seconds=10.0)


def opened(path: Path) -> ception.Predictor:
    """A model file in Keras, an export in its own runtime."""
    return ception.Predictor.open(path, engine="keras" if path.suffix == ".keras" else None)


class Server:
    """An application without a network; `models.close()` ends it."""

    def __init__(self, paths: dict[str, Path], *, limits: Limits = LIMITS, **options: Any) -> None:
        self.metrics, self.notes = Metrics(), Notes()
        self.models = hosting.Hosting(
            paths, opened, most=4,
            observe=lambda name, size: self.metrics.batches.labels(name).observe(size), reporter=self.notes,
        )  # fmt: skip
        self.app = app.application(self.models, limits, self.metrics, **options)

    def ask(self, method: str, path: str, **options) -> httpx.Response:
        """One request, with an answer whatever happens."""
        return self.all([(method, path, options)])[0]

    def all(self, requests: list[tuple[str, str, dict]]) -> list[httpx.Response]:
        """Requests at the same time."""
        return all_asked(self.app, requests)


def asked(app: Any, method: str, path: str, **options) -> httpx.Response:
    """One request to an application."""
    return all_asked(app, [(method, path, options)])[0]


def all_asked(app: Any, requests: list[tuple[str, str, dict]]) -> list[httpx.Response]:
    """Requests at the same time."""

    async def send() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://it") as client:
            return list(await asyncio.gather(*(client.request(*one[:2], **one[2]) for one in requests)))

    return asyncio.run(send())


@contextmanager
def listening(app: Any, *, idle_s: float = 15, closes: bool = False) -> Iterator[tuple[running.Server, str]]:
    """An application behind a port, in a thread: the server and its address. What it raises is raised here.

    Args:
        app: The application.
        idle_s: What the server waits for heads and readers.
        closes: Whether the application begins and ends with it, and looks at its models.
    """
    server = running.Server(app, 10.0)
    server.config.timeout_keep_alive, server.config.lifespan = idle_s, "on" if closes else "off"
    with serving._listening("127.0.0.1", 0) as port, ThreadPoolExecutor(1) as pool:
        ended = pool.submit(server.answer, port)
        try:
            while not (server.started or ended.done()):
                time.sleep(0.002)
            yield server, "http://{}:{}".format(*port.getsockname())
        finally:
            server.should_exit = True
        ended.result(30)


@contextmanager
def in_a_process(model: Path, folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen, str, Path]]:
    """A server in a process of its own: the process, its address, and the file with what it says."""
    command = [sys.executable, "-m", "ception", "serve", str(model), "--port", "0", *(options or ("--engine", "keras"))]
    said = folder / "err"
    with said.open("w") as err, subprocess.Popen(command, stderr=err, cwd=folder) as process:
        try:
            deadline = time.monotonic() + 120
            while "Answering at " not in said.read_text():
                assert process.poll() is None, said.read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield process, said.read_text().split("Answering at ")[1].split()[0], said
        finally:
            process.kill()
