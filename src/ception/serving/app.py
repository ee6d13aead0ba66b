"""The server as an ASGI application."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from ception.engines import described
from ception.errors import RunError
from ception.serving import kserve, page
from ception.serving.answering import Answering
from ception.serving.bodies import Sent, body_of, pictures_of, share_of
from ception.serving.guard import Guard
from ception.serving.limits import Limits, RefusedError
from ception.serving.schemas import PICTURE, PICTURES, REFUSALS, Json, ModelOut, NeighboursOut, PredictionsOut

if TYPE_CHECKING:
    from ception.serving.hosting import Hosted, Hosting
    from ception.serving.metrics import Metrics

_LOOKS_EVERY_S = 2.0  # at the model files
_LOG = logging.getLogger("ception.serving")
Model = Annotated[str | None, Query(max_length=200, description="Its name; the first one when not given.")]
ClassName = Annotated[str | None, Query(alias="class", max_length=1000, description="The class to explain.")]
Count = Annotated[int, Query(ge=1, le=20, description="Number of training pictures.")]
Top = Annotated[int, Query(ge=1, le=1000, description="Number of classes to name for each picture.")]


def application(
    hosting: Hosting, limits: Limits, metrics: Metrics, *, token: str | None = None, local: bool = False,
    neighbours: bool = True, fail: Callable[[str], None] | None = None,
) -> Any:  # fmt: skip
    """What answers requests for some models, to be run by any ASGI server.

    Args:
        hosting: The models, which it closes at its end.
        limits: What it takes.
        metrics: Told of each request.
        token: What requests have to bear; None for nothing.
        local: Whether only this machine reaches it.
        neighbours: Whether small copies of training pictures may be shown.
        fail: Told why, when a model failed and cannot be opened anew; without it, the model's answers say so.
    """
    answering = Answering.of(hosting, limits, metrics, neighbours=neighbours)
    for hosted in hosting:
        metrics.begin(hosted.name, hosted.description.class_names)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        looking = asyncio.create_task(_look(hosting, fail))
        yield
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking
        await asyncio.to_thread(hosting.close)
        answering.close()

    app = FastAPI(
        title="Ception", description="Classes of pictures.", docs_url=None, redoc_url=None, lifespan=lifespan,
        responses={422: REFUSALS[422]},
    )  # fmt: skip
    _add_errors(app)
    _add_pictures(app, answering)
    _add_states(app, answering)
    kserve.add_routes(app, answering)
    public = page.add_routes(app)
    return Guard(app, limits=limits, token=token, metrics=metrics, public=public, local=local)


async def _look(hosting: Hosting, fail: Callable[[str], None] | None) -> None:
    """Look at the model files now and then."""
    while True:
        await asyncio.sleep(_LOOKS_EVERY_S)
        try:
            await asyncio.to_thread(hosting.refresh)
        except RunError as error:
            if fail is not None:
                fail(str(error))
                return
            _LOG.error(str(error))
        except Exception:  # whatever it is, the models that are there go on
            _LOG.exception("looking at the model files failed")


def _add_errors(app: FastAPI) -> None:
    """Every refusal in one form: a line in JSON."""

    @app.exception_handler(RefusedError)
    async def refused(_: Request, refusal: RefusedError) -> JSONResponse:
        headers = {} if refusal.retry_after_s is None else {"Retry-After": str(refusal.retry_after_s)}
        return JSONResponse({"error": refusal.why}, refusal.status, headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return JSONResponse({"error": f"{'.'.join(map(str, first['loc']))}: {first['msg']}"}, 422)

    @app.exception_handler(HTTPException)
    async def wrong(_: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"error": str(error.detail)}, error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> JSONResponse:
        _LOG.exception("a request failed", exc_info=error)
        return JSONResponse({"error": "the server failed: its log says why"}, 500)


def _add_pictures(app: FastAPI, answering: Answering) -> None:
    @app.post(
        "/predict", response_model=PredictionsOut, responses=REFUSALS, openapi_extra=PICTURES,
        summary="Name the most probable classes of pictures",
    )  # fmt: skip
    async def predict(request: Request, model: Model = None, top: Top = 5) -> Any:
        answering.model(model)
        body = await body_of(request, answering.limits)
        async with answering.in_time():
            sent, raw = await pictures_of(request, body, answering.limits, answering.reading)
            share_of(request).take(len(sent) * answering.model(model).picture_bytes)
            hosted, predictions = await answering.predictions(model, sent, top)
        if raw and predictions[0].error:
            raise RefusedError(422, predictions[0].error)
        return JSONResponse({"model": hosted.name, "predictions": [_plain(one.as_dict()) for one in predictions]})

    @app.post(
        "/explain", responses=REFUSALS, openapi_extra=PICTURE, response_class=Response,
        summary="Draw what in a picture speaks for a class, as a PNG to be laid over it",
    )  # fmt: skip
    async def explain(request: Request, model: Model = None, class_name: ClassName = None) -> Response:
        answering.model(model)
        body = await body_of(request, answering.limits)
        async with answering.in_time():
            sent = await _one(request, body, answering)
            return Response(await answering.heat(model, sent, class_name), media_type="image/png")

    @app.post(
        "/neighbours", response_model=NeighboursOut, responses=REFUSALS, openapi_extra=PICTURE,
        summary="Show the training pictures that the model sees as most like a picture",
    )  # fmt: skip
    async def neighbours(request: Request, model: Model = None, count: Count = 3) -> Any:
        answering.model(model)
        body = await body_of(request, answering.limits)
        async with answering.in_time():
            hosted, nearest = await answering.nearest(model, await _one(request, body, answering), count)
            return JSONResponse({"model": hosted.name, "neighbours": nearest})


def _add_states(app: FastAPI, answering: Answering) -> None:
    @app.get("/models", response_model=list[ModelOut], summary="The models that answer")
    async def models() -> Any:
        return JSONResponse([_described(hosted, answering) for hosted in answering.hosting])

    @app.get("/health", summary="Whether the server lives")
    async def health() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/ready", responses={503: REFUSALS[503]}, summary="Whether the models answer")
    async def ready() -> dict[str, str]:
        answering.require_ready()
        return {"status": "ready"}

    @app.get("/metrics", summary="Counters for Prometheus", response_class=Response)
    async def metrics() -> Response:
        for hosted in answering.hosting:
            answering.metrics.waiting.labels(hosted.name).set(hosted.batcher.waiting)
            usual, seen = hosted.description.usual, hosted.watch.looks()
            await asyncio.to_thread(answering.metrics.compare, hosted.name, usual, seen)
        return Response(answering.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


async def _one(request: Request, body: bytes, answering: Answering) -> Sent:
    """The picture of a request that has one.

    Raises:
        RefusedError: it has several, or none that is taken.
    """
    sent, _ = await pictures_of(request, body, answering.limits, answering.reading)
    if len(sent) != 1:
        raise RefusedError(422, f"one picture is explained at a time, got {len(sent)}")
    return sent[0]


def _plain(prediction: Json) -> Json:
    return {"path": prediction["path"], "top": prediction.get("top", []), "unknown": prediction.get("unknown", False),
            "error": prediction.get("error")}  # fmt: skip


def _described(hosted: Hosted, answering: Answering) -> Json:
    """What may be known of a model."""
    description = hosted.description
    return {
        "name": hosted.name, "network": description.config.name, "engine": described(hosted.predictor.engine),
        "image": asdict(description.image), "min_confidence": hosted.predictor.min_confidence,
        "class_names": list(description.class_names), "neighbours": answering.explainer.has_neighbours(hosted),
    }  # fmt: skip
