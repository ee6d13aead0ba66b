"""Heat maps for requests: a model is opened in Keras, where it has gradients, when the first one is asked for."""

from __future__ import annotations

import io
from threading import Lock
from typing import TYPE_CHECKING, Any

from ception.explaining import index_of, opened
from ception.reporting import Reporter

if TYPE_CHECKING:
    from PIL import Image

    from ception.classifier import Classifier
    from ception.explaining.methods import Parts
    from ception.serving.hosting import Hosted


class Explainer:
    """Draws what speaks for a class, one picture at a time."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._opened: dict[str, tuple[Any, Classifier, Parts]] = {}  # by model, with the state of its file

    def png(self, hosted: Hosted, image: Image.Image, class_name: str | None) -> bytes:
        """The map as colours in the picture's shape; of the most probable class when none is named.

        Raises:
            InputError: there is no such class, or the model cannot be explained.
        """
        index = None if class_name is None else index_of(hosted.description, class_name)
        with self._lock:
            known = self._opened.get(hosted.name)
            if known is None or known[0] != hosted.state:
                classifier = opened(hosted.path, None, Reporter())
                from ception.explaining.methods import parts_of

                known = self._opened[hosted.name] = (hosted.state, classifier, parts_of(classifier.network))
            from ception.explaining.one import heat_of

            _, classifier, parts = known
            heat = heat_of(classifier, parts, image, index)
        heat.save(written := io.BytesIO(), "PNG")
        return written.getvalue()
