"""How many planted copies `ception check` finds among photos, and how many pairs it finds beside them.

    python benchmarks/planted_copies.py FOLDER

Of each kind, copies of 150 photos, saved as JPEG, are compared with all photos; each kind appends a row to
results/planted_copies.csv. `other_pairs` counts the pairs that are found among the photos themselves, of which some are
copies indeed, and `of_two_classes` those of them that cannot be, unless a label is wrong.
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

import results
from ception.checking import duplicates
from ception.checking.scan import SIDE
from ception.data import images, sources

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


def grey_copy(image: Image.Image) -> np.ndarray:
    """What `check` compares of a picture."""
    return np.asarray(images.flatten(image, 1).resize((SIDE, SIDE), Image.Resampling.BOX))


def pairs_of(groups: list[np.ndarray]) -> int:
    """How many pairs there are within groups."""
    return sum(len(group) * (len(group) - 1) // 2 for group in groups)


def main() -> None:
    """Measure the folder that the command line names."""
    dataset = sources.load(sys.argv[1])
    photos = [dataset.pictures.open(index) for index in range(len(dataset.labels))]
    copies = np.stack([grey_copy(photo) for photo in photos])
    sides = np.array([min(photo.size) for photo in photos])
    began = time.monotonic()
    known = duplicates.near(copies, sides)
    seconds = time.monotonic() - began
    crossing = sum(len(set(dataset.labels[group].tolist())) > 1 for group in known)
    group_of = np.arange(len(copies))
    for number, group in enumerate(known):
        group_of[group] = -1 - number
    chosen = np.random.default_rng(0).choice(len(photos), PLANTED, replace=False)
    for name, change in CHANGES.items():
        random = np.random.default_rng(1)
        planted = np.stack([grey_copy(recompressed(change(photos[index], random), 90)) for index in chosen])
        groups = duplicates.near(np.concatenate([copies, planted]), np.concatenate([sides, sides[chosen]]))
        at = {int(index): number for number, group in enumerate(groups) for index in group}
        found = [at.get(len(copies) + k, -1) == at.get(int(index), -2) for k, index in enumerate(chosen)]
        row = {
            "data": Path(sys.argv[1]).resolve().name, "photos": len(photos), "planted": name,
            "found": round(float(np.mean(found)), 4), "other_pairs": pairs_of(known), "groups": len(known),
            "of_two_classes": crossing, "share_of_pairs": pairs_of(known) / (len(photos) * (len(photos) - 1) / 2),
            "seconds": round(seconds, 2),
        }  # fmt: skip
        results.append("planted_copies", row)
        print(row, flush=True)


if __name__ == "__main__":
    main()
