"""One picture explained: its maps, what speaks for them, and how they look."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ception.data.images import flatten, to_pixels
from ception.explaining import checks, methods, neighbours, overlays
from ception.explaining.insight import Subject, near
from ception.files import whole
from ception.results import Explanation

if TYPE_CHECKING:
    from PIL import Image

    from ception.classifier import Classifier
    from ception.explaining.methods import Method, Parts
    from ception.explaining.neighbours import Index
    from ception.results import Neighbour
    from ception.settings import ExplainSettings


@dataclass(frozen=True)
class Task:
    """What is asked of each picture.

    Attributes:
        classifier: The model.
        parts: Its network, cut where it is looked at.
        shuffled: The same with its weights shuffled; None leaves the maps unchecked.
        methods: How to find out.
        index: The class; None takes the most probable one of each picture.
        out: Where drawings go.
        subject: The model as what is asked for its features; None where no training pictures are shown.
        neighbours: How many.
    """

    classifier: Classifier
    parts: Parts
    shuffled: Parts | None
    methods: tuple[Method, ...]
    index: int | None
    out: Path
    subject: Subject | None
    neighbours: int

    @classmethod
    def of(
        cls, classifier: Classifier, index: int | None, out: Path, settings: ExplainSettings, known: Index | None
    ) -> Task:
        """What the settings ask of a model.

        Args:
            classifier: The model.
            index: The class.
            out: Where drawings go.
            settings: The settings.
            known: The model's training pictures, if they are there.

        Raises:
            InputError: there is no such layer.
        """
        wanted: tuple[Method, ...] = methods.METHODS if settings.method == "all" else (settings.method,)
        if wanted == ("occlusion",) and settings.layer is None:  # which looks at no layer
            parts = methods.Parts(classifier.network, classifier.network, classifier.network, "")
        else:
            parts = methods.parts_of(classifier.network, settings.layer)
        shuffled = checks.randomised(classifier.config, parts) if settings.checks else None
        count = neighbours.USUAL if settings.neighbours is None else settings.neighbours
        subject = Subject.of(classifier, known) if known is not None and count else None
        return cls(classifier, parts, shuffled, wanted, index, out, subject, count)

    @property
    def coarse(self) -> list[str]:
        """What to know of heat maps that have few places; nothing where they have enough."""
        told = methods.told_coarse(self.parts.whole, self.parts.layer) if "gradcam" in self.methods else ""
        return [told] if told else []

    @property
    def titles(self) -> list[str]:
        """What stands above the columns of a sheet."""
        shown = 0 if self.subject is None else self.neighbours
        return ["picture", *self.methods, *(f"like it, {number}" for number in range(1, shown + 1))]


def explained(task: Task, image: Image.Image, number: int, name: str) -> tuple[list[Explanation], list[Image.Image]]:
    """What each method says of a picture, and the picture beside their drawings."""
    pixels = to_pixels(image, task.classifier.image)
    nearest: tuple[tuple[Neighbour, bytes], ...] | None = None
    if task.subject is None:
        probabilities = task.classifier.probabilities(pixels[None])[0]
    else:
        features, logits = task.subject.seen(pixels)
        probabilities = task.classifier.softmax(logits[None])[0]
        assert task.subject.index is not None
        nearest = near(task.subject.index, task.classifier.class_names, features, task.neighbours)
    chosen = int(probabilities.argmax()) if task.index is None else task.index
    made, drawn = [], [overlays.visible(image)]
    for method in task.methods:
        found = methods.heat_map(task.parts, pixels, chosen, method)
        evidence = None
        if task.shuffled is not None:
            softmax = task.classifier.softmax
            evidence = checks.evidence(task.parts, task.shuffled, found, pixels, chosen, method, softmax)
        drawn.append(
            overlays.overlay(drawn[0], overlays.in_picture(found.values, task.classifier.image, drawn[0].size))
        )
        path = task.out / f"{number + 1:03}-{Path(name).stem[:60]}-{method}.png"
        with whole(path) as unfinished:
            drawn[-1].save(unfinished, "PNG")
        said = f"{task.classifier.class_names[chosen]} {probabilities[chosen]:.0%}"
        drawn[-1] = overlays.with_text(drawn[-1], f"{said}: {evidence.verdict}" if evidence else said)
        made.append(Explanation(
            path=name, class_name=task.classifier.class_names[chosen], method=method, picture=str(path),
            probability=round(float(probabilities[chosen]), 6), evidence=evidence,
            layer=task.parts.layer if method == "gradcam" else None,
            completeness=None if found.completeness is None else round(found.completeness, 4),
            nearest=None if nearest is None else tuple(one for one, _ in nearest),
        ))  # fmt: skip
    return made, [
        *drawn,
        *(overlays.captioned(small, f"{one.class_name} {one.distance:.2f}") for one, small in nearest or ()),
    ]


def heat_of(classifier: Classifier, parts: Parts, image: Image.Image, index: int | None) -> Image.Image:
    """Grad-CAM's map of a picture as colours of the picture's own shape that grow opaque with it.

    Args:
        classifier: The model.
        parts: Its network, cut where it is looked at.
        image: The picture.
        index: The class; None for the most probable one.
    """
    image = flatten(image, 3)
    pixels = to_pixels(image, classifier.image)
    chosen = int(classifier.logits(pixels[None])[0].argmax()) if index is None else index
    found = methods.heat_map(parts, pixels, chosen, "gradcam")
    return overlays.heat(overlays.in_picture(found.values, classifier.image, overlays.visible(image).size))
