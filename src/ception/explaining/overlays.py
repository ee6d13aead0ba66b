"""Heat maps over pictures, as a person sees them."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ception.explaining.methods import resized

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ception.data.images import ImageContract

_OPAQUE = 0.6  # of the warmest place
_SIDES = 320, 640  # pixels of the longer side that are drawn at least and at most
_COLUMN, _TITLE = 240, 24  # pixels of a column of a sheet, and of its titles
_CAPTION = 30  # pixels below a picture of 320
_SMOOTH = 0.02  # of the shorter side: single pixels are no parts that a person sees


def in_picture(values: NDArray[np.float32], contract: ImageContract, size: tuple[int, int]) -> NDArray[np.float32]:
    """A map of what a network saw as a map of the picture, 0..1: what it did not see, or speaks against, is 0.

    Args:
        values: The map, (rows, columns).
        contract: How the picture was made ready.
        size: Width and height of the picture, which the result has.
    """
    width, height = size
    from scipy.ndimage import gaussian_filter

    warm = np.maximum(gaussian_filter(values, _SMOOTH * min(values.shape)), 0)
    warm = warm / warm.max() if warm.max() > 0 else warm
    seen = resized(warm.astype(np.float32), (contract.height, contract.width))
    if contract.resize == "squash":
        return resized(seen, (height, width)).clip(0, 1)
    ratio = contract.width / contract.height
    wide = width / height > ratio
    if contract.resize == "pad":
        inner = (contract.width, round(height / width * contract.width)) if wide else (
            round(width / height * contract.height), contract.height)  # fmt: skip
        left, top = (contract.width - inner[0]) // 2, (contract.height - inner[1]) // 2
        return resized(seen[top : top + max(1, inner[1]), left : left + max(1, inner[0])], (height, width)).clip(0, 1)
    part = (height * ratio, height) if wide else (width, width / ratio)
    cut = max(1, round(part[0] * contract.crop)), max(1, round(part[1] * contract.crop))
    left, top = (width - cut[0]) // 2, (height - cut[1]) // 2
    whole = np.zeros((height, width), np.float32)
    whole[top : top + cut[1], left : left + cut[0]] = resized(seen, cut[::-1]).clip(0, 1)
    return whole


def heat(warmth: NDArray[np.float32]) -> Image.Image:
    """A map 0..1 as colours that grow opaque with it."""
    from matplotlib import colormaps

    coloured = (colormaps["inferno"](warmth) * 255).astype(np.uint8)
    coloured[..., 3] = (warmth * _OPAQUE * 255).astype(np.uint8)
    return Image.fromarray(coloured)


def visible(image: Image.Image) -> Image.Image:
    """The picture in a size that can be looked at."""
    longer = max(image.size)
    factor = min(max(longer, _SIDES[0]), _SIDES[1]) / longer
    width, height = (max(1, round(side * factor)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC)


def overlay(image: Image.Image, warmth: NDArray[np.float32]) -> Image.Image:
    """A picture in RGB with a map 0..1 of its own size over it."""
    return Image.alpha_composite(image.convert("RGBA"), heat(warmth)).convert("RGB")


def captioned(encoded: bytes, text: str) -> Image.Image:
    """A small picture, in a size that can be looked at, with a text below."""
    return with_text(visible(Image.open(io.BytesIO(encoded)).convert("RGB")), text)


def with_text(image: Image.Image, text: str) -> Image.Image:
    """A picture with a text below; where it is narrower than its text, white is beside it."""
    font = ImageFont.load_default(_CAPTION - 8)
    width = max(image.width, math.ceil(font.getlength(text)) + 8)
    drawn = Image.new("RGB", (width, image.height + _CAPTION), "white")
    drawn.paste(image, (0, 0))
    ImageDraw.Draw(drawn).text((4, image.height + 4), text, "black", font)
    return drawn


def sheet(rows: Sequence[Sequence[Image.Image]], titles: Sequence[str]) -> Image.Image:
    """Pictures in rows, each column with its title."""
    drawn = Image.new("RGB", (len(titles) * _COLUMN, len(rows) * _COLUMN + _TITLE), "white")
    pen = ImageDraw.Draw(drawn)
    for x, title in enumerate(titles):
        pen.text((x * _COLUMN + 4, 4), title, "black", font_size=14)
    for y, row in enumerate(rows):
        for x, image in enumerate(row):
            small = image.copy()
            small.thumbnail((_COLUMN - 8, _COLUMN - 8))
            drawn.paste(small, (x * _COLUMN + 4, y * _COLUMN + 4 + _TITLE))
    return drawn
