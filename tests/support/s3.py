"""A server that answers as S3, on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

_WHY = "needs what `make test` installs for TensorFlow"


@contextmanager
def serving(monkeypatch: pytest.MonkeyPatch, folders: dict[str, Path]) -> Iterator[object]:
    """A server with a bucket `bucket`, found by environment variables, as long as the context lasts; its file system.

    Args:
        monkeypatch: Sets the variables.
        folders: By its name in the bucket, what is put there.
    """
    moto = pytest.importorskip("moto.server", reason=_WHY)
    s3fs = pytest.importorskip("s3fs", reason=_WHY)
    server = moto.ThreadedMotoServer(port=0)
    server.start()
    try:
        address, port = server.get_host_and_port()
        for name, value in {"ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b", "DEFAULT_REGION": "us-east-1",
                            "ENDPOINT_URL": f"http://{address}:{port}"}.items():  # fmt: skip
            monkeypatch.setenv(f"AWS_{name}", value)
        httpx.post(f"{os.environ['AWS_ENDPOINT_URL']}/moto-api/reset")  # what earlier servers of this process had
        s3fs.S3FileSystem.clear_instance_cache()  # which know another server
        system = s3fs.S3FileSystem()
        system.mkdir("bucket")
        for name, folder in folders.items():
            system.put(str(folder), f"bucket/{name}", recursive=True)
        yield system
    finally:
        server.stop()
        s3fs.S3FileSystem.clear_instance_cache()
