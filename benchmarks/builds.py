"""Seconds that the first build of each network takes, in a process of its own.

    python benchmarks/builds.py
    KERAS_BACKEND=jax python benchmarks/builds.py --networks xception_71

Each network appends a row, the median of three processes, to results/builds.csv.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

import results


def seconds(name: str) -> float:
    """Seconds of a fresh process's first build, without the import of Keras and the backend."""
    code = (
        "import time, ception, keras; build = ception.build; start = time.perf_counter();"
        f"build({name!r}); print(time.perf_counter() - start)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def main() -> None:
    """Measure every network."""
    import ception

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(ception.MODELS))
    for name in parser.parse_args().networks:
        start = time.monotonic()
        found = statistics.median(seconds(name) for _ in range(3))
        import keras

        row = {"network": name, "backend": keras.backend.backend(), "first_build_s": round(found, 2)}
        print(row, f"{time.monotonic() - start:.0f} s", flush=True)
        results.append("builds", row)


if __name__ == "__main__":
    main()
