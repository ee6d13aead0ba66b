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
from starlette.requests import ClientDisconnect

from ception.serving.limits import COPIES, Limits, RefusedError, Share

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from starlette.requests import Request

Sent = tuple[str, bytes]  # what a picture is called, and the bytes of its file
_MOST_NAME = 200  # characters of a name that is given back
_MOST_LISTS = 2_000_000  # in JSON
_DRAINED = 4  # largest bodies that are read on: who still sends does not hear why it was refused


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
                if total <= limits.most_bytes:
                    share_of(request).take(COPIES * len(part))
                    parts.append(part)
                elif total > _DRAINED * limits.most_bytes:
                    break
    except TimeoutError:
        raise RefusedError(408, f"the body did not come within {limits.seconds:g} seconds") from None
    except ClientDisconnect:
        raise RefusedError(400, "the connection ended before the body") from None
    if total > limits.most_bytes:
        raise RefusedError(413, f"the body is larger than {limits.most_bytes / 1e6:g} MB")
    return b"".join(parts)


def share_of(request: Request) -> Share:
    """What a request holds of the memory for all."""
    share: Share = request.state.share
    return share


async def pictures_of(request: Request, body: bytes, limits: Limits, reading: Executor) -> tuple[list[Sent], bool]:
    """The pictures of a request, and whether it is a single one that was sent raw.

    Args:
        request: The request.
        body: Its body.
        limits: What it may hold.
        reading: Reads forms and JSON, one at a time: a hostile one takes many times its size while it is read.

    Raises:
        RefusedError: the body is none of what is taken, or too much.
    """
    kind = request.headers.get("content-type", "application/octet-stream").partition(";")[0].strip().lower()
    if not body:
        raise RefusedError(422, "the body is empty: send a picture")
    if kind == "multipart/form-data":
        sent = await asyncio.wrap_future(reading.submit(lambda: asyncio.run(_in_form(request, body, limits))))
    elif kind == "application/json":
        sent = await asyncio.wrap_future(reading.submit(_in_json, body))
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
        parser.spool_max_size = limits.most_bytes + 1  # nothing that is sent is written to a disk
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
    told = from_json(body)
    pictures = told.get("pictures") if isinstance(told, dict) else None
    if not isinstance(pictures, list) or not all(isinstance(picture, str) for picture in pictures):
        raise RefusedError(422, 'JSON must be {"pictures": ["BASE64", ...]}')
    return [(f"pictures[{number}]", from_base64(picture, number)) for number, picture in enumerate(pictures)]


def from_json(body: bytes) -> Any:
    """What a body of JSON says.

    Raises:
        RefusedError: it is none, or has more lists and objects than any that is meant.
    """
    if body.count(b"[") + body.count(b"{") > _MOST_LISTS:  # an empty list takes thirty times its text
        raise RefusedError(413, f"there are more than {_MOST_LISTS:,} lists in the JSON: send files or binary data")
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise RefusedError(422, "the body is no JSON") from None


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
