"""A picture of a network that a person can read it from: its blocks, or every layer of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import matplotlib as mpl
from matplotlib.figure import Figure

from ception.errors import InputError
from ception.files import whole
from ception.inspection.canvas import FILLS, GUTTER, HEAD, LARGE, MARGIN, PALE, Canvas, width_of
from ception.inspection.columns import arranged, draw_columns
from ception.inspection.graph import AND, Block, blocks, shape_text
from ception.inspection.tiles import Box, Frame, Tile, amount


def draw(network: keras.Model, path: Path | str, *, expand: bool = False) -> None:
    """Draw a network as its blocks, from top to bottom and column by column.

    Args:
        network: A network of this package, also after saving and loading, or with plain Keras.
        path: Where the picture shall lie, an `.svg` or a `.png`.
        expand: Whether every block shows its layers.

    Raises:
        InputError: another suffix.
        RunError: the file cannot be written.
    """
    path = Path(path)
    kind = path.suffix.lower().removeprefix(".")
    if kind not in ("svg", "png"):
        raise InputError(f"a picture of a network must be named .svg or .png, got '{path.name}'")
    figure = _picture(network, expand=expand)
    # Text stays text and is as wide as it was measured; the same network gives the same file.
    options: Any = {"svg.fonttype": "none", "svg.hashsalt": "ception", "text.hinting": "none"}
    with whole(path) as unfinished, mpl.rc_context(options):
        figure.savefig(unfinished, format=kind, dpi=110, metadata={"Date": None} if kind == "svg" else None)


def _picture(network: keras.Model, *, expand: bool) -> Figure:
    every = blocks(network)
    make: Callable[[Block], Tile] = Frame.of if expand else Box.of
    main = [block for block in every if not block.side]
    sides = [tuple(make(other) for other in _hanging(block, every)) for block in main]
    columns = arranged([make(block) for block in main], sides)
    total = AND.join([f"input {shape_text(network.inputs[0].shape[1:])}",
                       f"{amount(sum(block.count * block.parameters for block in every))} parameters",
                       f"{amount(sum(block.count * block.macs for block in every))} MACs"])  # fmt: skip
    kinds = [kind for kind in FILLS if kind in {block.kind for block in every}]
    name = width_of(network.name, 14, True)
    least = max(name + 16 + width_of(total, LARGE), sum(width_of(kind) + 30 for kind in kinds))
    width = sum(column.left + column.right + GUTTER for column in columns) - GUTTER
    head = MARGIN + HEAD - (0 if len(columns) > 1 else 28)  # a single column needs no way to its top
    canvas = Canvas(max(width, least) + 2 * MARGIN, head + max(column.height for column in columns) + MARGIN)
    canvas.text(MARGIN, MARGIN + 8, network.name, 14, weight="bold")
    canvas.text(MARGIN + name + 16, MARGIN + 9, total, LARGE, color=PALE)
    x = MARGIN
    for kind in kinds:
        canvas.box((x, MARGIN + 26), 12, 9, FILLS[kind], round=2)
        x = canvas.text(x + 17, MARGIN + 30.5, kind, color=PALE) + 13
    draw_columns(canvas, columns, max(0.0, (least - width) / 2) + MARGIN, head)
    return canvas.figure


def _hanging(block: Block, every: Sequence[Block]) -> list[Block]:
    """The blocks off the main way that follow on a block, one after another."""
    chain = [block]
    for other in every:
        if other.side and other.after == chain[-1].last:
            chain.append(other)
    return chain[1:]
