"""Whatever comes, the server goes on; whatever fails in it, who waits gets an answer."""

from __future__ import annotations

import io
import json
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="fastapi is not installed")
httpx = pytest.importorskip("httpx", reason="httpx is not installed")
from ception.errors import InputError, RunError  # noqa: E402
from ception.serving import answering, app, connections, serve  # noqa: E402
from ception.serving.limits import Held, Limits, RefusedError, Share  # noqa: E402
from ception.serving.metrics import Metrics  # noqa: E402
from support.hostile import Attacks, attacked, head, jpeg_in_passes, post  # noqa: E402
from support.serving import LIMITS, Server, asked, in_a_process, listening  # noqa: E402


def port_of(address: str) -> tuple[str, int]:
    host, _, port = address.removeprefix("http://").rpartition(":")
    return host, int(port)


def exchanged(address: str, sent: bytes, *, ended: bool = False) -> bytes:
    """All that a server says to bytes until it closes."""
    with socket.create_connection(port_of(address), timeout=20) as connection:
        connection.sendall(sent)
        if ended:
            connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def until(happened) -> None:
    """Wait; the test's own limit ends it."""
    while not happened():
        time.sleep(0.005)


class TestAttacks:
    def test_some_of_each_kind(self, server, files):
        with listening(server.app) as (_, address):
            outcome = attacked(Attacks(files[0], "colours", (16, 16, 3), side=1000, drip_s=0.001), 63, address)
            assert httpx.post(f"{address}/predict", content=files[0]).status_code == 200
            large = httpx.post(f"{address}/predict", content=bytes(LIMITS.most_bytes + 1))
        assert outcome.failures == []
        assert outcome.unanswered == []
        assert "none" not in outcome.unsent
        assert {200, 400, 404, 422} <= set(outcome.statuses)
        assert large.status_code == 413  # among the attacks it may be refused by 429 before it is looked at

    @pytest.mark.slow
    def test_many_against_a_process(self, trained, files, tmp_path):
        with in_a_process(trained, tmp_path) as (process, address, said):
            attacks = Attacks(files[0], trained.name, (16, 16, 3), seed=1, side=2000, drip_s=0.01)
            outcome = attacked(attacks, 1000, address)
            assert httpx.post(f"{address}/predict", content=files[0]).status_code == 200
            process.terminate()
            assert process.wait(60) == 0
        assert outcome.failures == []
        assert outcome.unanswered == []
        assert "none" not in outcome.unsent
        assert "Traceback" not in said.read_text()
        assert len(said.read_text().splitlines()) < 10  # nobody fills the log


class TestConnections:
    def test_a_head_that_does_not_end(self, server):
        with (
            listening(server.app, idle_s=0.2) as (_, address),
            socket.create_connection(port_of(address), timeout=20) as connection,
        ):
            connection.settimeout(0.02)
            for byte in b"GET / HTTP/1.1\r\nX: " + b"x" * 2000:
                try:
                    connection.sendall(bytes([byte]))
                    if connection.recv(1) == b"":
                        return
                except TimeoutError:
                    continue
                except ConnectionError:
                    return
            pytest.fail("it was waited for")

    def test_a_client_that_does_not_read(self, server):
        with (
            listening(server.app, idle_s=0.2) as (running, address),
            socket.create_connection(port_of(address), timeout=20) as connection,
        ):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sending = threading.Thread(target=flood, args=(connection,))
            sending.start()
            until(lambda: running.server_state.connections)
            until(lambda: not running.server_state.connections)
            sending.join(20)

    def test_idle_ones_make_room(self, server, monkeypatch):
        monkeypatch.setattr(connections, "_MOST", 4)
        with listening(server.app) as (running, address):
            idle = [socket.create_connection(port_of(address), timeout=20) for _ in range(9)]
            assert b" 200 " in exchanged(address, head("GET", "/health"))
            assert len(running.server_state.connections) <= 4
            assert idle[0].recv(1) == b"" or pytest.fail("it has said something")
            for connection in idle:
                connection.close()

    def test_who_has_sent_all_still_listens(self, server, files):
        asked = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3
        with listening(server.app) as (_, address):
            assert exchanged(address, asked, ended=True).count(b'"alive"') == 3
            alone = post(files[0]).replace(b"Connection: close\r\n", b"")
            assert b" 200 " in exchanged(address, alone, ended=True)

    def test_a_request_on_its_way_when_it_ends(self, server):
        asked = head("GET", "/health").replace(b"Connection: close\r\n", b"")
        with (
            listening(server.app) as (running, address),
            socket.create_connection(port_of(address), timeout=20) as connection,
        ):
            connection.sendall(asked)
            answer = b""
            while b'"alive"' not in answer:
                answer += connection.recv(1 << 16)
            running.should_exit = True
            until(lambda: running.server_state.ending)
            connection.sendall(asked)
            answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
            assert b" 200 " in answer
            assert b"connection: close" in answer
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(port_of(address), timeout=20)

    def test_who_sends_too_much_hears_it(self, server):
        with listening(server.app) as (_, address):
            assert b" 413 " in exchanged(address, post(bytes(700_000)))


def flood(connection: socket.socket) -> None:
    try:
        for _ in range(100):
            connection.sendall(b"GET /page.js HTTP/1.1\r\nHost: localhost\r\n\r\n" * 200)
    except OSError:
        pass


class TestWhoAsks:
    def test_a_body_with_two_lengths(self, server):
        lines = ("Content-Length: 5", "Transfer-Encoding: chunked")
        with listening(server.app) as (_, address):
            answer = exchanged(address, head("POST", "/predict", *lines) + b"0\r\n\r\n" + head("GET", "/health"))
        assert answer.count(b"HTTP/1.1 ") == 1
        assert b" 400 " in answer

    @pytest.mark.parametrize(
        ("host", "status"),
        [("localhost", 200), ("LOCALHOST:8000", 200), ("127.0.0.1:8000", 200), ("[::1]:8000", 200), ("10.0.0.1", 200),
         ("a.localhost", 200), ("evil.example", 421), ("localhost.evil.example:8000", 421), ("127.0.0.1.nip.io", 421)],
    )  # fmt: skip
    def test_a_name_that_others_decide_on(self, server, host, status):
        local = app.application(server.models, LIMITS, Metrics(), local=True)
        assert asked(local, "GET", "/models", headers={"host": host}).status_code == status

    def test_with_a_token_any_name_will_do(self, server):
        guarded = app.application(server.models, LIMITS, Metrics(), local=True, token="x")
        headers = {"host": "pictures.example", "authorization": "Bearer x", "sec-fetch-site": "cross-site"}
        assert asked(guarded, "GET", "/models", headers=headers).status_code == 200

    def test_a_page_of_another_site(self, server, files):
        for site, status in (("cross-site", 403), ("same-origin", 200), ("none", 200)):
            answer = server.ask("POST", "/predict", content=files[0], headers={"sec-fetch-site": site})
            assert answer.status_code == status


class TestMemory:
    def test_what_all_hold_together(self):
        held = Held(10)
        first, second = Share(held), Share(held)
        first.take(6)
        with pytest.raises(RefusedError) as refused:
            second.take(5)
        assert (refused.value.status, refused.value.retry_after_s) == (429, 1)
        second.take(4)
        first.end()
        second.take(6)
        second.end()
        assert held.now == 0

    def test_bodies_that_are_too_much_together_come_again(self, trained, files):
        made = Server({"it": trained / "model.keras"}, limits=Limits(200_000, 250_000, 4, 3, 10.0, 500_000))
        assert made.ask("POST", "/predict", content=bytes(170_000)).status_code == 429
        for _ in range(9):
            assert made.ask("POST", "/predict", content=files[0] + bytes(100_000)).status_code == 200
        made.models.close()

    def test_pictures_count_as_they_are_decoded(self, trained):
        Image.new("1", (1, 1)).save(file := io.BytesIO(), "PNG")
        sent = [("pictures", ("a.png", file.getvalue(), "image/png"))] * 4
        needed = 4 * 16 * 16 * 3
        made = Server({"it": trained / "model.keras"}, limits=Limits(200_000, 250_000, 4, 3, 10.0, needed))
        assert made.ask("POST", "/predict", files=sent[:1]).status_code == 200
        assert made.ask("POST", "/predict", files=sent).status_code == 429
        made.models.close()

    def test_an_option_that_refuses_every_largest_body(self, trained):
        with pytest.raises(InputError, match="--max-memory 50 is too little for bodies of --max-bytes 20"):
            serve(trained, max_memory=50, max_bytes=20)

    def test_lists_in_json(self, trained, server):
        made = Server({"it": trained / "model.keras"}, limits=Limits(10_000_000, 250_000, 4, 3, 10.0))
        content = b"[" + b"[]," * 2_000_000 + b"[]]"
        answer = made.ask("POST", "/predict", content=content, headers={"content-type": "application/json"})
        assert answer.status_code == 413
        assert "2,000,000 lists" in answer.json()["error"]
        made.models.close()

    def test_numbers_that_are_texts(self, server):
        """NumPy would take 4 bytes for each character of the longest, times their number: here 8 GB."""
        data = ["a" * 100_000, *[""] * 20_000]
        told = {"inputs": [{"name": "pictures", "shape": [1, 16, 16, 3], "datatype": "UINT8", "data": data}]}
        answer = server.ask("POST", "/v2/models/colours/infer", json=told)
        assert answer.status_code == 422
        assert "must be 768 whole numbers" in answer.json()["error"]

    def test_a_jpeg_in_thousands_of_passes(self, server):
        for passes, status in ((0, 200), (1000, 422)):
            answer = server.ask("POST", "/predict", content=jpeg_in_passes(400, passes))
            assert answer.status_code == status
        assert "passes is too much to decode" in answer.json()["error"]


class TestFailures:
    @pytest.fixture
    def made(self, trained):
        made = Server({"it": trained / "model.keras"})
        yield made
        made.models.close()

    def broken(self, *_):
        raise MemoryError("no more")

    def test_an_engine_is_opened_anew(self, made, files, monkeypatch):
        hosted = made.models.find("it")
        monkeypatch.setattr(hosted.predictor.engine, "run", self.broken)
        answers = made.all([("POST", "/predict", {"content": files[0]})] * 3)
        assert [answer.status_code for answer in answers] == [503] * 3
        assert all(int(answer.headers["retry-after"]) > 0 for answer in answers)
        for path in ("/ready", "/v2/health/ready"):
            assert made.ask("GET", path).status_code == 503
        made.models.refresh()
        assert made.notes.lines == ["warning: it failed and was opened anew"]
        assert made.models.find("it") is not hosted
        assert made.ask("POST", "/predict", content=files[0]).status_code == 200
        assert made.ask("GET", "/ready").status_code == 200

    def test_a_thread_that_ends(self, made, files, monkeypatch):
        batcher = made.models.find("it").batcher
        monkeypatch.setattr(batcher, "_answer", self.broken)
        waiting = [batcher.submit(np.zeros((16, 16, 3), np.uint8)) for _ in range(3)]
        batcher._thread.join(20)
        assert not batcher._thread.is_alive()
        assert made.ask("POST", "/predict", content=files[0]).status_code == 503
        for future in waiting:
            assert isinstance(future.exception(20), answering.FailedError)
        made.models.refresh()
        assert made.ask("POST", "/predict", content=files[0]).status_code == 200

    def test_who_waited_for_a_thread_that_ends(self, made, files, monkeypatch):
        monkeypatch.setattr(made.models.find("it").batcher, "_answer", self.broken)
        answers = made.all([("POST", "/predict", {"content": file}) for file in files[:3]])
        assert [answer.status_code for answer in answers] == [503] * 3

    def test_a_server_that_cannot_go_on_ends(self, trained, files, monkeypatch):
        monkeypatch.setattr(app, "_LOOKS_EVERY_S", 0.05)
        told = []
        made = Server({"it": trained / "model.keras"}, fail=lambda why: (told.append(why), running.fail(why)))
        monkeypatch.setattr(made.models.find("it").predictor.engine, "run", self.broken)
        monkeypatch.setattr(made.models, "_open_one", self.broken)
        serving = listening(made.app, closes=True)
        running, address = serving.__enter__()
        assert httpx.post(f"{address}/predict", content=files[0]).status_code == 503
        until(lambda: told)
        with pytest.raises(RunError, match="it failed and cannot be opened again: no more"):
            serving.__exit__(None, None, None)


@pytest.mark.slow
def test_the_description_holds_for_whatever_it_allows(trained, tmp_path):
    """All of schemathesis's checks: what it allows is answered as it says, and the rest refused."""
    pytest.importorskip("schemathesis", reason="schemathesis is not installed: pip install 'ception[fuzz]'")
    config = tmp_path / "schemathesis.toml"
    config.write_text(  # which numbers or files are pictures of the model, no schema can say
        '[[operations]]\ninclude-path = "/v2/models/{name}/infer"\n'
        'checks.positive_data_acceptance.expected-statuses = ["2xx", 404, 413, 422]\n'
    )
    with in_a_process(trained, tmp_path) as (_, address, said):
        command = [
            sys.executable, "-m", "schemathesis.cli", "--config-file", config, "run", f"{address}/openapi.json",
            "--checks", "all", "--max-examples", "30", "--no-shrink", "--continue-on-failure", "--seed", "1",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-1000:]
    assert "13 selected / 13 total" in done.stdout
    assert "Traceback" not in said.read_text()


@pytest.mark.slow
def test_told_to_end_under_load_it_answers_all_that_was_sent(trained, files, tmp_path):
    """32 clients, each with a connection that it keeps: every request is answered, or refused before it is sent."""
    import http.client

    lost, answered = [], []

    def ask(address: str, file: bytes) -> None:
        connection = http.client.HTTPConnection(*port_of(address), timeout=60)
        while True:
            try:
                connection.connect() if connection.sock is None else None
            except (ConnectionRefusedError, ConnectionResetError):
                return  # not sent
            try:
                connection.request("POST", "/predict", file)
                answer = connection.getresponse()
                answered.append((answer.status, json.loads(answer.read())))
            except (OSError, http.client.HTTPException) as error:
                lost.append(repr(error))
                return

    with in_a_process(trained, tmp_path) as (process, address, said):
        clients = [threading.Thread(target=ask, args=(address, files[k % len(files)])) for k in range(32)]
        for client in clients:
            client.start()
        until(lambda: len(answered) > 200)
        process.terminate()
        for client in clients:
            client.join(60)
        assert process.wait(60) == 0
    assert lost == []
    assert {status for status, _ in answered} == {200}
    assert "Traceback" not in said.read_text()
