"""Parts of a job made by the workers of a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ception import cluster
from ception.extraction import extracted
from ception.jobs.parts import Folder, Part
from ception.reporting import Reporter
from ception.sending import SentModel

if TYPE_CHECKING:
    from ception.data.pictures import Pictures
    from ception.settings import JobSettings


class Answering:
    """What makes the parts of a job in a worker.

    Args:
        model: The model.
        pictures: All pictures.
        folder: Where the answers go.
        settings: What is asked.
    """

    def __init__(self, model: SentModel, pictures: Pictures, folder: Folder, settings: JobSettings) -> None:
        self.predictor = model.opened(features=settings.features)
        self.pictures, self.folder, self.settings = pictures, folder, settings

    def __call__(self, number: int) -> Part:
        """Make a part; what it comes to."""
        settings, indices = self.settings, np.array(self.folder.pictures_of(number))
        if settings.features:
            return self.folder.write(number, extracted(self.predictor, self.pictures, indices, Reporter()))
        answers = self.predictor.predictions(
            self.pictures, top=settings.top, min_confidence=settings.min_confidence, calibrated=settings.calibration,
            indices=indices,
        )  # fmt: skip
        return self.folder.write(number, answers)


def parts(
    model: Path, pictures: Pictures, folder: Folder, missing: list[int], settings: JobSettings, reporter: Reporter
) -> Iterator[Part]:
    """Make the parts of a job on a cluster; what each comes to, as they are done.

    Args:
        model: The model's file, which every worker gets.
        pictures: All pictures; workers find those in files by the same paths.
        folder: Where the answers go, the same for all workers.
        missing: Numbers of the parts.
        settings: What is asked, and where.
        reporter: Receives progress.

    Raises:
        InputError: the model is a folder.
        RunError: the cluster cannot be reached, or a worker failed.
    """
    sent = SentModel.of(model, settings, evenly(settings.part_size, settings.batch_size))
    count = sum(len(folder.pictures_of(number)) for number in missing)
    with reporter.task("Predicting", count) as task:
        given = sent, pictures, folder, settings
        then = "begin again, and the job goes on where it stands"
        for _, part in cluster.carried_out(Answering, given, missing, settings, reporter, then=then):
            task.advance(part.pictures)
            yield part


def evenly(pictures: int, batch_size: int) -> int:
    """The smallest batch by which so many pictures take as few steps, for engines compute a whole batch at its end."""
    return -(-pictures // -(-pictures // batch_size))
