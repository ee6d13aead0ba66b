"""A picture of a network that a person can read it from: its blocks, or every layer of them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate, pairwise, takewhile
from pathlib import Path
from typing import Any

import keras
import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Circle, FancyBboxPatch, PathPatch, Polygon
from matplotlib.path import Path as Curve
from matplotlib.textpath import text_to_path

from ception.errors import InputError
from ception.files import whole
from ception.inspection.graph import (
    AND,
    ASIDES,
    DOTS,
    TIMES,
    Block,
    Branch,
    Cell,
    Fork,
    Series,
    blocks,
    cells,
    shape_text,
)  # fmt: skip

_FILLS = {
    "input": "#eceff1", "convolution": "#d9e8f6", "separable convolution": "#dcefdc", "inception": "#fdebd3",
    "pooling and head": "#ece4f3",
}  # fmt: skip
_SMALL, _NORMAL, _LARGE = 8.0, 9.0, 10.0  # points, as all lengths are
_ROW, _LINE, _STEP, _EDGE = 13.0, 12.5, 22.0, 38.0  # of a layer, of text, of an arrow in a block, between blocks
_PAD, _APART, _GUTTER, _MARGIN, _HEAD = 8.0, 14.0, 34.0, 18.0, 58.0
_DARK, _PALE, _STROKE, _ACCENT = "#1f2933", "#5f6b76", "#7b8794", "#b4451f"
_Point = tuple[float, float]


@lru_cache(maxsize=4096)
def _wide(text: str, size: float = _SMALL, bold: bool = False) -> float:
    font = FontProperties(size=size, weight="bold" if bold else "normal")
    return float(text_to_path.get_text_width_height_descent(text, font, False)[0])


def _amount(number: float) -> str:
    for unit, name in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= unit:
            return f"{number / unit:.3g}{name}"
    return f"{number:.0f}"


class _Canvas:
    """A figure that is measured in points from its upper left corner."""

    def __init__(self, width: float, height: float) -> None:
        self.figure = Figure(figsize=(width / 72, height / 72), facecolor="white")
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, width), ylim=(height, 0))
        self.axes.set_axis_off()

    def text(self, x: float, y: float, text: str, size: float = _SMALL, **changed: Any) -> float:
        """Write around the height `y`; return where the text ends if it begins at `x`."""
        look: dict[str, Any] = {"color": _DARK, "weight": "normal", "va": "baseline", "parse_math": False} | changed
        self.axes.text(x, y + 0.36 * size, text, size=size, **look)
        return x + _wide(text, size, look["weight"] == "bold")

    def box(
        self, corner: _Point, width: float, height: float, fill: str, *, round: float = 0.0, name: str = ""
    ) -> None:
        """Draw a rectangle; its name is its id in an SVG."""
        style = f"round,pad=0,rounding_size={round}" if round else "square,pad=0"
        box = FancyBboxPatch(corner, width, height, boxstyle=style, fc=fill, ec=_STROKE, lw=0.7)
        box.set_gid(name or None)
        self.axes.add_patch(box)

    def line(self, *points: _Point, arrow: bool = True) -> None:
        """Draw a line with round corners."""
        path, codes = [points[0]], [Curve.MOVETO]
        for before, corner, after in zip(points, points[1:], points[2:], strict=False):
            path += [_towards(corner, before), corner, _towards(corner, after)]
            codes += [Curve.LINETO, Curve.CURVE3, Curve.CURVE3]
        tip = points[-1]
        neck = _towards(tip, points[-2]) if arrow else tip
        self.axes.add_patch(PathPatch(Curve([*path, neck], [*codes, Curve.LINETO]), fc="none", ec=_STROKE, lw=0.9))
        if arrow:
            x, y = (tip[1] - neck[1]) * 0.45, (neck[0] - tip[0]) * 0.45
            wings = [tip, (neck[0] + x, neck[1] + y), (neck[0] - x, neck[1] - y)]
            self.axes.add_patch(Polygon(wings, fc=_STROKE, ec="none"))

    def dot(self, center: _Point, radius: float = 1.8, fill: str = _STROKE) -> None:
        """Draw a dot, where lines part."""
        self.axes.add_patch(Circle(center, radius, fc=fill, ec=_STROKE, lw=0.9))


def _towards(start: _Point, end: _Point, most: float = 5.0) -> _Point:
    """The point that lies so far on the way, or half the way."""
    x, y = end[0] - start[0], end[1] - start[1]
    share = min(most / (math.hypot(x, y) or 1.0), 0.5)
    return start[0] + share * x, start[1] + share * y


def _title(block: Block) -> tuple[str, str, str]:
    """Name, how often, and costs."""
    name = block.name + ("" if block.count == 1 else f"{DOTS if block.count > 2 else ', '}{block.last}")
    counts = [(block.parameters, "parameters"), (block.macs, "MACs")]
    cost = AND.join(f"{_amount(number)} {what}" for number, what in counts if number)
    return (
        name,
        f"{TIMES} {block.count}" if block.count > 1 else "",
        cost + (" each" if cost and block.count > 1 else ""),
    )


@dataclass(frozen=True)
class _Tile(ABC):
    """A block to draw, around the spine that runs through it.

    Attributes:
        block: The block.
        left: What it takes left of the spine.
        right: What it takes right of the spine.
        rail: How far right of the spine a shortcut runs.
        height: Its height.
        tap: How far above its lower end the shortcut is added.
    """

    block: Block
    left: float
    right: float
    rail: float
    height: float
    tap: float

    @property
    def stray(self) -> bool:
        """Whether its shortcut begins at another block's shortcut."""
        return bool(self.block.residual and self.block.residual[1].source)

    def widened(self, half: float) -> _Tile:
        """The tile as wide as the others of its column."""
        return self

    @abstractmethod
    def draw(self, canvas: _Canvas, x: float, y: float) -> None:
        """Draw it with its spine at `x` from the height `y` on."""


class _Box(_Tile):
    """A block as one box, and a shortcut to the right of it."""

    @classmethod
    def of(cls, block: Block, least: float = 60.0) -> _Box:
        """The box of a block."""
        name, times, cost = _title(block)
        widths = [_wide(name, _LARGE, True) + _wide(times, _LARGE, True) + 2 * _PAD, _wide(block.asides), _wide(cost)]
        half = max(least, (max(widths + [_wide(line, _NORMAL) for line in block.words]) + 3 * _PAD) / 2)
        rail = half + _APART
        right = rail + 5 + _wide(block.shortcut) if block.shortcut else half
        height = 2 * _PAD + _LINE * (1 + len(block.words) + bool(block.asides) + bool(cost))
        return cls(block, half, right, rail, height + (18 if block.shortcut else 0), 6.0)

    def widened(self, half: float) -> _Box:
        """The box as wide as the others of its column."""
        return _Box.of(self.block, half)

    def draw(self, canvas: _Canvas, x: float, y: float) -> None:
        """Draw it with its spine at `x` from the height `y` on."""
        name, times, cost = _title(self.block)
        bottom = y + self.height - (18 if self.block.shortcut else 0)
        canvas.box(
            (x - self.left, y), 2 * self.left, bottom - y, _FILLS[self.block.kind], round=4, name=self.block.name
        )
        if self.block.shortcut:
            self._draw_shortcut(canvas, x, y, bottom)
        left, y = x - self.left + 1.5 * _PAD, y + _PAD + _LINE / 2
        canvas.text(left, y, name, _LARGE, weight="bold")
        canvas.text(x + self.left - 1.5 * _PAD, y, times, _LARGE, weight="bold", color=_ACCENT, ha="right")
        for line in self.block.words:
            y += _LINE
            canvas.text(left, y, line, _NORMAL)
        for line in filter(None, (self.block.asides, cost)):
            y += _LINE
            canvas.text(left, y, line, color=_PALE)

    def _draw_shortcut(self, canvas: _Canvas, x: float, top: float, bottom: float) -> None:
        rail, end, start = x + self.rail, bottom + 12, (x, top - 12)
        canvas.line((x, bottom), (x, end), arrow=False)
        canvas.line(*([(rail, top)] if self.stray else [start, (rail, top - 12)]), (rail, end), (x + 5.5, end))
        if not self.stray:
            canvas.dot(start)
        canvas.text(rail + 5, (top + bottom) / 2, self.block.shortcut)
        canvas.dot((x, end), 5.5, "white")
        canvas.text(x, end, "+", _LARGE, ha="center")


class _Frame(_Tile):
    """A block that shows its layers below a bar with its name."""

    @classmethod
    def of(cls, block: Block) -> _Frame:
        """The frame of a block."""
        name, times, cost = _title(block)
        left, right, height = _measure(block.content)
        title = max(_wide(name, _NORMAL, True) + _wide(times, _NORMAL, True) + _PAD, _wide(cost)) / 2
        left = max(left, title + _PAD) + _PAD
        right = max(right + _PAD, left)
        first = block.content[0]
        rail = _rail(first) if isinstance(first, Fork) and block.residual else right + _PAD
        height += _LINE * (1 + bool(cost)) + 5 + _PAD + (_PAD if isinstance(first, Cell) else 0)
        return cls(block, left, right, rail, height, _PAD + _ROW / 2)

    def draw(self, canvas: _Canvas, x: float, y: float) -> None:
        """Draw it with its spine at `x` from the height `y` on."""
        name, times, cost = _title(self.block)
        fill, bar = _FILLS[self.block.kind], _LINE * (1 + bool(cost)) + 5
        left = x - self.left
        canvas.box((left, y), self.left + self.right, self.height, "#fafbfc", round=3)
        canvas.box((left, y), self.left + (self.left if self.stray else self.right), bar, fill, round=3)
        end = canvas.text(left + _PAD, y + 3 + _LINE / 2, name, _NORMAL, weight="bold")
        canvas.text(end + _PAD, y + 3 + _LINE / 2, times, _NORMAL, weight="bold", color=_ACCENT)
        canvas.text(left + _PAD, y + 2 + 1.5 * _LINE, cost, color=_PALE)
        start = y + bar
        if isinstance(self.block.content[0], Cell):
            start += _PAD
            canvas.line((x, y + bar), (x, start))
        _Layers(canvas, fill, self.block.name, y).series(self.block.content, x, start)


def _prefix(fork: Fork, branch: Branch) -> str:
    """What the names of a branch's layers begin with."""
    parts = [cell.name.split("_")[:-1] for cell in cells(branch.content)]
    alike = takewhile(lambda words: len(set(words)) == 1, zip(*parts, strict=False))
    return "" if fork.residual else "".join(f"{words[0]}_" for words in alike)


def _kind(cell: Cell) -> str:
    return f"{cell.kind} {cell.detail}".strip()


def _gap(before: Cell | Fork, item: Cell | Fork) -> float:
    return _STEP if isinstance(item, Cell) and item.shape != before.shape else 0.0


def _cell_width(own: Sequence[Cell | Fork | None], prefix: str) -> float:
    """Width of the layers of a column, whose names are to the left and kinds to the right."""
    drawn = [cell for cell in own if isinstance(cell, Cell)]
    names = [_wide(cell.name.removeprefix(prefix)) for cell in drawn]
    return max(names) + max(_wide(_kind(cell)) for cell in drawn) + 24 if drawn else 0.0


@lru_cache(maxsize=4096)
def _measure(series: Series, prefix: str = "") -> tuple[float, float, float]:
    """Left and right of the spine, and height."""
    half = _cell_width(series, prefix) / 2
    spreads = [_measure_fork(item, prefix) if isinstance(item, Fork) else (half, half, _ROW) for item in series]
    height = sum(spread[2] for spread in spreads) + sum(_gap(*pair) for pair in pairwise(series))
    return max((spread[0] for spread in spreads), default=0), max((spread[1] for spread in spreads), default=0), height


def _measure_fork(fork: Fork, prefix: str) -> tuple[float, float, float]:
    spreads = [_measure(branch.content, _prefix(fork, branch)) for branch in fork.branches]
    height = 2 * _STEP + max(spread[2] for spread in spreads) + (_ROW if fork.merge else 0)
    merge = _cell_width([fork.merge], prefix) / 2
    if fork.residual:
        main, shortcut = (branch.content for branch in fork.residual)
        beside = _measure(shortcut)[1] if shortcut else 5 + _wide("identity")
        return max(_measure(main)[0], merge), _rail(fork) + beside, height
    half = max(merge, (sum(left + right for left, right, _ in spreads) + _APART * (len(spreads) - 1)) / 2)
    return half, half, height


def _rail(fork: Fork) -> float:
    """How far right of the spine a shortcut runs."""
    main, shortcut = (_measure(branch.content) for branch in fork.residual or ())
    return max(main[1], _cell_width([fork.merge], "") / 2) + _APART + shortcut[0]


@dataclass(frozen=True)
class _Layers:
    """Draws the layers of a block.

    Attributes:
        canvas: Where to.
        fill: The block's colour.
        block: Its name.
        top: Where its frame begins.
    """

    canvas: _Canvas
    fill: str
    block: str
    top: float

    def series(self, series: Series, x: float, y: float, prefix: str = "", *, bar: bool = True) -> float:
        """Draw layers from the height `y` on; return where they end.

        Args:
            series: The layers.
            x: The spine.
            y: Upper end.
            prefix: Of their names, which is left out.
            bar: Whether the block's wide bar lies above them.
        """
        half = _cell_width(series, prefix) / 2
        before: Cell | Fork | None = None
        for item in series:
            if before and _gap(before, item):
                self.edge((x, y), [(x, y + _STEP)], before.shape)
                y += _STEP
            if isinstance(item, Cell):
                y = self.cell(item, x, half, y, prefix)
            else:
                y = self.fork(item, x, y, prefix, bar=bar and before is None)
            before = item
        return y

    def cell(self, cell: Cell, x: float, half: float, y: float, prefix: str) -> float:
        """Draw a layer; return where it ends."""
        quiet = cell.kind in ASIDES
        full = cell.name if cell.name == self.block else f"{self.block}_{cell.name}"
        self.canvas.box((x - half, y), 2 * half, _ROW, "white" if quiet else self.fill, name=full)
        self.canvas.text(x - half + 5, y + _ROW / 2, cell.name.removeprefix(prefix), color=_PALE)
        self.canvas.text(x + half - 5, y + _ROW / 2, _kind(cell), color=_PALE if quiet else _DARK, ha="right")
        return y + _ROW

    def edge(self, start: _Point, way: Sequence[_Point], shape: tuple[int, ...]) -> None:
        """Draw an arrow with a shape at its beginning."""
        self.canvas.line(start, *way)
        self.canvas.text(start[0] + 5, start[1] + _STEP / 2 - 1, shape_text(shape), color=_PALE)

    def fork(self, fork: Fork, x: float, y: float, prefix: str, *, bar: bool) -> float:
        """Draw branches and what joins them; return where they end."""
        half, _, height = _measure_fork(fork, prefix)
        end = y + height - (_ROW if fork.merge else 0)
        if fork.residual:
            self.residual(fork, x, y, end, bar=bar)
        else:
            self.branches(fork, x - half, (x, y), end, prefix, bar=bar)
        return self.cell(fork.merge, x, half, end, prefix) if fork.merge else end

    def branches(self, fork: Fork, left: float, start: _Point, end: float, prefix: str, *, bar: bool) -> None:
        """Draw branches side by side, from where they part to what joins them."""
        y = start[1]
        for branch in fork.branches:
            own = _prefix(fork, branch)
            spread = _measure(branch.content, own)
            x = left + spread[0]
            self.canvas.line(*([(x, y)] if bar else [start, (start[0], y + 7), (x, y + 7)]), (x, y + _STEP))
            label = own.removeprefix(prefix).rstrip("_")
            self.canvas.text(x + 5, y + _STEP / 2 + 2, label, color=_PALE, weight="bold")
            low = self.series(branch.content, x, y + _STEP, own, bar=False)
            self.edge((x, low), [(x, end)], branch.content[-1].shape if branch.content and fork.merge else ())
            left = x + spread[1] + _APART

    def residual(self, fork: Fork, x: float, y: float, end: float, *, bar: bool) -> None:
        """Draw a branch and a shortcut around it."""
        main, shortcut = fork.residual or fork.branches
        self.canvas.line((x, y), (x, y + _STEP))
        self.edge((x, self.series(main.content, x, y + _STEP, bar=False)), [(x, end)], main.content[-1].shape)
        rail, level, edge = x + _rail(fork), end + _ROW / 2, x + _measure_fork(fork, "")[0]
        start = [(rail, self.top)] if shortcut.source else [(rail, y)] if bar else [(x, y + 7), (rail, y + 7)]
        if not shortcut.content:
            self.canvas.line(*start, (rail, level), (edge, level))
            self.canvas.text(rail + 5, (y + end) / 2, "identity", color=_PALE)
            return
        self.canvas.line(*start, (rail, y + _STEP))
        low = self.series(shortcut.content, rail, y + _STEP, bar=False)
        self.edge((rail, low), [(rail, level), (edge, level)], shortcut.content[-1].shape)


@dataclass(frozen=True)
class _Column:
    """Tiles below each other; beside each those that hang on it off the main way."""

    tiles: tuple[_Tile, ...]
    sides: tuple[tuple[_Tile, ...], ...]

    @classmethod
    def of(cls, tiles: Sequence[_Tile], sides: Sequence[tuple[_Tile, ...]]) -> _Column:
        """A column of equally wide boxes."""
        half = max(tile.left for tile in tiles)
        return cls(tuple(tile.widened(half) for tile in tiles), tuple(sides))

    @cached_property
    def left(self) -> float:
        """What it takes left of the spine."""
        return max(tile.left for tile in self.tiles)

    @cached_property
    def right(self) -> float:
        """What it takes right of the spine."""
        rails = [tile.rail for tile in self.tiles if tile.block.residual]
        beside = [
            self.beside(number) + max(tile.right for tile in side) for number, side in enumerate(self.sides) if side
        ]
        return max([tile.right for tile in self.tiles] + rails + beside)

    @cached_property
    def height(self) -> float:
        """From above its first tile to below its last."""
        return max(self._low(number) for number in range(len(self.tiles)))

    @cached_property
    def tops(self) -> list[float]:
        """Where each tile begins."""
        return list(accumulate((tile.height + _EDGE for tile in self.tiles[:-1]), initial=_EDGE))

    def _low(self, number: int) -> float:
        """Where a tile, and what hangs on it, ends."""
        sides = sum(_EDGE + tile.height for tile in self.sides[number])
        return self.tops[number] + self.tiles[number].height + sides + _EDGE

    def beside(self, number: int) -> float:
        """How far right of the spine there is room for the spine of what hangs on a tile."""
        low = self._low(number)
        along = [tile for tile, top in zip(self.tiles, self.tops, strict=True) if self.tops[number] <= top < low]
        return max(tile.right for tile in along) + 2 * _APART + max(tile.left for tile in self.sides[number])


def _arranged(tiles: Sequence[_Tile], sides: Sequence[tuple[_Tile, ...]]) -> list[_Column]:
    """Columns that waste little space in a picture that is half as wide again as it is high."""
    single = _Column.of(tiles, sides)
    if single.height < 430:
        return [single]
    every = range(len(tiles) + 1)
    made = {(first, last): _Column.of(tiles[first:last], sides[first:last])
            for last in every for first in every[:last]}  # fmt: skip

    def narrowest(most: float) -> tuple[float, list[_Column]]:
        """Columns of at most a height that take the least width."""
        ways: list[tuple[float, list[_Column]]] = [(0.0, [])]
        for last in every[1:]:
            ends = [(first, made[first, last]) for first in every[:last]]
            ways.append(min(((ways[first][0] + column.left + column.right + _GUTTER, [*ways[first][1], column])
                             for first, column in ends if column.height <= most or first == last - 1),
                            key=lambda way: way[0]))  # fmt: skip
        return ways[-1]

    def cost(way: tuple[float, list[_Column]]) -> float:
        width, height = way[0], _HEAD + max(column.height for column in way[1])
        off = abs(math.log(width / max(height, 440) / 1.55))
        return math.log(width * height) + 4 * max(0.0, off - 0.15)

    return min((narrowest(most) for most in {column.height for column in made.values()}), key=cost)[1]


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
    make: Callable[[Block], _Tile] = _Frame.of if expand else _Box.of
    main = [block for block in every if not block.side]
    sides = [tuple(make(other) for other in _hanging(block, every)) for block in main]
    columns = _arranged([make(block) for block in main], sides)
    total = AND.join([f"input {shape_text(network.inputs[0].shape[1:])}",
                       f"{_amount(sum(block.count * block.parameters for block in every))} parameters",
                       f"{_amount(sum(block.count * block.macs for block in every))} MACs"])  # fmt: skip
    kinds = [kind for kind in _FILLS if kind in {block.kind for block in every}]
    name = _wide(network.name, 14, True)
    least = max(name + 16 + _wide(total, _LARGE), sum(_wide(kind) + 30 for kind in kinds))
    width = sum(column.left + column.right + _GUTTER for column in columns) - _GUTTER
    head = _MARGIN + _HEAD - (0 if len(columns) > 1 else 28)  # a single column needs no way to its top
    canvas = _Canvas(max(width, least) + 2 * _MARGIN, head + max(column.height for column in columns) + _MARGIN)
    canvas.text(_MARGIN, _MARGIN + 8, network.name, 14, weight="bold")
    canvas.text(_MARGIN + name + 16, _MARGIN + 9, total, _LARGE, color=_PALE)
    x = _MARGIN
    for kind in kinds:
        canvas.box((x, _MARGIN + 26), 12, 9, _FILLS[kind], round=2)
        x = canvas.text(x + 17, _MARGIN + 30.5, kind, color=_PALE) + 13
    _draw_columns(canvas, columns, max(0.0, (least - width) / 2) + _MARGIN, head)
    return canvas.figure


def _hanging(block: Block, every: Sequence[Block]) -> list[Block]:
    """The blocks off the main way that follow on a block, one after another."""
    chain = [block]
    for other in every:
        if other.side and other.after == chain[-1].last:
            chain.append(other)
    return chain[1:]


@dataclass(frozen=True)
class _Placed:
    """A tile, its spine, and where it begins."""

    tile: _Tile
    x: float
    top: float

    @property
    def bottom(self) -> float:
        """Where it ends."""
        return self.top + self.tile.height

    @property
    def rail(self) -> float:
        """Where its shortcut runs."""
        return self.x + self.tile.rail


def _draw_columns(canvas: _Canvas, columns: Sequence[_Column], left: float, top: float) -> None:
    placed: list[_Placed] = []
    turns: dict[int, _Point] = {}  # after which tiles a column ends: where the way to the next one turns upwards
    for column in columns:
        x = left + column.left
        for number, (tile, y) in enumerate(zip(column.tiles, column.tops, strict=True)):
            placed.append(_Placed(tile, x, top + y))
            if column.sides[number]:
                _draw_side(canvas, placed[-1], column.sides[number], x + column.beside(number))
        left = x + column.right + _GUTTER
        turns[len(placed) - 1] = left - _GUTTER / 2 + 3, top + column.height
    carried = _carried([here.tile.block for here in placed])
    for number, (here, after) in enumerate(zip(placed, [*placed[1:], None], strict=True)):
        here.tile.draw(canvas, here.x, here.top)
        turn = turns.get(number)
        if after is None or turn is None:
            _draw_edge(canvas, here, [], after)
        else:
            _draw_edge(canvas, here, [(here.x, turn[1]), turn, (turn[0], top + 2), (after.x, top + 2)], after)
        if after and number in carried:
            middle = after.top - 16  # below the label
            corners = [(turn[1] - 9, turn[0] - 7), (top - 6, after.rail)] if turn else [(middle, after.rail)]
            _draw_carried(canvas, here, corners, after, begins=number - 1 not in carried)


def _draw_edge(canvas: _Canvas, here: _Placed, way: Sequence[_Point], after: _Placed | None) -> None:
    """Draw the connection to the next tile, or out of the network."""
    end = (after.x, after.top) if after else (here.x, here.bottom + _EDGE - 8)
    canvas.line((here.x, here.bottom), *way, end)
    y = after.top - _EDGE if after else here.bottom
    canvas.text(end[0] + 5, y + 13, shape_text(here.tile.block.shape), color=_PALE)


def _draw_carried(
    canvas: _Canvas, here: _Placed, corners: Sequence[_Point], after: _Placed, *, begins: bool
) -> None:  # fmt: skip
    """Draw the connection from a shortcut to a later block's shortcut as far as the next tile.

    Args:
        canvas: Where to.
        here: The tile that it leaves.
        corners: Heights at which it turns, each with where to.
        after: The next tile.
        begins: Whether it comes from nowhere above `here`.
    """
    if here.tile.block.residual:
        points = [(here.rail, here.bottom - here.tile.tap)]
    else:
        points = [(here.x, here.bottom + 22), (here.rail, here.bottom + 22)] if begins else [(here.rail, here.top)]
    if here.tile.block.residual or begins:
        canvas.dot(points[0])
    for y, x in corners:
        points += [(points[-1][0], y), (x, y)]
    canvas.line(*points, (after.rail, after.top), arrow=False)


def _carried(way: Sequence[Block]) -> set[int]:
    """Which blocks a shortcut goes on from, or past, to a later block."""
    numbers = {block.last: number for number, block in enumerate(way)}
    sources = {number: block.residual[1].source for number, block in enumerate(way) if block.residual}
    return {between for number, source in sources.items() if source
            for between in range(numbers.get(source.split("_")[0], number), number)}  # fmt: skip


def _draw_side(canvas: _Canvas, on: _Placed, side: Sequence[_Tile], x: float) -> None:
    """Draw tiles that hang on one, from its lower end to the right and down."""
    level, before = on.bottom + _EDGE / 2 + 4, on
    for tile in side:
        here = _Placed(tile, x, before.bottom + _EDGE)
        _draw_edge(canvas, before, [(on.x, level), (x, level)] if before is on else [], here)
        tile.draw(canvas, here.x, here.top)
        before = here
    canvas.dot((on.x, level))
    _draw_edge(canvas, before, [], None)
