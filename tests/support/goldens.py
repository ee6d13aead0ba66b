"""Stored values that networks must give, so that each proof runs where the original is not at hand.

`thin` holds logits of every network with few filters, to be equal on every backend. `articles` holds logits of the
articles' networks, computed by the articles' own code from weights by formula, and `tables` the layer tables that the
articles print. `make goldens` writes them anew; those of the articles stay as they are where the articles are missing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ception import MODELS, build
from support import articles
from support.originals import PUBLISHED_IN_ARTICLES, SIZES, standardised
from support.parity import fill, in_order, logits, pixels

FILE = Path(__file__).parents[1] / "goldens.json"
TABLES = {"xception_light_norm": "000", "separable_cnn": "002"}


def stored() -> dict[str, dict[str, Any]]:
    return json.loads(FILE.read_text())


def thin_logits(name: str) -> np.ndarray:
    """Logits of a thin network for two pictures, all made by formulas."""
    size = MODELS[name].smallest
    network = build(name, image_size=(size + 1, size), classes=5, depth_multiplier=0.1, min_depth=8, dropout=0.0)
    fill(network)
    shape = network.input.shape[1:]
    steps = np.arange(np.prod(shape)).reshape(shape)
    waves = [127.5 + 100 * np.sin(steps * 0.37) + 27 * np.sin(steps * 0.002), 90 + 90 * np.sin(steps * 0.0411)]
    return logits(network, np.stack(waves).astype("float32"))


def full_logits(network: keras.Model, *, scales: bool) -> np.ndarray:
    """Every hundredth logit of a network for two pictures, with weights by formula in the order of computation.

    Args:
        network: A network for colour pictures.
        scales: Whether it takes 0..255; else it takes -1..1.
    """
    fill(network, layers=in_order(network))
    batch = pixels(2, network.input.shape[1:])
    return logits(network, batch if scales else standardised(batch))[:, ::100]


def _rounded(found: np.ndarray) -> list[list[float]]:
    return [[float(f"{value:.7g}") for value in row] for row in found.tolist()]


def _of_articles() -> dict[str, Any]:
    """All that is computed and read from the articles."""
    return {
        "articles": {f"{name} {size}": _rounded(full_logits(made(size), scales=False))
                     for name, made in PUBLISHED_IN_ARTICLES.items() for size in SIZES},
        "tables": {name: articles.table(number) for name, number in TABLES.items()},
    }  # fmt: skip


def write() -> None:
    """Write the file, a row of values a line."""
    values: dict[str, Any] = {"thin": {name: _rounded(thin_logits(name)) for name in MODELS}}
    if articles.SEEDS.is_dir():
        values |= _of_articles()
    else:
        values |= {key: kept for key, kept in stored().items() if key not in values}
    lines = [
        f" {json.dumps(key)}: {{\n" + ",\n".join(
            f"  {json.dumps(name)}: [\n" + ",\n".join(f"   {json.dumps(row)}" for row in rows) + "\n  ]"
            for name, rows in part.items()
        ) + "\n }"
        for key, part in values.items()
    ]  # fmt: skip
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    write()
