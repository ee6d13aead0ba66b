"""Bodies of requests as pictures: raw, in a form, or as base64 in JSON. No path and no address in them is followed."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from ception.serving.limits import Limits, RefusedError

if TYPE_CHECKING:
    from starlette.requests import Request

Sent = tuple[str, bytes]  # what a picture is called, and the bytes of its file
_MOST_NAME = 200  # characters of a name that is given back


async def body_of(request: Request, limits: Limits) -> bytes:
    """All bytes of a body.

    Raises:
        RefusedError: it is too large, or does not come.
    """
    parts: list[bytes] = []
    total = 0
    try:
        async with asyncio.timeout(limits.seconds):
            async for part in request.stream():
                total += len(part)
                if total > limits.most_bytes:
                    raise RefusedError(413, f"the body is larger than {limits.most_bytes / 1e6:g} MB")
                parts.append(part)
    except TimeoutError:
        raise RefusedError(408, f"the body did not come within {limits.seconds:g} seconds") from None
    return b"".join(parts)


async def pictures_of(request: Request, limits: Limits) -> tuple[list[Sent], bool]:
    """The pictures of a request, and whether it is a single one that was sent raw.

    Raises:
        RefusedError: the body is none of what is taken, or too much.
    """
    body = await body_of(request, limits)
    kind = request.headers.get("content-type", "application/octet-stream").partition(";")[0].strip().lower()
    if not body:
        raise RefusedError(422, "the body is empty: send a picture")
    if kind == "multipart/form-data":
        sent = await _in_form(request, body, limits)
    elif kind == "application/json":
        sent = _in_json(body)
    elif kind.startswith("image/") or kind in ("application/octet-stream", "application/x-www-form-urlencoded"):
        return [("picture", body)], True  # the last one is what curl --data-binary says
    else:
        raise RefusedError(
            415, f"{kind[:_MOST_NAME]!r} is not taken: send image/*, multipart/form-data or application/json"
        )
    if not sent:
        raise RefusedError(422, "there is no picture in it")
    if len(sent) > limits.most_pictures:
        raise RefusedError(413, f"{len(sent)} pictures are more than the {limits.most_pictures} of a request")
    return sent, False


async def _in_form(request: Request, body: bytes, limits: Limits) -> list[Sent]:
    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    try:
        parser = MultiPartParser(
            request.headers, stream(), max_files=limits.most_pictures + 1, max_fields=limits.most_pictures + 1,
            max_part_size=limits.most_bytes,
        )  # fmt: skip
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError, AssertionError) as error:
        why = getattr(error, "message", "") or str(error)
        raise RefusedError(422, f"the form cannot be read: {' '.join(why.split())[:_MOST_NAME]}") from None
    try:
        files = [file for _, file in form.multi_items() if isinstance(file, UploadFile)]
        return [(named(file.filename, "picture"), await file.read()) for file in files]
    finally:
        await form.close()


def _in_json(body: bytes) -> list[Sent]:
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        raise RefusedError(422, "the body is no JSON") from None
    pictures = told.get("pictures") if isinstance(told, dict) else None
    if not isinstance(pictures, list) or not all(isinstance(picture, str) for picture in pictures):
        raise RefusedError(422, 'JSON must be {"pictures": ["BASE64", ...]}')
    return [(f"pictures[{number}]", from_base64(picture, number)) for number, picture in enumerate(pictures)]


def from_base64(text: str, number: int) -> bytes:
    """The bytes that a text means, with or without what a data URL has before it.

    Raises:
        RefusedError: it means none.
    """
    try:
        return base64.b64decode(text.partition(";base64,")[2] or text, validate=True)
    except (binascii.Error, ValueError):
        raise RefusedError(422, f"pictures[{number}] is no base64") from None


def named(name: Any, otherwise: str) -> str:
    """A name as it is given back: the last part of what may be a path, printable and not too long."""
    last = str(name or "").replace("\\", "/").rpartition("/")[2][:_MOST_NAME]
    return "".join(one if one.isprintable() else "?" for one in last) or otherwise
