"""The types of the public functions: their keywords current, and all of use to who writes a script."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
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
# what comes back has types too, and not Any
TYPED = """\
from pathlib import Path
from typing import assert_type

import ception
from ception.results import CheckResult, Comparison, Diagnosis, Explanation, ExportReport, Prediction, Scores


class Loud(ception.Reporter):
    def note(self, text: str) -> None:
        print(text)


def job(photos: Path) -> list[str]:
    run = ception.train(photos, weights="imagenet", epochs=3, reporter=Loud())
    again = ception.resume(run.folder)
    scores = ception.evaluate(run.classifier, photos, split="test")
    said = ception.predict(again.folder, [photos / "a.jpg"], 3, min_confidence=0.5)
    assert_type(ception.check(photos, model="xception", image_size=150), CheckResult)
    assert_type(run, ception.Run)
    assert_type(scores, Scores)
    assert_type(scores.accuracy, float)
    assert_type(said, list[Prediction])
    assert_type(said[0].top[0].probability, float)
    assert_type(ception.compare(run.folder, "other"), Comparison)
    assert_type(ception.explain(run.folder, photos), list[Explanation])
    assert_type(ception.export(run.folder, "onnx"), ExportReport)
    assert_type(ception.doctor(), Diagnosis)
    with_engine = ception.Predictor.open(run.folder, dtype="bfloat16")
    with_engine.close()
    try:
        ception.build("xception", image_size=(150, 200), dropout=0.2)
    except (ception.InputError, ception.RunError) as error:
        return [str(error)]
    return [one.top[0].class_name for one in said]
"""
# the package itself is checked elsewhere, and what it imports is of no matter here
SETTINGS = """\
[mypy]
strict = True
follow_imports = silent
[mypy-cyclopts.*,h5py.*,jinja2.*,keras.*,matplotlib.*,ml_dtypes.*,numpy.*,PIL.*,rich.*,scipy.*]
follow_imports = skip
ignore_missing_imports = True
"""


def test_the_file_is_current():
    tool = runpy.run_path(str(ROOT / "tools" / "write_options.py"))
    assert tool["FILE"].read_text(encoding="utf-8") == tool["text"](), "run: python tools/write_options.py"


@pytest.mark.slow  # mypy reads all of it; `make check` reads as much
def test_mypy_checks_scripts_as_strictly_as_it_can(tmp_path, monkeypatch):
    mypy = pytest.importorskip("mypy.api")
    (tmp_path / "mypy.ini").write_text(SETTINGS)
    (tmp_path / "script.py").write_text(SCRIPT + WRONG)
    (tmp_path / "typed.py").write_text(TYPED)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MYPYPATH", str(Path(ception.__file__).parents[1]))
    files = ["script.py", "typed.py", str(ROOT / "examples" / "fine_tuning.py")]
    said, trouble, _ = mypy.run(["--config-file", "mypy.ini", "--no-error-summary", *files])
    assert not trouble
    errors = [line for line in said.splitlines() if ": error: " in line]
    assert [line for line in errors if not line.startswith("script.py:")] == []
    lines = {int(line.split(":")[1]) for line in errors}
    first = 1 + len(SCRIPT.splitlines())
    assert lines == set(range(first, first + len(WRONG.splitlines()))), said
    assert 'Unexpected keyword argument "epoch" for "train"; did you mean "epochs"?' in said


class TestMisspelt:
    """What is wrong in a script is told with the nearest that there is, before anything is read or fetched."""

    @pytest.mark.parametrize(
        ("call", "says"),
        [
            (lambda: ception.predict("m.keras", "photos", wrong=1), "unknown option 'wrong': known: .*min_confidence"),
            (lambda: ception.predict(model="m.keras", pictures="p", topp=1), "did you mean 'top'"),
            (
                lambda: ception.predict("xcepton", np.zeros((9, 9, 3), np.uint8), weights="imagenet"),
                "did you mean 'xception'",
            ),
            (lambda: ception.train("fashion-mnist-sample", model="xcepton"), "did you mean 'xception'"),
            (lambda: ception.train("fashion-mnist-sample", model="separable_cnn", recipe="bst"), "did you mean 'best'"),
            (lambda: ception.train("fashion-mnist-sample", model="xception", weights="imagnet"), "mean 'imagenet'"),
            (lambda: ception.check("fashion-mnist-sample", model="xcepton"), "did you mean 'xception'"),
            (lambda: ception.convert("imagenet", "xcepton"), "did you mean 'xception'"),
            (lambda: ception.convert("imagenet", "xception", imagesize=150), "did you mean 'image_size'"),
            (lambda: ception.convert("imagenet", "xception", class_name=["a"]), "did you mean 'class_names'"),
            (lambda: ception.build("xception", weights="imagenet", weigths="imagenet"), "did you mean 'weights'"),
            (lambda: ception.Classifier.build("xception", ["a"], weights="imagenet", resiz=3), "did you mean 'resize'"),
            (lambda: ception.Classifier.pretrained("xception", "imagenet", partal=True), "did you mean 'partial'"),
            (lambda: ception.summary("xcepton"), "did you mean 'xception'"),
        ],
    )
    def test_names_are_told_with_the_nearest(self, call, says, monkeypatch):
        def fetched(*_: object, **__: object) -> None:
            raise AssertionError("something was fetched")

        monkeypatch.setattr("ception.downloads.fetch", fetched)
        with pytest.raises(ception.InputError, match=says):
            call()

    def test_a_model_that_is_not_there_is_told_with_those_beside_it(self, trained, tmp_path):
        runs, photos = trained.parent, np.zeros((9, 9, 3), np.uint8)
        with pytest.raises(ception.InputError, match=rf"; did you mean '{trained}'\?$"):
            ception.predict(runs / "001-separable_cn-colours_", photos)
        with pytest.raises(ception.InputError, match=r"No such file or directory$"):
            ception.predict(tmp_path / "nowhere" / "zzz", photos)
        with pytest.raises(ception.InputError, match=r"xception is a network: name weights for it too"):
            ception.predict("xception", photos)
        with pytest.raises(ception.InputError, match=r"did you mean 'xception'"):
            ception.predict("xceptionn", photos)

    def test_a_run_that_is_not_there_where_none_is(self, tmp_path):
        with pytest.raises(ception.InputError, match=r"there is no run .*: none is here$"):
            ception.resume(tmp_path / "001")

    def test_a_public_name(self):
        with pytest.raises(AttributeError, match=r"has no attribute 'trian'; did you mean 'train' or 'train_on'\?"):
            ception.trian  # noqa: B018
        with pytest.raises(AttributeError, match=r"has no attribute 'zzz'$"):
            ception.zzz  # noqa: B018
