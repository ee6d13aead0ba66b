"""The Open Inference Protocol, which clients of KServe and Triton speak: tensors in, tensors out.

Source: https://github.com/kserve/open-inference-protocol, rest/README.md, and Triton's extension for binary tensors,
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from ception.serving.answering import Decoded
from ception.serving.bodies import body_of, from_base64
from ception.serving.limits import Limits, RefusedError
from ception.serving.schemas import Json

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ception.serving.answering import Answering
    from ception.serving.hosting import Hosted

_HEADER_LENGTH = "inference-header-content-length"
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"type": "object", "required": ["inputs"], "properties": {"inputs": {"type": "array"}}},
                "example": {
                    "inputs": [{"name": "pictures", "shape": [1], "datatype": "BYTES", "data": ["BASE64 OF A FILE"]}]
                },
            }
        },
    }
}


def add_routes(app: FastAPI, answering: Answering) -> None:
    """Let an application speak the protocol, too."""

    @app.get("/v2", tags=["open inference protocol"])
    async def server() -> Json:
        return {"name": "ception", "version": version("ception"), "extensions": ["binary_tensor_data"]}

    @app.get("/v2/health/live", tags=["open inference protocol"])
    async def live() -> dict[str, bool]:
        return {"live": True}

    @app.get("/v2/health/ready", tags=["open inference protocol"])
    async def ready() -> dict[str, bool]:
        return {"ready": True}

    @app.get("/v2/models/{name}", tags=["open inference protocol"])
    async def metadata(name: str) -> JSONResponse:
        return JSONResponse(_metadata(answering.model(name)))

    @app.get("/v2/models/{name}/ready", tags=["open inference protocol"])
    async def model_ready(name: str) -> Json:
        return {"name": answering.model(name).name, "ready": True}

    @app.post("/v2/models/{name}/infer", tags=["open inference protocol"], openapi_extra=_BODY)
    async def infer(name: str, request: Request) -> JSONResponse:
        hosted = answering.model(name)
        told, rest = _split(await body_of(request, answering.limits), request.headers.get(_HEADER_LENGTH))
        given, count = _input(told, answering.limits)
        if given["datatype"] == "BYTES":
            pictures = await _decoded(_texts(given, count), hosted, answering)
        else:
            pictures = [Decoded(one) for one in _tensor(given, rest, hosted)]
        return JSONResponse(_answer(told, hosted, await answering.probabilities(hosted, pictures)))


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
    try:
        told = json.loads(body[:length])
    except (ValueError, RecursionError):
        raise RefusedError(422, "the body is no JSON") from None
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
    try:
        values = np.array(data).reshape(-1)
    except ValueError:
        values = np.zeros(0)
    if values.size != size or values.dtype.kind not in "iu" or values.min() < 0 or values.max() > 255:
        raise RefusedError(422, f"the input's data must be {size} whole numbers from 0 to 255")
    return values.astype(np.uint8)


def _texts(given: Json, count: int) -> list[str]:
    data = given.get("data")
    if not isinstance(data, list) or len(data) != count or not all(isinstance(text, str) for text in data):
        raise RefusedError(422, f"the input's data must be {count} texts in base64")
    return data


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
