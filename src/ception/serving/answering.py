"""From the bytes of pictures to answers: decoded in threads, within limits, computed in shared batches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ception.backends import cores
from ception.data import formats, images
from ception.drift import brightness
from ception.errors import InputError, meant
from ception.pages import data_uri
from ception.predictor import told
from ception.results import Prediction
from ception.serving.batching import FailedError
from ception.serving.explainer import Explainer
from ception.serving.limits import Limits, RefusedError
from ception.serving.schemas import Json

if TYPE_CHECKING:
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


class ReplacedError(Exception):
    """A model was replaced after a request was begun with it."""


@dataclass(frozen=True)
class Decoded:
    """A picture as a model takes it.

    Attributes:
        pixels: (height, width, channels).
        shorter_side: Of the picture that was sent; None where the pixels were.
    """

    pixels: NDArray[np.uint8]
    shorter_side: int | None = None


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
        explainer: Draws heat maps, and finds training pictures.
    """

    hosting: Hosting
    limits: Limits
    metrics: Metrics
    pool: ThreadPoolExecutor
    reading: ThreadPoolExecutor
    drawing: ThreadPoolExecutor
    explainer: Explainer

    @classmethod
    def of(cls, hosting: Hosting, limits: Limits, metrics: Metrics, *, neighbours: bool = True) -> Answering:
        """With as many threads as there are cores."""
        pool, reading, drawing = (
            ThreadPoolExecutor(threads, thread_name_prefix=f"ception {does}")
            for threads, does in ((cores(), "decodes"), (1, "reads"), (1, "draws"))
        )
        return cls(hosting, limits, metrics, pool, reading, drawing, Explainer(neighbours=neighbours))

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

        async def asked(hosted: Hosted) -> tuple[list[Decoded | str], NDArray[np.float32]]:
            pictures = await self.decoded(hosted, [data for _, data in sent])
            return pictures, await self.probabilities(hosted, [one for one in pictures if not isinstance(one, str)])

        hosted, (pictures, probabilities) = await self.by_one_model(name, asked)
        rows, least = iter(probabilities), hosted.predictor.min_confidence
        made = [
            Prediction(path=called, error=one)
            if isinstance(one, str)
            else told(hosted.description, called, next(rows), top=top, min_confidence=least)
            for (called, _), one in zip(sent, pictures, strict=True)
        ]
        for prediction in made:
            self.metrics.count(hosted.name, prediction)
        return hosted, made

    async def by_one_model(self, name: str | None, ask: Callable[[Hosted], Awaitable[Result]]) -> tuple[Hosted, Result]:
        """The model of a name, or the first, and what a question gives that is put to it.

        Where it is replaced meanwhile, all of it is done again with the new one, which may take pictures of another
        size, and have other classes.

        Raises:
            RefusedError: there is none, or it is replaced again and again.
        """
        for _ in range(_TRIES):
            hosted = self.model(name)
            try:
                return hosted, await ask(hosted)
            except ReplacedError:
                continue
        raise RefusedError(503, "the model is being replaced: come again", retry_after_s=1)

    async def read(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """What a function makes of a body, one body at a time."""
        return await asyncio.get_running_loop().run_in_executor(self.reading, function, *arguments)

    async def decoded(self, hosted: Hosted, files: Sequence[bytes]) -> list[Decoded | str]:
        """The picture of each file as the model takes it, or why there is none."""
        loop = asyncio.get_running_loop()
        return list(
            await asyncio.gather(*(loop.run_in_executor(self.pool, self._decoded, hosted, data) for data in files))
        )

    async def probabilities(self, hosted: Hosted, pictures: Sequence[Decoded]) -> NDArray[np.float32]:
        """The probabilities of each picture, (pictures, classes); what they look like is remembered.

        Raises:
            RefusedError: the model failed.
            ReplacedError: it is no longer served.
        """
        classes = len(hosted.description.class_names)
        rows = await self._logits(hosted, [one.pixels for one in pictures])
        probabilities = hosted.description.softmax(np.array(rows, np.float32).reshape(-1, classes))
        for one, row in zip(pictures, probabilities, strict=True):
            seen = {"confidence": float(row.max()), "brightness": float(brightness(one.pixels[None])[0])}
            if one.shorter_side is not None:
                seen["shorter_side"] = float(one.shorter_side)
            hosted.watch.add(seen)
            self.metrics.look(hosted.name, seen)
        return probabilities

    async def _logits(self, hosted: Hosted, pixels: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """The logits of each picture.

        Raises:
            RefusedError: the model failed.
            ReplacedError: it is no longer served.
        """
        try:
            futures = [hosted.batcher.submit(picture) for picture in pixels]
        except RuntimeError:
            raise ReplacedError from None
        try:
            return list(await asyncio.gather(*(asyncio.wrap_future(future) for future in futures)))
        except FailedError:
            raise RefusedError(503, "the model failed: come again", retry_after_s=_REOPENED_S) from None

    async def heat(self, name: str | None, sent: Sent, class_name: str | None) -> bytes:
        """A PNG in the picture's shape, which is the more opaque where a part speaks the more for a class.

        Raises:
            RefusedError: there is no such model or class, the model is an export, or the picture cannot be read.
        """
        hosted = self.model(name)
        names = hosted.description.class_names
        if class_name is not None and class_name not in names:
            raise RefusedError(404, f"there is no class {class_name[:100]!r}{meant(class_name[:100], names)}")
        return await self._explained(lambda: self.explainer.png(hosted, self._image(sent[1]), class_name))

    async def nearest(self, name: str | None, sent: Sent, count: int) -> tuple[Hosted, list[Json]]:
        """The training pictures most like a picture: of each its class, its distance and a small copy, nothing else.

        Raises:
            RefusedError: there is no such model, it has none, they may not be shown, or the picture cannot be read.
        """
        hosted = self.model(name)
        found = await self._explained(lambda: self.explainer.nearest(hosted, self._image(sent[1]), count))
        return hosted, [
            {"class": one.class_name, "distance": one.distance, "thumbnail": data_uri(small)} for one, small in found
        ]

    async def _explained(self, explain: Callable[[], Result]) -> Result:
        """What an explanation gives, made in a thread of its own; what is wrong with it is a refusal."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self.drawing, explain)
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

    def _decoded(self, hosted: Hosted, data: bytes) -> Decoded | str:
        """The picture of a file as the model takes it, or why there is none."""
        try:
            image = self._image(data)
            return Decoded(images.to_pixels(image, hosted.description.image), min(image.size))
        except images.PictureError as error:
            return str(error)


def _is_jpeg(image: Image.Image) -> bool:
    """Whether a picture's data are JPEG's, in whatever file."""
    return image.format in ("JPEG", "MPO") or image.info.get("compression") == "jpeg"
