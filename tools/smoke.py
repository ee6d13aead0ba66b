"""Try the Ception that is installed beside an interpreter, from an empty folder: the demo, a training, what uses it.

python -I tools/smoke.py VERSION [--kernels] [--extras onnx serve] [--without-demo]

`-I` keeps a checkout out of what is imported. The current folder has to be empty. A command that fails ends it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path
from threading import Timer

PER_CLASS = 24
CLASSES = ("bag", "coat", "sandal", "shirt")
_WAIT_S = 120  # until a server answers, which imports a backend


def ception(*arguments: str, **variables: str) -> str:
    """What a command of the installed command line writes to standard output.

    Args:
        arguments: Of the command.
        variables: Set in its environment.
    """
    print("$ ception", *arguments, flush=True)
    command = [sys.executable, "-I", "-m", "ception", *arguments]
    done = subprocess.run(command, env={**os.environ, **variables}, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"{done.stdout}ended with exit code {done.returncode}: ception {' '.join(arguments)}")
    return done.stdout


def require(holds: bool, what: str) -> None:
    """End where something is not as it has to be, `assert` or not."""
    if not holds:
        sys.exit(f"not so: {what}")


def installed(version: str, kernels: bool) -> None:
    """Require the package of this environment, in that version, with compiled kernels or without."""
    import ception as package
    from ception.layers.compiled import kernels as compiled

    where = Path(package.__file__)
    require(where.is_relative_to(sys.prefix), f"{where} lies in {sys.prefix}")
    require(package.__version__ == version, f"{package.__version__} is {version}")
    require((compiled() is not None) == kernels, f"the compiled kernels are {'there' if kernels else 'not there'}")


def practice(folder: Path) -> Path:
    """Write some of the pictures that come with the package as a folder for each class, and return the folder."""
    from ception.data import sources

    sample = sources.load("fashion-mnist-sample")
    counts = dict.fromkeys(CLASSES, 0)
    for index, label in enumerate(sample.labels):
        name = sample.class_names[label].lower()
        if counts.get(name, PER_CLASS) < PER_CLASS:
            counts[name] += 1
            (folder / name).mkdir(parents=True, exist_ok=True)
            sample.pictures.open(index).save(folder / name / f"{index:04d}.png")
    return folder


def main_job(data: Path, kernels: bool) -> None:
    """Check, train, score and predict; with kernels train with them, too."""
    ception("check", str(data), "--quiet")
    scores = json.loads(ception("train", str(data), "--epochs", "2", "--quiet", "--json"))
    require(0 <= scores["accuracy"] <= 1, "a training ends with an accuracy")
    if kernels:  # of the simplest instructions, which every processor has
        ception("train", str(data), "--epochs", "1", "--quiet", CEPTION_KERNELS="portable")
    lines = ception("predict", "last", str(data / "bag"), "--quiet", "--json").splitlines()
    require(len(lines) == PER_CLASS, f"{PER_CLASS} pictures have answers")
    require(all(json.loads(line)["top"][0]["class"] in CLASSES for line in lines), "each answer is a class")


def served(model: str) -> None:
    """Ask a server that this starts, and end it."""
    print("$ ception serve", model, flush=True)
    command = [sys.executable, "-I", "-m", "ception", "serve", model, "--port", "0"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    patience = Timer(_WAIT_S, server.kill)
    patience.start()
    try:
        addresses = (re.search(r"http://[\w.]+:\d+", line) for line in server.stderr)
        address = next((found[0] for found in addresses if found), "")
        require(bool(address), "a server tells its address")
        for path in ("/health", "/"):
            with urllib.request.urlopen(address + path, timeout=_WAIT_S) as answer:
                require(answer.status == 200, f"{path} is answered")
    finally:
        patience.cancel()
        server.terminate()
        server.wait(timeout=_WAIT_S)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("version")
    parser.add_argument("--kernels", action="store_true")
    parser.add_argument("--extras", nargs="*", default=())
    parser.add_argument("--without-demo", action="store_true")
    given = parser.parse_args()
    require(not list(Path().iterdir()), "the current folder is empty")
    installed(given.version, given.kernels)
    require(given.version in ception("--version"), "the command line has that version")
    ception("doctor")
    if not given.without_demo:
        print(ception("demo", "--quiet").partition("\n")[0])
    main_job(practice(Path("clothes")), given.kernels)
    if "onnx" in given.extras:
        ception("export", "last", "--to", "onnx", "--quiet")
    if "serve" in given.extras:
        served("last")
