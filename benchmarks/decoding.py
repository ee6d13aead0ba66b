"""How many photos a core decodes to the pixels of a network in a second of its time, by their size.

    python benchmarks/decoding.py PHOTOS                       # a folder of JPEGs, brought to 500 x 375 and 4000 x 3000
    python benchmarks/decoding.py PHOTOS --sizes 500x375 --side 299

The photos are enlarged or reduced, and written as JPEGs of quality 90: a camera's have more detail where they were
enlarged, and so more bytes. One thread reads, decodes and resizes each as `predict` does. The median of the rounds is
appended to results/decoding.csv.
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
from pathlib import Path

import numpy as np
from PIL import Image

import results
from ception.data import images
from ception.data.images import ImageContract


def main() -> None:
    """Measure, and append a row for each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--sizes", nargs="+", default=["500x375", "4000x3000"])
    parser.add_argument("--side", type=int, default=299)
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    contract = ImageContract(height=options.side, width=options.side, channels=3)
    every = sorted(options.photos.rglob("*.jpg"))
    photos = [every[index] for index in np.linspace(0, len(every) - 1, options.count).astype(int)]
    for size in options.sizes:
        width, height = map(int, size.split("x"))
        files = [_sized(photo, width, height) for photo in photos]
        rates = [_rate(files, contract) for _ in range(options.rounds)]
        row = {
            "width": width, "height": height, "photos": len(files), "side": options.side,
            "kilobytes": round(sum(map(len, files)) / len(files) / 1000, 1),
            "photos_per_processor_s": round(statistics.median(rates), 1), "rounds": options.rounds,
        }  # fmt: skip
        print(row, flush=True)
        results.append("decoding", row)


def _sized(photo: Path, width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    with Image.open(photo) as image:
        image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _rate(files: list[bytes], contract: ImageContract) -> float:
    """Photos in a second of processor time."""
    began = time.process_time()
    for file in files:
        images.to_pixels(images.decode(file), contract)
    return len(files) / (time.process_time() - began)


if __name__ == "__main__":
    main()
