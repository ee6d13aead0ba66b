"""Write constraints.txt, the version of every package that the environments of this checkout hold: `make lock`.

python tools/write_constraints.py .venv .venv-jax .venv-torch
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

FILE = Path(__file__).parents[1] / "constraints.txt"
HEAD = """\
# What the environments of this checkout hold, for `pip install -c constraints.txt`. Written by `make lock`.
"""
TOOLS_OF_PIP = {"pip", "setuptools", "wheel"}


def installed(environment: str) -> list[str]:
    """Lines `name==version` of a virtual environment, the package itself left out."""
    command = [f"{environment}/bin/python", "-m", "pip", "list", "--format=freeze", "--exclude-editable"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def text(environments: Iterable[Iterable[str]]) -> str:
    """What the file has to hold.

    Args:
        environments: Of each environment the lines `name==version`. Where two differ, the first one's version is taken.
    """
    versions: dict[str, str] = {}
    for lines in environments:
        for line in lines:
            name, _, version = line.strip().partition("==")
            name = re.sub(r"[-_.]+", "-", name).lower()
            if name not in TOOLS_OF_PIP:
                versions.setdefault(name, version.partition("+")[0])  # 2.13.0+cpu is 2.13.0 for another machine
    return HEAD + "".join(f"{name}=={version}\n" for name, version in sorted(versions.items()))


if __name__ == "__main__":
    FILE.write_text(text(map(installed, sys.argv[1:])), encoding="utf-8")
