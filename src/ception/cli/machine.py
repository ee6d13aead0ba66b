"""Commands about the machine: what it can do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ception.cli.app import AsJson, app
from ception.cli.terminal import print_json, print_next

if TYPE_CHECKING:
    from ception.results import Diagnosis


@app.command
def doctor(*, json: AsJson = False) -> int:
    """Show versions, processor, backends, engines and cache, what is slow here, and what would help.

    Add what it prints to a report of a fault.
    """
    from ception.diagnosis import doctor

    diagnosis = doctor()
    if json:
        print_json(diagnosis)
    else:
        _print(diagnosis)
    print_next("ception demo" if diagnosis.backend else "pip install 'ception[tensorflow]'", json)
    return 0


def _print(told: Diagnosis) -> None:
    from ception.diagnosis import told as versions

    memory = f", {told.memory_gb:g} GB of memory" if told.memory_gb else ""
    lines = {
        "Ception": f"{told.version} on Python {told.python}, {told.system}",
        "Machine": f"{told.processor}, {told.cores} cores{memory}" + (", and a GPU" if told.accelerator else ""),
        "Fast by": ", ".join(told.features) or "nothing that is known",
        "Backends": versions(told.backends) + (f"; {told.backend} runs" if told.backend else ""),
        "Engines": f"{versions(told.engines)}, else the backend",
        "Kernels": told.kernels or "none",
        "Extras": ", ".join(name for name, there in told.extras.items() if there) or "none",
        "Not installed": ", ".join(name for name, there in told.extras.items() if not there) or "none",
        "Cache": f"{told.cache or 'none'}, {told.cache_gb:,.1f} GB, {told.free_gb:,.0f} GB free",
    }
    width = max(map(len, lines))
    for name, text in lines.items():
        print(f"{name:<{width}}  {text}")
    for line in told.advice:
        print(f"- {line}")
    print("A fault of Ception? Report it with these lines, the command, and all that it said.")
