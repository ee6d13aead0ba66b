"""What a request may be at most, and the refusals of what is more."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What a server takes.

    Attributes:
        most_bytes: Of a request's body.
        most_pixels: Of a picture.
        most_pictures: In a request.
        most_requests: At work at once; more are asked to come again.
        seconds: That a body may take to come, and an answer to be computed.
    """

    most_bytes: int
    most_pixels: int
    most_pictures: int
    most_requests: int
    seconds: float


class RefusedError(Exception):
    """A request that is not answered, with the status of HTTP that says why.

    Args:
        status: The status.
        why: One line for the person who asked.
        retry_after_s: When it is worth to ask again.
    """

    def __init__(self, status: int, why: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(why)
        self.status, self.why, self.retry_after_s = status, why, retry_after_s
