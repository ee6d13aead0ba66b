"""A connection: uvicorn's HTTP/1.1, which no peer can hold for nothing, and which ends without losing a request."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.flow_control import CLOSE_HEADER
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

_MOST = 512  # connections at a time; a process may have 1024 files by default
_LAST_S = 0.3  # that a request may still be on its way to a connection which the server wants to close


class State(ServerState):
    """What connections know of their server.

    Attributes:
        ending: Whether it ends; each connection then answers what it has, says so, and closes.
    """

    ending = False


class Connection(H11Protocol):
    """A connection with a client.

    uvicorn's own waits for the head of a first request, and for an answer to be read, as long as it takes. Here a head
    has to be there within the time of `timeout_keep_alive`, however slowly its bytes come, and so has a client to
    read. Where there are too many connections, the one goes that has waited longest for a request.
    """

    server_state: State
    since = 0.0  # when it began to wait for a request
    _heard_all = False  # whether the client sends no more
    _reading: asyncio.TimerHandle | None = None  # ends it if the client does not read

    @property
    def idle(self) -> bool:
        """Whether there is no request at work."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a request; make room for it."""
        waiting = [one for one in self.connections if isinstance(one, Connection) and one.idle]
        if len(self.connections) >= _MOST:
            if not waiting:
                transport.abort()
                return
            longest = min(waiting, key=lambda one: one.since)
            self.connections.discard(longest)
            longest.transport.abort()
        super().connection_made(transport)
        self._await_head()
        if self.server_state.ending:
            self.shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        if self.transport is not None:
            self._unset_keepalive_if_required()
            self.resume_writing()
            super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came; only a whole head stops the clock."""
        self.conn.receive_data(data)
        self.handle_events()

    def handle_events(self) -> None:
        """Take what came; the last answer before the end says that it is the last."""
        super().handle_events()
        if self.server_state.ending and not self.idle:
            self._make_last()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self.since = self.loop.time()
        if self._heard_all and self.idle and not self.transport.is_closing():
            self.transport.close()

    def pause_writing(self) -> None:
        """Wait for the client to read."""
        super().pause_writing()
        self._reading = self._reading or self.loop.call_later(self.timeout_keep_alive, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on writing."""
        super().resume_writing()
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def eof_received(self) -> bool:  # type: ignore[override]
        """Answer a client that has sent all it has to, and still listens."""
        self._heard_all = True
        if self.idle or self.cycle.more_body:
            return False
        if not self.conn.trailing_data[0]:
            self._make_last()
        return True

    def shutdown(self) -> None:
        """Answer what is at work and what is on its way, then close."""
        if self.idle:
            self.loop.call_later(_LAST_S, self._close_if_idle)
        else:
            self._make_last()

    def _await_head(self) -> None:
        self.since = self.loop.time()
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        """Close it, whatever state it is in."""
        self._close_if_idle()

    def _close_if_idle(self) -> None:
        if not self.idle or self.transport.is_closing():
            return
        if self.conn.our_state is h11.IDLE:
            self.conn.send(h11.ConnectionClosed())
        self.transport.close()

    def _make_last(self) -> None:
        """Close it after the answer at work, which says so if it has not begun."""
        self.cycle.keep_alive = False
        headers: list[Any] = self.cycle.scope["headers"]  # type: ignore[assignment]
        if CLOSE_HEADER not in headers:
            headers.append(CLOSE_HEADER)
