"""The server answers what the model says, refuses what it does not take, and goes on whatever comes."""

from __future__ import annotations

import asyncio
import base64
import io
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

import ception
from ception.errors import InputError

pytest.importorskip("fastapi", reason="fastapi is not installed")
httpx = pytest.importorskip("httpx", reason="httpx is not installed")
from ception import serving  # noqa: E402
from ception.serving import hosting  # noqa: E402
from ception.serving.batching import Batcher, sizes_up_to  # noqa: E402
from ception.serving.limits import Limits  # noqa: E402
from ception.serving.metrics import Metrics  # noqa: E402
from support.serving import Server, in_a_process  # noqa: E402


def same(answer: dict, prediction: ception.results.Prediction) -> None:
    assert [guess["class"] for guess in answer["top"]] == [guess.class_name for guess in prediction.top]
    assert [guess["probability"] for guess in answer["top"]] == pytest.approx(
        [guess.probability for guess in prediction.top], abs=1e-5
    )


class TestPredict:
    def test_a_picture_as_it_is(self, server, files, expected):
        for kind in ("image/png", "application/octet-stream", "application/x-www-form-urlencoded"):
            answer = server.ask("POST", "/predict?top=2", content=files[0], headers={"content-type": kind})
            assert answer.status_code == 200, answer.text
            assert answer.json()["model"] == "colours"
            same(answer.json()["predictions"][0], expected[0])

    def test_several_in_a_form(self, server, files, expected):
        sent = [("pictures", (f"../{number}.png", data, "image/png")) for number, data in enumerate(files)]
        answers = server.ask("POST", "/predict?top=2&model=colours", files=sent).json()["predictions"]
        assert [answer["path"] for answer in answers] == [f"{number}.png" for number in range(len(files))]
        for answer, prediction in zip(answers, expected, strict=True):
            same(answer, prediction)

    def test_base64_in_json(self, server, files, expected):
        texts = [base64.b64encode(data).decode() for data in files]
        texts[0] = f"data:image/png;base64,{texts[0]}"
        answers = server.ask("POST", "/predict?top=2", json={"pictures": texts}).json()["predictions"]
        for answer, prediction in zip(answers, expected, strict=True):
            same(answer, prediction)

    def test_a_broken_one_among_others_is_told(self, server, files, expected):
        sent = [
            ("pictures", ("bad.png", files[0][:50], "image/png")),
            ("pictures", ("good.png", files[1], "image/png")),
        ]
        bad, good = server.ask("POST", "/predict?top=2", files=sent).json()["predictions"]
        assert bad["top"] == []
        assert bad["error"]
        same(good, expected[1])

    def test_requests_at_once_share_batches(self, server, files, expected):
        before = dict(samples(server.metrics))
        asked = [("POST", "/predict?top=2", {"content": files[k % len(files)]}) for k in range(3)]
        for _ in range(3):
            for k, answer in enumerate(server.all(asked)):
                same(answer.json()["predictions"][0], expected[k % len(files)])
        after = dict(samples(server.metrics))
        count, total = (
            after[name] - before.get(name, 0)
            for name in (("ception_batch_size_count", "colours"), ("ception_batch_size_sum", "colours"))
        )
        assert total == 9
        assert count <= 9

    def test_the_threshold_is_honoured(self, trained, files, tmp_path):
        ception.export(trained, "onnx", out=(path := tmp_path / "sure.onnx"), min_confidence=1.0, pictures=2)
        with ception.Predictor.open(path) as predictor:
            assert predictor.min_confidence == 1.0
        made = Server({"sure": path})
        made.models.find("sure").predictor.min_confidence = 1.1
        answer = made.ask("POST", "/predict", content=files[0]).json()["predictions"][0]
        assert answer["unknown"]
        assert answer["top"]
        made.models.close()


def samples(metrics: Metrics):
    for family in metrics.registry.collect():
        for sample in family.samples:
            yield (sample.name, sample.labels.get("model", "")), sample.value


class TestRefusals:
    @pytest.mark.parametrize(
        ("options", "status", "said"),
        [
            ({"content": b""}, 422, "the body is empty"),
            ({"content": b"no picture"}, 422, ""),
            ({"content": b"x" * 200_001}, 413, "larger than 0.2 MB"),
            ({"content": b"{}", "headers": {"content-type": "application/json"}}, 422, "JSON must be"),
            ({"content": b"{" * 100_000, "headers": {"content-type": "application/json"}}, 422, "no JSON"),
            ({"json": {"pictures": ["!"]}}, 422, r"pictures\[0\] is no base64"),
            ({"json": {"pictures": []}}, 422, "there is no picture in it"),
            ({"json": {"pictures": ["AA=="] * 5}}, 413, "5 pictures are more than the 4"),
            ({"json": {"pictures": ["/etc/passwd"]}}, 422, "no base64"),
            ({"json": {"pictures": ["http://127.0.0.1/x"]}}, 422, "no base64"),
            ({"content": b"x", "headers": {"content-type": "video/mp4"}}, 415, "'video/mp4' is not taken"),
            ({"content": b"--x", "headers": {"content-type": "multipart/form-data"}}, 422, "the form cannot be read"),
            ({"content": b"x", "params": {"top": 0}}, 422, "query.top"),
            ({"content": b"x", "params": {"model": "other"}}, 404, "there is no model 'other'"),
        ],
    )
    def test_in_one_line(self, server, options, status, said):
        answer = server.ask("POST", "/predict", **options)
        assert answer.status_code == status
        assert re.search(said, answer.json()["error"])
        assert "\n" not in answer.json()["error"]

    def test_a_bomb_is_not_unpacked(self, server):
        Image.new("1", (1000, 1000)).save(file := io.BytesIO(), "PNG")
        answer = server.ask("POST", "/predict", content=file.getvalue())
        assert answer.status_code == 422
        assert "1000 x 1000 pixels are more than the 0.25 million allowed" in answer.json()["error"]

    def test_too_many_at_once(self, server, files):
        answers = server.all([("POST", "/predict", {"content": files[0]})] * 20)
        statuses = [answer.status_code for answer in answers]
        assert set(statuses) == {200, 429}
        assert all(answer.headers["retry-after"] == "1" for answer in answers if answer.status_code == 429)
        assert server.ask("POST", "/predict", content=files[0]).status_code == 200

    def test_a_slow_sender(self, trained):
        made = Server({"it": trained / "model.keras"}, limits=Limits(1000, 1000, 1, 1, 0.1))

        async def slowly():
            yield b"x"
            await asyncio.sleep(5)
            yield b"y"

        assert made.ask("POST", "/predict", content=slowly()).status_code == 408
        made.models.close()

    def test_a_token(self, trained, files):
        made = Server({"it": trained / "model.keras"}, token="s3cret")
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "s3cret"}):
            answer = made.ask("POST", "/predict", content=files[0], headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
        bearing = {"authorization": "Bearer s3cret"}
        assert made.ask("POST", "/predict", content=files[0], headers=bearing).status_code == 200
        assert [made.ask("GET", path).status_code for path in ("/models", "/metrics", "/v2", "/openapi.json")] == [
            401
        ] * 4
        assert [made.ask("GET", path).status_code for path in ("/", "/page.js", "/health", "/ready")] == [200] * 4
        made.models.close()

    @pytest.mark.parametrize(
        "path", ["/../model.json", "/static/..%2f..%2fetc/passwd", "/page.js/", "//etc/passwd", "/%00"]
    )
    def test_no_path_leads_out(self, server, path):
        assert server.ask("GET", path).status_code in (404, 307)

    def test_what_the_engine_does_not_survive_is_an_answer_too(self, trained, files, monkeypatch):
        made = Server({"it": trained / "model.keras"})
        hosted = made.models.find("it")

        def broken(batch):
            raise SystemExit("killed")

        monkeypatch.setattr(hosted.predictor.engine, "run", broken)
        answer = made.ask("POST", "/predict", content=files[0])
        assert (answer.status_code, answer.json()) == (503, {"error": "the model failed: come again"})
        assert int(answer.headers["retry-after"]) > 0
        monkeypatch.undo()
        assert made.ask("POST", "/predict", content=files[0]).status_code == 200
        made.models.close()


class TestNames:
    def test_of_runs_files_and_as_given(self, trained, tmp_path):
        assert list(hosting.names_of([str(trained)])) == [trained.name]
        assert list(hosting.names_of([f"mine={trained}", "a.onnx"])) == ["mine", "a"]
        with pytest.raises(InputError, match="two models are called a: name them"):
            hosting.names_of(["a.onnx", "b/a.keras"])


class TestOthers:
    def test_models(self, server):
        (model,) = server.ask("GET", "/models").json()
        assert (model["name"], model["network"], model["class_names"]) == (
            "colours", "separable_cnn", ["blue", "green", "red"],
        )  # fmt: skip

    def test_metrics(self, server, files):
        text = server.ask("GET", "/metrics").text
        assert 'ception_unreadable_pictures_total{model="colours"}' in text  # before there is one
        server.ask("POST", "/predict", content=files[0])
        text = server.ask("GET", "/metrics").text
        for name in ("ception_answers_total{", "ception_request_seconds_bucket{", "ception_queue_pictures{",
                     "ception_unreadable_pictures_total{", "ception_batch_size_sum{"):  # fmt: skip
            assert name in text

    def test_every_answer_says_what_a_page_may(self, server):
        for path in ("/", "/models", "/nowhere"):
            headers = server.ask("GET", path).headers
            assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
            assert headers["x-content-type-options"] == "nosniff"

    def test_the_page_needs_nothing_from_elsewhere(self, server):
        for path in ("/", "/page.js", "/page.css", "/gallery.js", "/icon.svg"):
            answer = server.ask("GET", path)
            assert answer.status_code == 200
            assert "http" not in answer.text.replace("http://www.w3.org/2000/svg", "")
            assert not re.search(r"""(src|href)=["']?//""", answer.text)

    def test_the_description_is_true(self, server):
        told = server.ask("GET", "/openapi.json").json()
        assert {"/predict", "/models", "/health", "/ready", "/metrics", "/v2/models/{name}/infer"} <= set(told["paths"])
        body = told["paths"]["/predict"]["post"]["requestBody"]["content"]
        example = body["application/json"]["example"]
        assert server.ask("POST", "/predict", json=example).status_code == 200


class TestBatcher:
    def test_sizes(self):
        assert sizes_up_to(1) == [1]
        assert sizes_up_to(6) == [1, 2, 4, 6]
        assert sizes_up_to(8) == [1, 2, 4, 8]

    def test_what_comes_while_a_batch_is_computed_is_the_next_one(self):
        begun, go, sizes = threading.Event(), threading.Event(), []

        class Engine:
            def run(self, batch):
                if batch.any():
                    sizes.append(len(batch))
                    begun.set()
                    assert go.wait(60)
                return batch.reshape(len(batch), -1).astype(np.float32)

            def close(self):
                pass

        batcher = Batcher(Engine(), (1, 1, 1), 4)
        first = batcher.submit(np.full((1, 1, 1), 1, np.uint8))
        assert begun.wait(60)
        others = [batcher.submit(np.full((1, 1, 1), value, np.uint8)) for value in range(2, 10)]
        others.pop().cancel()  # its client has gone
        closing = threading.Thread(target=batcher.close)
        closing.start()
        while not batcher._closed:
            time.sleep(0.001)
        go.set()
        assert [future.result(60)[0] for future in (first, *others)] == [1, 2, 3, 4, 5, 6, 7, 8]
        closing.join()
        assert sizes == [1, 4, 2, 1]  # none is filled up
        with pytest.raises(RuntimeError, match="no longer served"):
            batcher.submit(np.zeros((1, 1, 1), np.uint8))


def test_answers_do_not_wait_for_receipts():
    """An answer of two packets would wait 40 ms for the receipt of the first one."""
    with serving._listening("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        connection, _ = listening.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_hostile_bodies_leave_it_answering(server, files):
    random = np.random.default_rng(0)
    kinds = [
        "image/png",
        "multipart/form-data; boundary=x",
        "application/json",
        "multipart/form-data",
        "text/html",
        "\xff",
    ]

    def attack(number: int) -> tuple[str, str, dict]:
        data = bytearray(files[number % len(files)])
        if number % 3 == 0:
            data = data[: int(random.integers(0, len(data)))]
        elif number % 3 == 1:
            for at in random.integers(0, len(data), 20):
                data[at] = int(random.integers(0, 256))
        else:
            data = bytearray(random.bytes(int(random.integers(0, 3000))))
        path = ["/predict", "/v2/models/colours/infer", "/explain", "/models"][number % 4]
        kind = kinds[number % len(kinds)].encode("latin-1")
        return "POST", path, {"content": bytes(data), "headers": {b"content-type": kind}}

    for start in range(0, 300, 3):
        for answer in server.all([attack(number) for number in range(start, start + 3)]):
            assert answer.status_code < 500, answer.text
    assert server.ask("POST", "/predict", content=files[0]).status_code == 200


@pytest.fixture
def process(trained, tmp_path):
    with in_a_process(trained, tmp_path) as started:
        yield started


@pytest.mark.slow
def test_ends_when_told_with_what_is_at_work_finished(process, files, run_cli, trained):
    running, address, err = process
    port = address.rpartition(":")[2]
    code, _, said = run_cli("serve", trained, "--port", port)
    assert code == 2
    assert f"127.0.0.1:{port} cannot be listened on: Address already in use" in said
    with ThreadPoolExecutor(8) as pool, httpx.Client(base_url=address, timeout=60) as client:
        answers = [pool.submit(client.post, "/predict", content=files[0]) for _ in range(8)]
        answers[0].result()
        running.terminate()
        statuses = []
        for answer in answers:
            try:
                statuses.append(answer.result().status_code)
            except httpx.TransportError:  # it was not accepted before the end
                continue
    assert set(statuses) == {200}
    assert running.wait(60) == 0
    assert "Ended after " in err.read_text()
    assert "Traceback" not in err.read_text()
