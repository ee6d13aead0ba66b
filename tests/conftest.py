from __future__ import annotations

import gc
import io
import os
import re
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import keras
import pytest

from ception import backends
from support.findings import write_scenes
from support.pictures import COLOURS, write_pictures

if TYPE_CHECKING:
    from ception.results import Prediction
    from support.serving import Server

hypothesis.settings.register_profile("ception", deadline=None)  # the machine may be busy
hypothesis.settings.load_profile("ception")

# What a terminal, a proxy or an account says of itself, which would change what is shown and fetched
OF_THE_USER = re.compile(
    r"columns|lines|term|(no|force)_color|(tty|jupyter|hf)_\w+|(https?|all|no)_proxy", re.IGNORECASE
)
SHARED = Path(__file__).parents[2] / "shared" / "data"


def pytest_configure(config: pytest.Config) -> None:
    """Forget the user's environment; import Keras, but in a process that only hands tests to others."""
    for name in filter(OF_THE_USER.fullmatch, list(os.environ)):
        del os.environ[name]
    only_hands_out = config.getoption("numprocesses", None) and not hasattr(config, "workerinput")
    if not only_hands_out and backends.start() == "tensorflow":
        _without_tuning()


def _without_tuning() -> None:
    """An iterator that a failed training leaves behind waits for the thread that tunes it, up to a minute."""
    import tensorflow as tf
    from keras.src.trainers.data_adapters.py_dataset_adapter import PyDatasetAdapter

    options, tuned = tf.data.Options(), PyDatasetAdapter.get_tf_dataset
    options.autotune.enabled = False
    PyDatasetAdapter.get_tf_dataset = lambda adapter: tuned(adapter).with_options(options)


def pytest_collection_finish(session: pytest.Session) -> None:
    """A quarter of the time of building networks went into looking for garbage among all that was imported."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """One search for garbage is enough; pytest makes five, and each goes through all that Keras keeps."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    os.environ["CEPTION_CACHE"] = str(folder)
    return folder


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real data beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the data sets in {SHARED}, which are not here")
    return SHARED


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, which is not there yet."""
    monkeypatch.setenv("CEPTION_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def data(tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two classes of 15 scenes each, in the current folder, with an empty cache."""
    monkeypatch.chdir(tmp_path)
    return write_scenes(tmp_path / "data")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "colours", dict.fromkeys(COLOURS, 30))


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of a short training on colours, beside its data set `colours`."""
    import ception

    place = tmp_path_factory.mktemp("trained")
    write_pictures(place / "colours", dict.fromkeys(COLOURS, 40))
    return ception.train(
        place / "colours", model="separable_cnn", epochs=3, batch_size=16, image_size=16, runs=place / "runs"
    ).folder


@pytest.fixture(scope="module")
def undrawn(trained: Path) -> Iterator[None]:
    """Empty files in place of figures, which take a fifth of a short training; `trained` has them nevertheless."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("matplotlib.figure.Figure.savefig", _save_nothing)
        yield


def _save_nothing(figure: object, file: Path | io.StringIO, **_: object) -> None:
    if isinstance(file, io.StringIO):
        file.write("<svg></svg>")
    else:
        file.touch()


@pytest.fixture(scope="module")
def server(trained: Path) -> Iterator[Server]:
    """A server of the trained model, without a network."""
    from support.serving import Server

    made = Server({"colours": trained / "model.keras"})
    yield made
    made.models.close()


@pytest.fixture(scope="session")
def files(trained: Path) -> list[bytes]:
    """Some of the pictures that it was trained with, as their files."""
    return [path.read_bytes() for path in sorted((trained.parents[1] / "colours").rglob("*.png"))[::30]]


@pytest.fixture(scope="session")
def expected(trained: Path, files: list[bytes]) -> list[Prediction]:
    """What the trained model says of them."""
    import ception

    return ception.predict(trained, files, top=2)


@pytest.fixture
def run_cli(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs the command line in this process: exit code, standard output, standard error."""
    from ception.cli import main

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture(params=["plain", "compiled"])
def made_of(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each test twice: with the operations that need no compiler, and with the compiled ones."""
    from ception.layers import classes
    from ception.layers.compiled import are_known_to_xla, kernels

    backend = keras.backend.backend()
    if request.param == "compiled" and (kernels() is None or (backend == "jax" and not are_known_to_xla())):
        pytest.skip(f"there are no compiled kernels for {backend} here")
    name = backend if request.param == "plain" else f"compiled_{backend}"
    module = import_module(f"ception.layers.{name}")
    monkeypatch.setattr(classes, "operations", lambda: module)
    return str(request.param)
