"""The Start page walked: each of its commands in a fresh environment and an empty folder, and the seconds it takes.

    python benchmarks/start_page.py                      # docs/start.md; packages come from where pip finds them
    python benchmarks/start_page.py --page docs/zh/start.md

Nothing is typed that does not stand there: the blocks are run one after another as a reader would, the Python one is
saved and run, and the server is asked by the page's own `curl` before it gets its Ctrl-C. A command that fails ends it.
Rows of results/start_page.csv: a command, its seconds; then `all but the installation`.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import results

ROOT = Path(__file__).parents[1]
_BLOCKS = re.compile(r"^```(\w*)\n(.*?)^```$", re.S | re.M)
_READY_S = 120.0
_INSTALLING = 2  # commands, the first ones, that make the environment


def main() -> None:
    """Walk, and append the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "start.md")
    page = parser.parse_args().page
    blocks = _BLOCKS.findall(page.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as place:
        home = Path(place, "you")
        home.mkdir()
        walker = _Walker(home)
        try:
            for kind, text in blocks:
                if kind == "python":
                    (home / "clothes.py").write_text(text)
                    walker.run("python clothes.py")
                for line in text.splitlines() if kind == "" else ():
                    walker.run(re.sub(r"\s+#.*", "", line))
        finally:
            walker.end()
    rows = [*walker.times, ("all but the installation", sum(seconds for _, seconds in walker.times[_INSTALLING:]))]
    for command, seconds in rows:
        row = {"page": str(page.resolve().relative_to(ROOT)), "command": command, "seconds": round(seconds, 1)}
        print(row, flush=True)
        results.append("start_page", row)


class _Walker:
    """A reader in a folder of their own, whose shell has the environment that the page makes.

    Attributes:
        times: Each command with its seconds.
    """

    def __init__(self, home: Path) -> None:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("KERAS", "PYTHON", "CEPTION"))}
        self.home, self.times = home, list[tuple[str, float]]()
        path = f"{home / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
        self.environment = kept | {"HOME": str(home), "PATH": path}
        self.server: subprocess.Popen[bytes] | None = None

    def run(self, command: str) -> None:
        """One line of the page."""
        if command.startswith(". "):  # the environment's folder stands in the path from the beginning
            return
        started = time.monotonic()
        if command.startswith("ception serve"):
            self.server = subprocess.Popen(command.split(), cwd=self.home, env=self.environment)
            return
        if command.startswith("pip"):  # from a checkout
            command = command.replace('".[', f'"{ROOT}[')
        if command.startswith("curl"):
            command = f"curl --retry {_READY_S:.0f} --retry-delay 1 --retry-connrefused --silent --fail {command[5:]}"
        done = subprocess.run(command, shell=True, cwd=self.home, env=self.environment, check=False)
        if done.returncode:
            sys.exit(f"exit code {done.returncode} of: {command}")
        if self.server and self.server.poll() is not None:
            sys.exit("the server has ended: is its port taken?")
        self.times.append((command.replace(str(ROOT), "."), time.monotonic() - started))

    def end(self) -> None:
        """Ctrl-C for the server."""
        if self.server:
            self.server.send_signal(signal.SIGINT)
            self.server.wait(60)


if __name__ == "__main__":
    if not shutil.which("curl"):
        raise SystemExit("curl is not installed: the page asks the server with it")
    main()
