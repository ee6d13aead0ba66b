"""What every request passes: the token, the number at work, headers, and the clock."""

from __future__ import annotations

import hmac
import json
import re
import time
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from ception.serving.limits import TOO_MUCH, Held, Limits, Share

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from ception.serving.metrics import Metrics

OPEN = ("/health", "/ready", "/v2/health/live", "/v2/health/ready")  # answered without a token
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = (
    (b"content-security-policy", _POLICY.encode()), (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"), (b"cross-origin-resource-policy", b"same-origin"),
)  # fmt: skip


class Guard:
    """ASGI middleware around the application.

    Args:
        app: What answers.
        limits: How many may be at work.
        token: What requests have to bear; None for nothing.
        metrics: Told of each request.
        public: Paths of the page, which need no token.
        local: Whether only this machine reaches it. Without a token, it then answers to this machine's names alone: a
            page elsewhere may have its own name point here, and would read the answers.
    """

    def __init__(
        self, app: ASGIApp, *, limits: Limits, token: str | None, metrics: Metrics, public: tuple[str, ...] = (),
        local: bool = False,
    ) -> None:  # fmt: skip
        self._app, self._limits, self._metrics, self._public, self._local = app, limits, metrics, public, local
        self._expected = None if token is None else b"Bearer " + token.encode()
        self._at_work, self._held = 0, Held(limits.most_held)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *HEADERS]
            await send(message)

        works = scope["method"] == "POST"
        refusal = self._refusal(scope)
        if refusal is not None:
            await _refuse(sending, *refusal)
        else:
            share = scope.setdefault("state", {})["share"] = Share(self._held)
            self._at_work += works
            self._metrics.at_work.set(self._at_work)
            try:
                await self._app(scope, receive, sending)
            finally:
                share.end()
                self._at_work -= works
                self._metrics.at_work.set(self._at_work)
        route = getattr(scope.get("route"), "path", "other")
        self._metrics.seconds.labels(route, str(status)).observe(time.perf_counter() - began)

    def _refusal(self, scope: Scope) -> tuple[int, str, dict[bytes, bytes]] | None:
        """Why a request is not looked at: status, one line, and headers; None if it is."""
        headers: dict[bytes, bytes] = dict(reversed(scope["headers"]))  # the first of each name counts
        if b"content-length" in headers and b"transfer-encoding" in headers:
            why = "a body's length is told by Content-Length or Transfer-Encoding, not by both"
            return 400, why, {b"connection": b"close"}  # where this request ends, another reader may see a second one
        if self._expected is None:
            host = headers.get(b"host", b"").decode("latin-1")
            if self._local and not _means_this_machine(host):
                why = f"this server answers for localhost, not for {host[:100]!r}: with --token-file it would"
                return 421, why, {}
            if scope["method"] == "POST" and headers.get(b"sec-fetch-site") == b"cross-site":
                return 403, "pages of other sites may not ask this server: with --token-file they could", {}
        elif not self._may(scope["path"], headers.get(b"authorization", b"")):
            return 401, "this server asks for a token: Authorization: Bearer TOKEN", {b"www-authenticate": b"Bearer"}
        if scope["method"] == "POST" and self._at_work >= self._limits.most_requests:
            return 429, TOO_MUCH, {b"retry-after": b"1"}
        return None

    def _may(self, path: str, authorization: bytes) -> bool:
        """Whether a request bears the token, or needs none."""
        if self._expected is None or path in OPEN or path in self._public:
            return True
        return hmac.compare_digest(authorization, self._expected)


def _means_this_machine(host: str) -> bool:
    """Whether a Host header has a name of this machine, or an address, or nothing: no name that others decide on."""
    name = re.sub(r":\d*$", "", host).strip("[]").rstrip(".").lower()
    if name in ("", "localhost") or name.endswith(".localhost"):
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


async def _refuse(send: Any, status: int, why: str, headers: dict[bytes, bytes]) -> None:
    """Answer without looking at the request; what is left of its body is not kept."""
    body = json.dumps({"error": why}).encode()
    told = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": told})
    await send({"type": "http.response.body", "body": body})
