"""The main job in two minutes, on pictures that come with the package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

import numpy as np

from ception.data import sources
from ception.options import TrainOptions
from ception.prediction import predict
from ception.reporting import Reporter
from ception.results import Prediction
from ception.training import Run, train

SAMPLE = "fashion-mnist-sample"
EXPECTED_ACCURACY = (0.85, 0.88)  # five seeds gave 0.859 to 0.877: benchmarks/results/fashion_mnist.csv
_PER_CLASS = 2


@dataclass(frozen=True)
class Demonstration:
    """What a demo leaves behind.

    Attributes:
        run: The training.
        pictures: Folder with some test pictures.
        predictions: What the trained model says of them, as `ception.predict` returns it.
        sheet: PNG with these pictures, their true and their predicted names.
    """

    run: Run
    pictures: Path
    predictions: list[Prediction]
    sheet: Path


def demo(*, reporter: Reporter | None = None, **options: Unpack[TrainOptions]) -> Demonstration:
    """Train `separable_cnn` on 10,000 pictures of Fashion-MNIST, score it, and let it name some test pictures.

    Args:
        reporter: Receives notes, warnings and progress.
        options: Fields of `ception.settings.TrainSettings`.
    """
    from ception.evaluation.plots import contact_sheet

    chosen: TrainOptions = {"model": "separable_cnn", "recipe": "article", **options}
    run = train(SAMPLE, reporter=reporter, **chosen)
    folder = run.folder / "pictures"
    folder.mkdir()
    dataset = sources.load(SAMPLE)
    test = np.flatnonzero(dataset.stated_splits == sources.TEST)
    shown = [index for label in range(len(dataset.class_names))
             for index in test[dataset.labels[test] == label][:_PER_CLASS]]  # fmt: skip
    labels = [dataset.class_names[dataset.labels[index]] for index in shown]
    pictures = [dataset.pictures.open(int(index)) for index in shown]
    for number, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        name = label.lower().replace("/", "-").replace(" ", "-")
        picture.save(folder / f"{number:02d}-{name}.png")
    said = predict(run.classifier, sorted(folder.iterdir()), 3)
    best = [prediction.top[0] for prediction in said]
    sheet = run.folder / "demo.png"
    texts = [f"{first.class_name} {first.probability:.0%}" for first in best]
    right = [first.class_name == label for first, label in zip(best, labels, strict=True)]
    contact_sheet(pictures, labels, texts, right, sheet)
    return Demonstration(run, folder, said, sheet)
