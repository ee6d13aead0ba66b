"""How far a score is from the truth when frames of one series lie in several splits, and when they are kept together.

    python benchmarks/group_split.py FOLDER

Of 300 photos of FOLDER each becomes a series of 6 frames (crops of 80 % at a drifting place, a little brighter or
darker), named TRACK_FRAME.jpg. The same network is trained with a split by file and with `--group`, and both are scored
on frames of 150 other photos: what the model is worth on new things. Each appends a row to results/group_split.csv;
`score` is what its training says, `truth` what the other photos say, each with its interval.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

import ception
import results
from ception.data import grouping, sources

SERIES, OTHERS, FRAMES, KEPT = 300, 150, 6, 0.8
TRAINING = {"model": "separable_cnn", "image_size": 48, "epochs": 30, "patience": 8}


def frames(image: Image.Image, random: np.random.Generator) -> list[Image.Image]:
    """A photo as if it were filmed: the view drifts, the light changes."""
    width, height = (int(side * KEPT) for side in image.size)
    place = random.random(2)
    drift = random.uniform(-0.06, 0.06, 2)
    made = []
    for number in range(FRAMES):
        left, top = np.clip(place + number * drift, 0, 1) * (image.width - width, image.height - height)
        part = image.crop((int(left), int(top), int(left) + width, int(top) + height))
        made.append(ImageEnhance.Brightness(part).enhance(random.uniform(0.85, 1.15)))
    return made


def write(dataset: sources.Dataset, chosen: np.ndarray, folder: Path) -> Path:
    """The chosen photos as series, in a folder per class."""
    random = np.random.default_rng(0)
    for index in chosen.tolist():
        target = folder / dataset.class_names[dataset.labels[index]]
        target.mkdir(parents=True, exist_ok=True)
        for number, frame in enumerate(frames(dataset.pictures.open(index).convert("RGB"), random)):
            frame.save(target / f"t{index:05}_{number:03}.jpg", quality=90)
    return folder


def main() -> None:
    """Measure the folder that the command line names."""
    dataset = sources.load(sys.argv[1])
    order = np.random.default_rng(1).permutation(len(dataset.labels))
    with tempfile.TemporaryDirectory() as place:
        filmed = write(dataset, order[:SERIES], Path(place) / "filmed")
        others = write(dataset, order[SERIES : SERIES + OTHERS], Path(place) / "others")
        for split, options in (("by file", {}), ("by series", {"group": grouping.SERIES})):
            run = ception.train(filmed, runs=Path(place) / "runs", **TRAINING, **options)
            truth = ception.evaluate(run.folder, others, split="all", out=Path(place) / "scores")
            row = {
                "data": Path(sys.argv[1]).resolve().name, "series": SERIES, "frames": FRAMES, "split": split,
                "score": run.scores.accuracy, "score_low": run.scores.accuracy_interval[0],
                "score_high": run.scores.accuracy_interval[1], "test_frames": run.scores.count,
                "truth": truth.accuracy, "truth_low": truth.accuracy_interval[0],
                "truth_high": truth.accuracy_interval[1], "other_frames": truth.count,
            }  # fmt: skip
            row = {key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()}
            results.append("group_split", row)
            print(row, flush=True)


if __name__ == "__main__":
    main()
