"""The schemas of the reference: right themselves, and real files and outputs are as they say."""

from __future__ import annotations

import csv
import inspect
import json
import re
import zipfile
from io import StringIO
from pathlib import Path

import pytest

import ception
from ception import benchmarking
from ception.benchmarking.cases import Case
from ception.benchmarking.processes import Outcome
from ception.cli.app import app
from ception.models.config import NetworkConfig
from ception.results import Certificate, ExportedWeights, Measurement, TrialEntry, TuneResult
from ception.results.conversions import PixelScaling
from ception.training.state import Decisions
from support.documents import ROOT

jsonschema_rs = pytest.importorskip("jsonschema_rs", reason="jsonschema-rs is not installed")

SCHEMAS = ROOT / "docs" / "reference" / "schemas"
NAMES = sorted(path.name.removesuffix(".schema.json") for path in SCHEMAS.glob("*.json"))


def faults(name: str, value: object) -> list[str]:
    """What a schema says against a value."""
    schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text())
    found = jsonschema_rs.validator_for(schema).iter_errors(value)
    return [f"{'/'.join(map(str, error.instance_path))}: {error.message}" for error in found]


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(path.read_text())))


@pytest.mark.parametrize("name", NAMES)
def test_every_schema_is_one_and_is_named_on_the_page_of_files(name):
    jsonschema_rs.meta.validate(json.loads((SCHEMAS / f"{name}.schema.json").read_text()))
    assert f"(schemas/{name}.schema.json)" in (SCHEMAS.parent / "files.md").read_text()
    assert faults(name, ["no object"])
    assert faults(name, {"a_key_that": "no file has"})


def test_what_a_run_leaves(trained):
    settings = json.loads((trained / "settings.json").read_text())
    assert faults("settings", settings) == []
    assert faults("settings-of-train", settings["settings"]) == []
    assert faults("scores", json.loads((trained / "scores.json").read_text())) == []
    assert [fault for row in rows(trained / "predictions.csv") for fault in faults("predictions-row", row)] == []
    assert [fault for row in rows(trained / "log.csv") for fault in faults("log-row", row)] == []


def test_a_changed_file_of_a_run_is_noticed(trained):
    scores = json.loads((trained / "scores.json").read_text())
    assert faults("scores", {**scores, "count": "many"}) == ['count: "many" is not of type "integer"']
    (said,) = faults("predictions-row", {**rows(trained / "predictions.csv")[0], "logit_red": "high"})
    assert said.startswith("logit_red")


def test_the_model_file(trained):
    with zipfile.ZipFile(trained / "model.keras") as archive:
        described = json.loads(archive.read("model.json"))
    assert faults("model", described) == []
    assert faults("model", {**described, "format": 2}) == ["format: 1 was expected"]
    assert faults("settings-of-train", described["record"]["settings"]) == []


def test_what_the_machine_decides(tmp_path):
    Decisions("bfloat16").with_epochs(2, 5).with_parts(1, 4).save(tmp_path / "decided.json")
    assert faults("decided", json.loads((tmp_path / "decided.json").read_text())) == []
    assert faults("decided", {"precision": "float32", "epochs": {"one": 3}, "parts": {}})


def test_what_commands_write(trained, run_cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    colours = trained.parents[1] / "colours"
    _, lines, _ = run_cli("predict", trained, colours / "red", __file__, "--json", "--top", 2)
    assert [fault for line in lines.splitlines() for fault in faults("prediction", json.loads(line))] == []
    run_cli("predict", trained, colours / "red", "--csv", "p.csv")
    assert [fault for row in rows(Path("p.csv")) for fault in faults("predict-row", row)] == []
    job = run_cli("predict", trained, colours / "red", "--out", "answers", "--json")[1]
    assert faults("job", json.loads(job)) == []
    assert [
        fault for path in Path("answers").glob("*.csv") for row in rows(path) for fault in faults("predict-row", row)
    ] == []
    assert faults("check", json.loads(run_cli("check", colours, "--json")[1])) == []
    listed = json.loads(run_cli("runs", trained.parent, "--json")[1])
    assert [fault for one in listed for fault in faults("run", one)] == []
    assert faults("comparison", json.loads(run_cli("compare", trained, trained, "--json")[1])) == []
    assert faults("diagnosis", json.loads(run_cli("doctor", "--json")[1])) == []
    assert faults("summary", json.loads(run_cli("summary", trained, "--json")[1])) == []
    assert faults("shards-written", json.loads(run_cli("shard", colours, "shards", "--json")[1])) == []
    assert faults("shards", json.loads(Path("shards/shards.json").read_text())) == []


@pytest.mark.slow
def test_what_slower_commands_write(trained, run_cli, tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    monkeypatch.chdir(tmp_path)
    colours = trained.parents[1] / "colours"
    picture = next((colours / "red").iterdir())
    told = json.loads(run_cli("explain", trained, picture, "--json")[1])
    assert [fault for one in told for fault in faults("explanation", one)] == []
    written = json.loads(run_cli("export", trained, "--to", "onnx", "--out", "c.onnx", "--data", colours, "--json")[1])
    assert faults("export", written) == []
    assert faults("export", json.loads(Path("c.onnx.report.json").read_text())) == []


def test_what_is_listed(run_cli):
    assert faults("architectures", json.loads(run_cli("models", "--json")[1])) == []
    assert faults("published-weights", json.loads(run_cli("models", "--weights", "--json")[1])) == []


def test_what_convert_tells():
    told = Certificate(
        source="w.h5", sha256="0", model="xception", scheme="keras", matched=236, missing=(), unused=("a",),
        adapted={"b": "turned"}, original="keras.applications 3.15", endpoints={"block1": 1e-6}, logits=2e-6,
        out="x.keras",
    )  # fmt: skip
    assert faults("certificate", json.loads(json.dumps(told.as_dict()))) == []
    scaling = PixelScaling(scale=1 / 127.5, offset=-1.0)
    written = ExportedWeights(out="w.h5", to="timm", tensors=236, use="load()", scaling=scaling)
    assert faults("exported-weights", json.loads(json.dumps(written.as_dict()))) == []


def test_every_command_that_writes_json_has_a_schema():
    page = (SCHEMAS.parent / "files.md").read_text()
    without = [
        name for name in app
        if not name.startswith("-") and "json" in inspect.signature(app[name].default_command).parameters
        and not re.search(rf"`{name} (--\w+ )*--json`", page)
    ]  # fmt: skip
    assert without == []


def test_what_tune_tells():
    trials = (
        TrialEntry(number=2, options="--epochs 3", state="finished", folder="runs/2", val_accuracy=0.9, val_loss=0.3),
        TrialEntry(number=1, options="", state="failed", reason="it broke"),
    )
    told = TuneResult(data="d", trials=trials, best="runs/2", accuracy=0.9, accuracy_interval=(0.8, 0.95), command="c")
    assert faults("tuning", json.loads(json.dumps(told.as_dict()))) == []


def test_what_bench_tells(monkeypatch):
    case = Case(config=NetworkConfig.of("separable_cnn").as_dict(), task="inference", runner="jax", backend="jax",
                dtype="float32", layers="stock", batch_sizes=(1,), remember=False)  # fmt: skip
    outcome = Outcome((Measurement(task="inference", runner="jax", dtype="float32", layers="stock", batch_size=1,
                                   ms=100.0, images_per_s=10.0),), 10**9, {"float32": 40.0})  # fmt: skip
    monkeypatch.setattr(benchmarking, "cases_of", lambda config, settings: [case])
    monkeypatch.setattr(benchmarking, "carried_out", lambda *_: outcome)
    assert faults("benchmark", json.loads(json.dumps(ception.bench("separable_cnn").as_dict()))) == []
