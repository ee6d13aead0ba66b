"""As much of the Hugging Face hub, on this machine, as its library needs for a download and to list a repository."""

from __future__ import annotations

import hashlib
import http.server
import json
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

from support.web import answering

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_FILE = re.compile(r"/((?:datasets/)?[^/]+/[^/]+)/resolve/([^/]+)/(.+)")
_LISTED = re.compile(r"/api/(?:models/)?((?:datasets/)?[^/]+/[^/]+)(?:/(revision|tree|paths-info)/([^/]+)(?:/(.+))?)?")


class Hub(http.server.ThreadingHTTPServer):
    """Repositories with files.

    Attributes:
        repositories: Content by file by repository, such as `USER/NAME` and `datasets/USER/NAME`.
        revisions: What a repository has beside its commit.
        requests: What was asked for, as `HEAD model.keras`.
        commit: Of the newest revision of each.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.requests: list[str] = []
        self.revisions = {"main", "v1"}
        self.commit = COMMIT
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self._answer(with_content=False)

    def do_GET(self) -> None:
        self._answer(with_content=True)

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self._answer(with_content=True, paths=parse_qs(asked)["paths"])

    def _answer(self, with_content: bool, paths: Sequence[str] = ()) -> None:
        hub, path = self.server, urlsplit(self.path).path
        assert isinstance(hub, Hub)
        asked, listed = _FILE.fullmatch(path), _LISTED.fullmatch(path)
        if asked:
            repository, revision, file = map(unquote, asked.groups())
            hub.requests.append(f"{self.command} {file}")
        elif listed:
            repository, what, revision, below = (unquote(part or "") for part in listed.groups())
        else:
            return self._refuse(400, "")
        if repository not in hub.repositories:
            return self._refuse(401, "RepoNotFound")
        if revision and revision not in hub.revisions | {hub.commit}:
            return self._refuse(404, "RevisionNotFound")
        if listed:
            about = what in ("", "revision")
            files = hub.repositories[repository]
            return self._send(_json({"id": repository})) if about else self._list(files, below, paths)
        if file not in hub.repositories[repository]:
            return self._refuse(404, "EntryNotFound")
        content = hub.repositories[repository][file]
        part = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        sent = content[int(part[1]) : int(part[2]) + 1] if part else content
        return self._send(sent, status=206 if part else 200, with_content=with_content)

    def _list(self, files: dict[str, bytes], below: str, paths: Sequence[str]) -> None:
        """What is in a folder of a repository, with or without what is in its folders; or what is told of paths."""
        told = [
            {"type": "file", "path": name, "size": len(one), "oid": hashlib.sha1(one).hexdigest()}
            for name, one in files.items()
        ]
        folders = {str(folder) for name in files for folder in PurePosixPath(name).parents} - {"."}
        told += [{"type": "directory", "path": name, "oid": name} for name in sorted(folders)]
        if paths:
            return self._send(_json([one for one in told if one["path"] in paths]))
        prefix = f"{below}/" if below else ""
        told = [one for one in told if str(one["path"]).startswith(prefix)]
        if "recursive=true" not in self.path.lower():
            told = [one for one in told if "/" not in str(one["path"])[len(prefix) :]]
        return self._send(_json(told)) if told else self._refuse(404, "EntryNotFound")

    def _send(self, content: bytes, *, status: int = 200, with_content: bool = True) -> None:
        self.send_response(status)
        self.send_header("X-Repo-Commit", self.server.commit)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if with_content:
            self.wfile.write(content)

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def _json(told: object) -> bytes:
    return json.dumps(told).encode()


def serving() -> AbstractContextManager[Hub]:
    """The hub for as long as the context lasts."""
    return answering(Hub())
