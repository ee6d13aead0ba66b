"""What 10,000 hostile requests do to a server.

    python benchmarks/hostile.py [--requests 10000] [--at-once 16]

A small network at 96 pixels, served in a process of its own with its usual limits. The requests are those of
tests/support/hostile.py, 21 kinds in turn: broken, huge and mistyped bodies, decompression bombs, slow senders, tricks
with paths, heads, lengths and chunks, pipelines, half-open connections, and a good picture among them. Appends a row to
results/hostile.csv for each tenth: the server's resident memory, its open files and threads, and what its log said; the
last one has how many answers were failures of the server (500 and above), how many requests waited for one in vain, and
all statuses.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

import ception
import results

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # the attacks are the tests', only more of them


def resident_mb(process: int) -> float:
    """Memory that a process has in use."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1e3


def main() -> None:
    """Attack a server, and look at it now and then."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--at-once", type=int, default=16)
    options = parser.parse_args()
    from support.hostile import Attacks, attacked
    from support.serving import in_a_process

    with tempfile.TemporaryDirectory() as place:
        model = Path(place) / "it.keras"
        ception.Classifier.build("separable_cnn", ["a", "b", "c"], image_size=96, channels=3).save(model)
        noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8))
        noise.save(file := io.BytesIO(), "PNG")
        picture = file.getvalue()
        with (
            in_a_process(model, Path(place), "--engine", "openvino") as (process, address, said),
            httpx.Client(base_url=address) as client,
        ):
            began, every = time.perf_counter(), max(100, options.requests // 10)

            def look(done: int) -> None:
                if done != 100 and done % every:
                    return
                folder, log = Path(f"/proc/{process.pid}"), said.read_text().split("Ctrl-C ends it)")[1]
                answers = client.post("/predict", content=picture, timeout=60).status_code == 200
                row = {
                    "requests": done, "resident_mb": round(resident_mb(process.pid), 1),
                    "files": len(list((folder / "fd").iterdir())), "threads": len(list((folder / "task").iterdir())),
                    "answers": answers, "log_lines": len(log.splitlines()), "tracebacks": log.count("Traceback"),
                    "seconds": round(time.perf_counter() - began, 1),
                }  # fmt: skip
                rows.append(row)
                print(row, flush=True)

            rows: list[dict] = []
            attacks = Attacks(picture, "it", (96, 96, 3), drip_s=0.1)
            outcome = attacked(attacks, options.requests, address, at_once=options.at_once, every=look)
    print(dict(sorted(outcome.statuses.items())), outcome.failures[:20], outcome.unanswered, outcome.unsent)
    told = "; ".join(f"{status} {count}" for status, count in sorted(outcome.statuses.items()))
    for row in rows:
        last = row is rows[-1]
        results.append("hostile", row | {
            "failures": len(outcome.failures) if last else "", "unanswered": len(outcome.unanswered) if last else "",
            "statuses": told if last else "",
        })  # fmt: skip


if __name__ == "__main__":
    main()
