"""Scenes to be checked, and what is found in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

import ception
from ception.results import Finding


def scene(seed: int, size: tuple[int, int] = (120, 90)) -> Image.Image:
    """A soft pattern that differs for every seed, as large as a small photo."""
    colours = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return Image.fromarray(colours).resize(size, Image.Resampling.BICUBIC)


def write_scenes(root: Path) -> Path:
    """Two classes of 15 scenes each."""
    for number, name in enumerate(("cat", "dog")):
        (root / name).mkdir(parents=True)
        for index in range(15):
            scene(100 * number + index).save(root / name / f"{index:02}.jpg", quality=95)
    return root


def findings_of(data: Path | str, **settings) -> dict[str, Finding]:
    """The findings by kind, for the small network where nothing else is asked for.

    That there are few pictures to judge by, as in all data that tests make, is left out.
    """
    settings = settings or {"model": "separable_cnn"}
    return {one.kind: one for one in ception.check(data, **settings).findings if one.kind != "few_scored"}


def paths(finding: Finding) -> list[list[str]]:
    """The file names of each case."""
    return [[Path(picture.path).name for picture in item.pictures] for item in finding.items]
