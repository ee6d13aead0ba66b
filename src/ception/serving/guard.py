"""What every request passes: the token, the number at work, headers, and the clock."""

from __future__ import annotations

import hmac
import json
import time
from typing import TYPE_CHECKING, Any

from ception.serving.limits import Limits

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
    """

    def __init__(
        self, app: ASGIApp, *, limits: Limits, token: str | None, metrics: Metrics, public: tuple[str, ...] = ()
    ) -> None:
        self._app, self._limits, self._metrics, self._public = app, limits, metrics, public
        self._expected = None if token is None else b"Bearer " + token.encode()
        self._at_work = 0

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
        if not self._may(scope):
            await _refuse(sending, 401, "this server asks for a token: Authorization: Bearer TOKEN",
                          {b"www-authenticate": b"Bearer"})  # fmt: skip
        elif works and self._at_work >= self._limits.most_requests:
            await _refuse(sending, 429, "there is too much to do: come again", {b"retry-after": b"1"})
        else:
            self._at_work += works
            self._metrics.at_work.set(self._at_work)
            try:
                await self._app(scope, receive, sending)
            finally:
                self._at_work -= works
                self._metrics.at_work.set(self._at_work)
        route = getattr(scope.get("route"), "path", "other")
        self._metrics.seconds.labels(route, str(status)).observe(time.perf_counter() - began)

    def _may(self, scope: Scope) -> bool:
        """Whether a request bears the token, or needs none."""
        path = scope["path"]
        if self._expected is None or path in OPEN or path in self._public:
            return True
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        return hmac.compare_digest(given, self._expected)


async def _refuse(send: Any, status: int, why: str, headers: dict[bytes, bytes]) -> None:
    """Answer without looking at the request; what is left of its body is not read."""
    body = json.dumps({"error": why}).encode()
    told = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": told})
    await send({"type": "http.response.body", "body": body})
