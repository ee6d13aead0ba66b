"""From the bytes of pictures to answers: decoded in threads, within limits, computed in shared batches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from ception.backends import cores
from ception.data import formats, images
from ception.errors import InputError, meant
from ception.predictor import told
from ception.results import Prediction
from ception.serving.batching import FailedError
from ception.serving.explainer import Explainer
from ception.serving.limits import Limits, RefusedError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from ception.serving.bodies import Sent
    from ception.serving.hosting import Hosted, Hosting
    from ception.serving.metrics import Metrics

Result = TypeVar("Result")
_REOPENED_S = 3  # after which a model that failed may have been opened anew
_SCAN = b"\xff\xda"  # begins each pass of a progressive JPEG, and stands nowhere else in one
_MOST_SCANS = 16  # of a picture with as many pixels as are allowed; a usual one has ten
_TRIES = 3  # a model may be replaced between being looked up and being asked


@dataclass(frozen=True)
class Answering:
    """What answers requests.

    Attributes:
        hosting: The models.
        limits: What a picture may be.
        metrics: Told of each answer.
        pool: Threads that decode.
        reading: The thread that reads forms and JSON.
        drawing: The thread that draws heat maps: decoding does not wait for them.
        explainer: Draws heat maps.
    """

    hosting: Hosting
    limits: Limits
    metrics: Metrics
    pool: ThreadPoolExecutor
    reading: ThreadPoolExecutor
    drawing: ThreadPoolExecutor
    explainer: Explainer = field(default_factory=Explainer)

    @classmethod
    def of(cls, hosting: Hosting, limits: Limits, metrics: Metrics) -> Answering:
        """With as many threads as there are cores."""
        pool, reading, drawing = (
            ThreadPoolExecutor(threads, thread_name_prefix=f"ception {does}")
            for threads, does in ((cores(), "decodes"), (1, "reads"), (1, "draws"))
        )
        return cls(hosting, limits, metrics, pool, reading, drawing)

    def close(self) -> None:
        """End the threads, after what they do."""
        for pool in (self.pool, self.reading, self.drawing):
            pool.shutdown()

    @asynccontextmanager
    async def in_time(self) -> AsyncIterator[None]:
        """Refuse what takes too long.

        Raises:
            RefusedError: it does.
        """
        try:
            async with asyncio.timeout(self.limits.seconds):
                yield
        except TimeoutError:
            why = f"no answer within {self.limits.seconds:g} seconds: come again"
            raise RefusedError(503, why, retry_after_s=1) from None

    def model(self, name: str | None) -> Hosted:
        """The model of a name, or the first.

        Raises:
            RefusedError: there is none.
        """
        hosted = self.hosting.find(name)
        if hosted is None:
            known = ", ".join(one.name for one in self.hosting)
            raise RefusedError(404, f"there is no model {name[:100] if name else ''!r} (known: {known})")
        return hosted

    def require_ready(self) -> None:
        """Refuse while a model does not answer.

        Raises:
            RefusedError: one failed.
        """
        for hosted in self.hosting:
            if hosted.batcher.broken:
                raise RefusedError(503, f"{hosted.name} failed and is opened anew", retry_after_s=_REOPENED_S)

    async def predictions(self, name: str | None, sent: Sequence[Sent], top: int) -> tuple[Hosted, list[Prediction]]:
        """The most probable classes of each picture; of one that cannot be read, why.

        Raises:
            RefusedError: there is no such model, or it failed.
        """
        hosted = self.model(name)
        pixels = await self.decoded(hosted, [data for _, data in sent])
        rows = await self.logits(hosted, [one for one in pixels if not isinstance(one, str)])
        answers = iter(rows)
        made = [
            Prediction(path=called, error=one)
            if isinstance(one, str)
            else self._told(hosted, called, next(answers), top)
            for (called, _), one in zip(sent, pixels, strict=True)
        ]
        for prediction in made:
            self.metrics.count(hosted.name, prediction)
        return hosted, made

    async def read(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """What a function makes of a body, one body at a time."""
        return await asyncio.get_running_loop().run_in_executor(self.reading, function, *arguments)

    async def decoded(self, hosted: Hosted, files: Sequence[bytes]) -> list[NDArray[np.uint8] | str]:
        """The pixels of each file as the model takes them, or why there are none."""
        loop = asyncio.get_running_loop()
        return list(
            await asyncio.gather(*(loop.run_in_executor(self.pool, self._pixels, hosted, data) for data in files))
        )

    async def logits(self, hosted: Hosted, pixels: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """The logits of each picture.

        Raises:
            RefusedError: the model failed, or is replaced again and again.
        """
        for _ in range(_TRIES):
            try:
                futures = [hosted.batcher.submit(picture) for picture in pixels]
            except RuntimeError:
                hosted = self.model(hosted.name)
                continue
            try:
                return list(await asyncio.gather(*(asyncio.wrap_future(future) for future in futures)))
            except FailedError:
                raise RefusedError(503, "the model failed: come again", retry_after_s=_REOPENED_S) from None
        raise RefusedError(503, "the model is being replaced: come again", retry_after_s=1)

    async def heat(self, name: str | None, sent: Sent, class_name: str | None) -> bytes:
        """A PNG in the picture's shape, which is the more opaque where a part speaks the more for a class.

        Raises:
            RefusedError: there is no such model or class, the model is an export, or the picture cannot be read.
        """
        hosted = self.model(name)
        names = hosted.description.class_names
        if class_name is not None and class_name not in names:
            raise RefusedError(404, f"there is no class {class_name[:100]!r}{meant(class_name[:100], names)}")
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self.drawing, lambda: self.explainer.png(hosted, self._image(sent[1]), class_name)
            )
        except (InputError, images.PictureError) as error:
            raise RefusedError(422, str(error)) from None

    def _image(self, data: bytes) -> Image.Image:
        """The picture of a file.

        Raises:
            PictureError: it cannot be read, or has too many pixels.
        """
        try:
            (width, height), jpeg = formats.with_opened(data, lambda image: (image.size, _is_jpeg(image)))
        except Exception:  # whatever it is: `decode` has the words for it
            return images.decode(data)
        if width * height > self.limits.most_pixels:
            allowed = f"{self.limits.most_pixels / 1e6:g} million allowed"
            raise images.PictureError(f"{width} x {height} pixels are more than the {allowed}")
        if jpeg and data.count(_SCAN) * width * height > _MOST_SCANS * self.limits.most_pixels:
            raise images.PictureError(f"a JPEG in {data.count(_SCAN)} passes is too much to decode: store it anew")
        return images.decode(data)

    def _told(self, hosted: Hosted, called: str, logits: NDArray[np.float32], top: int) -> Prediction:
        row = hosted.description.softmax(logits[None])[0]
        least = hosted.predictor.min_confidence
        return told(hosted.description, called, row, top=top, min_confidence=least)

    def _pixels(self, hosted: Hosted, data: bytes) -> NDArray[np.uint8] | str:
        """The pixels of a picture's file as the model takes them, or why there are none."""
        try:
            return images.to_pixels(self._image(data), hosted.description.image)
        except images.PictureError as error:
            return str(error)


def _is_jpeg(image: Image.Image) -> bool:
    """Whether a picture's data are JPEG's, in whatever file."""
    return image.format in ("JPEG", "MPO") or image.info.get("compression") == "jpeg"
