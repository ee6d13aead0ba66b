"""Models over HTTP: `serve` answers requests until it is told to end."""

from __future__ import annotations

import importlib.util
import socket
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Unpack

from ception import backends
from ception.errors import InputError, reason
from ception.options import ServeOptions
from ception.predictor import Predictor
from ception.reporting import Reporter, counted, or_default
from ception.serving.limits import COPIES
from ception.settings import ServeSettings
from ception.validation import settings_of

_NEEDS = ("fastapi", "uvicorn", "prometheus_client", "python_multipart")


def serve(
    models: Sequence[str | Path] | str | Path, *, reporter: Reporter | None = None, **options: Unpack[ServeOptions]
) -> None:
    """Answer requests for models over HTTP until the process is told to end; what is at work then is finished.

    Args:
        models: Model files, run folders or exports; `NAME=PATH` gives one a name of its own.
        reporter: Told the address, and of models that are replaced.
        options: Fields of `ServeSettings`.

    Raises:
        InputError: a model or an option cannot be used, a package is missing, or the port is in use.
        RunError: a model failed and could not be opened anew.
    """
    settings = settings_of(ServeSettings, options)
    if settings.max_memory < COPIES * settings.max_bytes:
        raise InputError(
            f"--max-memory {settings.max_memory:g} is too little for bodies of --max-bytes {settings.max_bytes:g}, "
            f"each held {COPIES} times while it is read: give at least {COPIES * settings.max_bytes:g}"
        )
    reporter = or_default(reporter)
    for package in _NEEDS:
        if importlib.util.find_spec(package) is None:
            raise InputError(f"a server needs {package}: pip install 'ception[serve]'")
    token = _token(settings.token_file)
    given = [models] if isinstance(models, str | Path) else models
    with _listening(settings.host, settings.port) as listening, backends.on(settings.device, settings.backend):
        _answer([str(one) for one in given], settings, token, listening, reporter)


def _answer(
    models: Sequence[str], settings: ServeSettings, token: str | None, listening: socket.socket, reporter: Reporter
) -> None:
    """Open the models and answer until the process is told to end."""
    from ception.engines import described
    from ception.serving.app import application
    from ception.serving.hosting import Hosting, names_of
    from ception.serving.limits import Limits
    from ception.serving.metrics import Metrics
    from ception.serving.running import Server

    limits = Limits(
        int(settings.max_bytes * 1e6), int(settings.max_pixels * 1e6), settings.max_pictures, settings.max_requests,
        settings.timeout, int(settings.max_memory * 1e6),
    )  # fmt: skip
    metrics = Metrics()
    hosting = Hosting(
        names_of(models), lambda path: _opened(path, settings, reporter), most=settings.batch_size,
        observe=lambda name, size: metrics.batches.labels(name).observe(size), reporter=reporter,
    )  # fmt: skip
    for hosted in hosting:
        reporter.note(f"{hosted.name}: {hosted.description.config.name} on {described(hosted.predictor.engine)}")
    host, port = listening.getsockname()[:2]
    reporter.note(f"Answering at http://{f'[{host}]' if ':' in host else host}:{port} (Ctrl-C ends it)")
    app = application(
        hosting, limits, metrics, token=token, local=ip_address(host).is_loopback, neighbours=settings.neighbours,
        fail=lambda why: server.fail(why),
    )  # fmt: skip
    server = Server(app, settings.timeout)
    server.answer(listening)
    reporter.note(f"Ended after {counted(metrics.answered, 'request')}")


def _opened(path: Path, settings: ServeSettings, reporter: Reporter) -> Predictor:
    """A model in its engine."""
    predictor = Predictor.open(
        path, engine=settings.engine, dtype=settings.dtype, batch_size=settings.batch_size, backend=settings.backend,
        device=settings.device, cache_limit=settings.cache_limit, reporter=reporter,
    )  # fmt: skip
    if settings.min_confidence is not None:
        predictor.min_confidence = settings.min_confidence
    return predictor


def _token(file: Path | None) -> str | None:
    """The token in a file; None without one.

    Raises:
        InputError: it cannot be read, or holds none.
    """
    if file is None:
        return None
    try:
        token = file.read_text("ascii").strip()
    except OSError as error:
        raise InputError(f"--token-file {file} cannot be read: {reason(error)}") from None
    except UnicodeError:
        token = ""
    if not token or len(token.split()) != 1:
        raise InputError(f"--token-file {file} must hold one word of ASCII characters")
    return token


def _listening(host: str, port: int) -> socket.socket:
    """A socket that waits for connections.

    Raises:
        InputError: the port is in use or not allowed, or there is no such address.
    """
    try:
        listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        why = reason(error) if isinstance(error, OSError) else str(error)
        raise InputError(f"{host}:{port} cannot be listened on: {why}; choose another --port or --host") from None
    # connections inherit it: an answer of two packets would wait 40 ms for the first one's receipt
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening
