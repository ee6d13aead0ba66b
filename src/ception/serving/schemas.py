"""What requests and answers look like, for OpenAPI."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

Json = dict[str, Any]  # an object of JSON, as it is read or written


class GuessOut(BaseModel):
    """A class with its calibrated probability."""

    class_name: str = Field(alias="class", examples=["glass"])
    probability: float = Field(ge=0, le=1, examples=[0.973])


class PredictionOut(BaseModel):
    """What a model says of a picture: classes, the most probable first, or why it cannot be read."""

    path: str = Field(description="What the picture was called.", examples=["bottle.jpg"])
    top: list[GuessOut]
    unknown: bool = Field(description="Whether the best probability is below the model's threshold.")
    error: str | None = None


class PredictionsOut(BaseModel):
    """Answers in the order of the pictures."""

    model: str = Field(examples=["001-xception-trashnet"])
    predictions: list[PredictionOut]


class ModelOut(BaseModel):
    """A model that answers."""

    name: str
    network: str = Field(examples=["xception"])
    engine: str = Field(examples=["openvino 2026.4.1 in float32"])
    image: Json = Field(description="What the network takes of a picture.")
    min_confidence: float
    class_names: list[str]
    neighbours: bool = Field(description="Whether it can show training pictures that are like others.")


class NeighbourOut(BaseModel):
    """A training picture that the model sees as like the one that was sent."""

    class_name: str = Field(alias="class", examples=["glass"])
    distance: float = Field(ge=0, le=2, examples=[0.13], description="0 where the model sees no difference.")
    thumbnail: str = Field(description="A small copy, as a data URL with a JPEG.")


class NeighboursOut(BaseModel):
    """Training pictures, the nearest first."""

    model: str = Field(examples=["001-xception-trashnet"])
    neighbours: list[NeighbourOut]


class ErrorOut(BaseModel):
    """Why a request was refused."""

    error: str


PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGOoBwAAgwCCdHIKPQAAAABJRU5ErkJggg=="
_JSON_BODY = {
    "schema": {
        "type": "object", "required": ["pictures"],
        "properties": {"pictures": {"type": "array", "minItems": 1, "items": {"type": "string", "format": "byte"}}},
    },
    "example": {"pictures": [PIXEL]},
}  # fmt: skip
_FORM = {
    "schema": {
        "type": "object", "required": ["pictures"],
        "properties": {"pictures": {"type": "array", "minItems": 1, "items": {"type": "string", "format": "binary"}}},
    }
}  # fmt: skip
_RAW = {"schema": {"type": "string", "format": "binary"}}
PICTURES = {
    "requestBody": {
        "required": True,
        "description": "One picture as it is, several in a form, or base64 in JSON.",
        "content": {"image/*": _RAW, "multipart/form-data": _FORM, "application/json": _JSON_BODY},
    }
}
PICTURE = {
    "requestBody": {"required": True, "description": "One picture.", "content": {"image/*": _RAW}},
}
REFUSALS: dict[int | str, Json] = {
    status: {"model": ErrorOut, "description": why}
    for status, why in {
        400: "The body ended too early, or has two lengths.", 401: "No token, or a wrong one.",
        404: "There is no such model, or no such class.", 408: "The body did not come in time.",
        413: "It is too large.", 415: "Bodies of that type are not taken.", 422: "It cannot be read.",
        429: "There is too much to do: come again.", 503: "The model is being replaced, or took too long: come again.",
    }.items()
}  # fmt: skip
