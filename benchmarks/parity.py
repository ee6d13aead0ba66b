"""How far the logits of each network are from those of what it claims to be, with the same random weights.

    python benchmarks/parity.py keras
    python benchmarks/parity.py articles
    KERAS_BACKEND=torch python benchmarks/parity.py timm
    python benchmarks/parity.py --save /tmp/tensorflow backends
    KERAS_BACKEND=jax python benchmarks/parity.py --against /tmp/tensorflow backends

Weights and batch-norm statistics are random, the networks have their own size and an even one, two pictures of noise
go through. Each comparison appends a row to results/parity.csv: the largest difference of a logit, relative to the
largest logit. The articles are read from a folder beside the checkout; what is not there is left out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import results

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # the proofs are the tests', only wider reported

SIZES = (299, 200)


def compared(what: str, save: Path | None, against: Path | None) -> Iterator[tuple[str, str, int, float]]:
    """Network, what it is compared with, size and relative difference."""
    from support import originals

    if what == "backends":
        yield from among_backends(save, against)
        return
    for size in SIZES:
        if what == "keras":
            for name, published in originals.PUBLISHED_IN_KERAS.items():
                yield name, f"keras.applications.{published.__name__}", size, originals.from_keras(name, size)
        elif what == "articles":
            for name, read in originals.PUBLISHED_IN_ARTICLES.items():
                yield name, "the tutorial's code", size, originals.from_article(name, read(size), size)
        else:
            for name in originals.PUBLISHED_IN_TIMM:
                yield name, f"timm's {name.replace('_', '')}", size, originals.from_timm(name, size)


def among_backends(save: Path | None, against: Path | None) -> Iterator[tuple[str, str, int, float]]:
    """Full networks at their own size against the logits that another backend has saved."""
    import numpy as np

    from ception import MODELS, build
    from support.parity import difference, fill, logits, pixels

    for name, entry in MODELS.items():
        network = build(name)
        fill(network)
        found = logits(network, pixels(2, (*entry.image_size, entry.channels)))
        if save:
            save.mkdir(parents=True, exist_ok=True)
            np.save(save / f"{name}.npy", found)
        if against:
            expected = np.load(against / f"{name}.npy")
            yield name, f"Keras on {against.name}", entry.image_size[0], difference(found, expected)


def main() -> None:
    """Compare and append the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("keras", "articles", "timm", "backends"))
    parser.add_argument("--save", type=Path, help="write the logits into this folder, named as the backend is")
    parser.add_argument("--against", type=Path, help="compare with the logits in this folder")
    options = parser.parse_args()
    from ception import backends

    backends.start()
    import keras

    for name, reference, size, relative in compared(options.what, options.save, options.against):
        row = {"network": name, "compared_with": reference, "size": size, "backend": keras.backend.backend(),
               "relative_difference": f"{relative:.1e}"}  # fmt: skip
        print(row, flush=True)
        results.append("parity", row)


if __name__ == "__main__":
    main()
