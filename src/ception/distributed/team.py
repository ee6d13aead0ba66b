"""Processes that carry out one training together: what they tell each other, and when they take one for lost."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar

from ception.errors import InputError, RunError

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

    from ception.distributed.places import Place

Value = TypeVar("Value")
Manner = Literal["alone", "added", "spread"]
_TOLD = os.environ.get("CEPTION_GATHERING_S", "")
GATHERING_S = int(_TOLD) if _TOLD.isdecimal() else 300  # in which all processes must have been started
SILENCE_S = 40.0  # after which a process that says nothing counts as lost
_PULSE_S = 5.0
_LAST_WORDS_S = 2.0  # in which those that are left tell each other so


class LostError(RunError):
    """Another process of the training is gone, or cannot be reached."""

    _keras_call_info_injected = True  # or Keras would add what a layer was called with


class ToldElsewhereError(LostError):
    """A failure that another process of the training tells the user."""


class Board(Protocol):
    """Where processes leave short messages for each other; each has its own connection to it."""

    def put(self, key: str, value: bytes) -> None:
        """Leave a message."""

    def get(self, key: str) -> bytes | None:
        """The message of a key; None where there is none yet."""

    def remove(self, key: str) -> None:
        """Take a message away."""


class Team:
    """One process alone, for which nothing is told or computed twice; several are `Several`.

    Every process calls the same methods in the same order.

    Attributes:
        index: Number of this process, from 0 on. The first one writes, prints and decides.
        count: How many there are.
        neighbours: How many of them run on this machine.
        manner: How a batch is computed: `alone`; each its share, and what follows from the whole `added` up; or by one
            program `spread` over all, which takes batches that can be divided evenly.
    """

    index, count, neighbours = 0, 1, 1
    manner: Manner = "alone"

    @property
    def shard(self) -> tuple[int, int]:
        """Index and count, as `Batches` takes them."""
        return self.index, self.count

    @property
    def layers(self) -> dict[str, type[keras.layers.Layer]]:
        """By kind, what layers must be made of so that they see the whole batch."""
        return {}

    def everyone(self, value: Value) -> list[Value]:
        """What each process has, in their order: plain values that JSON knows. None goes on before all have come."""
        return [value]

    def first(self, value: Value) -> Value:
        """What the first process has."""
        return self.everyone(value if self.index == 0 else None)[0]  # type: ignore[return-value]

    @contextmanager
    def agreed(self) -> Iterator[None]:
        """A context that ends well in all processes, or in none: the failure of one is that of all, told once."""
        yield

    def require_same(self, value: str, differs: str) -> None:
        """Raise an InputError where a process has another value than the first.

        Args:
            value: What all should have.
            differs: What is wrong with a process that has not, as in `reads other pictures`.
        """
        values = self.everyone(value)
        other = next((index for index, one in enumerate(values) if one != values[0]), None)
        if other is not None:
            said = f"process {other + 1} of {self.count} {differs} than the first: give all the same data and packages"
            raise ToldElsewhereError(said) if self.index else InputError(said)

    def arrays(self, arrays: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """The first process's arrays; those of the others have the same shapes and types."""
        return list(arrays)

    def gathered(self, array: NDArray[Any]) -> list[NDArray[Any]]:
        """The arrays of all processes in their order, equal but for the length of the first axis."""
        return [array]

    def sharing(self, kind: Any) -> Any:
        """The optimiser class whose steps all processes make together."""
        return kind

    def scope(self) -> AbstractContextManager[Any]:
        """A context in which Keras makes functions for all devices."""
        return nullcontext()

    def spread(self, variables: Sequence[Any]) -> None:
        """Let variables lie on every device."""

    def spreading(self, function: Callable[..., Any], is_whole: Callable[[], bool]) -> Callable[..., Any]:
        """Keras's function of a step, for all devices."""
        return function

    def weight(self, examples: int) -> float:
        """The share of a batch that so many examples of this process are."""
        return 1.0

    @contextmanager
    def totals(self, variables: Sequence[Any]) -> Iterator[None]:
        """A context in which variables, of metrics, hold their sums over all processes."""
        yield


ALONE = Team()


class Several(Team):
    """Processes that reach each other by a board; what they compute with adds how numbers pass between them.

    Attributes:
        place: Where this process stands.
        board: Where they leave messages.
        among_neighbours: Number of this process among those on the same machine.
    """

    def __init__(self, place: Place, board: Board) -> None:
        self.place, self.board = place, board
        self.index, self.count = place.index, place.count
        self._round = 0
        self._ended = threading.Event()
        threading.Thread(target=self._beat, daemon=True).start()
        hosts = self.everyone(socket.gethostname())
        self.among_neighbours = hosts[: self.index].count(hosts[self.index])
        self.neighbours = hosts.count(hosts[self.index])

    def everyone(self, value: Value) -> list[Value]:
        """As `Team.everyone`; a process may take long as long as it lives.

        Raises:
            LostError: a process is gone, or cannot be reached.
        """
        self._round += 1
        self._reach(lambda: self.board.put(f"{self._round}/{self.index}", json.dumps(value).encode()))
        told = [json.loads(self._awaited(f"{self._round}/{other}", other)) for other in range(self.count)]
        if self._round > 2:  # which all have read that have written in the round before
            self._reach(lambda: self.board.remove(f"{self._round - 2}/{self.index}"))
        return told

    @contextmanager
    def agreed(self) -> Iterator[None]:
        """As `Team.agreed`."""
        failure: InputError | RunError | None = None
        try:
            yield
        except LostError:  # of which the others learn without a word
            raise
        except (InputError, RunError) as error:
            failure = error
        told = self.everyone(None if failure is None else f"{self.place} on {socket.gethostname()}: {failure}")
        failed = next((index for index, text in enumerate(told) if text is not None), None)
        if failed is None:
            return
        if self.index:
            time.sleep(_LAST_WORDS_S / 2)  # launchers end the first one as soon as another ends
            raise ToldElsewhereError(str(told[failed])) from None
        raise failure if failure else RunError(str(told[failed]))

    def while_all_live(self, call: Callable[[], Value]) -> Value:
        """The result of a call that waits for the other processes without an end.

        Raises:
            LostError: one of them has said nothing for too long.
        """
        started, others = _Started(call), [index for index in range(self.count) if index != self.index]
        heard = dict.fromkeys(others, (b"", time.monotonic()))
        while not started.is_over(_PULSE_S):
            for other in others:
                pulse = self._pulse(other)
                if pulse not in (None, heard[other][0]):
                    heard[other] = pulse, time.monotonic()
                elif time.monotonic() - heard[other][1] > SILENCE_S:
                    raise self.lost()
        return started.result(0)

    def _pulse(self, other: int) -> bytes | None:
        """The last that a process said of itself; None where the board does not answer."""
        try:
            return within(_PULSE_S, lambda: self.board.get(f"pulse/{other}"))
        except Exception:
            return None

    def lost(self, why: str = "another process of the training is gone, or cannot be reached") -> RunError:
        """What to raise where another process cannot be reached; the first of those that are left tells it."""
        self._ended.set()
        told = f"{why} (told by {self.place})"
        try:
            within(_PULSE_S, lambda: self.board.put(f"left/{self.index}", b"1"))
            until = time.monotonic() + _LAST_WORDS_S
            while self.index and time.monotonic() < until:
                if any(within(_LAST_WORDS_S, lambda: self.board.get(f"left/{one}")) for one in range(self.index)):  # noqa: B023
                    return ToldElsewhereError(told)
                time.sleep(0.1)
        except Exception:  # the board is what is lost
            return LostError(told)
        return LostError(told)

    @property
    def is_over(self) -> bool:
        """Whether the processes have parted."""
        return self._ended.is_set()

    def close(self) -> None:
        """End the pulse."""
        self._ended.set()

    def _beat(self) -> None:
        """Say every few seconds that this process lives; where that fails, the next time may go well."""
        beats = 0
        while not self._ended.wait(_PULSE_S if beats else 0):
            beats += 1
            with suppress(Exception):  # a board that is gone is found out by the next call of `everyone`
                self.board.put(f"pulse/{self.index}", str(beats).encode())

    def _awaited(self, key: str, other: int) -> bytes:
        """What another process leaves under a key, sooner or later."""
        heard, pulse, pause = time.monotonic(), None, 0.001
        while True:
            value = self._reach(lambda: self.board.get(key))
            if value is not None:
                return value
            now = self._reach(lambda: self.board.get(f"pulse/{other}"))
            if now != pulse:
                heard, pulse = time.monotonic(), now
            if time.monotonic() - heard > SILENCE_S:
                raise self.lost()
            time.sleep(pause)
            pause = min(2 * pause, 0.05)

    def _reach(self, call: Callable[[], Value]) -> Value:
        """The result of a call to the board.

        Raises:
            LostError: it fails or does not answer.
        """
        try:
            return within(SILENCE_S, call)
        except Exception:
            raise self.lost() from None


def within(seconds: float, call: Callable[[], Value]) -> Value:
    """The result of a call that might never return, where it returns in time.

    Raises:
        TimeoutError: it did not.
    """
    return _Started(call).result(seconds)


class _Started(Generic[Value]):
    """A call that a thread makes, which ends with the process."""

    def __init__(self, call: Callable[[], Value]) -> None:
        self._call = call
        self._results: list[Value] = []
        self._failures: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._results.append(self._call())
        except BaseException as error:
            self._failures.append(error)

    def is_over(self, seconds: float) -> bool:
        """Whether the call has returned or raised, in so many seconds more."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def result(self, seconds: float) -> Value:
        """What the call returns, or raises.

        Raises:
            TimeoutError: it did neither in so many seconds more.
        """
        if not self.is_over(seconds):
            raise TimeoutError
        if self._failures:
            raise self._failures[0]
        return self._results[0]
