"""A training by the workers of a Ray cluster: Ray Train starts them, and all of them again where one is lost."""

from __future__ import annotations

import math
import os
import shlex
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Unpack

from ception import backends, cluster, training
from ception.data import sources
from ception.distributed import LostError, ToldElsewhereError, require_several
from ception.errors import InputError, RunError
from ception.options import TrainOptions
from ception.reporting import Reporter, or_default
from ception.run_list import require_run
from ception.settings import ClusterSettings, TrainSettings
from ception.training import preparation, run_folder
from ception.training.run import Run
from ception.training.run_folder import RunFolder
from ception.validation import settings_of

_TRIES = 5  # a training goes on after so many losses of a worker
_LISTENS_EVERY_S = 0.2


def train_on(
    on: str,
    data: str | Path | None = None,
    *,
    resume: str | Path | None = None,
    worker_cores: int = 1,
    reporter: Reporter | None = None,
    **options: Unpack[TrainOptions],
) -> Run:
    """As `train` or `resume`, by as many workers of a Ray cluster as it has room for, on PyTorch or JAX.

    Where a worker is lost, it goes on from the last epoch by itself. Data, weights and the folder of the runs must have
    the same paths on all machines, and be the same there.

    Args:
        on: `ray` for the cluster that RAY_ADDRESS names, else for one on this machine alone; `ray://HOST:PORT`.
        data: As for `train`; with `resume` where the data lie now, if they have moved.
        resume: The run folder of a training to go on with.
        worker_cores: Cores of each worker.
        reporter: Receives notes, warnings and the epochs; None for what `ception.reporting.default` gives.
        options: Fields of `TrainSettings`; none with `resume`.

    Raises:
        InputError: as for `train` and `resume`, or Ray is not installed.
        RunError: as for `train`, the cluster cannot be reached, or workers are lost again and again.
    """
    settings, reporter = settings_of(TrainSettings, options), or_default(reporter)
    where = ClusterSettings(on=on, worker_cores=worker_cores)
    cluster.require(where)
    if data is None and resume is None:
        raise InputError("a training needs data, or a run to resume")
    run = None if resume is None else require_run(resume).absolute()
    backend = require_several(backends.choose(settings.backend if run is None else run_folder.backend_of(run)))
    if run is None and settings.model is not None:
        preparation.require_sense(settings, backend)  # before workers start
    if data is not None:
        sources.require_there(data)
    runs = settings.runs.absolute() if run is None else run.parent
    with _place_for_ray(runs) as place, cluster.connected(where, reporter) as workers:
        reporter.note("The workers start: each imports Keras and its backend first")
        task = _Task(data, settings, backend, worker_cores)
        folder = _carried_out(task, run, workers, place, reporter)
    backends.start(backend, reporter)
    from ception.training import carrying_out

    return carrying_out.finished(RunFolder(folder))


@dataclass(frozen=True)
class _Task:
    """What is asked of each worker.

    Attributes:
        data: The data set.
        settings: Of a training that begins.
        backend: Keras's.
        cores: Of a worker.
        begun_in: The folder that relative paths begin in.
        release: Of the package where the training was begun.
    """

    data: str | Path | None
    settings: TrainSettings
    backend: str
    cores: int
    begun_in: str = field(default_factory=os.getcwd)
    release: str = field(default_factory=lambda: version("ception"))


@contextmanager
def _place_for_ray(runs: Path) -> Iterator[Path]:
    """A folder beside the runs, for what Ray Train keeps while it is at work: all machines must see it.

    Raises:
        RunError: it cannot be made.
    """
    try:
        runs.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(prefix=".ray-", dir=runs))
    except OSError as error:
        raise RunError(f"the folder {runs} cannot be written: {error.strerror}; choose another with --runs") from None
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
        with suppress(OSError):  # where there are runs
            runs.rmdir()


def _carried_out(task: _Task, run: Path | None, workers: int, place: Path, reporter: Reporter) -> Path:
    """Have a training done by workers; its run folder."""
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    board = ray.remote(num_cpus=0)(_Board).options(scheduling_strategy=here).remote(run)
    trainer = DataParallelTrainer(
        _work,
        train_loop_config={"task": task, "board": board},
        scaling_config=ScalingConfig(
            num_workers=(1, workers),
            elastic_resize_monitor_interval_s=math.inf,
            resources_per_worker={"CPU": task.cores},
        ),
        run_config=RunConfig(storage_path=str(place), failure_config=FailureConfig(max_failures=_TRIES)),
    )
    interrupts = signal.getsignal(signal.SIGINT)
    with _heard(board, reporter):
        try:
            trainer.fit()
        except SystemExit:  # which Ray Train makes of Ctrl-C
            raise KeyboardInterrupt(_to_go_on(board)) from None
        except Exception as error:
            _raise_failure(board)
            then = _to_go_on(board) or "begin again"
            raise RunError(
                f"workers of the cluster, or what Ray has beside them, are lost again and again "
                f"({type(error).__name__}); {then}"
            ) from None
        finally:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGINT, interrupts)  # Ray Train has put its own there
    _raise_failure(board)
    return Path(ray.get(board.folder.remote()))


def _to_go_on(board: Any) -> str:
    """The command that goes on with the training; nothing where it has no folder yet."""
    import ray

    folder = ray.get(board.folder.remote())
    return f"to go on: ception train --resume {shlex.quote(str(folder))} --on ray" if folder else ""


def _raise_failure(board: Any) -> None:
    """Raise what the training failed by, if its first process has said so."""
    import ray

    if failure := ray.get(board.failure.remote()):
        kind, text = failure
        raise kind(text)


@contextmanager
def _heard(board: Any, reporter: Reporter) -> Iterator[None]:
    """A context in which a reporter is told what the first process of the training tells."""
    import ray

    over = threading.Event()

    def listen() -> None:
        last = False
        while not last:
            last = over.wait(_LISTENS_EVERY_S)
            for kind, told in ray.get(board.heard.remote()):
                getattr(reporter, kind)(told)

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        yield
    finally:
        over.set()
        listener.join()


class _Board:
    """What the first process tells, until somebody asks; where the run is, and what it failed by."""

    def __init__(self, run: Path | None) -> None:
        self._told: list[tuple[str, Any]] = []
        self._folder = run
        self._failure: tuple[type[Exception], str] | None = None

    def tell(self, kind: str, told: Any) -> None:
        self._told.append((kind, told))

    def heard(self) -> list[tuple[str, Any]]:
        told, self._told = self._told, []
        return told

    def begin(self, folder: Path) -> None:
        self._folder = folder

    def folder(self) -> Path | None:
        return self._folder

    def fail(self, failure: tuple[type[Exception], str]) -> None:
        self._failure = self._failure or failure

    def failure(self) -> tuple[type[Exception], str] | None:
        return self._failure


class _Teller(Reporter):
    """Tells a board."""

    def __init__(self, board: Any) -> None:
        self.board = board

    def note(self, text: str) -> None:
        """A line."""
        self.board.tell.remote("note", text)

    def detail(self, text: str) -> None:
        """A line."""
        self.board.tell.remote("detail", text)

    def warn(self, text: str) -> None:
        """A line."""
        self.board.tell.remote("warn", text)

    def epoch(self, row: Mapping[str, float]) -> None:
        """An epoch."""
        self.board.tell.remote("epoch", dict(row))

    def began(self, folder: Path) -> None:
        """Where the run is, which has to be known before anything can be lost."""
        import ray

        ray.get(self.board.begin.remote(folder))


def _work(given: Mapping[str, Any]) -> None:
    """What a worker does: it is a process of the training, from the beginning or from the last epoch on."""
    import ray

    board, task = given["board"], given["task"]
    with suppress(OSError):  # of another machine, where only whole paths lead anywhere
        os.chdir(task.begun_in)
    os.environ |= _place(task.cores) | {"KERAS_BACKEND": task.backend}
    try:
        if version("ception") != task.release:
            raise InputError(f"a worker has Ception {version('ception')}, not {task.release}: install the same on all")
        if (folder := ray.get(board.folder.remote())) is None:
            training.train(task.data, reporter=_Teller(board), **asdict(task.settings))
        else:
            training.resume(folder, task.data, reporter=_Teller(board))
    except ToldElsewhereError:
        pass
    except LostError:  # of another worker: Ray begins anew with all of them
        raise
    except (InputError, RunError) as error:  # which would come again
        ray.get(board.fail.remote((type(error), str(error))))
    except Exception as error:
        ray.get(board.fail.remote((RunError, f"a worker failed: {type(error).__name__}: {error}")))


def _place(cores: int) -> dict[str, str]:
    """Where this worker stands among all, in the variables in which torchrun says it."""
    from ray import train
    from ray.train.collective import broadcast_from_rank_zero
    from ray.util import get_node_ip_address

    context, own = train.get_context(), get_node_ip_address()
    with socket.socket() as free:
        free.bind(("", 0))
        host, port = broadcast_from_rank_zero((own, free.getsockname()[1]))
    return {
        "RANK": str(context.get_world_rank()), "WORLD_SIZE": str(context.get_world_size()),
        "LOCAL_RANK": str(context.get_local_rank()), "LOCAL_WORLD_SIZE": str(context.get_local_world_size()),
        "MASTER_ADDR": host, "MASTER_PORT": str(port), "OMP_NUM_THREADS": str(cores), **_interface(own),
    }  # fmt: skip


def _interface(address: str) -> dict[str, str]:
    """The network that the cluster speaks by, for gloo, which else takes what the machine's name leads to."""
    import psutil  # which comes with Ray, and is found once that is imported

    names = [name for name, all_ in psutil.net_if_addrs().items() if address in {one.address for one in all_}]
    return {"GLOO_SOCKET_IFNAME": names[0]} if names and "GLOO_SOCKET_IFNAME" not in os.environ else {}
