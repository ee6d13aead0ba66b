"""Parts of a job on the workers of a Ray cluster, by Ray Data: it hands them out, and again where a worker is lost."""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import ray
import ray.data

from ception.errors import InputError, RunError, reason
from ception.jobs.parts import Folder, Part
from ception.predictor import Predictor
from ception.reporting import Reporter, counted, silenced

if TYPE_CHECKING:
    from ception.data.pictures import Pictures
    from ception.settings import JobSettings


class Worker:
    """A process of the cluster that has the model open, and makes one part after another.

    Args:
        release: Of the package where the job was begun, for the files must not depend on who wrote them.
        name: Of the model's file.
        model: Where the object store has its bytes.
        pictures: Where it has the list of the pictures.
        folder: Where the answers go.
        settings: What is asked.
        begun_in: The folder that relative paths begin in.
    """

    def __init__(
        self, release: str, name: str, model: ray.ObjectRef, pictures: ray.ObjectRef, folder: Folder,
        settings: JobSettings, begun_in: str,
    ) -> None:  # fmt: skip
        if version("ception") != release:
            raise InputError(
                f"a worker has Ception {version('ception')}, not {release}: install the same on all machines"
            )
        with suppress(OSError):  # of another machine, where only whole paths lead anywhere
            os.chdir(begun_in)
        os.environ["OMP_NUM_THREADS"] = str(settings.worker_cores)  # what the engines keep to
        self.pictures: Pictures = ray.get(pictures)
        self.folder, self.settings = folder, settings
        self.place = tempfile.TemporaryDirectory()
        path = Path(self.place.name, name)
        path.write_bytes(ray.get(model))
        self.predictor = Predictor.open(
            path, engine=settings.engine, dtype=settings.dtype, batch_size=settings.batch_size, measure=False,
            cache_limit=settings.cache_limit, reporter=Reporter(),
        )  # fmt: skip

    def __call__(self, batch: Mapping[str, Any]) -> Mapping[str, list[Any]]:
        """Make the parts of the numbers in `part`; what they come to, as rows of a table."""
        made = [self._made(int(number)) for number in batch["part"]]
        return {
            "pictures": [part.pictures for part in made],
            "failed": [part.failed for part in made],
            "classes": [json.dumps(part.classes) for part in made],
        }

    def _made(self, number: int) -> Part:
        settings = self.settings
        indices = np.array(self.folder.pictures_of(number))
        answers = self.predictor.predictions(
            self.pictures, top=settings.top, min_confidence=settings.min_confidence, calibrated=settings.calibration,
            indices=indices,
        )  # fmt: skip
        return self.folder.write(number, answers)


def parts(
    model: Path, pictures: Pictures, folder: Folder, missing: list[int], settings: JobSettings, reporter: Reporter
) -> Iterator[Part]:
    """Make the parts of a job on a cluster; what each comes to, as they are done.

    Args:
        model: The model's file, which every worker gets.
        pictures: All pictures; workers find those in files by the same paths.
        folder: Where the answers go, the same for all workers.
        missing: Numbers of the parts.
        settings: What is asked, and where.
        reporter: Receives progress.

    Raises:
        InputError: the model is a folder.
        RunError: the cluster cannot be reached, or a worker failed.
    """
    if model.is_dir():
        raise InputError(f"{model} is a folder, which workers are not sent: give the model file, or another export")
    with _cluster(settings, reporter) as workers:
        makers = (version("ception"), model.name, ray.put(model.read_bytes()), ray.put(pictures), folder, settings,
                  os.getcwd())  # fmt: skip
        dataset = ray.data.from_items([{"part": number} for number in missing], override_num_blocks=len(missing))
        answers = dataset.map_batches(
            Worker,
            fn_constructor_args=makers,
            batch_size=1,
            num_cpus=settings.worker_cores,
            compute=ray.data.ActorPoolStrategy(size=min(workers, len(missing))),
        )
        count = sum(len(folder.pictures_of(number)) for number in missing)
        with reporter.task("Predicting", count) as task, _told():
            for row in answers.iter_rows():
                part = Part(row["pictures"], row["failed"], Counter(json.loads(row["classes"])))
                task.advance(part.pictures)
                yield part


@contextmanager
def _cluster(settings: JobSettings, reporter: Reporter) -> Iterator[int]:
    """A context with a cluster, and how many workers it has room for; one that was there before stays.

    Raises:
        RunError: it cannot be reached, or has no room.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # the rest stands in its own logs
    address = settings.on if settings.on != "ray" else os.environ.get("RAY_ADDRESS")
    ours = not ray.is_initialized()
    if ours and address:
        _require_listening(address)
    with silenced("ray"), silenced("ray.data"), redirect_stdout(sys.stderr):  # where Ray prints, answers are read
        try:
            if ours:
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
                yield workers
            finally:
                context.enable_progress_bars, context.print_on_execution_start = before
        except (ConnectionError, TimeoutError) as error:
            raise RunError(f"the cluster at {address} cannot be reached: {_line(error)}") from None
        finally:
            if ours:
                ray.shutdown()


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


@contextmanager
def _told() -> Iterator[None]:
    """A context in which what a worker failed by is told as our own errors are."""
    try:
        yield
    except ray.exceptions.RayError as error:
        cause: BaseException | None = error
        while cause is not None:
            for kind in (InputError, RunError):
                if isinstance(cause, kind):
                    raise kind(_line(cause)) from None
            cause = cause.cause if isinstance(cause, ray.exceptions.RayTaskError) and cause.cause else cause.__cause__
        raise RunError(f"a worker failed: {_line(error)}; begin again, and the job goes on where it stands") from None


def _line(error: BaseException) -> str:
    """The last line of what an error says, which in Ray is a whole traceback."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
