"""The command that shows why a model says what it says: explain."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ception.cli.app import AsJson, Flat, Quiet, app, options_of, require_order
from ception.cli.terminal import print_explanations, print_json, print_next, quoted, terminal
from ception.settings import ExplainSettings


@app.command
def explain(
    model: Annotated[Path, Parameter(help="Model file or run folder, such as runs/001-...")],
    pictures: Annotated[list[str], Parameter(help="Pictures, folders of them, or patterns such as 'photos/*.jpg'.")],
    /, *,
    class_name: Annotated[str | None, Parameter(
        name="--class", help="Class to explain; the most probable one of each picture when not given.")] = None,
    settings: Annotated[ExplainSettings, Flat] = ExplainSettings(), quiet: Quiet = False, json: AsJson = False,
) -> int:  # fmt: skip
    """Draw which parts of pictures speak for a class, and check that the drawings mean something."""
    from ception.explaining import SHEET, explain

    require_order("explain", model, *pictures[:1])
    with terminal(quiet) as reporter:
        explained = explain(model, pictures, class_name=class_name, reporter=reporter, **options_of(settings))
    if json:
        print_json([one.as_dict() for one in explained])
    else:
        print_explanations(explained)
        if drawn := next((one.picture for one in explained if one.picture), None):
            print(f"All beside one another in {Path(drawn).parent / SHEET}")
    print_next(f"ception serve {quoted(model)}", quiet or json)
    return 0 if any(one.error is None for one in explained) else 1
