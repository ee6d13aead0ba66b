"""Explanations for requests: a model is opened in Keras, where it has gradients, when the first one is asked for."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any

from ception.artefacts import format_of
from ception.errors import InputError
from ception.explaining import FILE, index_beside, index_of, opened
from ception.reporting import Reporter
from ception.serving.hosting import state_of
from ception.serving.limits import RefusedError

if TYPE_CHECKING:
    from PIL import Image

    from ception.classifier import Classifier
    from ception.explaining.insight import Subject
    from ception.explaining.methods import Parts
    from ception.results import Neighbour
    from ception.serving.hosting import Hosted

_REPLACED_S = 3  # after which a new file may have taken over


@dataclass(frozen=True)
class _Opened:
    """A model in Keras, and what is made of it when it is asked for.

    Attributes:
        state: Of its file.
        hosted: The model that answers.
        classifier: The same in Keras.
    """

    state: Any
    hosted: Hosted
    classifier: Classifier

    @cached_property
    def parts(self) -> Parts:
        """Its network, cut where heat maps look at it."""
        from ception.explaining.methods import parts_of

        return parts_of(self.classifier.network)

    @cached_property
    def subject(self) -> Subject:
        """The model with its training pictures."""
        from ception.explaining.insight import Subject

        return Subject.of(self.classifier, index_beside(self.hosted.path, self.classifier))


class Explainer:
    """Shows why a model says what it says, one picture at a time.

    Args:
        neighbours: Whether small copies of training pictures may be shown.
    """

    def __init__(self, *, neighbours: bool = True) -> None:
        self._lock, self._neighbours = Lock(), neighbours
        self._opened: dict[str, _Opened] = {}  # by model

    def has_neighbours(self, hosted: Hosted) -> bool:
        """Whether training pictures of a model can be shown, as far as that can be told without opening it."""
        return self._neighbours and not format_of(hosted.path) and (hosted.path.resolve().parent / FILE).is_file()

    def png(self, hosted: Hosted, image: Image.Image, class_name: str | None) -> bytes:
        """The map as colours in the picture's shape; of the most probable class when none is named.

        Raises:
            InputError: there is no such class, or the model cannot be explained.
        """
        index = None if class_name is None else index_of(hosted.description, class_name)
        with self._lock:
            known = self._known(hosted)
            from ception.explaining.one import heat_of

            heat = heat_of(known.classifier, known.parts, image, index)
        heat.save(written := io.BytesIO(), "PNG")
        return written.getvalue()

    def nearest(self, hosted: Hosted, image: Image.Image, count: int) -> tuple[tuple[Neighbour, bytes], ...]:
        """The training pictures most like a picture, each with its small copy as a JPEG.

        Raises:
            InputError: they may not be shown, or the model has none.
        """
        if not self._neighbours:
            raise InputError("this server shows no training pictures: it was started with --no-neighbours")
        if not self.has_neighbours(hosted):
            raise InputError(f"{hosted.name} has no training pictures to show")
        with self._lock:
            known = self._known(hosted)
            try:
                subject = known.subject
            except InputError:  # whose words name a path
                why = f"the training pictures of {hosted.name} cannot be shown: ception explain says why"
                raise InputError(why) from None
            from ception.explaining.insight import look

            return look(subject, image, count).nearest

    def _known(self, hosted: Hosted) -> _Opened:
        """A model in Keras, from the file that it answers from.

        Raises:
            RefusedError: another file lies there now, and what it says was said by no answer.
        """
        known = self._opened.get(hosted.name)
        if known is None or known.state != hosted.state:
            if state_of(hosted.path) != hosted.state:
                why = f"the file of {hosted.name} was replaced, and the new one does not answer yet: come again"
                raise RefusedError(503, why, retry_after_s=_REPLACED_S)
            known = self._opened[hosted.name] = _Opened(hosted.state, hosted, opened(hosted.path, None, Reporter()))
        return known
