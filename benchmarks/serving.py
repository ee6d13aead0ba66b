"""How much of an engine's speed a server gives to its clients, beside other servers.

    python benchmarks/serving.py FOLDER [--seconds 60] [--clients 32] [--rounds 3] [--litserve PYTHON]

Xception at 299 pixels with random weights, on JPEG photos of FOLDER. Appends a row for each server to
results/serving.csv: `ception serve`; a FastAPI handler that decodes with Pillow and calls `predict` of
keras.applications' Xception, as tutorials show it; and, with the Python of an environment that has litserve (and sees
this one's packages, by PYTHONPATH), LitServe around the same engine and decoding as ours, in batches of 16.
`engine_images_s` is what the engine reaches alone in batches of 16, `engine_ms` what it takes for one picture, decoding
included; both in this process, before the servers are asked. The servers are asked in turn, and all but the one that is
asked stand still meanwhile, for LitServe takes a part of a core while nobody asks: each figure is the median of the
rounds, into which the seconds are divided.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import numpy as np

import ception
import results
from ception.data.images import read, to_pixels

PLAIN = """
import io, sys
import keras, numpy as np, uvicorn
from fastapi import FastAPI, Request
from PIL import Image

model = keras.applications.Xception(weights=None)
app = FastAPI()

@app.post("/predict")
async def predict(request: Request):
    image = Image.open(io.BytesIO(await request.body())).convert("RGB").resize((299, 299))
    batch = keras.applications.xception.preprocess_input(np.asarray(image, np.float32)[None])
    return {"top": model.predict(batch, verbose=0)[0].argsort()[::-1][:5].tolist()}

model.predict(np.zeros((1, 299, 299, 3), np.float32), verbose=0)
print("Answering at http://127.0.0.1:" + sys.argv[1], file=sys.stderr, flush=True)
uvicorn.run(app, port=int(sys.argv[1]), log_level="error")
"""

LIT = """
import sys, threading, time, urllib.request
from io import BytesIO
import litserve, numpy as np
from fastapi import UploadFile

class Api(litserve.LitAPI):
    def setup(self, device):
        import ception
        self.model = ception.Predictor.open(sys.argv[1])

    def decode_request(self, request: UploadFile):
        from ception.data.images import decode, to_pixels
        return to_pixels(decode(request.file.read()), self.model.description.image)

    def batch(self, inputs):
        return np.stack(inputs)

    def predict(self, batch):
        return self.model.engine.run(batch)

    def unbatch(self, output):
        return list(output)

    def encode_response(self, logits):
        return {"top": logits.argsort()[::-1][:5].tolist()}

def tell():
    while True:
        try:
            if urllib.request.urlopen("http://127.0.0.1:" + sys.argv[2] + "/health").status == 200:
                break
        except OSError:
            time.sleep(0.2)
    print("Answering at http://127.0.0.1:" + sys.argv[2], file=sys.stderr, flush=True)

if __name__ == "__main__":
    server = litserve.LitServer(Api(max_batch_size=16, batch_timeout=0.01), accelerator="cpu", timeout=120)
    threading.Thread(target=tell, daemon=True).start()
    server.run(host="127.0.0.1", port=int(sys.argv[2]), generate_client_file=False, log_level="error")
"""


def median_s(function, *, least: int = 5) -> float:
    """Seconds that a call takes: the median of some, after one that is not counted."""
    function()
    taken = []
    while len(taken) < least or sum(taken) < 3:
        began = time.perf_counter()
        function()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def engine_alone(model: Path, photos: list[Path]) -> tuple[float, float, str]:
    """Images a second in batches of 16, milliseconds of one photo from its file on, and what the engine is."""
    with ception.Predictor.open(model) as predictor:
        contract = predictor.description.image
        pixels = np.stack([to_pixels(read(photo), contract) for photo in photos[:16]])
        many = median_s(lambda: predictor.engine.run(pixels))
        one = median_s(lambda: predictor.engine.run(to_pixels(read(photos[0]), contract)[None]))
        return 16 / many, one * 1e3, ception.engines.described(predictor.engine)


async def load(address: str, photos: list[bytes], clients: int, seconds: float, form: bool) -> dict[str, float]:
    """What clients see that ask one photo after another for some seconds, as it is or in a form."""
    taken: list[float] = []
    errors = 0
    end = time.perf_counter() + seconds

    async def ask(number: int) -> None:
        nonlocal errors
        while (began := time.perf_counter()) < end:
            try:
                photo = photos[number % len(photos)]
                sent = {"files": {"request": photo}} if form else {"content": photo}
                answer = await client.post(f"{address}/predict", **sent)
                errors += answer.status_code != 200
            except httpx.HTTPError:
                errors += 1
            taken.append(time.perf_counter() - began)
            number += clients

    limits = httpx.Limits(max_connections=clients)
    async with httpx.AsyncClient(timeout=120, limits=limits) as client:
        began = time.perf_counter()
        await asyncio.gather(*(ask(number) for number in range(clients)))
        passed = time.perf_counter() - began
    p50, p99 = np.percentile(taken, [50, 99]) * 1e3
    return {"images_s": len(taken) / passed, "p50_ms": float(p50), "p99_ms": float(p99), "errors": errors}


@contextmanager
def running(command: list[str]) -> Iterator[tuple[str, int]]:
    """A server's address, once it answers, and its group of processes, which is ended afterwards."""
    with (
        tempfile.TemporaryFile("w+") as said,
        subprocess.Popen(command, stderr=said, stdout=said, start_new_session=True) as process,
    ):
        try:
            while True:
                said.seek(0)
                text = said.read()
                if "Answering at " in text:
                    break
                if process.poll() is not None:
                    sys.exit(text)
                time.sleep(0.1)
            yield text.split("Answering at ")[1].split()[0], process.pid
        finally:
            os.killpg(process.pid, signal.SIGTERM)


def asked(address: str, photos: list[bytes], clients: int, seconds: float, form: bool) -> dict[str, float]:
    """A server's numbers: with one client, and with many."""
    asyncio.run(load(address, photos, 2, 2, form))
    one = asyncio.run(load(address, photos[:1], 1, min(seconds, 15), form))
    many = asyncio.run(load(address, photos, clients, seconds, form))
    return {"one_client_ms": one["p50_ms"], **many, "errors": one["errors"] + many["errors"]}


def in_turn(
    servers: dict[str, list[str]], photos: list[bytes], clients: int, seconds: float, rounds: int
) -> dict[str, dict[str, float]]:
    """The numbers of each server, the median of some rounds; errors, their sum."""
    seen: dict[str, list[dict[str, float]]] = {name: [] for name in servers}
    with ExitStack() as stack:
        started = {name: stack.enter_context(running(command)) for name, command in servers.items()}
        for _, group in started.values():
            os.killpg(group, signal.SIGSTOP)
            stack.callback(os.killpg, group, signal.SIGCONT)  # to be told to end
        for _ in range(rounds):
            for name, (address, group) in started.items():
                os.killpg(group, signal.SIGCONT)
                seen[name].append(asked(address, photos, clients, seconds / rounds, name.startswith("LitServe")))
                os.killpg(group, signal.SIGSTOP)
    return {
        name: {key: statistics.median(one[key] for one in found) for key in found[0]}
        | {"errors": sum(one["errors"] for one in found)}
        for name, found in seen.items()
    }


def main() -> None:
    """Measure the servers."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--litserve", help="Python of an environment that has litserve")
    options = parser.parse_args()
    photos = sorted(options.folder.rglob("*.jpg"))[:256]
    contents = [photo.read_bytes() for photo in photos]
    with tempfile.TemporaryDirectory() as place:
        model = Path(place) / "xception.keras"
        ception.Classifier.build("xception", [f"class {number}" for number in range(1000)]).save(model)
        alone, one_ms, engine = engine_alone(model, photos)
        servers = {
            "ception serve": [sys.executable, "-m", "ception", "serve", str(model), "--port", "0"],
            "FastAPI around keras.applications": [sys.executable, "-c", PLAIN, "8765"],
        }
        if options.litserve:
            (script := Path(place) / "lit.py").write_text(LIT)
            servers["LitServe around the engine"] = [options.litserve, str(script), str(model), "8766"]
        found = in_turn(servers, contents, options.clients, options.seconds, options.rounds)
        for name, seen in found.items():
            row = {
                "server": name, "engine": "keras.applications on TensorFlow" if "keras" in name else engine,
                "clients": options.clients, "seconds": options.seconds,
                **{key: round(value, 2) for key, value in seen.items()},
                "engine_images_s": round(alone, 2), "engine_ms": round(one_ms, 2),
                "share_of_engine": round(seen["images_s"] / alone, 3),
                "latency_over_engine": round(seen["one_client_ms"] / one_ms, 3),
            }  # fmt: skip
            results.append("serving", row)
            print(row, flush=True)


if __name__ == "__main__":
    main()
