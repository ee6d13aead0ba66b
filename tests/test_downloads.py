"""Downloads from a small server on this machine that breaks off, lies, or sends pages."""

from __future__ import annotations

import errno
import hashlib
import http.client
import http.server
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from ception import downloads
from ception.errors import InputError, RunError
from support.reporters import Notes

CONTENT = bytes(range(256)) * 20_000
DIGEST = "md5:" + hashlib.md5(CONTENT).hexdigest()
PAGE = b"<!DOCTYPE html><p>Please log in</p>"


class Server(http.server.ThreadingHTTPServer):
    """How it answers, and what it was asked.

    Attributes:
        requests: The ranges of the requests so far.
        most: The number of bytes after which it breaks off.
        status: Which error it answers with.
        tells_length: Whether it says how much follows.
        knows_ranges: Whether it can start in mid-file.
        page: What it sends instead of the file, with its type.
        gate: What has to happen before it answers, and `stall` before it ends.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests = []
        self.most = self.status = self.page = self.gate = self.stall = None
        self.tells_length = self.knows_ranges = True
        self.chunked = False
        self.shift = 0
        self.url = f"http://127.0.0.1:{self.server_port}/w.h5"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server, asked = self.server, self.headers.get("Range")
        server.requests.append(asked)
        if server.gate:
            server.gate.wait(60)
        self.close_connection = True
        if server.status:
            return self.send_error(server.status)
        if self.path == "/moved":
            return self.head(302, Location=server.url)
        if server.page:
            return self.send(200, server.page[0], {"Content-Type": server.page[1]} if server.page[1] else {})
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and server.knows_ranges else 0
        if start >= len(CONTENT):
            return self.send_error(416)
        first = start + server.shift
        ranged = {"Content-Range": f"bytes {first}-{len(CONTENT) - 1}/{len(CONTENT)}"} if start else {}
        return self.send(206 if start else 200, CONTENT[first:], ranged)

    def head(self, status, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def send(self, status, body, headers):
        server = self.server
        if server.chunked:
            headers["Transfer-Encoding"] = "chunked"
        elif server.tells_length:
            headers["Content-Length"] = str(len(body))
        self.head(status, **headers)
        self.wfile.write((b"%x\r\n" % len(body) if server.chunked else b"") + body[: server.most])
        if server.stall:
            server.stall.wait(60)

    def log_message(self, *_):
        pass


@pytest.fixture
def served():
    server = Server()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def part(own_cache):
    """The first 1.5 MB of the file, from an earlier attempt."""
    own_cache.mkdir()
    (own_cache / ".weights-w.h5.part").write_bytes(CONTENT[:1_500_000])
    return own_cache / ".weights-w.h5.part"


def failure(url, digest=DIGEST, error=RunError, **options):
    with pytest.raises(error) as caught:
        downloads.fetch(url, digest, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def assert_explains(text, server):
    """A network's failure: what was asked for, what it must be, where it may be put by hand, and what else to do."""
    for clue in (server.url, DIGEST, f"save it as {downloads.path_of(server.url)} ", "run it again", "proxy"):
        assert clue in text
    assert "cannot be written" not in text


class TestSuccess:
    def test_it_is_fetched_once_and_checked(self, served, own_cache):
        paths = [downloads.fetch(served.url, DIGEST, megabytes=5) for _ in range(2)]
        assert paths == [own_cache / "weights-w.h5"] * 2
        assert paths[0].read_bytes() == CONTENT
        assert served.requests == [None]

    def test_the_beginning_of_a_hash_will_do(self, served):
        digest = "sha256:" + hashlib.sha256(CONTENT).hexdigest()[:8]
        assert downloads.fetch(served.url, digest).read_bytes() == CONTENT

    def test_three_at_once_download_it_once(self, served):
        served.gate = threading.Event()
        waiting = threading.Semaphore(0)
        reporter = Notes(waiting.release)
        with ThreadPoolExecutor(3) as pool:
            results = [pool.submit(downloads.fetch, served.url, DIGEST, reporter=reporter) for _ in range(3)]
            assert waiting.acquire(timeout=60)
            assert waiting.acquire(timeout=60)
            served.gate.set()
            assert all(result.result(60).read_bytes() == CONTENT for result in results)
        assert reporter.notes == ["Waiting for another process that downloads weights-w.h5"] * 2
        assert served.requests == [None]

    def test_one_that_waited_goes_on_after_a_failure(self, served):
        served.gate, served.most = threading.Event(), 1_000_000

        def open_gate():
            served.gate.set()

        with ThreadPoolExecutor(2) as pool:
            results = [pool.submit(downloads.fetch, served.url, DIGEST, reporter=Notes(open_gate)) for _ in range(2)]
            assert all("broke off" in str(result.exception(60)) for result in results)
        assert served.requests == [None, "bytes=1000000-"]

    def test_no_locks_are_no_hindrance(self, served, monkeypatch):
        fcntl = pytest.importorskip("fcntl")

        def flock(*_):
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr(fcntl, "flock", flock)
        assert downloads.fetch(served.url, DIGEST).read_bytes() == CONTENT


class TestResuming:
    @pytest.mark.parametrize("told", ["length", "nothing", "chunks"])
    def test_it_goes_on_where_it_broke_off(self, served, told):
        served.most, served.tells_length, served.chunked = 1 << 20, told == "length", told == "chunks"
        text = failure(served.url)
        assert_explains(text, served)
        assert "1,048,576 bytes are kept" in text
        if told == "length":
            assert "broke off after 1,048,576 of 5,120,000 bytes" in text
        served.most, served.chunked = None, False
        assert downloads.fetch(served.url, DIGEST).read_bytes() == CONTENT
        assert served.requests == [None, "bytes=1048576-"]

    def test_a_server_without_ranges_begins_anew(self, served, part):
        served.knows_ranges = False
        reporter = Notes()
        assert downloads.fetch(served.url, DIGEST, reporter=reporter).read_bytes() == CONTENT
        assert reporter.notes == ["The server cannot go on where the download broke off: it begins anew"]

    @pytest.mark.parametrize(("shift", "succeeds"), [(-1000, True), (1000, False)])
    def test_a_server_may_start_elsewhere(self, served, part, shift, succeeds):
        served.shift = shift
        if succeeds:
            assert downloads.fetch(served.url, DIGEST).read_bytes() == CONTENT
        else:
            assert "goes on at byte 1,501,000 instead of 1,500,000" in failure(served.url)
            assert part.read_bytes() == CONTENT[:1_500_000]

    def test_a_part_that_is_too_long_is_replaced(self, served, part):
        part.write_bytes(b"x" * 6_000_000)
        assert downloads.fetch(served.url, DIGEST).read_bytes() == CONTENT
        assert served.requests == ["bytes=6000000-", None]

    def test_a_part_that_is_whole_is_not_asked_for(self, served, part):
        part.write_bytes(CONTENT)
        assert downloads.fetch(served.url, DIGEST).read_bytes() == CONTENT
        assert served.requests == []

    def test_an_error_leaves_the_part(self, served, part):
        served.status = 503
        text = failure(served.url)
        assert_explains(text, served)
        assert "HTTP 503 Service Unavailable; 1,500,000 bytes are kept" in text
        served.status = None
        assert downloads.fetch(served.url, DIGEST).read_bytes() == CONTENT
        assert served.requests == ["bytes=1500000-"] * 2


class TestRefusal:
    def test_the_wrong_content_is_deleted(self, served, own_cache):
        assert "is not the file it should be (sha256:" in failure(served.url, "sha256:00")
        assert not [path for path in own_cache.iterdir() if path.suffix != ".lock"]

    @pytest.mark.parametrize(
        ("page", "clue"),
        [
            ((PAGE, "text/html; charset=utf-8"), "text/html, 35 bytes"),
            ((PAGE, None), "35 bytes"),
            ((b"log in!", "text/plain"), "text/plain, 7 bytes instead of 5 MB"),
        ],
    )
    def test_a_page_instead_is_told_and_leaves_the_part(self, served, part, page, clue):
        served.page = page
        text = failure(served.url, megabytes=5)
        assert_explains(text, served)
        assert "a web page or the like came instead (" in text
        assert clue in text
        assert part.read_bytes() == CONTENT[:1_500_000]
        served.page = None
        assert downloads.fetch(served.url, DIGEST).read_bytes() == CONTENT

    def test_a_page_elsewhere_is_named(self, served):
        served.page = PAGE, "text/html"
        text = failure(served.url.replace("w.h5", "moved"))
        assert f"came instead from {served.url} (" in text

    def test_there_is_no_such_file(self, served):
        served.status = 404
        text = failure(served.url)
        assert_explains(text, served)
        assert "HTTP 404 Not Found; nothing has come" in text


class TestNetwork:
    @pytest.mark.parametrize(
        ("error", "clue"),
        [
            (ssl.SSLError(1, "[SSL] decryption failed or bad record mac"), "bad record mac"),
            (OSError(113, "No route to host"), "No route to host"),
            (http.client.IncompleteRead(b""), "the connection broke off"),
            (TimeoutError("timed out"), "timed out"),
            (ConnectionResetError(104, "Connection reset by peer"), "Connection reset by peer"),
        ],
    )
    def test_what_fails_in_mid_read_is_the_networks_fault(self, served, part, monkeypatch, error, clue):
        read = http.client.HTTPResponse.read
        left = [10]

        def fail(answer, amount=None):
            left[0] -= 1
            if left[0] < 0:
                raise error
            return read(answer, amount)

        with monkeypatch.context() as patched:
            patched.setattr(http.client.HTTPResponse, "read", fail)
            text = failure(served.url)
        assert_explains(text, served)
        assert f"{clue}; 2,155,360 bytes are kept" in text
        assert downloads.fetch(served.url, DIGEST).read_bytes() == CONTENT
        assert served.requests == ["bytes=1500000-", "bytes=2155360-"]

    def test_a_server_that_falls_silent(self, served, monkeypatch):
        monkeypatch.setattr(downloads, "_TIMEOUT_S", 1.0)  # the server may be slow
        served.most, served.stall = 1_000_000, threading.Event()
        text = failure(served.url)
        served.stall.set()
        assert_explains(text, served)
        assert "timed out; 9" in text  # of the 1,000,000 bytes, all but the last block

    @pytest.mark.parametrize(
        ("proxy", "clue"),
        [("http://127.0.0.1:{closed}", "Connection refused"), ("nonsense:bar:99", "")],
    )
    def test_a_proxy_that_does_not_work(self, served, monkeypatch, proxy, clue):
        closed = Server()
        closed.server_close()
        monkeypatch.setenv("HTTPS_PROXY", proxy.format(closed=closed.server_port))
        monkeypatch.setenv("no_proxy", "")
        served.url = "https://weights.invalid/w.h5"
        text = failure(served.url)
        assert_explains(text, served)
        assert clue in text

    def test_a_proxy_set_after_a_failure_is_used(self, served, monkeypatch):
        monkeypatch.setenv("no_proxy", "")
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
        url = "http://weights.invalid/w.h5"
        failure(url)
        monkeypatch.setenv("http_proxy", served.url.removesuffix("/w.h5"))
        assert downloads.fetch(url, DIGEST).read_bytes() == CONTENT


class TestPlace:
    def test_a_file_put_there_by_hand_is_taken(self, served):
        served.status = 503
        path = downloads.path_of(served.url + "?download=1")
        assert f"save it as {path} " in failure(served.url)
        path.write_bytes(CONTENT)
        assert downloads.fetch(served.url, DIGEST) == path
        assert len(served.requests) == 1

    def test_a_wrong_one_is_refused_and_left(self, served, own_cache):
        own_cache.mkdir()
        path = downloads.path_of(served.url)
        path.write_bytes(PAGE)
        text = failure(served.url, error=InputError)
        assert f"{path} is not the file it should be (md5:" in text
        assert f"instead of {DIGEST}, 35 bytes): delete it" in text
        assert path.read_bytes() == PAGE
        assert served.requests == []

    def test_a_folder_in_its_place(self, served):
        path = downloads.path_of(served.url)
        path.mkdir(parents=True)
        assert f"{path} is a folder" in failure(served.url, error=InputError)

    def test_a_folder_in_the_parts_place(self, served, own_cache):
        (own_cache / ".weights-w.h5.part").mkdir(parents=True)
        assert ".weights-w.h5.part cannot be" in failure(served.url)

    def test_a_file_in_the_caches_place(self, served, own_cache):
        own_cache.touch()
        assert f"{own_cache} cannot be written" in failure(served.url)

    def test_a_full_disk(self, served, own_cache):
        resource = pytest.importorskip("resource")
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, limits[1]))
        try:
            text = failure(served.url)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert f"{own_cache / '.weights-w.h5.part'} cannot be written: File too large; 2,000,000 bytes are kept" in text
        assert "CEPTION_CACHE" in text
        assert downloads.fetch(served.url, DIGEST).read_bytes() == CONTENT
        assert served.requests == [None, "bytes=2000000-"]

    def test_an_unknown_hash(self, served):
        with pytest.raises(InputError, match="unknown kind of hash crc:1"):
            downloads.fetch(served.url, "crc:1")
