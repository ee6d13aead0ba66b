"""Work on a Ray cluster: numbers of tasks go out, and what comes of each comes back, by whichever worker is free.

Ray Data hands them out, and again where a worker is lost.
"""

from __future__ import annotations

import importlib.util
import io
import os
import pickle
import re
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from functools import partial
from importlib.metadata import version
from typing import Any, TextIO

from ception import backends, cluster_hosts
from ception.errors import InputError, RunError, reason
from ception.reporting import Reporter, counted, silenced
from ception.settings import ClusterSettings


def require(settings: ClusterSettings, *, here: Sequence[str] = ()) -> None:
    """Refuse a cluster that nothing here knows, and options that are for this process alone.

    Args:
        settings: Where to compute.
        here: Names of those options, which have no value without them.

    Raises:
        InputError: so it is, there is no cluster to have worker_cores, or Ray is not installed.
    """
    if settings.on is None:
        if settings.worker_cores != ClusterSettings.worker_cores:
            raise InputError("--worker-cores is for --on ray")
        return
    if not re.fullmatch(r"ray(://.+:\d+)?", settings.on):
        raise InputError(f"--on must be ray or ray://HOST:PORT, got '{settings.on}'")
    if importlib.util.find_spec("ray") is None:
        raise InputError("--on ray needs Ray: pip install 'ception[ray]'")
    for name in here:
        if getattr(settings, name):
            raise InputError(f"--{name} is for this process: give --on ray a model file")


class Worker:
    """A process of the cluster that has all it needs ready, and does one task after another.

    Args:
        release: Of the package where the work was begun, for what comes of it must not depend on who did it.
        prepare: Takes what is given, and gives what does a task by its number.
        given: Where the object store has that, or itself.
        cores: Of this worker.
        begun_in: The folder that relative paths begin in.
    """

    def __init__(
        self, release: str, prepare: Callable[..., Callable[[int], Any]], given: Any, cores: int, begun_in: str
    ) -> None:
        import ray

        with suppress(OSError):  # of another machine, where only whole paths lead anywhere
            os.chdir(begun_in)
        os.environ["OMP_NUM_THREADS"] = str(cores)  # what the engines keep to

        def prepared() -> Callable[[int], Any]:
            if version("ception") != release:
                raise InputError(
                    f"a worker has Ception {version('ception')}, not {release}: install the same on all machines"
                )
            return prepare(*ray.get(given))

        self.failure, self.work = _attempted(prepared)

    def __call__(self, batch: Mapping[str, Any]) -> Mapping[str, list[Any]]:
        """Do the tasks of the numbers in `number`; what comes of each, or why nothing does, as rows of a table."""
        numbers = [int(number) for number in batch["number"]]
        came = [
            (self.failure, self.work) if self.failure else _attempted(partial(self.work, number)) for number in numbers
        ]
        return {"number": numbers, "came": [pickle.dumps(one) for one in came]}


def _attempted(call: Callable[[], Any]) -> tuple[type[InputError] | type[RunError] | None, Any]:
    """None and what a call gives, or what to raise and its words, which would not come through as an exception."""
    try:
        return None, call()
    except (InputError, RunError) as error:
        return type(error), str(error)
    except Exception as error:
        return RunError, f"a worker failed: {type(error).__name__}: {error}"


def carried_out(
    prepare: Callable[..., Callable[[int], Any]],
    given: tuple[Any, ...],
    numbers: Sequence[int],
    settings: ClusterSettings,
    reporter: Reporter,
    *,
    then: str = "begin again",
) -> Iterator[tuple[int, Any]]:
    """Have tasks done on a cluster; the number of each and what comes of it, as they are done.

    Args:
        prepare: Called once in each worker; gives what does a task by its number.
        given: What it takes. Pictures in files are found by the same paths everywhere.
        numbers: The tasks.
        settings: Where, and how many cores a worker has.
        reporter: Told of the workers.
        then: What to do where the cluster failed.

    Raises:
        InputError: a worker says so.
        RunError: the cluster cannot be reached, or a worker failed.
    """
    import ray
    import ray.data

    with connected(settings, reporter) as workers:
        makers = version("ception"), prepare, ray.put(given), settings.worker_cores, os.getcwd()
        dataset = ray.data.from_items([{"number": number} for number in numbers], override_num_blocks=len(numbers))
        done = dataset.map_batches(
            Worker,
            fn_constructor_args=makers,
            batch_size=1,
            num_cpus=settings.worker_cores,
            compute=ray.data.ActorPoolStrategy(size=min(workers, len(numbers))),
        )
        with _told(then):
            for row in done.iter_rows():
                failure, came = pickle.loads(row["came"])  # of our own workers, as all that Ray moves
                if failure is not None:
                    raise failure(came)
                yield row["number"], came


@contextmanager
def connected(settings: ClusterSettings, reporter: Reporter) -> Iterator[int]:
    """A context with a cluster, and how many workers it has room for; one that was there before stays.

    Where a host of it is lost meanwhile, the reporter is warned.

    Raises:
        RunError: it cannot be reached, or has no room.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # the rest stands in its own logs
    import ray
    import ray.data

    address = settings.on if settings.on != "ray" else os.environ.get("RAY_ADDRESS")
    ours = not ray.is_initialized()
    if ours and address:
        _require_listening(address)
    with silenced("ray"), silenced("ray.data"), redirect_stdout(_BesideRay(sys.stderr)):
        try:
            if ours:
                with (
                    backends.importing()
                ):  # its part in C++ writes a line about RAY_BACKEND_LOG_LEVEL, whatever that is
                    ray.init(address=address, log_to_driver=False, logging_level="CRITICAL",
                             **({} if address else {"include_dashboard": False}))  # fmt: skip
            cores = int(ray.cluster_resources().get("CPU", 0))
            workers = cores // settings.worker_cores
            if not workers:
                raise RunError(
                    f"the cluster has {counted(cores, 'core')}, fewer than a worker's {settings.worker_cores}"
                )
            reporter.note(f"Ray: {counted(workers, 'worker')} with {counted(settings.worker_cores, 'core')} each")
            context = ray.data.DataContext.get_current()
            before = context.enable_progress_bars, context.print_on_execution_start
            context.enable_progress_bars = context.print_on_execution_start = False
            try:
                with cluster_hosts.watched(settings.worker_cores, reporter):
                    yield workers
            finally:
                context.enable_progress_bars, context.print_on_execution_start = before
        except (ConnectionError, TimeoutError) as error:
            raise RunError(f"the cluster at {address} cannot be reached: {_unreached(error)}") from None
        finally:
            if ours:
                with redirect_stdout(None):  # what it has not printed yet
                    ray.shutdown()


class _BesideRay(io.TextIOBase):
    """Where what is printed goes while Ray works, for answers are read on standard output; but not what Ray prints.

    Its threads tell there of lost workers, which are replaced; where they are not, an exception tells it.

    Args:
        stream: Receives the rest.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write it, unless a thread of Ray does."""
        return len(text) if threading.current_thread().name.startswith("ray_") else self._stream.write(text)

    def flush(self) -> None:
        """Flush the stream."""
        self._stream.flush()


def _require_listening(address: str) -> None:
    """Refuse a cluster's address, such as `ray://HOST:PORT`, where nobody listens: Ray itself would try for minutes.

    Raises:
        RunError: so it is.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdecimal():  # "auto", which Ray resolves
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except OSError as error:
        raise RunError(f"the cluster at {address} cannot be reached: {reason(error)}") from None


def _unreached(error: BaseException) -> str:
    """Why Ray did not come to a cluster, which it says least of where it must say who it is."""
    if "AuthenticationError" in f"{error.__cause__!r}":
        return "it wants a token: set RAY_AUTH_MODE=token, and copy ~/.ray/auth_token from its head"
    return _line(error)


@contextmanager
def _told(then: str) -> Iterator[None]:
    """A context in which what Ray fails by is one line, with what to do."""
    import ray

    try:
        yield
    except ray.exceptions.RayError as error:
        raise RunError(f"the cluster failed: {_line(error)}; {then}") from None


def _line(error: BaseException) -> str:
    """The last line of what an error says, which in Ray is a whole traceback."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
