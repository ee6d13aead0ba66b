"""Rows of results: every benchmark appends its figures with the machine, the versions and the date."""

from __future__ import annotations

import csv
import datetime as dt
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "results"
_PACKAGES = ("ception", "keras", "openvino", "onnxruntime", "nncf", "tensorflow-cpu", "tensorflow", "jax", "torch")


def append(name: str, row: dict[str, Any]) -> None:
    """Append a row to `results/<name>.csv`; a file with other columns is refused."""
    row = row | {"machine": _machine(), "versions": _versions(), "date": dt.date.today().isoformat()}
    path = FOLDER / f"{name}.csv"
    path.parent.mkdir(exist_ok=True)
    new = not path.exists()
    if not new:
        with path.open(newline="") as file:
            columns = next(csv.reader(file))
        if columns != list(row):
            raise SystemExit(f"{path} has the columns {columns}, not {list(row)}")
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, row.keys(), lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)


def held() -> str | None:
    """The best instructions that oneDNN may use, where its environment variable names them: an older processor's."""
    return os.environ.get("ONEDNN_MAX_CPU_ISA")


def holding(*, installed: bool) -> dict[str, str]:
    """Environment variables that hold all else to such instructions, too; none where nothing is held.

    Args:
        installed: Whether TensorFlow runs as it is installed: without AVX-512 it leaves oneDNN off, which ours sets on.
    """
    if (best := held()) is None:
        return {}
    if best != "AVX2":
        raise SystemExit(f"ONEDNN_MAX_CPU_ISA={best}: only AVX2 can be held to here")
    libraries = {"CEPTION_KERNELS": "avx2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
    return libraries | {"OPENBLAS_CORETYPE": "Haswell", "TF_ENABLE_ONEDNN_OPTS": str(int(not installed))}


def _machine() -> str:
    processor = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                processor = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    return f"{processor}, {os.cpu_count()} cores" + (f", held to {best}" if (best := held()) else "")


def _versions() -> str:
    found = [f"python {platform.python_version()}"]
    for name in _PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return "; ".join(found)
