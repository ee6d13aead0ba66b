"""What a request may be at most, and the refusals of what is more."""

from __future__ import annotations

from dataclasses import dataclass

COPIES = 3  # of a body at a time: as it came, whole, and as the files in it
TOO_MUCH = "there is too much to do: come again"


@dataclass(frozen=True)
class Limits:
    """What a server takes.

    Attributes:
        most_bytes: Of a request's body.
        most_pixels: Of a picture.
        most_pictures: In a request.
        most_requests: At work at once; more are asked to come again.
        seconds: That a body may take to come, and an answer to be computed.
        most_held: Bytes that the bodies and decoded pictures of all requests at work may take together.
    """

    most_bytes: int
    most_pixels: int
    most_pictures: int
    most_requests: int
    seconds: float
    most_held: int = 1_000_000_000


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


class Held:
    """Bytes that requests hold together.

    Args:
        most: That they may.
    """

    def __init__(self, most: int) -> None:
        self._most, self.now = most, 0

    def take(self, count: int) -> None:
        """Hold some more.

        Raises:
            RefusedError: all together would be too much.
        """
        if self.now + count > self._most:
            raise RefusedError(429, TOO_MUCH, retry_after_s=1)
        self.now += count

    def give(self, count: int) -> None:
        """Hold them no more."""
        self.now -= count


class Share:
    """What one request holds of it.

    Args:
        held: What all hold.
    """

    def __init__(self, held: Held) -> None:
        self._held, self._mine = held, 0

    def take(self, count: int) -> None:
        """Hold some more.

        Raises:
            RefusedError: all requests together would hold too much.
        """
        self._held.take(count)
        self._mine += count

    def end(self) -> None:
        """Hold nothing any more."""
        self._held.give(self._mine)
        self._mine = 0
