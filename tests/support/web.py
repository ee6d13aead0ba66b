"""A web server of files on this machine."""

from __future__ import annotations

import http.server
import re
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar


class Web(http.server.ThreadingHTTPServer):
    """Files in a folder, with a page for each folder in it.

    Attributes:
        parts: Whether it sends parts of files.
        refused: Paths by the status that they are answered with.
        asked: The method, path and part of each request.
    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), partial(_Handler, directory=str(folder)))
        self.parts = True
        self.refused: dict[str, int] = {}
        self.asked: list[tuple[str, str, str | None]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(http.server.SimpleHTTPRequestHandler):
    server: Web

    def send_head(self) -> Any:
        asked = self.headers.get("Range")
        self.server.asked.append((self.command, self.path, asked))
        if status := self.server.refused.get(self.path):
            self.send_error(status)
            return None
        path = Path(self.translate_path(self.path))
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", asked or "")
        if not (found and self.server.parts and path.is_file()):
            return super().send_head()
        start, last = int(found[1]), min(int(found[2]), path.stat().st_size - 1)
        file = path.open("rb")
        file.seek(start)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{last}/{path.stat().st_size}")
        self.send_header("Content-Length", str(last - start + 1))
        self.end_headers()
        return file

    def copyfile(self, source: Any, outputfile: Any) -> None:
        length = next((int(line.split(b":")[1]) for line in self._sent if line.startswith(b"Content-Length")), -1)
        outputfile.write(source.read(length))

    def end_headers(self) -> None:
        self._sent = list(self._headers_buffer)
        super().end_headers()

    def log_message(self, *_: object) -> None:
        pass


_Server = TypeVar("_Server", bound=http.server.HTTPServer)


@contextmanager
def answering(server: _Server) -> Iterator[_Server]:
    """A server that answers for as long as the context lasts."""
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def serving(folder: Path) -> AbstractContextManager[Web]:
    """The server for as long as the context lasts."""
    return answering(Web(folder))
