"""The Open Inference Protocol, which clients of KServe and Triton speak: tensors in, tensors out.

Source: https://github.com/kserve/open-inference-protocol, rest/README.md, and Triton's extension for binary tensors,
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md.
"""

from __future__ import annotations

from enum import Enum
from importlib.metadata import version
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import numpy as np
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from ception.serving.answering import Decoded
from ception.serving.bodies import body_of, from_base64, from_json, share_of
from ception.serving.limits import Limits, RefusedError
from ception.serving.schemas import PIXEL, REFUSALS, Json

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ception.serving.answering import Answering
    from ception.serving.hosting import Hosted

_HEADER_LENGTH = "inference-header-content-length"
_TAGS: list[str | Enum] = ["open inference protocol"]
_INPUTS = {
    "type": "array", "minItems": 1, "maxItems": 1,
    "items": {
        "type": "object", "required": ["shape", "datatype"],
        "properties": {
            "name": {"type": "string"},
            "shape": {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 1}},
            "datatype": {"enum": ["UINT8", "BYTES"]},
            "data": {"type": "array", "description": "Numbers from 0 to 255, or files in base64."},
        },
    },
}  # fmt: skip
_REFUSED: dict[int | str, Json] = {404: REFUSALS[404]}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"type": "object", "required": ["inputs"], "properties": {"inputs": _INPUTS}},
                "example": {"inputs": [{"name": "pictures", "shape": [1], "datatype": "BYTES", "data": [PIXEL]}]},
            }
        },
    }
}


def add_routes(app: FastAPI, answering: Answering) -> None:
    """Let an application speak the protocol, too."""

    @app.get("/v2", tags=_TAGS)
    async def server() -> Json:
        return {"name": "ception", "version": version("ception"), "extensions": ["binary_tensor_data"]}

    @app.get("/v2/health/live", tags=_TAGS)
    async def live() -> dict[str, bool]:
        return {"live": True}

    @app.get("/v2/health/ready", tags=_TAGS, responses={503: REFUSALS[503]})
    async def ready() -> dict[str, bool]:
        answering.require_ready()
        return {"ready": True}

    @app.get("/v2/models/{name}", tags=_TAGS, responses=_REFUSED)
    async def metadata(name: str) -> JSONResponse:
        return JSONResponse(_metadata(answering.model(name)))

    @app.get("/v2/models/{name}/ready", tags=_TAGS, responses=_REFUSED)
    async def model_ready(name: str) -> Json:
        return {"name": answering.model(name).name, "ready": True}

    @app.post("/v2/models/{name}/infer", tags=_TAGS, responses=REFUSALS, openapi_extra=_BODY)
    async def infer(name: str, request: Request) -> JSONResponse:
        hosted = answering.model(name)
        body, length = await body_of(request, answering.limits), request.headers.get(_HEADER_LENGTH)
        async with answering.in_time():
            told, rest = await answering.read(_split, body, length)
            given, count = _input(told, answering.limits)
            share_of(request).take(count * hosted.picture_bytes)

            async def asked(hosted: Hosted) -> NDArray[np.float32]:
                return await answering.probabilities(hosted, await _pictures(given, count, rest, hosted, answering))

            hosted, probabilities = await answering.by_one_model(name, asked)
        return JSONResponse(_answer(told, hosted, probabilities))


def _metadata(hosted: Hosted) -> Json:
    description = hosted.description
    return {
        "name": hosted.name, "versions": [], "platform": "ception",
        "inputs": [{"name": "pictures", "datatype": "UINT8", "shape": [-1, *description.image.shape]}],
        "outputs": [
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, len(description.class_names)]},
            {"name": "classes", "datatype": "BYTES", "shape": [-1]},
        ],
        "parameters": {"class_names": list(description.class_names)},
    }  # fmt: skip


def _split(body: bytes, header_length: str | None) -> tuple[Json, bytes]:
    """What a request says, and the tensors that come behind it as they are."""
    length = len(body)
    if header_length is not None:
        if not header_length.isascii() or not header_length.isdigit() or int(header_length) > length:
            raise RefusedError(422, f"{_HEADER_LENGTH} does not fit the body")
        length = int(header_length)
    told = from_json(body[:length])
    if not isinstance(told, dict):
        raise RefusedError(422, "the body is no JSON object")
    return told, body[length:]


def _input(told: Json, limits: Limits) -> tuple[Json, int]:
    """The input of a request, and how many pictures it has."""
    inputs = told.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise RefusedError(422, "there must be one input, pictures")
    shape = inputs[0].get("shape")
    if not isinstance(shape, list) or not shape or not all(type(side) is int and side > 0 for side in shape):
        raise RefusedError(422, "the input's shape must be a list of whole numbers above 0")
    if shape[0] > limits.most_pictures:
        raise RefusedError(413, f"{shape[0]} pictures are more than the {limits.most_pictures} of a request")
    if inputs[0].get("datatype") not in ("UINT8", "BYTES"):
        raise RefusedError(422, "the input's datatype must be UINT8, or BYTES for files in base64")
    return inputs[0], shape[0]


def _tensor(given: Json, rest: bytes, hosted: Hosted) -> NDArray[np.uint8]:
    """The pictures of an input of numbers, (pictures, height, width, channels)."""
    shape, image = given["shape"], hosted.description.image
    if tuple(shape[1:]) != image.shape:
        raise RefusedError(422, f"the input's shape must be [n, {', '.join(map(str, image.shape))}], got {shape[:8]}")
    size, parameters = int(np.prod(shape)), given.get("parameters")
    if isinstance(parameters, dict) and "binary_data_size" in parameters:
        if parameters["binary_data_size"] != size or len(rest) != size:
            raise RefusedError(422, f"the input's binary data must have {size} bytes")
        return np.frombuffer(rest, np.uint8).reshape(shape)
    return _numbers(given.get("data"), size).reshape(shape)


def _numbers(data: Any, size: int) -> NDArray[np.uint8]:
    """Numbers in a list, or in lists in lists, as a row. NumPy would give each the room of the longest text in them."""
    try:
        values = data if isinstance(data, list) else []
        while values and isinstance(values[0], list):
            values = list(islice(chain.from_iterable(values), size + 1))
        row = bytes(values)  # of nothing but whole numbers from 0 to 255
    except (TypeError, ValueError):
        row = b""
    if len(row) != size:
        raise RefusedError(422, f"the input's data must be {size} whole numbers from 0 to 255")
    return np.frombuffer(row, np.uint8)


def _texts(given: Json, count: int) -> list[str]:
    data = given.get("data")
    if not isinstance(data, list) or len(data) != count or not all(isinstance(text, str) for text in data):
        raise RefusedError(422, f"the input's data must be {count} texts in base64")
    return data


async def _pictures(given: Json, count: int, rest: bytes, hosted: Hosted, answering: Answering) -> list[Decoded]:
    """The pictures of an input, as files or as numbers."""
    if given["datatype"] == "BYTES":
        return await _decoded(_texts(given, count), hosted, answering)
    return [Decoded(one) for one in await answering.read(_tensor, given, rest, hosted)]


async def _decoded(texts: list[str], hosted: Hosted, answering: Answering) -> list[Decoded]:
    """The pictures of files in base64, of which each has to be a picture."""
    made = await answering.decoded(hosted, [from_base64(text, number) for number, text in enumerate(texts)])
    for number, one in enumerate(made):
        if isinstance(one, str):
            raise RefusedError(422, f"picture {number}: {one}")
    return [one for one in made if not isinstance(one, str)]


def _answer(told: Json, hosted: Hosted, probabilities: NDArray[np.float32]) -> Json:
    names, best = hosted.description.class_names, probabilities.argmax(-1)
    known = [row[k] >= hosted.predictor.min_confidence for row, k in zip(probabilities, best, strict=True)]
    classes = [names[k] if sure else "unknown" for k, sure in zip(best, known, strict=True)]
    identity = {"id": told["id"]} if isinstance(told.get("id"), str) else {}
    return {
        "model_name": hosted.name, **identity,
        "outputs": [
            {"name": "probabilities", "datatype": "FP32", "shape": list(probabilities.shape),
             "data": probabilities.reshape(-1).tolist()},
            {"name": "classes", "datatype": "BYTES", "shape": [len(classes)], "data": classes},
        ],
    }  # fmt: skip
