"""The page for people, at `/`: three files that need nothing from elsewhere."""

from __future__ import annotations

from importlib.resources import files

from fastapi import FastAPI
from fastapi.responses import Response

_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/gallery.js": ("gallery.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}


def add_routes(app: FastAPI) -> tuple[str, ...]:
    """Let an application show the page; the paths that belong to it."""
    folder = files("ception.serving") / "static"
    for path, (name, kind) in _FILES.items():
        _add(app, path, (folder / name).read_bytes(), kind)
    return tuple(_FILES)


def _add(app: FastAPI, path: str, content: bytes, kind: str) -> None:
    @app.get(path, include_in_schema=False)
    async def file() -> Response:
        return Response(content, media_type=kind, headers={"Cache-Control": "no-cache"})
