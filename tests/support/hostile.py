"""Requests that mean no good, as bytes on a connection, and what becomes of them."""

from __future__ import annotations

import base64
import io
import json
import re
import socket
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

_JSON, _FORM, _PNG = "application/json", "multipart/form-data; boundary=x", "image/png"
_PATHS = (
    "/../model.json", "/static/..%2f..%2f..%2fetc%2fpasswd", "//etc/passwd", "/%00", "/page.js%00.png", "/%ff%fe",
    "/models/../../etc/passwd", "/v2/models/..%2f..%2fetc/infer", "/v2/models/%0d%0aX-Evil:%201", "/" + "a/" * 4000,
    "/predict?top=9e99", "/predict?top=-1", "/predict?model=%0d%0aSet-Cookie:%20a=b", "/predict?model=" + "m" * 8000,
    "/predict?" + "&".join(f"a{k}=1" for k in range(2000)), "/explain?class=%00", "/?file=/etc/passwd",
    "/openapi.json/..;/metrics", "/v2/models/it/versions/1/infer", "*", "http://elsewhere/predict",
    "/\\..\\..\\windows",
)  # fmt: skip


@dataclass(frozen=True)
class Attack:
    """A connection.

    Attributes:
        kind: What is wrong with it.
        pieces: What is sent, one after another.
        pause_s: Between the pieces.
        leaves: Whether it is reset without a look at the answer.
    """

    kind: str
    pieces: tuple[bytes, ...]
    pause_s: float = 0.0
    leaves: bool = False


@dataclass
class Outcome:
    """What a server made of attacks.

    Attributes:
        statuses: How often each status was answered.
        unanswered: The kinds of attack that were not answered, though all of it was sent and it waited.
        unsent: The kinds that could not be sent in time, or were cut off before.
        failures: The kinds of attack that were answered with a failure of the server.
    """

    statuses: dict[int, int] = field(default_factory=dict)
    unanswered: list[str] = field(default_factory=list)
    unsent: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def head(method: str, path: str, *lines: str, length: int | None = None) -> bytes:
    """The head of a request after which the connection ends."""
    told = [] if length is None else [f"Content-Length: {length}"]
    return "\r\n".join(
        [f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close", *lines, *told, "", ""]
    ).encode("latin-1")


def post(body: bytes, kind: str = _PNG, path: str = "/predict") -> bytes:
    """A request with a body."""
    return head("POST", path, f"Content-Type: {kind}", length=len(body)) + body


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_claiming(width: int, height: int, packed: bytes = b"") -> bytes:
    """A PNG that says it is so large."""
    told = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", told) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def jpeg_in_passes(side: int, passes: int) -> bytes:
    """A progressive JPEG whose last pass comes again and again."""
    Image.new("L", (side, side), 128).save(file := io.BytesIO(), "JPEG", progressive=True)
    data = file.getvalue()
    last = data[data.rfind(b"\xff\xc4", 0, data.rfind(b"\xff\xda")) : -2]
    return data[:-2] + last * passes + data[-2:]


def _form(*parts: bytes) -> bytes:
    return b"".join(b"--x\r\n" + part + b"\r\n" for part in parts) + b"--x--\r\n"


def _part(name: str, data: bytes) -> bytes:
    return f'Content-Disposition: form-data; name="pictures"; filename="{name}"\r\n\r\n'.encode() + data


class Attacks:
    """Attacks of every kind, again and again, decided by a seed.

    Args:
        picture: The file of a picture that the server reads.
        model: The name of one of its models.
        shape: (height, width, channels) of its pictures.
        seed: Decides all that is drawn.
        side: Of a picture that takes much to decode, in pixels; a multiple of 2.
        drip_s: Between the bytes of slow senders.
    """

    def __init__(
        self,
        picture: bytes,
        model: str,
        shape: tuple[int, int, int],
        *,
        seed: int = 0,
        side: int = 7900,
        drip_s: float,
    ) -> None:
        self.picture, self.infer, self.shape, self.drip_s = picture, f"/v2/models/{model}/infer", shape, drip_s
        self.random = np.random.default_rng(seed)
        self.bomb = png_claiming(side, side, zlib.compress(bytes(side * 3 + 1) * side, 9))
        self.passes = jpeg_in_passes(side // 2, 3000)
        self.text = base64.b64encode(picture).decode()

    def __iter__(self) -> Iterator[Attack]:
        kinds: list[Callable[[], Attack]] = [
            self.truncated, self.flipped, self.noise, self.wrong_kind, self.bombs, self.claims, self.forms, self.texts,
            self.tensors, self.paths, self.heads, self.lengths, self.chunks, self.pipelines, self.slow, self.left,
            self.half_open, self.smuggled, self.raw_noise, self.large, self.good,
        ]  # fmt: skip
        while True:
            yield from (kind() for kind in kinds)

    def one(self, *choices):
        return choices[int(self.random.integers(len(choices)))]

    def truncated(self) -> Attack:
        return Attack("truncated", (post(self.picture[: int(self.random.integers(len(self.picture)))]),))

    def flipped(self) -> Attack:
        data = bytearray(self.picture)
        for at in self.random.integers(0, len(data), 20):
            data[at] = int(self.random.integers(256))
        return Attack("flipped", (post(bytes(data), path=self.one("/predict", "/explain")),))

    def noise(self) -> Attack:
        start = self.one(
            b"", b"\xff\xd8\xff", b"GIF89a", b"RIFF\0\0\0\0WEBP", b"II*\0", b"\0\0\0\x0cjP  \r\n\x87\n", b"BM"
        )
        data = start + self.random.bytes(int(self.random.integers(1, 5000)))
        return Attack("noise", (post(data, self.one(_PNG, _JSON, _FORM, "application/octet-stream")),))

    def wrong_kind(self) -> Attack:
        kind = self.one(
            "text/html", "\xff\xfe", "multipart/form-data", "image/" + "p" * 9000, "application/xml", ";;;", ""
        )
        return Attack("wrong kind", (post(self.picture, kind, self.one("/predict", "/explain", self.infer)),))

    def bombs(self) -> Attack:
        return Attack("bomb", (post(self.one(self.bomb, self.passes, self.passes, self.passes)),))

    def claims(self) -> Attack:
        sides = self.one((2**31 - 1, 2**31 - 1), (1, 2**31 - 1), (0, 0), (65535, 65535), (30000, 2100))
        text = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(30_000_000), 9))
        data = png_claiming(*sides, zlib.compress(b"\0" * 100))
        return Attack("claims", (post(self.one(data, data[:33] + text + data[33:], self.picture[:33] + text)),))

    def forms(self) -> Attack:
        body = self.one(
            _form(*[_part(f"{k}.png", b"") for k in range(5000)]),
            _form(*[b'Content-Disposition: form-data; name="a"\r\n\r\n1' for _ in range(5000)]),
            _form(_part('../../etc/passwd\0"; x="', self.picture), _part("\r\nSet-Cookie: a=b", self.picture)),
            _form(b"A: b\r\n" * 5000 + _part("a", self.picture)),
            _form(_part("a" * 100_000, self.picture)),
            b"--x\r\n" * 20_000, b"\r\n--" * 100_000, _form(_part("a.png", self.picture))[:-9], b"--x",
            _form(b"Content-Encoding: gzip\r\n" + _part("a", zlib.compress(bytes(1_000_000)))),
        )  # fmt: skip
        return Attack("form", (post(body, _FORM),))

    def texts(self) -> Attack:
        body = self.one(
            b"[" * 200_000, b'{"a":' * 100_000, b"[" + b"[]," * 300_000 + b"[]]",
            b'{"pictures":' + b"9" * 50_000 + b"}",
            json.dumps({"pictures": [self.text] * 300}).encode(), json.dumps({"pictures": {"a": 1}}).encode(),
            json.dumps({"pictures": ["file:///etc/passwd", "http://127.0.0.1/"]}).encode(),
            b'{"pictures": ["\\ud800"]}',
            json.dumps({"pictures": ["data:image/png;base64," + "A" * 400_000]}).encode(), b"\xef\xbb\xbf{}", b"NaN",
            b'{"pictures":["AA=="],' * 1000, '{"pictures":["é"]}'.encode("utf-16"), b"\0" * 1000,
        )  # fmt: skip
        return Attack("text", (post(body, _JSON, self.one("/predict", "/explain")),))

    def tensors(self) -> Attack:
        data = self.one(
            [1e400], [["a" * 20_000], *[["b"]] * 20_000], [True] * 9, [-1], [[1], [2, 3]], None, "x", [{}] * 99
        )
        shape = self.one(
            [1, *self.shape], [2**62, *self.shape], [1, 0], [-1], [1, *self.shape, 1], "x", [1], [64, *self.shape]
        )
        told = {"name": "pictures", "shape": shape, "datatype": self.one("UINT8", "BYTES", "FP64", 1), "data": data}
        size = self.one(0, -1, 10**30, "x", 5)
        told |= self.one({}, {"parameters": {"binary_data_size": size}}, {"parameters": 7})
        body = json.dumps(
            {"inputs": self.one([told], [told, told], told, [[told]]), "id": self.one("a\r\nb", 1)}
        ).encode()
        lines = self.one((), (f"Inference-Header-Content-Length: {self.one(len(body), 10**9, -1, '1_0', '٣')}",))
        sent = head("POST", self.infer, *(line.encode("ascii", "replace").decode() for line in lines), length=len(body))
        return Attack("tensor", (sent + body,))

    def paths(self) -> Attack:
        return Attack("path", (head(self.one("GET", "POST", "PUT", "OPTIONS", "TRACE", "HEAD"), self.one(*_PATHS)),))

    def heads(self) -> Attack:
        line = self.one(
            "X: " + "a" * 70_000, "X" * 70_000, "\r\n".join(f"X{k}: {k}" for k in range(3000)), "Host: evil.example",
            "Authorization: Bearer " + "a" * 20_000, "Cookie: \xff\xfe", "X: a\0b", " folded", "Content-Encoding: gzip",
            "Upgrade: websocket\r\nConnection: Upgrade", "Expect: 100-continue", "Expect: 200-ok",
            "Range: bytes=0-,0-,0-",
            "Upgrade: h2c", "Forwarded: for=127.0.0.1", "X-Original-URL: /metrics", "X-HTTP-Method-Override: DELETE",
        )  # fmt: skip
        return Attack("head", (head(self.one("GET", "POST"), self.one("/", "/predict", "/models"), line),))

    def lengths(self) -> Attack:
        length = self.one("-1", "x", "9" * 30, "5, 5", "0x10", str(10**9), "٣", "1e3")
        sent = head("POST", "/predict", f"Content-Length: {length}".encode("ascii", "replace").decode())
        return Attack("length", (sent + self.picture,), leaves=True)

    def chunks(self) -> Attack:
        body = self.one(
            b"1\r\nx\r\n" * 3000 + b"0\r\n\r\n", b"ffffffffffffffff\r\nx", b"-1\r\nx\r\n", b"zz\r\n",
            b"5;" + b"a" * 70_000,
            b"3\r\nabcde\r\n0\r\n\r\n", b"0\r\nX: y\r\n\r\n", b"1" * 100,
        )  # fmt: skip
        sent = head(
            "POST", "/predict", f"Transfer-Encoding: {self.one('chunked', 'gzip, chunked', 'xchunked', 'identity')}"
        )
        return Attack("chunks", (sent + body,), leaves=True)

    def pipelines(self) -> Attack:
        asked = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n" * 30
        wrong = self.one(b"", b"NONSENSE\r\n\r\n", post(self.picture) * 3, post(self.picture)[:-20])
        return Attack("pipeline", (asked + wrong + head("GET", "/health"),))

    def slow(self) -> Attack:
        whole = self.one(post(self.picture), head("GET", "/models"), post(_form(_part("a", self.picture)), _FORM))
        return Attack("slow", tuple(whole[at : at + 9] for at in range(0, 9 * 30, 9)), self.drip_s, leaves=True)

    def left(self) -> Attack:
        whole = post(self.picture, path=self.one("/predict", "/explain"))
        return Attack("left", (whole[: int(self.random.integers(1, len(whole) + 1))],), leaves=True)

    def half_open(self) -> Attack:
        return Attack("half open", (b"", b""), self.drip_s * 20, leaves=True)

    def smuggled(self) -> Attack:
        inner = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
        lines = self.one(
            ("Content-Length: 5", "Transfer-Encoding: chunked"), ("Content-Length: 5", "Content-Length: 6"),
            ("Transfer-Encoding: chunked", "Transfer-Encoding: identity"), ("Transfer-Encoding:\x0bchunked",),
            ("Content-Length : 5",), ("X: a\nContent-Length: 5",),
        )  # fmt: skip
        return Attack("smuggled", (head("POST", "/predict", *lines) + b"0\r\n\r\n" + inner,))

    def raw_noise(self) -> Attack:
        start = self.one(
            b"", b"\x16\x03\x01\x02\x00\x01\x00", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"
        )
        return Attack("raw noise", (start + self.random.bytes(int(self.random.integers(1, 3000))) + b"\r\n\r\n",))

    def large(self) -> Attack:
        body = bytes(int(self.random.integers(200_000, 2_000_000)))
        return Attack("large", (post(body, self.one(_PNG, _JSON, _FORM, "application/octet-stream")),))

    def good(self) -> Attack:
        return Attack("none", (post(self.picture),))


def carry_out(attack: Attack, address: str, *, patience_s: float = 60) -> tuple[list[int], bool]:
    """The statuses that an attack was answered with, and whether it waited in vain after it was sent."""
    host, _, port = address.removeprefix("http://").rpartition(":")
    answer, sent = b"", False
    with socket.create_connection((host, int(port)), timeout=patience_s) as connection:
        try:
            for piece in attack.pieces:
                connection.sendall(piece)
                if attack.pause_s:
                    time.sleep(attack.pause_s)
            if attack.leaves:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return [], False
            connection.shutdown(socket.SHUT_WR)
            sent = True
            while part := connection.recv(1 << 16):
                answer += part
        except TimeoutError:
            return [], sent
        except ConnectionError:  # it was refused while it was sent
            pass
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)], False


def attacked(
    attacks: Attacks,
    count: int,
    address: str,
    *,
    at_once: int = 16,
    every: Callable[[int], object] = lambda number: None,
) -> Outcome:
    """Carry out some attacks, several at once.

    Args:
        attacks: Where they come from.
        count: How many.
        address: Of the server.
        at_once: Connections at a time.
        every: Called with the number of attacks that are over, after each hundred.
    """
    outcome, done = Outcome(), 0
    drawn = iter(attacks)
    with ThreadPoolExecutor(at_once) as pool:
        while done < count:
            some = [next(drawn) for _ in range(min(100, count - done))]
            for attack, (statuses, waited) in zip(
                some, pool.map(lambda one: carry_out(one, address), some), strict=True
            ):
                if waited or not (statuses or attack.leaves):
                    (outcome.unanswered if waited else outcome.unsent).append(attack.kind)
                for status in statuses:
                    outcome.statuses[status] = outcome.statuses.get(status, 0) + 1
                    if status >= 500:
                        outcome.failures.append(f"{attack.kind}: {status}")
            done += len(some)
            every(done)
    return outcome
