"""Pictures to train on, and what a folder of them holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"blue": (30, 40, 200), "green": (20, 180, 60), "red": (210, 30, 40)}


def write_pictures(
    root: Path, counts: dict[str, int], *, seed: int = 0, size: tuple[int, int] = (24, 20), suffix: str = ".png"
) -> Path:
    """A folder per class of noisy pictures of one colour each, which a network can tell apart."""
    random = np.random.default_rng(seed)
    for number, (name, count) in enumerate(counts.items()):
        (root / name).mkdir(parents=True)
        colour = COLOURS.get(name) or [(number * 80) % 256, (number * 150) % 256, 128]
        for index in range(count):
            pixels = np.clip(random.normal(colour, 25, (size[1], size[0], 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{index:03d}{suffix}")
    return root


def content(root: Path) -> dict[str, bytes]:
    """Every file below a folder with its bytes."""
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
