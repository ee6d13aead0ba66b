"""Models on the Hugging Face hub, from a small server on this machine that speaks as much of it as is needed."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import pytest

import ception
from ception import hub
from ception.data import cache
from ception.errors import InputError, RunError
from ception.model_file import describe
from ception.reporting import Reporter, Task
from ception.serving import hosting
from support.hub import COMMIT, serving


@pytest.fixture
def server(own_cache, monkeypatch):
    with serving() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        server.repositories["jane/colours"] = {"model.keras": b"content" * 500_000}
        server.repositories["jane/words"] = {"README.md": b"# Words"}
        yield server


class Bars(Reporter):
    """Remembers how far each task came."""

    def __init__(self):
        self.tasks: dict[str, list[int]] = {}

    @contextmanager
    def task(self, label, total):
        steps = self.tasks.setdefault(label, [total, 0])

        class Steps(Task):
            def advance(self, count=1, detail=""):
                steps[1] += count

        yield Steps()


def test_downloads_once_and_tells_how_far(server):
    bars = Bars()
    path = hub.fetch("hf://jane/colours", reporter=bars)
    assert path.read_bytes() == b"content" * 500_000
    assert bars.tasks == {"Downloading, MB": [3, 3]}
    assert hub.fetch("hf://jane/colours") == path
    assert hub.fetch("hf:/jane/colours") == path  # as a path has it
    assert hub.fetch("hf://jane/colours@v1") == path
    assert hub.fetch(f"hf://jane/colours@{COMMIT}") == path
    assert server.requests.count("GET model.keras") == 1


def test_a_newer_one_is_taken(server):
    hub.fetch("hf://jane/colours")
    server.repositories["jane/colours"]["model.keras"] = b"newer"
    server.commit = COMMIT[::-1]
    assert hub.fetch("hf://jane/colours").read_bytes() == b"newer"
    assert hub.fetch(f"hf://jane/colours@{COMMIT}").read_bytes() != b"newer"


@pytest.mark.parametrize("gone", ["offline", "closed"])
def test_works_without_a_network_where_it_is_there(server, monkeypatch, gone):
    path = hub.fetch("hf://jane/colours")
    if gone == "offline":
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    else:
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert hub.fetch("hf://jane/colours") == path
    with pytest.raises(
        RunError, match=r"jane/other cannot be downloaded from the hub \(.+\), and is not in .+: check the"
    ) as it:
        hub.fetch("hf://jane/other")
    assert "\n" not in str(it.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("hf://jane/nothing", "there is no repository jane/nothing on the hub, or it is private"),
        ("hf://jane/words", "jane/words holds no model.keras"),
        ("hf://jane/colours@v2", "jane/colours has no revision v2"),
        ("hf://colours", "hf://colours names no repository: hf://USER/NAME"),
        ("hf:/jane", "hf://jane names no repository"),
        ("hf://jane/colours/model.keras", "names no repository"),
        ("hf://jane/co--lours..", "jane/co--lours.. names no repository"),
    ],
)
def test_what_is_not_there(server, name, said):
    with pytest.raises(InputError, match=said) as caught:
        hub.fetch(Path(name) if name.startswith("hf:/j") else name)
    assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_written(server, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CEPTION_CACHE", str(tmp_path / "file"))
    with pytest.raises(RunError, match=r"file/hub.* cannot be written: .*; set CEPTION_CACHE"):
        hub.fetch("hf://jane/colours")


def test_the_cache_knows_of_it(server):
    path = hub.fetch("hf://jane/colours")
    ((entry, size, _),) = cache.entries()
    assert (entry, size) == (path.resolve(), 3_500_000)
    assert cache.clear() == 3_500_000
    assert not path.exists()
    assert hub.fetch("hf://jane/colours").is_file()  # and it is downloaded again
    assert server.requests.count("GET model.keras") == 2


class TestWhereverAModelIsTaken:
    @pytest.fixture
    def name(self, server, trained):
        server.repositories["jane/trained"] = {"model.keras": (trained / "model.keras").read_bytes()}
        return "hf://jane/trained"

    def test_from_python(self, name, trained, tmp_path):
        picture = np.full((16, 16, 3), 128, np.uint8)
        assert ception.predict(name, picture) == ception.predict(trained, picture)
        assert describe(name).config == describe(trained).config
        assert ception.Classifier.load(name).class_names == describe(trained).class_names
        colours = trained.parents[1] / "colours"
        scores = ception.evaluate(name, colours, out=tmp_path / "scores")
        assert scores.accuracy == ception.evaluate(trained, colours, out=tmp_path / "ours").accuracy
        assert scores.model == name
        compared = ception.compare(Path(name), trained, colours, out=tmp_path / "compared")
        assert (compared.models, compared.difference) == ((name, str(trained)), 0)

    def test_a_server_calls_it_by_the_repositorys_name(self, name, trained):
        assert list(hosting.names_of([name, str(trained), f"mine={name}@v1"])) == ["trained", trained.name, "mine"]

    def test_an_export_has_the_repositorys_name(self, name, tmp_path, monkeypatch):
        pytest.importorskip("onnx", reason="onnx is not installed")
        pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
        monkeypatch.chdir(tmp_path)
        assert ception.export(name, "onnx", pictures=2).artefact == "trained.onnx"
        assert ception.export(f"{name}@v1", "huggingface", pictures=2).artefact == "trained-huggingface"

    def test_from_the_command_line(self, name, trained, run_cli):
        picture = next((trained.parents[1] / "colours").rglob("*.png"))
        code, out, _ = run_cli("predict", name, picture)
        assert code == 0
        assert out.splitlines()[-1] == f"Next: ception evaluate {name} DATA"
        assert run_cli("summary", name)[0] == 0
        code, out, err = run_cli("predict", "hf://jane/nothing", picture)
        assert (code, out) == (2, "")
        looked, told = err.splitlines()
        assert looked == "Looking for jane/nothing on the Hugging Face hub"
        assert told.startswith("ception: there is no repository jane/nothing")
