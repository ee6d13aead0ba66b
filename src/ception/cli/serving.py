"""The command that answers over HTTP: serve."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from ception.cli.app import Flat, Quiet, app, options_of
from ception.cli.terminal import terminal
from ception.settings import ServeSettings


@app.command
def serve(
    models: Annotated[list[str], Parameter(help="Model files, run folders or exports; NAME=PATH gives one a name.")],
    /, *, settings: Annotated[ServeSettings, Flat] = ServeSettings(), quiet: Quiet = False,
) -> int:  # fmt: skip
    """Answer requests for models over HTTP, with a page to try them."""
    from ception.serving import serve

    with terminal(quiet) as reporter:
        serve(models, reporter=reporter, **options_of(settings))
    return 0
