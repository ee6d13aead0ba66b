"""Many pictures into files: parts that are whole or not there, here and on a Ray cluster."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import keras
import numpy as np
import pytest

import ception
from ception.backends import cores, threads
from ception.data.images import read, to_pixels
from ception.errors import InputError, RunError
from ception.jobs.parts import Folder, Part
from ception.models.endpoints import before_head
from ception.predictor import Predictor
from support import s3
from support.parity import difference
from support.pictures import write_pictures
from support.reporters import Notes


@pytest.fixture
def photos(tmp_path) -> Path:
    folder = write_pictures(tmp_path / "photos", {"red": 7, "blue": 5}, seed=3)
    (folder / "blue" / "zz.png").write_bytes(b"no picture")
    return folder


def answers(out: Path) -> list[dict[str, str]]:
    """The rows of all files, in their order."""
    return [row for path in sorted(out.glob("part-*.csv")) for row in csv.DictReader(path.read_text().splitlines())]


def test_what_predict_says_is_in_the_files(trained, photos, tmp_path):
    result = ception.predict_into(trained, photos, tmp_path / "out", part_size=5, top=2)
    told = ception.predict(trained, photos, top=2)
    names = sorted(path.name for path in (tmp_path / "out").glob("*"))
    assert names == [".ception", "job.json", "part-00000.csv", "part-00001.csv", "part-00002.csv"]
    expected = [
        {"path": one.path, "rank": str(rank), "class": guess.class_name, "probability": str(guess.probability),
         "unknown": "no", "error": ""}
        for one in told for rank, guess in enumerate(one.top, 1)
    ]  # fmt: skip
    rows = answers(tmp_path / "out")
    assert [row for row in rows if not row["error"]] == expected
    assert [Path(row["path"]).name for row in rows if row["error"]] == ["zz.png"]
    assert (result.pictures, result.failed, result.files) == (13, 1, 3)
    assert dict(result.classes) == {"red": 7, "blue": 5}


def test_a_job_goes_on_where_whole_files_end(trained, photos, tmp_path, monkeypatch):
    out, asked = tmp_path / "out", []
    whole = ception.predict_into(trained, photos, out, part_size=3)
    before = {path.name: path.read_bytes() for path in out.glob("part-*")}
    (out / "part-00001.csv").unlink()
    (out / "part-00003.csv").unlink()
    real = Predictor.predictions

    def counted(self, *given, indices, **options):
        asked.extend(indices.tolist())
        return real(self, *given, indices=indices, **options)

    monkeypatch.setattr(Predictor, "predictions", counted)
    notes = Notes()
    assert ception.predict_into(trained, photos, out, part_size=3, reporter=notes) == whole
    assert asked == [3, 4, 5, 9, 10, 11]
    assert {path.name: path.read_bytes() for path in out.glob("part-*")} == before
    assert any("has the answers for 7 of 13 pictures" in note for note in notes.notes)


def test_one_that_is_done_opens_no_model(trained, photos, tmp_path, monkeypatch):
    whole = ception.predict_into(trained, photos, tmp_path / "out")
    monkeypatch.setattr(Predictor, "open", None)
    assert ception.predict_into(trained, photos, tmp_path / "out") == whole


@pytest.mark.parametrize(
    ("changed", "named"),
    [({"top": 1}, "top"), ({"min_confidence": 0.5}, "min_confidence"), ({"part_size": 4}, "part_size")],
)
def test_another_job_is_not_mixed_with_it(trained, photos, tmp_path, changed, named):
    ception.predict_into(trained, photos, tmp_path / "out", part_size=5)
    with pytest.raises(InputError, match=f"another job, which differs in: {named}; name another folder"):
        ception.predict_into(trained, photos, tmp_path / "out", **{"part_size": 5} | changed)
    (photos / "red" / "one_more.png").write_bytes((photos / "blue" / "zz.png").read_bytes())
    with pytest.raises(
        InputError, match=r"differs in: pictures, count; name another folder, or the pictures by the same paths"
    ):
        ception.predict_into(trained, photos, tmp_path / "out", part_size=5)


def test_other_files_are_left_alone(trained, photos, tmp_path):
    with pytest.raises(InputError, match="holds other files: name a new folder"):
        ception.predict_into(trained, photos, photos / "red")
    assert not (photos / "red" / "job.json").exists()


def test_unknown_is_an_answer(trained, photos, tmp_path):
    result = ception.predict_into(trained, photos, tmp_path / "out", min_confidence=1.0)
    assert result.classes["unknown"] > 0
    rows = [row for row in answers(tmp_path / "out") if row["rank"] == "1"]
    assert sum(row["unknown"] == "yes" for row in rows) == result.classes["unknown"]


def test_features(trained, photos, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    options = {"table": "parquet", "features": True, "part_size": 5}
    result = ception.predict_into(trained, photos, tmp_path / "out", **options)
    rows = [
        row for path in sorted((tmp_path / "out").glob("*.parquet")) for row in parquet.read_table(path).to_pylist()
    ]
    assert [sorted(row) for row in rows] == [["error", "features", "path"]] * 13
    assert [Path(row["path"]).name for row in rows if row["error"]] == ["zz.png"]
    good = [row for row in rows if not row["error"]]
    classifier = ception.Classifier.load(trained)
    network = classifier.network
    body = keras.Model(network.input, network.get_layer(before_head(network)).output)
    pixels = np.stack([to_pixels(read(row["path"]), classifier.image) for row in good])
    expected = np.asarray(body.predict_on_batch(pixels.astype(np.float32))).reshape(len(good), -1)
    assert difference(np.array([row["features"] for row in good]), expected) < 1e-4
    assert (result.pictures, result.failed, result.files, dict(result.classes)) == (13, 1, 3, {})
    (tmp_path / "out" / "part-00001.parquet").unlink()
    assert ception.predict_into(trained, photos, tmp_path / "out", **options) == result


def test_features_are_no_answers_of_an_export_and_no_rows_of_csv(trained, photos, tmp_path):
    with pytest.raises(InputError, match="features are columns of Parquet: give --table parquet with --features"):
        ception.predict_into(trained, photos, tmp_path / "out", features=True)
    pytest.importorskip("openvino")
    pytest.importorskip("pyarrow")
    ception.export(trained, "openvino", out=tmp_path / "it.xml", pictures=2, reporter=Notes())
    with pytest.raises(InputError, match="leave out --features, or name the model file"):
        ception.predict_into(tmp_path / "it.xml", photos, tmp_path / "out", features=True, table="parquet")


def test_parquet(trained, photos, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    result = ception.predict_into(trained, photos, tmp_path / "out", table="parquet", part_size=6)
    rows = [
        row for path in sorted((tmp_path / "out").glob("*.parquet")) for row in parquet.read_table(path).to_pylist()
    ]
    told = ception.predict(trained, photos)
    assert [row["path"] for row in rows] == [one.path for one in told]
    assert [row["classes"] for row in rows] == [[guess.class_name for guess in one.top] for one in told]
    assert [row["error"] for row in rows] == [one.error for one in told]
    assert ception.predict_into(trained, photos, tmp_path / "out", table="parquet", part_size=6) == result


def test_an_address(trained, photos):
    fsspec = pytest.importorskip("fsspec")
    result = ception.predict_into(trained, photos, "memory://answers/of-it", part_size=5)
    system = fsspec.filesystem("memory")
    assert sorted(name.rpartition("/")[2] for name in system.find("/answers/of-it")) == [
        "job.json", "part-00000.csv", "part-00001.csv", "part-00002.csv",
    ]  # fmt: skip
    assert ception.predict_into(trained, photos, "memory://answers/of-it", part_size=5) == result
    system.rm("/answers", recursive=True)


def test_a_broken_file_is_told(tmp_path):
    folder = Folder(str(tmp_path), 3, 2, "parquet")
    (tmp_path / "part-00000.parquet").write_bytes(b"PAR1")
    with pytest.raises(RunError, match=r"part-00000.parquet is broken \(.*\): remove it, and begin again"):
        folder.read(0)
    assert folder.missing() == [1]
    assert [len(folder.pictures_of(number)) for number in range(len(folder))] == [2, 1]
    assert Part() + Part(2, 1) == Part(2, 1)


def test_the_command(run_cli, trained, photos, tmp_path):
    code, out, err = run_cli("predict", trained, photos, "--out", tmp_path / "o", "--part-size", "4")
    assert (code, err.splitlines()[-1]) == (2, "ception: 1 of 13 pictures could not be read: the files say why")
    assert out.splitlines() == ["red: 7 (58.3%)", "blue: 5 (41.7%)", f"13 pictures in 4 files in {tmp_path / 'o'}"]
    code, out, _ = run_cli("predict", trained, photos / "red", "--out", tmp_path / "p", "--json")
    assert (code, json.loads(out)["classes"]) == (0, {"red": 7})
    code, _, err = run_cli("predict", trained, photos, "--part-size", "4")
    assert (code, err) == (2, "ception: --part-size is for many pictures: name a folder with --out\n")
    code, _, err = run_cli("predict", trained, photos, "--out", tmp_path / "q", "--csv", tmp_path / "c.csv")
    assert (code, "leave out --csv" in err) == (2, True)
    code, _, err = run_cli("predict", trained, photos, "--csv", "s3://bucket/c.csv")
    assert (code, "--csv must be a path on this machine" in err) == (2, True)
    code, _, err = run_cli("predict", trained, photos, "--out", tmp_path / "q", "--on", "spark")
    assert (code, err) == (2, "ception: --on must be ray or ray://HOST:PORT, got 'spark'\n")


def test_what_is_not_installed_is_named(run_cli, trained, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    code, _, err = run_cli("predict", trained, photos, "--out", tmp_path / "q", "--on", "ray")
    assert (code, err) == (2, "ception: --on ray needs Ray: pip install 'ception[ray]'\n")
    code, _, err = run_cli("predict", trained, photos, "--out", tmp_path / "q", "--table", "parquet")
    assert (code, err) == (2, "ception: --table parquet needs pyarrow: pip install 'ception[parquet]'\n")
    assert not (tmp_path / "q").exists()


@pytest.mark.parametrize(("told", "expected"), [("1", 1), ("", None), ("nonsense", None), ("0", None), ("1,2", 1)])
def test_threads_are_those_of_the_environment(monkeypatch, told, expected):
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    assert threads() == (cores() if expected is None else expected)


ON_RAY = """
import sys, ception
result = ception.predict_into(sys.argv[1], sys.argv[2], sys.argv[3], part_size=int(sys.argv[4]), on="ray")
print(result.pictures, result.failed, dict(result.classes))
"""


def begun(*arguments: object) -> subprocess.Popen[str]:
    """A process that runs a job on a cluster of its own."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    environment.pop("RAY_ADDRESS", None)
    return subprocess.Popen(
        [sys.executable, "-c", ON_RAY, *map(str, arguments)],
        env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def told(*words: object) -> tuple[int, str, str]:
    """Exit code, standard output and error of a command with a cluster of its own."""
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    done = subprocess.run(
        [sys.executable, "-m", "ception", *map(str, words)], env=environment | {"OMP_NUM_THREADS": "1"}, text=True,
        capture_output=True, timeout=250,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def probable(out: Path) -> list[tuple[str, str, float]]:
    """Of each row the picture's name, the class and its probability to four places."""
    rows = answers(out)
    return [(row["path"].rpartition("/")[2], row["class"], round(float(row["probability"]), 4)) for row in rows]


def descendants(process: int) -> list[int]:
    """The processes that a process began, and those that they began."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
    found = [process]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]


@pytest.mark.slow  # it starts a cluster
class TestOnRay:
    @pytest.fixture(autouse=True)
    def _ray(self) -> None:
        pytest.importorskip("ray")

    def test_the_files_are_those_of_one_process(self, trained, photos, tmp_path):
        here = ception.predict_into(trained, photos, tmp_path / "here", part_size=5)
        process = begun(trained, photos, tmp_path / "there", 5)
        out, err = process.communicate(timeout=250)
        assert (process.returncode, out) == (0, f"{here.pictures} {here.failed} {dict(here.classes)}\n"), err
        assert answers(tmp_path / "there") == answers(tmp_path / "here")

    def test_a_lost_worker_is_replaced(self, trained, photos, tmp_path):
        listing = tmp_path / "many"
        listing.mkdir()
        for number in range(40):
            for path in photos.rglob("*.png"):
                (listing / f"{number}-{path.parent.name}-{path.name}").symlink_to(path)
        process, killed = begun(trained, listing, tmp_path / "out", 4), []

        def kill() -> None:
            while process.poll() is None and not killed:
                time.sleep(0.02)
                if not list((tmp_path / "out").glob("part-*")):
                    continue
                for child in descendants(process.pid):
                    if b"MapWorker" in Path(f"/proc/{child}/cmdline").read_bytes():
                        os.kill(child, signal.SIGKILL)
                        killed.append(child)
                        return

        thread = threading.Thread(target=kill)
        thread.start()
        out, err = process.communicate(timeout=250)
        thread.join()
        assert process.returncode == 0, err
        assert killed
        count = len(list(listing.iterdir()))
        assert out.startswith(f"{count} "), out
        assert len(out.splitlines()) == 1
        assert len({row["path"] for row in answers(tmp_path / "out")}) == count

    def test_from_a_bucket_into_it(self, trained, photos, tmp_path, monkeypatch):
        (photos / "blue" / "zz.png").unlink()
        ception.shard(photos, tmp_path / "shards")
        here = ception.predict_into(trained, tmp_path / "shards", tmp_path / "here", part_size=5)
        words = "predict", trained, "s3://bucket/shards", "--on", "ray", "--out", "s3://bucket/out", "--part-size", "5"
        with s3.serving(monkeypatch, {"shards": tmp_path / "shards"}) as system:
            code, said, err = told(*words, "--json")
            assert (code, json.loads(said)["classes"]) == (0, here.classes), err
            names = ["job.json", *(f"part-0000{number}.csv" for number in range(3))]
            assert system.find("bucket/out") == [f"bucket/out/{name}" for name in names]
            system.get("bucket/out", str(tmp_path / "there"), recursive=True)
            assert probable(tmp_path / "there") == probable(tmp_path / "here")
            system.rm("bucket/out/part-00001.csv")
            kept = [system.info(f"bucket/out/part-0000{number}.csv")["LastModified"] for number in (0, 2)]
            code, said, err = told(*words, "--json")
            assert (code, json.loads(said)["classes"]) == (0, here.classes), err
            assert "s3://bucket/out has the answers for 7 of 12 pictures" in err
            assert "Ray: " in err
            system.invalidate_cache()
            assert system.find("bucket/out") == [f"bucket/out/{name}" for name in names]
            assert kept == [system.info(f"bucket/out/part-0000{number}.csv")["LastModified"] for number in (0, 2)]
            code, said, err = told(*words, "--json")
            assert (code, json.loads(said)["classes"], "Ray: " in err) == (0, here.classes, False)

    def test_a_cluster_that_is_not_there(self, run_cli, trained, photos, tmp_path, monkeypatch):
        code, _, err = run_cli("predict", trained, photos, "--out", tmp_path / "o", "--on", "ray://127.0.0.1:9")
        told = "the cluster at ray://127.0.0.1:9 cannot be reached: Connection refused"
        assert (code, err.splitlines()[-1]) == (1, f"ception: {told}")
        monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
        with pytest.raises(RunError, match=r"the cluster at 127.0.0.1:9 cannot be reached"):
            ception.predict_into(trained, photos, tmp_path / "o", on="ray")
