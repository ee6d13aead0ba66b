"""What the loader delivers against what a model consumes, and the memory that it takes.

    python benchmarks/loader.py                  # Xception at 299 px
    python benchmarks/loader.py --memory 2000 20000

The first call makes photos of 640 x 480, and measures pictures per second: of the loader in its first epoch, which
decodes, and in its second, without and with each augmentation; of a training step of the whole network and of what lies
after block13, in both precisions. It also measures Keras's own augmentation layers on the same pictures. The second
measures the growth of a process's own memory over an epoch for so many photos; pages of mapped files, which the system
takes back at will, do not count. Rows go to results/loader.csv.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import results

SIZE = 299


def main() -> None:
    """Measure speed, or memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=600)
    parser.add_argument("--memory", type=int, nargs="+")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        _child(options.child)
        return
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CEPTION_CACHE"] = str(Path(folder) / "cache")
        if options.memory:
            for count in options.memory:
                data = _photos(Path(folder) / f"photos{count}", count)
                subprocess.run([sys.executable, __file__, "--child", str(data)], check=True)
        else:
            _speed(_photos(Path(folder) / "photos", options.photos))


def _photos(folder: Path, count: int) -> Path:
    """Photos of 640 x 480 as a camera's JPEGs, all different, in two classes."""
    import io

    import numpy as np
    from PIL import Image

    random = np.random.default_rng(0)
    small = Image.fromarray(random.integers(0, 256, (30, 40, 3), np.uint8)).resize((640, 480), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=90)
    for index in range(count):
        place = folder / f"class{index % 2}"
        place.mkdir(parents=True, exist_ok=True)
        # bytes after the end of a JPEG tell the files apart, and decoders pass over them
        (place / f"{index}.jpg").write_bytes(buffer.getvalue() + index.to_bytes(4, "little"))
    return folder


def _prepared(data: Path) -> tuple[Any, float]:
    from ception.data import sources
    from ception.reporting import Reporter
    from ception.settings import TrainSettings
    from ception.training import preparation

    start = time.perf_counter()
    settings, reporter = TrainSettings(model="xception", image_size=SIZE), Reporter()
    listed = preparation.read(sources.load(data), str(data), settings, reporter)
    prepared = preparation.decode(listed, settings, reporter)
    return prepared, time.perf_counter() - start


def _row(what: str, photos: int, value: float, unit: str) -> None:
    row = {"what": what, "size": SIZE, "photos": photos, "value": round(value, 1), "unit": unit}
    print(row, flush=True)
    results.append("loader", row)


def _speed(data: Path) -> None:
    from ception import backends

    backends.start()
    prepared, seconds = _prepared(data)
    count = len(prepared.splits)
    _row("loader, first epoch (decodes and keeps)", count, count / seconds, "pictures/s")
    _later_epochs(prepared)
    _layers_of_keras(prepared)
    _training()


def _later_epochs(prepared: Any) -> None:
    """One epoch of the loader with each kind of augmentation."""
    import numpy as np

    from ception.data.augmentation import Augmentation, Mixing
    from ception.data.batches import Batches

    count = len(prepared.splits)
    kinds: dict[str, tuple[Augmentation, Mixing]] = {
        "as they are": (Augmentation(), Mixing()), "flip": (Augmentation(flip=0.5), Mixing()),
        "flip and crop": (Augmentation(flip=0.5, crop=0.3), Mixing()),
        "colour": (Augmentation(colour=0.2), Mixing()), "RandAugment": (Augmentation(randaugment=9), Mixing()),
        "MixUp": (Augmentation(), Mixing(mixup=0.2)), "CutMix": (Augmentation(), Mixing(cutmix=1.0)),
    }  # fmt: skip
    for name, (augmentation, mixing) in kinds.items():
        batches = Batches(
            prepared.pixels, prepared.dataset.labels, np.arange(count), 32, seed=0, augmentation=augmentation,
            mixing=mixing, weight_of=np.ones(2, np.float32),
        )  # fmt: skip
        batches.epoch = 1
        start = time.perf_counter()
        for step in range(len(batches)):
            batches[step]
        _row(f"loader, second epoch, {name}", count, count / (time.perf_counter() - start), "pictures/s")


def _layers_of_keras(prepared: Any) -> None:
    """The layers of Keras that change pictures the same ways."""
    import keras
    import numpy as np

    pictures = np.asarray(prepared.pixels[np.arange(32)], np.float32)
    labels = np.eye(2, dtype=np.float32)[np.arange(32) % 2]
    layers = {
        "flip": keras.layers.RandomFlip("horizontal"), "flip and crop": keras.layers.RandomCrop(SIZE - 32, SIZE - 32),
        "colour": keras.layers.RandomColorJitter((0, 255), 0.2, 0.2, 0.2), "RandAugment": keras.layers.RandAugment(),
        "MixUp": keras.layers.MixUp(), "CutMix": keras.layers.CutMix(),
    }  # fmt: skip
    for name, layer in layers.items():
        given: Any = {"images": pictures, "labels": labels} if name in ("MixUp", "CutMix") else pictures
        layer(given, training=True)
        start = time.perf_counter()
        for _ in range(3):
            layer(given, training=True)
        _row(f"Keras's layer, {name}", 96, 96 / (time.perf_counter() - start), "pictures/s")


def _training() -> None:
    """Training steps that the loader has to keep up with."""
    import keras
    import numpy as np

    from ception import build

    for precision in ("float32", "mixed_bfloat16"):
        network = build("xception", classes=2, image_size=SIZE, dtype=precision, seed=0)
        for after in (None, "block13"):
            made = network if after is None else keras.Model(network.get_layer(after).output, network.output)
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            made.compile(keras.optimizers.SGD(1e-3), loss, jit_compile=False)
            size = 8 if after is None else 32
            x = np.random.default_rng(0).normal(size=(size, *made.input.shape[1:])).astype("float32")
            y = np.arange(size) % 2
            made.train_on_batch(x, y)
            start = time.perf_counter()
            for _ in range(3):
                made.train_on_batch(x, y)
            behind = f"after {after}" if after else "whole"
            _row(f"training, xception, {behind}, {precision}", 3 * size, 3 * size / (time.perf_counter() - start),
                 "pictures/s")  # fmt: skip


def _child(data: str) -> None:
    """One epoch in a process of its own; how much memory that is no file's it takes at most."""
    from ception import backends

    backends.start()
    import numpy as np

    from ception.data.augmentation import Augmentation
    from ception.data.batches import Batches

    before = _own_memory()
    prepared, _ = _prepared(Path(data))
    count = len(prepared.splits)
    most = _own_memory()
    batches = Batches(
        prepared.pixels, prepared.dataset.labels, np.arange(count), 32, seed=0, augmentation=Augmentation(flip=0.5)
    )
    for step in range(len(batches)):
        batches[step]
        most = max(most, _own_memory())
    _row("memory of decoding and an epoch", count, (most - before) / 1e6, "MB")


def _own_memory() -> int:
    """Bytes of the process that no file lies behind (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024
    raise SystemExit("needs /proc/self/status, which Linux has")


if __name__ == "__main__":
    main()
