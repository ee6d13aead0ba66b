"""Whether two processes train as good a classifier as one: the same fine-tuning of TrashNet by both, compared.

    python benchmarks/two_processes.py                   # with the backend of KERAS_BACKEND, torch or jax
    python benchmarks/two_processes.py --image-size 128 --seeds 0 1 2

The partial Inception V3 beside the checkout is fine-tuned by one process, and by two with half of each batch each; both
have a thread for each. The runs are compared on the same test photos (paired, 95 %), a row of
results/two_processes.csv for each seed.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import results

SHARED = Path(__file__).parents[2] / "shared" / "data"
_WEIGHTS = SHARED / "weights" / "inception_v3_to_mixed8.h5"


def main() -> None:
    """Train twice for each seed, compare, append the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    options = parser.parse_args()
    if not SHARED.exists():
        raise SystemExit(f"{SHARED} is not there: it holds the data")
    import ception

    for seed in options.seeds:
        with tempfile.TemporaryDirectory() as name:
            place = Path(name)
            one, two = (_trained(place / str(count), count, options.image_size, seed) for count in (1, 2))
            told = ception.compare(one, two, out=place / "comparison")
            row = {
                "data": "trashnet", "network": "inception_v3", "image_size": options.image_size,
                "backend": os.environ["KERAS_BACKEND"], "seed": seed, "pictures": told.count,
                "one_process": round(told.accuracy[0], 4), "two_processes": round(told.accuracy[1], 4),
                "difference": round(told.difference, 4), "difference_low": round(told.difference_interval[0], 4),
                "difference_high": round(told.difference_interval[1], 4),
            }  # fmt: skip
            print(row, flush=True)
            results.append("two_processes", row)


def _trained(place: Path, count: int, side: int, seed: int) -> Path:
    """The run folder of a training by so many processes."""
    place.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [
        sys.executable, "-m", "ception", "train", str(SHARED / "trashnet"), "--model", "inception_v3",
        "--weights", str(_WEIGHTS), "--final-endpoint", "mixed8", "--image-size", str(side), "--seed", str(seed),
        "--dtype", "float32", "--runs", str(place / "runs"), "--quiet",
    ]  # fmt: skip
    together = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    running = [
        subprocess.Popen(
            command, env=os.environ | {"OMP_NUM_THREADS": "1"} | (together | {"RANK": str(rank)} if count > 1 else {})
        )
        for rank in range(count)
    ]  # fmt: skip
    codes = [process.wait() for process in running]
    if any(codes):
        raise SystemExit(f"a training by {count} failed")
    (found,) = (place / "runs").iterdir()
    return found


if __name__ == "__main__":
    main()
