"""How many planted copies `ception check` finds among photos, and how many pairs it finds beside them.

    python benchmarks/planted_copies.py FOLDER
    python benchmarks/planted_copies.py FOLDER --as-among-many     # as `check` looks among more than 20,000 pictures

Of each kind, copies of 150 photos, saved as JPEG of quality 90, are looked for among all photos as `check` does; each
kind appends a row to results/planted_copies.csv. `seconds` are those of the comparison of the photos alone, without the
first reading of them. `other_pairs` counts the pairs that are found among the photos themselves, of which some are
copies indeed, and `of_two_classes` those of them that cannot be, unless a label is wrong.
"""

from __future__ import annotations

import io
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

import results
from ception.checking import copies, duplicates
from ception.checking import cropped as part_of
from ception.checking.scan import room, scan
from ception.data import sources
from ception.reporting import Reporter

PLANTED = 150
Change = Callable[[Image.Image, np.random.Generator], Image.Image]


def cropped(image: Image.Image, share: float, place: tuple[float, float]) -> Image.Image:
    """The part of a picture that keeps a share of each side, at a place from 0 to 1 along each."""
    width, height = int(image.width * share), int(image.height * share)
    left, top = int((image.width - width) * place[0]), int((image.height - height) * place[1])
    return image.crop((left, top, left + width, top + height))


CHANGES: dict[str, Change] = {
    "mirrored": lambda image, _: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "upside down": lambda image, _: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    "turned by 90": lambda image, _: image.transpose(Image.Transpose.ROTATE_90),
    "turned by 180": lambda image, _: image.transpose(Image.Transpose.ROTATE_180),
    "cropped by 10 %, centre": lambda image, _: cropped(image, 0.9, (0.5, 0.5)),
    "cropped by 10 %, anywhere": lambda image, random: cropped(image, 0.9, tuple(random.random(2))),
    "cropped by 5 %, anywhere": lambda image, random: cropped(image, 0.95, tuple(random.random(2))),
    "cropped by 15 %, anywhere": lambda image, random: cropped(image, 0.85, tuple(random.random(2))),
    "turned by 90, cropped by 10 %, anywhere": lambda image, random: cropped(
        image.transpose(Image.Transpose.ROTATE_90), 0.9, tuple(random.random(2))
    ),
    "mirrored, cropped by 10 %, anywhere": lambda image, random: cropped(
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), 0.9, tuple(random.random(2))
    ),
    "recompressed, quality 30": lambda image, _: recompressed(image, 30),
    "brighter by 20 %": lambda image, _: ImageEnhance.Brightness(image).enhance(1.2),
    "brighter by 30 %": lambda image, _: ImageEnhance.Brightness(image).enhance(1.3),
    "darker by 30 %": lambda image, _: ImageEnhance.Brightness(image).enhance(0.7),
}


def recompressed(image: Image.Image, quality: int) -> Image.Image:
    """The picture as JPEG of that quality gives it back."""
    stream = io.BytesIO()
    image.convert("RGB").save(stream, "JPEG", quality=quality)
    return Image.open(stream)


def read(paths: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """What `check` knows of pictures once it has read them, which is not kept: facts, and grey copies."""
    with room(len(paths)) as copies:
        return scan(sources.Files(paths), "", copies, cache_limit=0, reporter=Reporter())[0], copies[:]


def pairs_of(groups: list[np.ndarray]) -> int:
    """How many pairs there are within groups."""
    return sum(len(group) * (len(group) - 1) // 2 for group in groups)


def groups_of(paths: list[str], facts: np.ndarray, grey: np.ndarray) -> list[np.ndarray]:
    """The groups of equal pictures, and of those that show nearly the same."""
    equal, near = copies.find(sources.Files(paths), facts, grey, Reporter())
    return [*equal, *near]


def found_of(groups: list[np.ndarray], originals: np.ndarray, first: int) -> float:
    """The share of the copies, which are the last pictures, that share a group with their originals."""
    of = [{number for number, group in enumerate(groups) if index in group} for index in range(first + len(originals))]
    return float(np.mean([bool(of[index] & of[first + k]) for k, index in enumerate(originals)]))


def main() -> None:
    """Measure the folder that the command line names."""
    among_many = "--as-among-many" in sys.argv
    if among_many:
        duplicates.ALL_PAIRS = part_of.MOST = 0
    dataset = sources.load(sys.argv[1])
    paths = [dataset.pictures.name(index) for index in range(len(dataset.pictures))]
    facts, grey = read(paths)
    began = time.monotonic()
    known = groups_of(paths, facts, grey)
    seconds = time.monotonic() - began
    crossing = sum(len(set(dataset.labels[group].tolist())) > 1 for group in known)
    chosen = np.random.default_rng(0).choice(len(paths), PLANTED, replace=False)
    for name, change in CHANGES.items():
        random = np.random.default_rng(1)
        with tempfile.TemporaryDirectory() as folder:
            planted = [f"{folder}/{number}.jpg" for number in range(PLANTED)]
            for index, path in zip(chosen, planted, strict=True):
                change(dataset.pictures.open(int(index)), random).convert("RGB").save(path, quality=90)
            both = zip((facts, grey), read(planted), strict=True)
            groups = groups_of(paths + planted, *map(np.concatenate, both))
        row = {
            "data": Path(sys.argv[1]).resolve().name, "photos": len(paths),
            "planted": name + among_many * ", as among many",
            "found": round(found_of(groups, chosen, len(paths)), 4), "other_pairs": pairs_of(known),
            "groups": len(known), "of_two_classes": crossing,
            "share_of_pairs": pairs_of(known) / (len(paths) * (len(paths) - 1) / 2), "seconds": round(seconds, 2),
        }  # fmt: skip
        results.append("planted_copies", row)
        print(row, flush=True)


if __name__ == "__main__":
    main()
