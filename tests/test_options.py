"""The typed keywords of the public functions: current, and of use to who writes a script."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

import ception

ROOT = Path(__file__).parents[1]
SCRIPT = """\
from pathlib import Path
import ception
from ception.demo import demo
from ception.prediction import predictions
run = ception.train("data", model="xception", epochs=3, dropout=0.5, dtype="bfloat16", runs=Path("runs"))
ception.find_learning_rate("data", picture="lr.png", batch_size=8)
ception.evaluate(run.folder, "data", split="val", target_precision=0.9, out="scores")
ception.predict(run.classifier, ["a.png"], 3, min_confidence=0.5)
predictions("model.keras", "photos", top=1, device="cpu")
ception.compare("one", "other", out=Path("c"))
ception.check("data", model=None, image_size=224)
ception.summary("xception", image_size=150)
ception.build("xception", weights=Path("w.h5"), image_size=(150, 200), dropout=0.2, every={"inner": "elu"})
ception.Classifier.build("xception", ["a", "b"], weights="imagenet", resize="pad", image_size=150)
demo(epochs=1)
"""
WRONG = """\
ception.train("data", epoch=3)
ception.train("data", epochs="3")
ception.train("data", resize="sqush")
ception.find_learning_rate("data", batchsize=8)
ception.evaluate("model", "data", precision=0.9)
ception.predict("model", "photos", min_confidance=0.5)
predictions("model", "photos", devise="cpu")
ception.compare("one", "other", out=3)
ception.check("data", imagesize=224)
ception.summary("xception", size=150)
ception.build("xception", imagesize=150)
ception.build("xception", depth_multiplier="half")
ception.Classifier.build("xception", ["a"], dropuot=0.2)
ception.Classifier.build("xception", ["a"], resize="sqush")
demo(epochs=None, seed="a")
"""
# the package itself is checked elsewhere, and what it imports is of no matter here
SETTINGS = """\
[mypy]
follow_imports = silent
[mypy-cyclopts.*,h5py.*,jinja2.*,keras.*,matplotlib.*,ml_dtypes.*,numpy.*,PIL.*,rich.*,scipy.*]
follow_imports = skip
ignore_missing_imports = True
"""


def test_the_file_is_current():
    tool = runpy.run_path(str(ROOT / "tools" / "write_options.py"))
    assert tool["FILE"].read_text(encoding="utf-8") == tool["text"](), "run: python tools/write_options.py"


def test_mypy_checks_a_script(tmp_path, monkeypatch):
    mypy = pytest.importorskip("mypy.api")
    (tmp_path / "mypy.ini").write_text(SETTINGS)
    (tmp_path / "script.py").write_text(SCRIPT + WRONG)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MYPYPATH", str(Path(ception.__file__).parents[1]))
    said, trouble, _ = mypy.run(["--config-file", "mypy.ini", "--no-error-summary", "script.py"])
    assert not trouble
    lines = {int(line.split(":")[1]) for line in said.splitlines() if ": error: " in line}
    first = 1 + len(SCRIPT.splitlines())
    assert lines == set(range(first, first + len(WRONG.splitlines()))), said
    assert 'Unexpected keyword argument "epoch" for "train"; did you mean "epochs"?' in said
