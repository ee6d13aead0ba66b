"""As much of the Hugging Face hub, on this machine, as its library needs for a download."""

from __future__ import annotations

import hashlib
import http.server
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_FILE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


class Hub(http.server.ThreadingHTTPServer):
    """Repositories with files.

    Attributes:
        repositories: Content by file by repository.
        requests: What was asked for, as `HEAD model.keras`.
        commit: Of the newest revision of each.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.requests: list[str] = []
        self.commit = COMMIT
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self._answer(with_content=False)

    def do_GET(self) -> None:
        self._answer(with_content=True)

    def _answer(self, with_content: bool) -> None:
        hub, asked = self.server, _FILE.fullmatch(self.path)
        assert isinstance(hub, Hub)
        if asked is None:
            return self._refuse(400, "")
        repository, revision, file = asked.groups()
        hub.requests.append(f"{self.command} {file}")
        if repository not in hub.repositories:
            return self._refuse(401, "RepoNotFound")
        if revision not in ("main", "v1", hub.commit):
            return self._refuse(404, "RevisionNotFound")
        if file not in hub.repositories[repository]:
            return self._refuse(404, "EntryNotFound")
        content = hub.repositories[repository][file]
        self.send_response(200)
        self.send_header("X-Repo-Commit", hub.commit)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if with_content:
            self.wfile.write(content)
        return None

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[Hub]:
    """The hub for as long as the context lasts."""
    with Hub() as hub:
        thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()
