"""Pictures that lie in no file: on standard input, and at addresses of a small server on this machine."""

from __future__ import annotations

import csv
import io
import json
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

import ception
from ception import downloads
from ception.data import pictures
from ception.errors import InputError, RunError
from support.pictures import write_pictures


class Handler(BaseHTTPRequestHandler):
    """Sends what the server has for a path, in one of several bad ways."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.close_connection = True
        self.server.asked.append((self.path, self.headers["User-Agent"]))
        data = self.server.pictures.get(self.path, b"")
        if self.path.startswith("/to-file"):
            self.send_response(302)
            self.send_header("Location", "file:///etc/passwd")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.path == "/moved":
            self.send_response(301)
            self.send_header("Location", "/red.png")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.path in ("/endless", "/drops"):
            self.send_response(200)
            self.end_headers()
            while not self.server.over.wait(0.05 if self.path == "/drops" else 0):
                try:
                    self.wfile.write(bytes(1 if self.path == "/drops" else 1 << 16))
                except OSError:
                    return
        elif not data:
            self.send_error(404)
        else:
            self.send_response(200)
            self.send_header("Content-Length", str(len(data) + 10 * (self.path == "/cut.png")))
            self.end_headers()
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path) -> Iterator[SimpleNamespace]:
    """A server with two pictures, one cut short, a page, and what never ends."""
    data = write_pictures(tmp_path / "web", {"red": 1, "blue": 1}, seed=5)
    red, blue = ((data / name / "000.png").read_bytes() for name in ("red", "blue"))
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        serving.daemon_threads = True
        serving.asked, serving.over = [], threading.Event()
        serving.pictures = {
            "/red.png": red, "/blue.png?size=1": blue, "/cut.png": red, "/page": b"<html>log in</html>",
            "/gr%C3%BCn%20b.png": red,
        }  # fmt: skip
        threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield SimpleNamespace(url=f"http://127.0.0.1:{serving.server_port}", asked=serving.asked, red=red, blue=blue)
        serving.over.set()
        serving.shutdown()


def feed(monkeypatch: pytest.MonkeyPatch, data: bytes, *, tty: bool = False) -> None:
    """Let the bytes lie on standard input."""
    given = SimpleNamespace(buffer=io.BytesIO(data), isatty=lambda: tty)
    monkeypatch.setattr(sys, "stdin", given)


def one_line(text: str) -> bool:
    return text.startswith("ception: ") and text.count("\n") == 1


class TestStandardInput:
    def test_a_dash_is_a_picture_beside_others(self, run_cli, trained, server, tmp_path, monkeypatch):
        (tmp_path / "b.png").write_bytes(server.blue)
        feed(monkeypatch, server.red)
        code, out, _ = run_cli("predict", trained, "-", tmp_path / "b.png", "--json", "--quiet")
        found = [json.loads(line) for line in out.splitlines()]
        assert code == 0
        assert [(one["path"], one["top"][0]["class"]) for one in found] == [
            ("-", "red"), (str(tmp_path / "b.png"), "blue"),
        ]  # fmt: skip

    @pytest.mark.parametrize(
        "arguments", [["--top", "1", "MODEL", "-"], ["MODEL", "--top", "1", "-"], ["MODEL", "-", "--top=1"]]
    )
    def test_a_dash_goes_with_options(self, run_cli, trained, server, monkeypatch, arguments):
        feed(monkeypatch, server.red)
        code, out, _ = run_cli("predict", *(trained if word == "MODEL" else word for word in arguments), "--quiet")
        assert (code, out.split("%")[0][:6], out.count("%")) == (0, "-: red", 1)

    @pytest.mark.parametrize("wrong", [["--tpo", "1"], ["--tpo=1"]])
    @pytest.mark.parametrize("first", [True, False])
    def test_a_misspelt_option_is_no_picture(self, run_cli, trained, server, monkeypatch, wrong, first):
        feed(monkeypatch, server.red)
        code, out, err = run_cli("predict", trained, *(["-", *wrong] if first else [*wrong, "-"]))
        assert (code, out, one_line(err)) == (2, "", True)
        assert "--tpo" in err
        assert "Did you mean --top?" in err
        assert err.endswith("See: ception predict --help\n")

    def test_what_comes_in_may_be_no_picture(self, run_cli, trained, monkeypatch):
        for data, says in ((b"", "-: the file is empty"), (b"text", "-: not a picture")):
            feed(monkeypatch, data)
            code, out, err = run_cli("predict", trained, "-", "--quiet")
            assert (code, out) == (2, "")
            assert says in err
            assert "1 of 1 picture could not be read" in err

    @pytest.mark.parametrize(
        ("named", "tty", "says"), [(["-", "-"], False, "give - once"), (["-"], True, "predict MODEL - < FILE")]
    )
    def test_what_cannot_be_is_one_line(self, run_cli, trained, monkeypatch, named, tty, says):
        feed(monkeypatch, b"", tty=tty)
        code, out, err = run_cli("predict", trained, *named)
        assert (code, out, one_line(err), says in err) == (2, "", True, True), err


class TestAddresses:
    def test_are_read_where_that_is_asked_for(self, run_cli, trained, server, tmp_path):
        named = [f"{server.url}/red.png", f"{server.url}/blue.png?size=1", f"{server.url}/moved"]
        code, _, err = run_cli(
            "predict", trained, *named, "--allow-urls", "--top", "1", "--csv", tmp_path / "p.csv", "--quiet"
        )
        assert (code, err) == (0, "")
        rows = list(csv.reader((tmp_path / "p.csv").read_text().splitlines()))
        assert rows[0] == ["path", "rank", "class", "probability", "unknown", "error"]
        assert [(row[0], row[2]) for row in rows[1:]] == list(zip(named, ["red", "blue", "red"], strict=True))
        assert {agent.partition("/")[0] for _, agent in server.asked} == {"ception"}
        assert ception.predict(trained, named[0], allow_urls=True)[0].best.class_name == "red"

    def test_letters_and_blanks_are_written_as_servers_want_them(self, server):
        assert downloads.read(f"{server.url}/grün b.png", most_bytes=10**6, most_seconds=20) == server.red
        assert downloads.read(f"{server.url}/gr%C3%BCn%20b.png", most_bytes=10**6, most_seconds=20) == server.red

    def test_are_refused_otherwise(self, run_cli, trained, server):
        address = f"{server.url}/red.png"
        code, out, err = run_cli("predict", trained, address)
        assert (code, out, one_line(err)) == (2, "", True)
        assert f"{address} is an address: give --allow-urls" in err
        with pytest.raises(InputError, match="is an address"):
            ception.predict(trained, [address.upper().replace("RED.PNG", "")])
        with ception.Predictor.open(trained) as predictor, pytest.raises(InputError, match="is an address"):
            next(predictor.predictions(address))
        assert server.asked == []

    def test_a_file_with_such_a_name_is_a_file(self, trained, server, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "http:" / "x").mkdir(parents=True)
        (tmp_path / "http:" / "x" / "a.png").write_bytes(server.blue)
        assert ception.predict(trained, "http://x/a.png")[0].best.class_name == "blue"

    def test_what_fails_is_a_line_each_and_the_rest_goes_on(self, run_cli, trained, server, monkeypatch):
        monkeypatch.setattr(pictures, "_MOST_BYTES", 1_000_000)
        monkeypatch.setattr(pictures, "_MOST_SECONDS", 20.0)
        failing = {
            "/none.png": "cannot be downloaded: HTTP 404", "/cut.png": "cannot be downloaded: the connection broke off",
            "/page": "not a picture", "/endless": "cannot be downloaded: it has more than 1,000,000 bytes",
            "/to-file": "cannot be downloaded: HTTP 302",
        }  # fmt: skip
        named = [server.url + path for path in failing]
        code, out, err = run_cli("predict", trained, *named, f"{server.url}/red.png", "--allow-urls", "--quiet")
        assert code == 2
        assert out.startswith(f"{server.url}/red.png: red ")
        *lines, last = err.splitlines()
        assert last == "ception: 5 of 6 pictures could not be read"
        for line, address, why in zip(lines, named, failing.values(), strict=True):
            assert line.startswith(f"warning: {address}: {why}"), line

    def test_a_server_that_is_not_there(self, server):
        with pytest.raises(RunError, match="refused"):
            downloads.read("http://127.0.0.1:1/a.png", most_bytes=10, most_seconds=20)
        with pytest.raises(RunError):
            downloads.read("http://[no/a.png", most_bytes=10, most_seconds=20)

    def test_nobody_waits_longer_than_allowed(self, server):
        begun = time.monotonic()
        with pytest.raises(RunError, match=r"^it takes more than 0\.3 seconds$"):
            downloads.read(f"{server.url}/drops", most_bytes=10**6, most_seconds=0.3)
        assert time.monotonic() - begun < 20


def test_a_size_that_is_told_is_refused_before_it_is_read(server, tmp_path: Path):
    with pytest.raises(RunError, match="more than 100 bytes"):
        downloads.read(f"{server.url}/red.png", most_bytes=100, most_seconds=20)
    held = pictures.given([pictures.Address(f"{server.url}/red.png")])
    assert (held.name(0), held.is_grey(0)) == (f"{server.url}/red.png", False)
    assert held.shorter_side(0) == min(held.open(0).size)
    assert held.digest(0) == pictures.given([server.red]).digest(0)
