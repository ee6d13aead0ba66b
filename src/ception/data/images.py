"""From a picture to pixels: the one path that training, evaluation, prediction, serving and export share."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ception.data import formats
from ception.data.formats import PictureError as PictureError
from ception.errors import InputError, reason
from ception.settings import Resize

if TYPE_CHECKING:
    from numpy.typing import NDArray

Picture: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes] | NDArray[Any] | Image.Image"
Result = TypeVar("Result")
_GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N"})
_ORIENTATION = 0x0112  # the number of the EXIF tag
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip
_TELL_ORIENTATION = ("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp")  # keys of an image's `info`


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


def open_picture(picture: Picture) -> Image.Image:
    """The first frame of a picture, whatever a person has it in, turned upright by its EXIF orientation.

    Args:
        picture: A path; the bytes of a file, or a file object opened in binary mode, which is read from its start; an
            array, uint8 of shape (height, width) or (height, width, 1, 3 or 4); or a Pillow image, of which the
            present frame is taken. Neither is changed nor closed.

    Raises:
        PictureError: it cannot be read.
        InputError: it is nothing that a picture can be in.
    """
    if isinstance(picture, str | os.PathLike):
        return read(picture)
    if isinstance(picture, bytes | bytearray | memoryview):
        return decode(bytes(picture))
    if isinstance(picture, np.ndarray):
        return from_array(checked_array(picture))
    if isinstance(picture, Image.Image):
        try:
            return upright(picture)
        except Exception as error:  # as in `decode`: its file may be read only now
            raise _broken(error) from None
    return decode(content(picture))


def checked_array(array: NDArray[Any]) -> NDArray[np.uint8]:
    """The array, if it can be a picture.

    Raises:
        InputError: it has other numbers than uint8, or another shape.
    """
    kind = f"an array of {array.dtype} {array.shape}"
    if array.dtype != np.uint8:
        raise InputError(f"{kind} is no picture: scale its values to 0..255 and convert it with .astype('uint8')")
    if array.ndim not in (2, 3) or array.shape[2:] not in ((), (1,), (3,), (4,)) or not array.size:
        raise InputError(f"{kind} is no picture: it must have the shape (height, width) or (height, width, 1, 3 or 4)")
    return array


def content(file: Any) -> bytes:
    """All that an opened file holds, from its start where it can be read from there.

    Args:
        file: A file object, opened in binary mode.

    Raises:
        PictureError: it cannot be read.
        InputError: it is no file object, or gives no bytes.
    """
    kind = type(file).__name__
    if not hasattr(file, "read"):
        raise InputError(
            f"{kind} is nothing that a picture can be in: give a path, a file's bytes, a file object, an array or a "
            "Pillow image"
        )
    data: Any = None
    try:
        if not isinstance(file, io.TextIOBase):
            if getattr(file, "seekable", bool)():
                file.seek(0)
            data = file.read()
    except (OSError, ValueError) as error:  # ValueError: it is closed
        raise PictureError(f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not isinstance(data, bytes):
        raise InputError(f"{kind} does not give bytes: open the file in binary mode ('rb'), or give its bytes")
    return data


def loaded(image: Image.Image) -> Image.Image:
    """The same image, of which nothing is left to be read from its file.

    Raises:
        PictureError: it cannot be read.
    """
    try:
        image.load()
    except Exception as error:  # as in `decode`
        raise _broken(error) from None
    return image


def decode(data: bytes) -> Image.Image:
    """The first frame of an encoded picture, turned upright by its EXIF orientation.

    Raises:
        PictureError: the bytes are empty, no picture, broken, or one of more than 178,956,970 pixels.
    """
    if not data:
        raise PictureError("the file is empty")
    try:
        return formats.with_opened(data, upright)
    except PictureError:
        raise
    except UnidentifiedImageError:
        raise formats.unidentified(data) from None
    except Image.DecompressionBombError as error:
        size = re.search(r"\d+", str(error))
        raise formats.too_large(int(size[0]) if size else 0) from None
    except Exception as error:  # Pillow's decoders raise nearly every type there is when the data is broken
        raise _broken(error) from None


def upright(image: Image.Image) -> Image.Image:
    """A copy of an image, turned as its EXIF orientation says, which the copy then lacks.

    Raises:
        Exception: whatever Pillow raises where the image is broken.
    """
    image.load()
    method = _TURNS.get(orientation(image))
    if method is None:
        return image.copy()
    turned = image.transpose(method)
    for key in _TELL_ORIENTATION:
        turned.info.pop(key, None)
    return turned


def orientation(image: Image.Image) -> int:
    """The EXIF orientation of an image, 1 to 8; 1 where it states none, or what it states cannot be read."""
    try:
        stated = image.getexif().get(_ORIENTATION)
    except Warning:  # one that the caller wants to be an error
        raise
    except Exception:  # Pillow's parser raises nearly every type there is; the picture itself is whole
        return 1
    return next((number for number in _TURNS if number == stated), 1)


def _broken(error: Exception) -> PictureError:
    return PictureError(f"broken picture: {' '.join(str(error).split()) or type(error).__name__}")


def read(path: str | os.PathLike[str]) -> Image.Image:
    """The picture in a file, as `decode` gives it.

    Raises:
        PictureError: the file cannot be read, or is no picture.
    """
    return decode(read_bytes(path))


def size(picture: Picture) -> tuple[int, int]:
    """Width and height in pixels, upright, of a file from its header alone; 0, 0 where it is no picture."""
    try:
        return _of_header(picture, lambda image: image.size[::-1] if orientation(image) > 4 else image.size)
    except Exception:  # as in `decode`
        return 0, 0


def shorter_side(picture: Picture) -> int:
    """The smaller of height and width in pixels, of a file from its header alone; 0 where it is no picture."""
    return min(size(picture))


def is_grey(picture: Picture) -> bool:
    """Whether the picture is stored as grey, of a file from its header alone; a palette counts as colour.

    One that cannot be read passes for grey: it decides nothing.
    """
    try:
        return _of_header(picture, lambda image: image.mode in _GREY_MODES)
    except Exception:  # as in `decode`
        return True


def _of_header(picture: Picture, tell: Callable[[Image.Image], Result]) -> Result:
    """What a function tells of the picture, of which only the header has been read where it lies in a file."""
    if isinstance(picture, str | os.PathLike | bytes):
        return formats.with_opened(picture, tell)
    return tell(open_picture(picture))


def read_bytes(path: str | os.PathLike[str]) -> bytes:
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


def to_pixels(image: Image.Image, contract: ImageContract) -> NDArray[np.uint8]:
    """A picture as the network takes it.

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
