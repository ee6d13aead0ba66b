"""Scoring and checking by the workers of a cluster: the same as in one process."""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ception
from ception import Classifier, cluster
from ception.checking import scan
from ception.data import sources
from ception.errors import InputError, RunError
from ception.jobs import answering
from ception.sending import SentModel
from ception.settings import ClusterSettings
from support.cluster import told_by_ray
from support.pictures import write_pictures
from support.reporters import Notes

NUMBERS = "accuracy", "accuracy_interval", "balanced_accuracy", "log_loss", "per_class", "excluded", "unknown"


@pytest.fixture
def photos(tmp_path) -> Path:
    """Of two classes, one of them with two equal pictures and one that is broken."""
    folder = write_pictures(tmp_path / "photos", {"red": 9, "blue": 8}, seed=5)
    (folder / "blue" / "zz.png").write_bytes(b"no picture")
    (folder / "blue" / "same.png").write_bytes(next((folder / "blue").glob("*.png")).read_bytes())
    return folder


@pytest.fixture
def backwards(monkeypatch) -> list[int]:
    """A cluster of one worker in this process, which does the last task first; how many tasks it did each time."""
    done: list[int] = []

    def carried_out(
        prepare: Callable[..., Callable[[int], Any]], given: tuple[Any, ...], numbers: Sequence[int], *_: Any, **__: Any
    ) -> Iterator[tuple[int, Any]]:
        work = prepare(*given)
        done.append(len(numbers))
        for number in reversed(numbers):
            yield number, work(number)

    monkeypatch.setattr(cluster, "carried_out", carried_out)
    return done


def scores_of(folder: Path) -> dict[str, Any]:
    """What was written of an evaluation, but for where."""
    return {name: value for name, value in json.loads((folder / "scores.json").read_text()).items() if name != "output"}


def findings_of(told: str) -> dict[str, Any]:
    """What check said as JSON, but for where its page is."""
    return {name: value for name, value in json.loads(told).items() if name != "page"}


def test_scores_are_those_of_one_process(trained, photos, tmp_path, backwards):
    options = {"batch_size": 2, "split": "all"}
    here, there = Notes(), Notes()
    one = ception.evaluate(trained, photos, out=tmp_path / "one", reporter=here, **options)
    other = ception.evaluate(trained, photos, out=tmp_path / "other", reporter=there, on="ray", **options)
    assert backwards == [3]  # of four batches each, but for the last
    assert other.accuracy == one.accuracy
    assert scores_of(tmp_path / "other") == scores_of(tmp_path / "one")
    assert (tmp_path / "other/predictions.csv").read_bytes() == (tmp_path / "one/predictions.csv").read_bytes()
    assert there.warnings == here.warnings
    assert any("zz.png" in warning for warning in there.warnings)


def test_features_are_those_of_one_process(trained, photos, tmp_path, backwards):
    parquet = pytest.importorskip("pyarrow.parquet")
    options = {"features": True, "table": "parquet", "part_size": 4}
    one = ception.predict_into(trained, photos, tmp_path / "one", **options)
    other = ception.predict_into(trained, photos, tmp_path / "other", on="ray", **options)
    assert other.pictures == one.pictures
    assert backwards == [one.files]
    for path in (tmp_path / "one").glob("*.parquet"):
        ours, theirs = (parquet.read_table(tmp_path / name / path.name).to_pylist() for name in ("one", "other"))
        for row, expected in zip(theirs, ours, strict=True):
            assert {**row, "features": None} == {**expected, "features": None}
            if not row["error"]:
                np.testing.assert_allclose(row["features"], expected["features"], rtol=1e-4, atol=1e-5)


def test_findings_are_those_of_one_process(photos, tmp_path, backwards, monkeypatch, own_cache):
    monkeypatch.setattr(scan, "_PART", 4)
    one = ception.check(photos, out=tmp_path / "one.html")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setenv("CEPTION_CACHE", str(tmp_path / "elsewhere"))
    other = ception.check(photos, out=tmp_path / "other.html", on="ray")
    assert backwards == [5]
    told = [one.as_dict() | {"page": ""}, other.as_dict() | {"page": ""}]
    assert told[0] == told[1]
    assert {finding["kind"] for finding in told[0]["findings"]} >= {"unreadable", "copies"}


def test_only_what_is_not_known_is_looked_at_again(photos, tmp_path, backwards, own_cache):
    dataset = sources.load(photos)
    first, _ = scan.scan(dataset.pictures, str(photos), cache_limit=1, reporter=Notes())
    facts, failed = scan.scan(
        dataset.pictures, str(photos), cache_limit=1, reporter=Notes(), where=ClusterSettings(on="ray")
    )
    assert (facts == first).all()
    assert backwards == [1]  # the broken one
    assert len(failed) == 1


def test_a_classifier_in_memory_is_refused(trained, photos):
    with pytest.raises(InputError, match="--on ray needs a model file, which workers are sent"):
        ception.evaluate(Classifier.load(trained), photos, split="all", on="ray")


def test_what_is_for_one_process_is_refused_before_anything_is_read(trained, run_cli, monkeypatch):
    code, _, err = run_cli("evaluate", trained, "nowhere", "--on", "ray", "--device", "cpu")
    assert (code, err) == (2, "ception: --device is for this process: give --on ray a model file\n")
    code, _, err = run_cli("check", "nowhere", "--on", "dask")
    assert (code, err) == (2, "ception: --on must be ray or ray://HOST:PORT, got 'dask'\n")
    for words in (("check", "nowhere"), ("train", "nowhere")):
        code, _, err = run_cli(*words, "--worker-cores", "2")
        assert (code, err) == (2, "ception: --worker-cores is for --on ray\n")
    for address in ("ray://", "ray://host", "raydar"):
        code, _, err = run_cli("check", "nowhere", "--on", address)
        assert (code, err) == (2, f"ception: --on must be ray or ray://HOST:PORT, got '{address}'\n")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for words in (("evaluate", trained, "nowhere"), ("check", "nowhere")):
        code, _, err = run_cli(*words, "--on", "ray")
        assert (code, err) == (2, "ception: --on ray needs Ray: pip install 'ception[ray]'\n")


def test_an_export_for_openvino_is_sent_with_its_numbers(tmp_path):
    for name in ("it.xml", "it.bin"):
        (tmp_path / name).write_text(name)
    sent = SentModel.of(tmp_path / "it.xml", None, 1)
    assert sent.files == {"it.xml": b"it.xml", "it.bin": b"it.bin"}


def test_a_folder_is_not_sent(tmp_path):
    with pytest.raises(InputError, match="is a folder, which workers are not sent"):
        SentModel.of(tmp_path, None, 1)


@pytest.mark.parametrize(
    ("pictures", "batch", "expected"), [(20, 32, 20), (33, 32, 17), (1000, 32, 32), (64, 32, 32), (1, 5, 1)]
)
def test_no_batch_is_computed_for_a_few_pictures(pictures, batch, expected):
    size = answering.evenly(pictures, batch)
    assert size == expected
    steps = -(-pictures // size)
    assert steps == -(-pictures // batch)  # no more than with the whole batch
    assert steps * size - pictures < steps  # and hardly anything computed in vain


def test_workers_compute_batches_that_parts_fill(trained, photos, tmp_path, monkeypatch):
    sizes: list[int] = []
    real = answering.Answering

    def noticed(model: Any, *given: Any) -> Any:
        sizes.append(model.batch_size)
        return real(model, *given)

    def carried_out(
        prepare: Any, given: tuple[Any, ...], numbers: Sequence[int], *_: Any, **__: Any
    ) -> Iterator[tuple[int, Any]]:
        work = prepare(*given)
        return ((number, work(number)) for number in numbers)

    monkeypatch.setattr(answering, "Answering", noticed)
    monkeypatch.setattr(cluster, "carried_out", carried_out)
    result = ception.predict_into(trained, photos, tmp_path / "there", part_size=6, on="ray")
    here = ception.predict_into(trained, photos, tmp_path / "here", part_size=6)
    assert (sizes, result.classes, result.failed) == ([6], here.classes, 1)


class TestWorker:
    """One in this process, where the store is what it is given."""

    @pytest.fixture(autouse=True)
    def _store(self, monkeypatch, tmp_path) -> None:
        ray = pytest.importorskip("ray")
        monkeypatch.setattr(ray, "get", lambda given: given)
        monkeypatch.setenv("OMP_NUM_THREADS", "7")
        monkeypatch.chdir(tmp_path)

    def told(self, prepare: Callable[..., Any], given: tuple[Any, ...] = (), release: str = ception.__version__) -> Any:
        """What the driver gets of tasks 3 and 0."""
        worker = cluster.Worker(release, prepare, given, 2, "nowhere")
        rows = worker({"number": np.array([3, 0])})
        assert (rows["number"], os.environ["OMP_NUM_THREADS"]) == ([3, 0], "2")
        return [pickle.loads(one) for one in rows["came"]]

    def test_what_comes_of_tasks(self):
        assert self.told(lambda least: lambda number: number + least, (10,)) == [(None, 13), (None, 10)]

    def test_what_a_task_fails_by_is_told_in_its_words(self):
        def work(number: int) -> float:
            if number == 3:
                raise RunError("the disk is full")
            return 1 / number

        assert self.told(lambda: work) == [
            (RunError, "the disk is full"), (RunError, "a worker failed: ZeroDivisionError: division by zero"),
        ]  # fmt: skip

    def test_what_cannot_be_prepared_is_told_too(self):
        def prepare() -> None:
            raise InputError("there is no such weather")

        assert self.told(prepare) == [(InputError, "there is no such weather")] * 2

    def test_other_releases_are_refused(self):
        (failure, why), _ = self.told(lambda: print, release="0.0.0")
        assert failure is InputError
        assert why == f"a worker has Ception {ception.__version__}, not 0.0.0: install the same on all machines"


def test_what_ray_prints_beside_the_work_is_left_out():
    """Its threads print of lost workers; what a caller prints goes where it went."""
    stream = io.StringIO()
    beside = cluster._BesideRay(stream)
    for name in ("ray_listen_error_messages", "of the caller"):
        thread = threading.Thread(target=print, name=name, args=(name,), kwargs={"file": beside, "flush": True})
        thread.start()
        thread.join()
    assert stream.getvalue() == "of the caller\n"


@pytest.mark.slow  # it starts clusters
class TestOnRay:
    @pytest.fixture(autouse=True)
    def _ray(self, monkeypatch) -> None:
        pytest.importorskip("ray")
        monkeypatch.delenv("RAY_ADDRESS", raising=False)
        monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def said(self, *words: object) -> tuple[int, str, str]:
        """Exit code, standard output and error of a command in a process of its own."""
        done = subprocess.run(
            [sys.executable, "-m", "ception", *map(str, words)],
            env=os.environ,
            text=True,
            capture_output=True,
            timeout=250,
        )
        return done.returncode, done.stdout, done.stderr

    def test_scores(self, trained, photos, tmp_path):
        words = "evaluate", trained, photos, "--split", "all", "--batch-size", "2", "--json"
        here = self.said(*words, "--out", tmp_path / "here")
        there = self.said(*words, "--out", tmp_path / "there", "--on", "ray")
        assert (here[0], there[0]) == (0, 0), there[2]
        assert json.loads(there[1])["accuracy"] == json.loads(here[1])["accuracy"]
        assert scores_of(tmp_path / "there") == scores_of(tmp_path / "here")
        rows = [(tmp_path / name / "predictions.csv").read_bytes() for name in ("here", "there")]
        assert rows[0] == rows[1]
        assert "Ray: " in there[2]
        assert told_by_ray(there[2]) == []

    def test_findings(self, photos, tmp_path, monkeypatch):
        told = []
        for name, flags in (("here", []), ("there", ["--on", "ray"])):
            monkeypatch.setenv("CEPTION_CACHE", str(tmp_path / name))
            code, out, err = self.said("check", photos, "--json", "--out", tmp_path / f"{name}.html", *flags)
            assert code == 1, err
            told.append(findings_of(out))
        assert told[0] == told[1]

    @pytest.mark.parametrize(("error", "told"), [
        ("InputError('there is no such weather')", "InputError there is no such weather"),
        ("ValueError('it rained')", "RunError a worker failed: ValueError: it rained"),
    ])  # fmt: skip
    def test_what_a_worker_fails_by_is_told_in_one_line(self, error, told):
        done = subprocess.run(
            [sys.executable, "-c", FAILING.format(error)], text=True, capture_output=True, timeout=250
        )
        assert done.stdout == told + "\n", done.stderr


FAILING = """
from ception import cluster
from ception.errors import InputError, RunError
from ception.reporting import Reporter
from ception.settings import ClusterSettings

def prepare(count):
    def work(number):
        raise {}
    return work

try:
    list(cluster.carried_out(prepare, (3,), [0, 1], ClusterSettings(on="ray"), Reporter()))
except (InputError, RunError) as error:
    print(type(error).__name__, error)
"""
