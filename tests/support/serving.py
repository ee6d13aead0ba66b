"""A server without a network, and one in a process of its own."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

import ception
from ception.serving import app, hosting
from ception.serving.limits import Limits
from ception.serving.metrics import Metrics
from support.reporters import Notes

LIMITS = Limits(most_bytes=200_000, most_pixels=250_000, most_pictures=4, most_requests=3, seconds=10.0)


def opened(path: Path) -> ception.Predictor:
    """A model file in Keras, an export in its own runtime."""
    return ception.Predictor.open(path, engine="keras" if path.suffix == ".keras" else None)


class Server:
    """An application without a network; `models.close()` ends it."""

    def __init__(
        self, paths: dict[str, Path], *, limits: Limits = LIMITS, token: str | None = None, neighbours: bool = True
    ) -> None:
        self.metrics, self.notes = Metrics(), Notes()
        self.models = hosting.Hosting(
            paths, opened, most=4,
            observe=lambda name, size: self.metrics.batches.labels(name).observe(size), reporter=self.notes,
        )  # fmt: skip
        self.app = app.application(self.models, limits, self.metrics, token=token, neighbours=neighbours)

    def ask(self, method: str, path: str, **options) -> httpx.Response:
        """One request, with an answer whatever happens."""
        return self.all([(method, path, options)])[0]

    def all(self, requests: list[tuple[str, str, dict]]) -> list[httpx.Response]:
        """Requests at the same time."""

        async def send() -> list[httpx.Response]:
            transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://it") as client:
                return list(await asyncio.gather(*(client.request(*one[:2], **one[2]) for one in requests)))

        return asyncio.run(send())


@contextmanager
def running(model: Path, folder: Path) -> Iterator[tuple[subprocess.Popen, str, Path]]:
    """A server in a process of its own: the process, its address, and the file with what it says."""
    command = [sys.executable, "-m", "ception", "serve", str(model), "--port", "0", "--engine", "keras"]
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
