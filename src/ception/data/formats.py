"""Formats of pictures: their suffixes, how their files begin, and what opens them within whose limits."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, BinaryIO, TypeVar

from PIL import Image, features

SUFFIXES = frozenset((
    ".avif", ".bmp", ".dib", ".gif", ".heic", ".heif", ".hif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".jxl",
    ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp",
))  # fmt: skip
MOST_PIXELS = 2 * 89_478_485  # Pillow's limit, 0.5 GB as RGB; it warns at half of that

_STARTS = {
    b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG", b"GIF8": "GIF", b"II*\0": "TIFF", b"MM\0*": "TIFF",
    b"\0\0\0\x0cJXL \r\n\x87\n": "JPEG XL", b"\xff\x0a": "JPEG XL", b"\0\0\0\x0cjP  \r\n\x87\n": "JPEG 2000",
}  # fmt: skip
_HEIF = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"})
_AVIF = frozenset({b"avif", b"avis"})
ENOUGH = 256  # bytes from which the format follows

# What opens a format that Pillow does not: module, class of the image, and our extra that installs it
_PLUGINS = {
    "HEIF": ("pillow_heif", "HeifImageFile", "heif"),
    "JPEG XL": ("pillow_jxl.JpegXLImagePlugin", "JXLImageFile", "jxl"),
}

_TEXT = frozenset({b"tEXt", b"zTXt", b"iTXt"})
_ORIENTING = frozenset({b"XML:com.adobe.xmp", b"Raw profile type exif"})  # keywords of text that may turn the picture
_LONGEST_TEXT = 1 << 26  # bytes of such text that are unpacked

Result = TypeVar("Result")


class PictureError(Exception):
    """A picture that cannot be read; the message is the reason, without the picture's name."""


def kind_of(start: bytes) -> str:
    """The format that a file's first bytes show, such as `JPEG`; empty where they show none.

    Args:
        start: The first bytes; 12 tell most formats, 256 all.
    """
    if start[4:8] == b"ftyp":
        box = start[8 : int.from_bytes(start[:4])]
        brands = {box[:4], *(box[place : place + 4] for place in range(8, len(box), 4))}
        if brands & _AVIF:
            return "AVIF"
        return "HEIF" if brands & _HEIF else ""
    if start.startswith(b"RIFF"):
        return "WEBP" if start[8:12] == b"WEBP" else ""
    return next((kind for magic, kind in _STARTS.items() if start.startswith(magic)), "")


def kind_of_file(path: str | os.PathLike[str]) -> str:
    """The format that a file begins like; empty where it shows none, or cannot be read."""
    try:
        with open(path, "rb") as file:
            return kind_of(file.read(ENOUGH))
    except OSError:
        return ""


def suffix_of(name: str, data: bytes) -> str:
    """The suffix of a picture's file: that of its name where it is one of a picture, else that of its format."""
    suffix = os.path.splitext(name)[1].lower()
    return suffix if suffix in SUFFIXES else "." + (kind_of(data[:ENOUGH]).lower().replace(" ", "") or "bin")


def unidentified(data: bytes) -> PictureError:
    """Why Pillow knows no picture in these bytes."""
    kind = kind_of(data[:ENOUGH])
    if kind == "AVIF" and not features.check("avif"):
        return PictureError(
            "AVIF pictures need Pillow 11.3 or later: pip install --upgrade pillow, or convert it to JPEG"
        )
    if kind:
        return PictureError(f"a {kind} that is broken, or of a kind that Pillow cannot read")
    return PictureError("not a picture of a known format")


def too_large(pixels: int) -> PictureError:
    """That a picture has more pixels than are read."""
    return PictureError(f"{pixels:,} pixels are more than the {MOST_PIXELS:,} allowed")


def with_opened(source: str | os.PathLike[str] | bytes, use: Callable[[Image.Image], Result]) -> Result:
    """What a function makes of a picture of which only the header has been read.

    Pillow refuses a PNG whose text or colour profile is long. None of it is of use here: such a file is opened without.

    Args:
        source: A path, or the bytes of a file.
        use: What to do with the picture while its file is open.

    Raises:
        PictureError: there is nothing installed that reads its format, or it has too many pixels for what does.
        Exception: whatever Pillow raises.
    """
    try:
        with _opened(source) as image:
            return use(image)
    except ValueError:  # of Pillow's limits, among others
        data = source if isinstance(source, bytes) else _content(source)
        if kind_of(data[:ENOUGH]) != "PNG" or (bare := _without_text(data)) == data:
            raise
    with _opened(bare) as image:
        return use(image)


@contextmanager
def _opened(source: str | os.PathLike[str] | bytes) -> Iterator[Image.Image]:
    with io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as file:
        kind = kind_of(file.read(ENOUGH))
        file.seek(0)
        with _by_plugin(kind, file) if kind in _PLUGINS else Image.open(file) as image:
            yield image


def _by_plugin(kind: str, file: BinaryIO) -> Image.Image:
    """A picture opened by another library's class, without making it known to Pillow."""
    module, name, extra = _PLUGINS[kind]
    try:
        opener: Any = getattr(import_module(module), name)
    except ImportError:
        raise PictureError(
            f"{kind} pictures need a library: pip install 'ception[{extra}]', or convert it to JPEG"
        ) from None
    image: Image.Image = opener(file)
    if image.width * image.height > MOST_PIXELS:
        raise too_large(image.width * image.height)
    if kind == "JPEG XL" and not getattr(image, "jpeg", False):
        image.info.pop("exif", None)  # its decoder has turned the picture; a packed JPEG it has not
    return image


def _content(path: str | os.PathLike[str]) -> bytes:
    with open(path, "rb") as file:
        return file.read()


# PNG


def _without_text(data: bytes) -> bytes:
    """A PNG without its colour profile and its text; text that may tell the orientation stays, uncompressed."""
    kept, place = [data[:8]], 8
    while place < len(data):
        length, kind = int.from_bytes(data[place : place + 4]), data[place + 4 : place + 8]
        end = place + 12 + length
        if kind in _TEXT and data[place + 8 : end].partition(b"\0")[0] in _ORIENTING:
            kept.append(_unpacked(kind, data[place + 8 : end - 4]) or data[place:end])
        elif kind not in _TEXT and kind != b"iCCP":
            kept.append(data[place:end])
        place = end
    return b"".join(kept)


def _unpacked(kind: bytes, body: bytes) -> bytes | None:
    """A chunk of compressed text as one of plain text; None where it is none, is broken or too long."""
    keyword, _, rest = body.partition(b"\0")
    told = b""
    if kind == b"zTXt":
        kind, packed = b"tEXt", rest[1:]
    elif kind == b"iTXt" and rest[:1] == b"\1":
        language, _, tail = rest[2:].partition(b"\0")
        translated, _, packed = tail.partition(b"\0")
        told = b"\0\0" + language + b"\0" + translated + b"\0"
    else:
        return None
    try:
        unpacking = zlib.decompressobj()
        text = unpacking.decompress(packed, _LONGEST_TEXT)
    except zlib.error:
        return None
    if not unpacking.eof:
        return None
    body = keyword + b"\0" + told + text
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
