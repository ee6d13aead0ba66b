"""From a picture to pixels: the one path that training, evaluation, prediction, serving and export share."""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ception.errors import reason
from ception.settings import Resize

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUFFIXES = frozenset((
    ".avif", ".bmp", ".dib", ".gif", ".heic", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm",
    ".ppm", ".tga", ".tif", ".tiff", ".webp",
))  # fmt: skip
MOST_PIXELS = 2 * 89_478_485  # Pillow's limit, 0.5 GB as RGB; it warns at half of that, which is of no use here
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
_GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N"})


class PictureError(Exception):
    """A picture that cannot be read; the message is the reason, without the picture's name."""


@dataclass(frozen=True, kw_only=True)
class ImageContract:
    """What a network expects of a picture; stored with the model.

    Attributes:
        height: Rows in pixels.
        width: Columns in pixels.
        channels: 1 for grey (ITU-R 601-2 luma), 3 for RGB.
        resize: `squash` to the size whatever the shape, centre `crop` after scaling to cover it,
            or `pad` with black after scaling to fit in it.
        crop: Share of the shorter side, above 0 to 1, that a centre crop keeps.
    """

    height: int
    width: int
    channels: int
    resize: Resize = "squash"
    crop: float = 1.0

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return self.height, self.width, self.channels


def decode(data: bytes) -> Image.Image:
    """The first frame of an encoded picture, turned upright by its EXIF orientation.

    Raises:
        PictureError: the bytes are empty, no picture, broken, or one of more than 178,956,970 pixels.
    """
    if not data:
        raise PictureError("the file is empty")
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            return ImageOps.exif_transpose(image)
    except UnidentifiedImageError:
        if data[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1"):
            raise PictureError("HEIC pictures cannot be read: convert it to JPEG") from None
        raise PictureError("not a picture of a known format") from None
    except Image.DecompressionBombError as error:
        size = re.search(r"\d+", str(error))
        raise PictureError(
            f"{int(size[0]) if size else 0:,} pixels are more than the {MOST_PIXELS:,} allowed"
        ) from None
    except Exception as error:  # Pillow's decoders raise nearly every type there is when the data is broken
        raise PictureError(f"broken picture: {' '.join(str(error).split()) or type(error).__name__}") from None


def read(path: Path | str) -> Image.Image:
    """The picture in a file, as `decode` gives it.

    Raises:
        PictureError: the file cannot be read, or is no picture.
    """
    return decode(read_bytes(path))


def shorter_side(path: Path | str) -> int:
    """The smaller of height and width in pixels, from the file's header alone; 0 where it is no picture."""
    try:
        with Image.open(path) as image:
            return min(image.size)
    except Exception:  # as in `decode`
        return 0


def read_bytes(path: Path | str) -> bytes:
    """A file's content.

    Raises:
        PictureError: the file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise PictureError(f"cannot be read: {reason(error)}") from None


def from_array(array: NDArray[Any]) -> Image.Image:
    """A picture from uint8 values of shape (height, width) or (height, width, 1, 3 or 4)."""
    return Image.fromarray(array[..., 0] if array.ndim == 3 and array.shape[-1] == 1 else array)


def is_grey(path: Path | str) -> bool:
    """Whether the picture is stored as grey, from the file's header alone; a palette counts as colour.

    An unreadable file passes for grey: it decides nothing.
    """
    try:
        with Image.open(path) as image:
            return image.mode in _GREY_MODES
    except Exception:  # as in `decode`
        return True


def flatten(image: Image.Image, channels: int) -> Image.Image:
    """The picture in 8 bits as RGB (3 channels) or grey (1 channel).

    Whatever is transparent lies over white; 16 bits are scaled to 8; palette, CMYK, LAB and the
    like become RGB.

    Raises:
        PictureError: the pixels are floating-point numbers, whose range nothing states.
    """
    if image.mode == "F":
        raise PictureError("floating-point pixels have no stated range; save it with 8 or 16 bits")
    if image.mode.startswith("I"):
        wide = np.asarray(image).astype(np.int64)
        image = Image.fromarray((np.clip(wide, 0, 65535) / 257 + 0.5).astype(np.uint8))
    if image.has_transparency_data or image.mode in ("La", "RGBa"):
        if image.mode in ("La", "RGBa"):  # premultiplied alpha has one way out only
            image = image.convert("LA" if image.mode == "La" else "RGBA")
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image)
        image = white
    if channels == 1:
        grey = image.mode in ("1", "L")
        return image.convert("L") if grey else image.convert("RGB").convert("L")
    return image.convert("RGB")


def fit(image: Image.Image, contract: ImageContract) -> NDArray[np.uint8]:
    """A picture as the network expects it.

    The resize is Pillow's bilinear one, whose filter widens when it shrinks and so does not alias.

    Returns:
        uint8 values 0..255 of shape (height, width, channels).

    Raises:
        PictureError: the picture has a kind of pixels that cannot be shown in 8 bits.
    """
    image = flatten(image, contract.channels)
    size = (contract.width, contract.height)
    if image.size != size or (contract.resize == "crop" and contract.crop < 1):
        if contract.resize == "crop":
            image = ImageOps.fit(image, size, Image.Resampling.BILINEAR, bleed=(1 - contract.crop) / 2)
        elif contract.resize == "pad":
            image = ImageOps.pad(image, size, Image.Resampling.BILINEAR)
        else:
            image = image.resize(size, Image.Resampling.BILINEAR)
    return np.asarray(image, np.uint8).reshape(contract.shape)
