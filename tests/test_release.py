"""What is published: its content, its one version, and the script that tries it."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import ception
import distributions
import release
from support.marks import not_on_jax

ROOT = Path(__file__).parents[1]
PACKAGE = {"ception/__init__.py": b"1", "ception/py.typed": b""}
# lowest and newest version of each, as docs/compatibility.md has them
TABLE = {
    name: (lowest, newest) for name, lowest, newest in re.findall(
        r"^\| (\w[\w ]*) \| (\d[\d.]*) \| (\d[\d.]*) \|$", (ROOT / "docs" / "compatibility.md").read_text(), re.M)
}  # fmt: skip
PACKAGES = {"Keras": "keras", "NumPy": "numpy", "TensorFlow": "tensorflow-cpu", "JAX": "jax", "PyTorch": "torch",
            "OpenVINO": "openvino", "ONNX Runtime": "onnxruntime", "LiteRT": "ai-edge-litert"}  # fmt: skip
METADATA = {f"ception-1.dist-info/{name}": b"" for name in ("METADATA", "RECORD", "WHEEL", "licenses/LICENSE")}
NEEDED = ("ception/py.typed", "*.dist-info/licenses/LICENSE")


class TestContent:
    def test_a_whole_wheel(self):
        assert distributions.faults_of_wheel(PACKAGE | METADATA, PACKAGE, NEEDED) == []

    @pytest.mark.parametrize(("change", "fault"), [
        ({"ception/__init__.py": b"2"}, "has another ception/__init__.py"),
        ({"ception/notes.txt": b""}, "has ception/notes.txt, which is not in the source tree"),
        ({"tests/test_it.py": b""}, "has tests/test_it.py, which is not in the source tree"),
        ({"ception-1.dist-info/notes.txt": b""}, "has ception-1.dist-info/notes.txt, which is not in the source tree"),
        ({"ception-1.dist-info/METADATA": f"{ROOT}/x".encode()}, f"METADATA, in which {ROOT} stands"),
        ({"ception-1.dist-info/licenses/LICENSE": None}, "lacks *.dist-info/licenses/LICENSE"),
    ])  # fmt: skip
    def test_what_is_wrong_with_a_wheel(self, change, fault):
        found = {name: data for name, data in (PACKAGE | METADATA | change).items() if data is not None}
        (told,) = distributions.faults_of_wheel(found, PACKAGE, NEEDED)
        assert fault in told

    def test_what_is_missing_in_wheel_and_source_tree(self):
        less = {"ception/__init__.py": b"1"}
        assert distributions.faults_of_wheel(less | METADATA, less, NEEDED) == ["lacks ception/py.typed"]
        (told,) = distributions.faults_of_wheel(less | METADATA, PACKAGE, ())
        assert told == "lacks ception/py.typed"

    def test_what_a_build_makes(self):
        found = PACKAGE | METADATA | {"ception/lib.so": b""}
        assert distributions.faults_of_wheel(found, PACKAGE, NEEDED, ["ception/*.so"]) == []

    def test_an_sdist(self):
        assert distributions.faults_of_sdist({"a": b"1", "PKG-INFO": b""}, {"a": b"1"}) == []
        assert distributions.faults_of_sdist({"build/a.o": b""}, {"a": b"1"}) == [
            "lacks a", "has build/a.o, which does not belong into it"
        ]  # fmt: skip

    def test_wheels_that_differ(self):
        assert distributions.differences(PACKAGE | METADATA, PACKAGE | METADATA) == []
        other = PACKAGE | {"ception/__init__.py": b"2", "x": b"", "y/RECORD": b""}
        assert distributions.differences(PACKAGE, other) == ["ception/__init__.py", "x"]

    def test_archives_are_read(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "a-1-py3-none-any.whl", "w") as wheel:
            wheel.mkdir("a")
            wheel.writestr("a/b", b"1")
        with tarfile.open(tmp_path / "a-1.tar.gz", "w:gz") as sdist:
            one = tarfile.TarInfo("a-1/src/b")
            one.size = 1
            sdist.addfile(one, io.BytesIO(b"2"))
        assert distributions.members(tmp_path / "a-1-py3-none-any.whl") == {"a/b": b"1"}
        assert distributions.members(tmp_path / "a-1.tar.gz") == {"src/b": b"2"}

    def test_what_a_wheel_needs_is_in_the_source_tree(self):
        there = [path for path in distributions.NEEDED if not path.startswith("*")]
        assert all((ROOT / "src" / path).is_file() for path in there)
        assert (ROOT / "kernels" / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


class TestVersion:
    """It stands in pyproject.toml; these have to repeat it, because a file of their kind must."""

    VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

    def test_the_kernels_have_it(self):
        assert distributions.version(ROOT / "kernels") == self.VERSION

    def test_the_citation_has_it(self):
        assert re.findall(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.M) == [self.VERSION]

    def test_the_changelog_has_none_that_is_later(self):
        headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
        released = [re.fullmatch(r"(\d+\.\d+\.\d+) - \d{4}-\d\d-\d\d", one) for one in headings if one != "Unreleased"]
        assert all(released), headings
        assert headings[0] == "Unreleased" or released[0][1] == self.VERSION
        assert all(one[1] == self.VERSION for one in released[:1])

    def test_nothing_else_has_it(self):
        files = [*(ROOT / "src").rglob("*.py"), ROOT / "README.md", *(ROOT / "kernels" / "python").rglob("*.py")]
        assert [path.name for path in files if f'"{self.VERSION}"' in path.read_text()] == []


class TestSupportedVersions:
    def test_it_has_all_backends_and_engines(self):
        assert set(TABLE) == {"Python", *PACKAGES}

    def test_lowest_ones_are_those_that_can_be_installed(self):
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        lines = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
        required = {one.name: part.version for one in map(Requirement, lines) for part in one.specifier
                    if part.operator == ">="}  # fmt: skip
        wanted = {name: required[package] for name, package in PACKAGES.items()}
        assert {name: TABLE[name][0] for name in wanted} == wanted
        assert project["requires-python"] == f">={TABLE['Python'][0]}"

    def test_newest_ones_are_those_of_the_constraints(self):
        pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines()[1:])
        wanted = {name: pinned[package] for name, package in PACKAGES.items()}
        assert {name: TABLE[name][1] for name in wanted} == wanted


class TestTrials:
    KERNELS = "ception_kernels-1-py3-none-manylinux_2_35_x86_64.whl"
    BUILT = tuple(Path("/d", name) for name in (
        "ception-1-py3-none-any.whl", "ception-1.tar.gz", KERNELS, "ception_kernels-1.tar.gz"))  # fmt: skip

    @pytest.mark.parametrize(("trial", "wanted"), [
        (release.Trial("3.11", "sdist", False), ["ception[tensorflow] @ file:///d/ception-1.tar.gz"]),
        (release.Trial("3.11", "wheel", True), [
            "ception[tensorflow,onnx,openvino,serve] @ file:///d/ception-1-py3-none-any.whl",
            f"ception-kernels @ file:///d/{KERNELS}",
        ]),
    ])  # fmt: skip
    def test_what_is_installed(self, trial, wanted):
        assert trial.requirements(self.BUILT) == wanted

    def test_what_stands_in_the_way_of_publishing_is_told(self, tmp_path, monkeypatch):
        monkeypatch.setattr(release, "DIST", tmp_path)
        file = tmp_path / "a.whl"
        file.write_bytes(b"1")
        told = release.summary([file], "99.0.0")
        digest = "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"
        assert digest in told
        assert "Not to be published: CHANGELOG.md has no heading '## 99.0.0 - DATE'" in told
        assert (tmp_path / "SHA256SUMS").read_text() == f"{digest}  a.whl\n"


SMOKE = ROOT / "tools" / "smoke.py"


def smoke(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The script, of the interpreter that runs the tests, in a folder."""
    command = [sys.executable, "-I", str(SMOKE), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_a_trial_wants_an_empty_folder(tmp_path):
    (tmp_path / "left").touch()
    done = smoke(tmp_path, ception.__version__)
    assert (done.returncode, done.stderr) == (1, "not so: the current folder is empty\n")


def test_a_trial_wants_what_it_was_built_from(tmp_path):
    """The checkout of these tests is not installed: its package lies outside of the environment."""
    done = smoke(tmp_path, ception.__version__)
    assert done.returncode == 1
    assert re.search(r"^not so: .* lies in ", done.stderr, re.M)


@not_on_jax
@pytest.mark.slow
def test_what_a_trial_does(tmp_path, monkeypatch):
    import smoke as script

    monkeypatch.chdir(tmp_path)
    script.main_job(script.practice(Path("clothes")), kernels=False)
    assert (tmp_path / "runs" / "001-separable_cnn-clothes" / "model.keras").is_file()
    script.served("last")
    with pytest.raises(SystemExit, match=r"ended with exit code 2: ception train nowhere"):
        script.ception("train", "nowhere")
