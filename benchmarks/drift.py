"""How often pictures are called different from those that a model knows: like ones by chance, and others rightly.

    python benchmarks/drift.py PHOTOS WEIGHTS OTHERS [--left-out glass]

The head of Inception V3 up to mixed8 is trained with WEIGHTS on the classes of PHOTOS but one, and of these without
every fourth picture by chance: those are like what it knows, and nothing of it was chosen by them. Beside them stand
the same ones darker and smaller, those of OTHERS, and those of the class that was left out. Of each, sets of 30, 100
and 300 pictures are drawn 1,000 times, and the share of sets that are called different, by each quantity and by any, is
appended to results/drift.csv. Where a kind has fewer than 1.5 times as many pictures as a set, such sets are left out:
they would all be the same.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

import ception
import results
from ception.data.pictures import Pictures, given
from ception.drift import QUANTITIES, Looks, drifts
from ception.evaluation.calibration import confidence
from ception.predictor import answered
from ception.reporting import Reporter

SETS, SIZES, MOST = 1_000, (30, 100, 300), 500


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("others", type=Path)
    parser.add_argument("--left-out", default="glass")
    return parser.parse_args()


def trained(options: argparse.Namespace, place: Path) -> tuple[list[Path], Path]:
    """Pictures that are kept away from a training on the others, and its run folder."""
    known, kept = place / options.photos.name, list[Path]()
    random = np.random.default_rng(0)
    for folder in sorted(options.photos.iterdir()):
        if folder.is_dir() and folder.name != options.left_out:
            (known / folder.name).mkdir(parents=True)
            for path in sorted(folder.glob("*.jpg")):
                if random.random() < 1 / 4:
                    kept.append(path)
                else:
                    os.symlink(path.resolve(), known / folder.name / path.name)
    run = ception.train(
        known, model="inception_v3", weights=str(options.weights), final_endpoint="mixed8", head_only=True,
        runs=place / "runs",
    )  # fmt: skip
    return kept, run.folder


def kinds(options: argparse.Namespace, kept: list[Path]) -> Iterator[tuple[str, Pictures]]:
    """Pictures by what they are called."""

    def changed(how: Callable[[Image.Image], Image.Image]) -> Pictures:
        return given([how(Image.open(path).convert("RGB")) for path in kept[::2]])

    yield "none", given(kept)
    for factor in (0.8, 0.6):
        yield (
            f"darker, x {factor}",
            changed(lambda image, factor=factor: image.point(lambda value: int(value * factor))),
        )
    yield "smaller, x 0.5", changed(lambda image: image.resize((image.width // 2, image.height // 2)))
    for name, folder in (("another class", options.photos / options.left_out), ("other pictures", options.others)):
        paths = sorted(path for path in folder.rglob("*") if path.suffix in (".jpg", ".png"))
        paths = [paths[k] for k in np.random.default_rng(0).permutation(len(paths))[:MOST]]
        yield name, given(paths)


def looks_of(model: ception.Predictor, pictures: Pictures) -> Looks:
    """What the pictures look like to the model."""
    parts = [
        Looks(confidence(one.logits[0], model.description.temperature), one.brightness, one.shorter_sides)
        for one in answered([model], pictures, np.arange(len(pictures)), label="Looking", reporter=Reporter())
    ]
    return Looks.of(parts)


def found(usual: Looks, seen: Looks, size: int) -> dict[str, float]:
    """The share of random sets of the pictures that are called different."""
    random, counts = np.random.default_rng(0), dict.fromkeys((*QUANTITIES, "any"), 0)
    for _ in range(SETS):
        chosen = random.permutation(len(seen.brightness))[:size]
        drawn = Looks(*(np.asarray(getattr(seen, name))[chosen] for name in QUANTITIES))
        called = [one.quantity for one in drifts(usual, drawn) if one.different]
        for name in (*called, *(["any"] if called else [])):
            counts[name] += 1
    return {name: count / SETS for name, count in counts.items()}


def main() -> None:
    """Train, look, draw, and append the rows."""
    options = arguments()
    with tempfile.TemporaryDirectory() as place:
        kept, folder = trained(options, Path(place))
        with ception.Predictor.open(folder) as model:
            usual = model.description.usual
            for name, pictures in kinds(options, kept):
                seen = looks_of(model, pictures)
                for size in (size for size in SIZES if 1.5 * size <= len(pictures)):
                    row = {
                        "data": options.photos.name, "left_out": options.left_out, "planted": name,
                        "pictures": len(pictures), "set": size, "sets": SETS,
                        "usual_confidence": round(float(np.median(usual.confidence)), 3),
                        "median_confidence": round(float(np.median(seen.confidence)), 3), **found(usual, seen, size),
                    }  # fmt: skip
                    results.append("drift", row)
                    print(row, flush=True)


if __name__ == "__main__":
    main()
